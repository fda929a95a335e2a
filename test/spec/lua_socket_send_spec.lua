-- socket: send, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("send", function()
    local core, sys, socket, failures

    before_each(function()
        core = fake.install()
        sys, socket = _G.sys, _G.socket
        failures = {}
        sys.subscribe("LIB_SOCKET_SEND_FAIL_IND", function(...)
            failures[#failures + 1] = { ... }
        end)
    end)

    after_each(function()
        assert.is_false(core:logged("[E]"))
        assert.equal(0, core:open_sockets())
        assert.is_nil(next(core.timers))
        core:remove()
    end)

    -- Runs fn(client, socket of the fake) in a task that is connected to a server.
    local function connected(server, fn, kind)
        core.servers.h = server
        core:run(function()
            local client = socket[kind or "tcp"]()
            assert(client:connect("h", 1))
            fn(client, core.sockets[client.id])
            client:close()
        end)
    end

    it("waits until everything is confirmed", function()
        connected({ confirm_delay = 30 }, function(client, s)
            local before = core.now
            assert.is_true(client:send("hello"))
            assert.equal(30, core.now - before)
            assert.same({ "hello" }, s.sent)
        end)
        assert.same({}, failures)
    end)

    it("cuts into pieces of 11200 bytes, one after the other", function()
        local data = ("0123456789"):rep(2500) .. "x"
        connected({ on_data = function(s) assert(s.unconfirmed <= 1) end }, function(client, s)
            assert.is_true(client:send(data))
            assert.same({ 11200, 11200, 2601 }, s.pieces)
            assert.equal(data, table.concat(s.sent))
            assert.is_true(client:send(("y"):rep(11200)))
            assert.same({ 11200, 11200, 2601, 11200 }, s.pieces)
        end)
    end)

    it("cuts into datagrams of 1472 bytes on UDP", function()
        connected({}, function(client, s)
            assert.is_true(client:send(("d"):rep(3000)))
            assert.same({ 1472, 1472, 56 }, s.pieces)
        end, "udp")
    end)

    it("of nothing is true and sends nothing; numbers go as text", function()
        connected({}, function(client, s)
            assert.is_true(client:send(""))
            assert.is_true(client:send(nil))
            assert.is_true(client:send(12))
            assert.same({ "12" }, s.sent)
        end)
    end)

    it("raises an error for what cannot be sent", function()
        connected({}, function(client)
            for _, bad in ipairs({ {}, true, print }) do
                assert.error_matches(function() client:send(bad) end,
                    "bad argument #1 to 'send' %(string expected, got")
                assert.error_matches(function() client:asyncSend(bad) end,
                    "bad argument #1 to 'asyncSend' %(string expected, got")
            end
        end)
    end)

    it("is false when the confirmation says so, and the rest is not sent", function()
        connected({ confirm = "fail" }, function(client, s)
            assert.is_false(client:send(("x"):rep(20000)))
            assert.same({ 11200 }, s.pieces)
        end)
        assert.same({ { false, "TCP", "h", 1 } }, failures)
    end)

    it("is false when the time-out runs out", function()
        connected({ confirm = "never" }, function(client)
            local before = core.now
            assert.is_false(client:send("x", 7))
            assert.equal(7000, core.now - before)
            before = core.now
            assert.is_false(client:send("x"))
            assert.equal(120000, core.now - before)
        end)
        assert.equal(2, #failures)
    end)

    it("does not take the late confirmation of another send for its own", function()
        connected({ confirm_delay = 1500 }, function(client)
            local before = core.now
            assert.is_false(client:send("late", 1))
            assert.is_true(client:send("in time", 2))
            assert.equal(2500, core.now - before)
        end)
    end)

    it("is false when the core refuses, and the next one is not confused by that", function()
        local server = { confirm = "refuse" }
        connected(server, function(client)
            assert.is_false(client:send("x"))
            server.confirm, server.confirm_delay = "ok", 20
            local before = core.now
            assert.is_true(client:send("y"))
            assert.equal(20, core.now - before)
        end)
        assert.is_true(core:logged("no room"))
    end)

    it("ends when the connection does", function()
        connected({ confirm = "never" }, function(client, s)
            core:at(300, function() core:peer_close(s) end)
            local before = core.now
            assert.is_false(client:send("x"))
            assert.equal(300, core.now - before)
            assert.equal("CLOSED", client.error)
            assert.is_false(client:send("y"))
            assert.same({ 1 }, s.pieces)
        end)
    end)

    it("ends at IP_ERROR_IND", function()
        connected({ confirm = "never" }, function(client)
            sys.timerStart(sys.publish, 50, "IP_ERROR_IND")
            assert.is_false(client:send("x"))
            assert.equal("IP_ERROR_IND", client.error)
            assert.is_false(client:send("x"))
        end)
    end)

    it("is false on a client that is not connected", function()
        core:run(function()
            assert.is_false(socket.tcp():send("x"))
        end)
    end)

    it("is not ended by whoever resumes the task", function()
        connected({ confirm_delay = 500 }, function(client)
            local co = coroutine.running()
            sys.timerStart(coroutine.resume, 100, co, false, "TIMEOUT")
            sys.timerStart(coroutine.resume, 200, co)
            local before = core.now
            assert.is_true(client:send("x"))
            assert.equal(500, core.now - before)
        end)
    end)

    it("does not hold up another task", function()
        local beats = 0
        local id = sys.timerLoopStart(function() beats = beats + 1 end, 100)
        connected({ confirm_delay = 2000 }, function(client)
            assert.is_true(client:send("x"))
            assert.is_true(beats >= 19)
            sys.timerStop(id)
        end)
    end)
end)
