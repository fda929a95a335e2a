-- socket: asyncSend, asyncSelect, getAsyncSend, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("asyncSend", function()
    local core, sys, socket, sends, client

    before_each(function()
        core = fake.install()
        sys, socket = _G.sys, _G.socket
        sends = {}
        sys.subscribe("SOCKET_SEND", function(...) sends[#sends + 1] = { ... } end)
    end)

    after_each(function()
        assert.is_false(core:logged("[E]"))
        assert.equal(0, core:open_sockets())
        assert.is_nil(next(core.timers))
        core:remove()
    end)

    -- A task as firmware scripts write it; then fn(socket of the fake) in another one, and the
    -- server closes.
    local function sending_loop(server, fn, kind, keepalive, ping)
        core.servers.h = server
        local ended
        sys.taskInit(function()
            client = socket[kind or "tcp"]()
            assert(client:connect("h", 1))
            sys.publish("CONNECTED")
            repeat until not client:asyncSelect(keepalive, ping)
            client:close()
            ended = true
        end)
        sys.taskInit(function()
            sys.waitUntil("CONNECTED")
            local s = core.sockets[client.id]
            fn(s)
            core:peer_close(s)
        end)
        sys.run()
        assert.is_true(ended)
    end

    it("is sent by the task in asyncSelect, which ends when the connection does", function()
        local queued = {}
        sys.subscribe("SOCKET_ASYNC_SEND", function(id) queued[#queued + 1] = id end)
        sending_loop({ confirm_delay = 10 }, function(s)
            assert.is_true(client:asyncSend("one"))
            assert.equal(1, client:getAsyncSend())
            sys.wait(5)
            assert.equal(1, client:getAsyncSend()) -- not confirmed yet
            assert.same({}, sends)
            sys.wait(20)
            assert.equal(0, client:getAsyncSend())
            assert.same({ { 0, true } }, sends)
            assert.is_true(client:asyncSend("two"))
            sys.wait(100)
            assert.equal("onetwo", table.concat(s.sent))
        end)
        assert.same({ 0, 0 }, queued)
        assert.same({ { 0, true }, { 0, true } }, sends)
    end)

    it("is confirmed by one SOCKET_SEND for each call, also when they are sent together", function()
        sending_loop({}, function(s)
            for i = 1, 100 do
                client:asyncSend(i .. " ")
            end
            assert.equal(100, client:getAsyncSend())
            sys.wait(1000)
            assert.equal(100, #sends)
            assert.is_true(#s.pieces < 10)
            assert.matches("^1 2 3 .* 99 100 $", table.concat(s.sent))
        end)
    end)

    it("cuts long data into pieces", function()
        sending_loop({}, function(s)
            client:asyncSend(("x"):rep(25000))
            client:asyncSend("y")
            sys.wait(1000)
            assert.same({ 11200, 11200, 2600, 1 }, s.pieces)
        end)
        assert.same({ { 0, true }, { 0, true } }, sends)
    end)

    it("keeps datagrams apart on UDP", function()
        sending_loop({}, function(s)
            client:asyncSend("one")
            client:asyncSend("two")
            client:asyncSend(("x"):rep(2000))
            sys.wait(1000)
            assert.same({ 3, 3, 1472, 528 }, s.pieces)
        end, "udp")
        assert.equal(3, #sends)
    end)

    it("before connect is sent afterwards", function()
        core.servers.h = {}
        core:run(function()
            local c = socket.tcp()
            c:asyncSend("early")
            c:connect("h", 1)
            local s = core.sockets[c.id]
            core:at(100, function() core:peer_close(s) end)
            assert.is_false(c:asyncSelect())
            assert.same({ "early" }, s.sent)
            c:close()
        end)
        assert.same({ { 0, true } }, sends)
    end)

    it("that fails is reported as false, and so is what close drops", function()
        sending_loop({ confirm = "never" }, function()
            client:asyncSend("fails", 3)
            sys.wait(1)
            client:asyncSend("never tried")
            assert.equal(2, client:getAsyncSend())
            sys.wait(2990)
            assert.same({}, sends)
            sys.wait(20)
            assert.equal(2, #sends)
        end)
        assert.same({ { 0, false }, { 0, false } }, sends)
        assert.equal(0, client:getAsyncSend())
    end)

    it("is refused once the connection is gone", function()
        local ok
        core.servers.h = {}
        core:run(function()
            local c = socket.tcp()
            c:connect("h", 1)
            c:asyncSend("too late")
            assert.equal(1, c:getAsyncSend())
            core:peer_close(core.sockets[c.id])
            sys.wait(10)
            ok = c:asyncSend("x")
            assert.equal(0, c:getAsyncSend())
            assert.is_false(c:asyncSelect())
            c:close()
        end)
        assert.is_false(ok)
        assert.same({ { 0, false } }, sends)
    end)

    it("sends a ping after so many seconds of silence", function()
        sending_loop({}, function(s)
            sys.wait(25000)
            assert.same({ "ping", "ping" }, s.sent)
            client:asyncSend("data") -- silence starts over
            sys.wait(9000)
            assert.same({ "ping", "ping", "data" }, s.sent)
            sys.wait(2000)
            assert.same({ "ping", "ping", "data", "ping" }, s.sent)
        end, "tcp", 10, "ping")
    end)

    it("sends a NUL byte where no ping is given, calls it where it is a function", function()
        sending_loop({}, function(s)
            sys.wait(1500)
            assert.same({ "\0" }, s.sent)
        end, "tcp", 1)
        local calls = 0
        sending_loop({}, function()
            sys.wait(3500)
        end, "tcp", 1, function()
            calls = calls + 1
            if calls == 2 then
                assert(client:send("from the function"))
            end
        end)
        assert.equal(3, calls)
    end)

    it("never pings without a keepalive", function()
        sending_loop({}, function(s)
            sys.wait(3600000)
            assert.same({}, s.sent)
        end)
        sending_loop({}, function(s)
            sys.wait(3600000)
            assert.same({}, s.sent)
        end, "tcp", 0, "ping")
    end)

    it("ends with IP_ERROR_IND", function()
        core.servers.h = {}
        local ended
        sys.timerStart(sys.publish, 100, "IP_ERROR_IND")
        core:run(function()
            local c = socket.tcp()
            c:connect("h", 1)
            ended = c:asyncSelect(10, "ping")
            c:close()
        end)
        assert.is_false(ended)
    end)

    it("lets the task receive meanwhile through SOCKET_RECV", function()
        local got = {}
        sys.subscribe("SOCKET_RECV", function(id)
            if client.id == id then
                got[#got + 1] = client:asyncRecv()
            end
        end)
        sending_loop({ on_data = function(s, data) core:arrive(s, data:upper()) end }, function()
            client:asyncSend("abc")
            sys.wait(100)
            client:asyncSend("def")
            sys.wait(100)
        end)
        assert.same({ "ABC", "DEF" }, got)
    end)
end)
