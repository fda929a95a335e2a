-- socket: recv, asyncRecv and setRcvProc, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("recv", function()
    local core, sys, socket

    before_each(function()
        core = fake.install()
        sys, socket = _G.sys, _G.socket
    end)

    after_each(function()
        assert.is_false(core:logged("[E]"))
        assert.equal(0, core:open_sockets())
        assert.is_nil(next(core.timers))
        core:remove()
    end)

    local function connected(fn, kind)
        core:run(function()
            local client = socket[kind or "tcp"]()
            assert(client:connect("h", 1))
            fn(client, core.sockets[client.id])
            client:close()
        end)
    end

    it("waits for data, without a limit", function()
        connected(function(client, s)
            core:at(3600000, function() core:arrive(s, "late\0") end)
            assert.same({ true, "late\0" }, { client:recv() })
            core:at(3600000, function() core:arrive(s, "later") end)
            assert.same({ true, "later" }, { client:recv(0) })
        end)
    end)

    it("returns false, timeout when the time ran out", function()
        connected(function(client)
            for timeout = 250, 230, -1 do
                local before = core.now
                assert.same({ false, "timeout" }, { client:recv(timeout) })
                assert.equal(timeout, core.now - before)
            end
        end)
    end)

    -- Waits with data in time or too late, one after the other; each must end when it should,
    -- whatever the ones before it have left behind.
    it("keeps the time-out of each wait, never early, whatever the waits before it", function()
        connected(function(client, s)
            local function wait(timeout, arrives)
                local before = core.now
                if arrives then
                    core:at(arrives, function() core:arrive(s, "data") end)
                end
                local got, what = client:recv(timeout)
                if arrives then
                    assert.same({ true, "data", arrives }, { got, what, core.now - before })
                else
                    assert.same({ false, "timeout" }, { got, what })
                    local late = core.now - before - timeout
                    assert(late >= 0 and late <= 1, ("%d ms late after %d"):format(late, timeout))
                end
            end
            wait(100, 50) -- leaves a timer that is due in 50
            wait(100)
            wait(100)
            wait(1000, 10)
            wait(20) -- a shorter one
            wait(300, 5)
            wait(301, 290)
            wait(7)
            wait(60000, 1)
            sys.wait(70000) -- what was left runs out while nothing waits
            wait(250)
            for ms = 1, 120 do
                wait(ms * 3, ms)
                wait(ms)
            end
        end)
    end)

    it("does not start a timer for each of many waits", function()
        connected(function(client, s)
            local before = core.started
            for _ = 1, 200 do
                core:at(10, function() core:arrive(s, "data") end)
                assert.same({ true, "data" }, { client:recv(60000) })
            end
            assert.is_true(core.started - before <= 2)
        end)
    end)

    it("ends late rather than never when the tick counter starts again meanwhile", function()
        connected(function(client, s)
            sys.wait(1000)
            core:at(50, function() core:arrive(s, "data") end)
            assert.same({ true, "data" }, { client:recv(100) })
            local before = core.now
            core:at(20, function() core.offset = -core.rtos.tick() end)
            assert.same({ false, "timeout" }, { client:recv(200) })
            assert.is_true(core.now - before >= 200 and core.now - before <= 400)
            before = core.now
            assert.same({ false, "timeout" }, { client:recv(100) })
            assert.equal(100, core.now - before)
        end)
    end)

    it("returns all that a stream has buffered", function()
        connected(function(client, s)
            core:arrive(s, "one ")
            core:arrive(s, "two ")
            sys.wait(10)
            core:arrive(s, ("x"):rep(5000))
            sys.wait(10)
            assert.same({ true, "one two " .. ("x"):rep(5000) }, { client:recv(10) })
            assert.same({ false, "timeout" }, { client:recv(10) })
        end)
    end)

    it("returns one datagram on UDP, the oldest first, empty ones too", function()
        connected(function(client, s)
            for _, datagram in ipairs({ "one", "", "three" }) do
                core:arrive(s, datagram)
            end
            sys.wait(10)
            assert.same({ true, "one" }, { client:recv(10) })
            assert.same({ true, "" }, { client:recv(10) })
            assert.same({ true, "three" }, { client:recv(10) })
            assert.same({ false, "timeout" }, { client:recv(10) })
        end, "udp")
    end)

    it("returns what is buffered before CLOSED", function()
        local closed
        sys.subscribe("LIB_SOCKET_CLOSE_IND", function(...) closed = { ... } end)
        connected(function(client, s)
            core:arrive(s, ("x"):rep(10000))
            core:arrive(s, "end")
            core:peer_close(s)
            sys.wait(10)
            assert.same({ false, "TCP", "h", 1 }, closed)
            assert.same({ true, ("x"):rep(10000) .. "end" }, { client:recv() })
            assert.same({ false, "CLOSED" }, { client:recv() })
            assert.same({ false, "CLOSED" }, { client:recv(10) })
        end)
    end)

    it("ends with CLOSED while it waits", function()
        connected(function(client, s)
            core:at(100, function() core:peer_close(s) end)
            assert.same({ false, "CLOSED" }, { client:recv() })
            assert.is_false(client.connected)
        end)
    end)

    it("ends with IP_ERROR_IND, for every client that waits", function()
        local ends = {}
        for i = 1, 5 do
            sys.taskInit(function()
                local client = socket.tcp()
                client:connect("h", i)
                ends[i] = { client:recv(i == 5 and 100 or nil) }
                ends[i + 5] = { client:recv() }
                client:close()
                if i == 1 then -- a client may come and go meanwhile
                    client:connect("h", i)
                    client:close()
                end
            end)
        end
        sys.timerStart(sys.publish, 50, "IP_ERROR_IND")
        sys.run()
        for i = 1, 10 do
            assert.same({ false, "IP_ERROR_IND" }, ends[i])
        end
    end)

    it("is CLOSED on a client that is not connected", function()
        core:run(function()
            assert.same({ false, "CLOSED" }, { socket.tcp():recv() })
        end)
    end)

    it("bounds what is buffered for a client that does not read, and loses nothing", function()
        connected(function(client, s)
            local sent = {}
            for i = 1, 100 do
                sent[i] = ("%05d"):format(i):rep(400)
                core:arrive(s, sent[i])
            end
            sys.wait(1000)
            local waiting = #table.concat(s.inbox)
            assert.is_true(waiting >= 100 * 2000 - 70000, waiting .. " bytes left in the core")
            local got = {}
            local ok, data = client:recv(10)
            while ok do
                got[#got + 1] = data
                ok, data = client:recv(10)
            end
            assert.equal("timeout", data)
            assert.is_true(table.concat(sent) == table.concat(got))
        end)
    end)

    it("bounds datagrams too", function()
        connected(function(client, s)
            for i = 1, 200 do
                core:arrive(s, ("%04d"):format(i):rep(250))
            end
            sys.wait(1000)
            assert.is_true(#s.inbox > 100)
            for i = 1, 200 do
                local _, data = client:recv(10)
                assert.equal(("%04d"):format(i):rep(250), data)
            end
            assert.same({ false, "timeout" }, { client:recv(10) })
        end, "udp")
    end)

    describe("with a topic", function()
        it("returns false, the topic and its value when it is published meanwhile", function()
            connected(function(client)
                sys.timerStart(sys.publish, 100, "SEND", "data")
                assert.same({ false, "SEND", "data" }, { client:recv(1000, "SEND") })
                sys.timerStart(sys.publish, 100, "SEND")
                assert.same({ false, "SEND", "" }, { client:recv(1000, "SEND") })
                sys.timerStart(sys.publish, 100, "SEND", false)
                assert.same({ false, "SEND", false }, { client:recv(nil, "SEND") })
                assert.same({ false, "timeout" }, { client:recv(100, "SEND") })
            end)
        end)

        it("returns every message once and in order, also those published between two calls",
            function()
                connected(function(client)
                    client:recv(1, "SEND")
                    local value = { "a table" }
                    for _, v in ipairs({ 1, "two", value }) do
                        sys.publish("SEND", v)
                    end
                    sys.wait(50)
                    assert.same({ false, "SEND", 1 }, { client:recv(10, "SEND") })
                    sys.wait(50)
                    assert.same({ false, "SEND", "two" }, { client:recv(10, "SEND") })
                    assert.equal(value, (select(3, client:recv(10, "SEND"))))
                    assert.same({ false, "timeout" }, { client:recv(10, "SEND") })
                end)
            end)

        it("keeps messages and data apart", function()
            connected(function(client, s)
                client:recv(1, "SEND")
                sys.publish("SEND", "m")
                core:arrive(s, "d")
                sys.wait(10)
                assert.same({ false, "SEND", "m" }, { client:recv(10, "SEND") })
                assert.same({ true, "d" }, { client:recv(10, "SEND") })
            end)
        end)

        it("keeps several topics apart", function()
            connected(function(client)
                client:recv(1, "A")
                client:recv(1, "B")
                sys.publish("A", 1)
                sys.publish("B", 2)
                sys.wait(10)
                assert.same({ false, "timeout" }, { client:recv(10) })
                assert.same({ false, "B", 2 }, { client:recv(10, "B") })
                assert.same({ false, "A", 1 }, { client:recv(10, "A") })
            end)
        end)

        it("is not ended by it with noResume; a later call gets the message", function()
            connected(function(client, s)
                sys.timerStart(sys.publish, 10, "SEND", "m")
                core:at(100, function() core:arrive(s, "d") end)
                assert.same({ true, "d" }, { client:recv(1000, "SEND", true) })
                assert.same({ false, "timeout" }, { client:recv(10, "SEND", true) })
                assert.same({ false, "SEND", "m" }, { client:recv(10, "SEND") })
            end)
        end)

        it("says CLOSED rather than the topic when the connection is gone", function()
            connected(function(client, s)
                client:recv(1, "SEND")
                core:peer_close(s)
                sys.publish("SEND", "m")
                sys.wait(10)
                assert.same({ false, "CLOSED" }, { client:recv(10, "SEND") })
            end)
        end)

        it("forgets it at close", function()
            connected(function(client)
                client:recv(1, "SEND")
                client:close()
                client:connect("h", 1)
                sys.publish("SEND", "old")
                sys.wait(1)
                assert.same({ false, "timeout" }, { client:recv(10, "SEND") })
            end)
        end)

        it("gives each client its own copy", function()
            local got = {}
            for i = 1, 3 do
                sys.taskInit(function()
                    local client = socket.tcp()
                    client:connect("h", i)
                    got[i] = { client:recv(1000, "ALL") }
                    client:close()
                end)
            end
            sys.timerStart(sys.publish, 100, "ALL", "x")
            sys.run()
            for i = 1, 3 do
                assert.same({ false, "ALL", "x" }, got[i])
            end
        end)
    end)

    it("wakes once when time-out, data, topic and end come in one round", function()
        connected(function(client, s)
            client:recv(1, "T")
            sys.timerStart(function()
                core.now = core.now + 10 -- the time-out is due
                sys.publish("T", 1)
                sys.publish("T", 2)
                core:arrive(s, "data")
                core:peer_close(s)
            end, 45)
            local first = { client:recv(50, "T") }
            local rest = {}
            local woken
            repeat
                local before = core.now
                woken = sys.wait(20)
                assert.equal(20, core.now - before)
                rest[#rest + 1] = { client:recv(20, "T") }
            until rest[#rest][2] == "CLOSED"
            assert.is_nil(woken)
            assert.same({ false, "T", 1 }, first)
            assert.same({ { true, "data" }, { false, "CLOSED" } }, rest)
        end)
    end)

    it("returns what a script resumed the task with, and ignores a bare resume", function()
        connected(function(client)
            local co = coroutine.running()
            sys.timerStart(coroutine.resume, 10, co)
            sys.timerStart(coroutine.resume, 20, co, false, "my reason")
            assert.same({ false, "my reason" }, { client:recv(1000) })
        end)
    end)

    it("of a thousand clients does not mix anything up", function()
        local done = 0
        core.servers.echo = { on_data = function(s, data) core:arrive(s, data) end }
        for i = 1, 200 do
            sys.taskInit(function()
                local client = socket.tcp()
                assert(client:connect("echo", i))
                for round = 1, 3 do
                    local text = i .. "/" .. round
                    assert(client:send(text))
                    assert.same({ true, text }, { client:recv(1000) })
                end
                client:close()
                done = done + 1
            end)
        end
        sys.run()
        assert.equal(200, done)
    end)

    describe("without waiting (asyncRecv)", function()
        it("returns what is there, from any task, and SOCKET_RECV tells when", function()
            connected(function(client, s)
                local got = {}
                sys.subscribe("SOCKET_RECV", function(id)
                    assert.equal(client.id, id)
                    got[#got + 1] = client:asyncRecv()
                end)
                assert.equal("", client:asyncRecv())
                core:arrive(s, "one")
                sys.wait(10)
                core:arrive(s, ("x"):rep(3000))
                sys.wait(10)
                assert.equal("one" .. ("x"):rep(3000), table.concat(got))
                assert.equal("", client:asyncRecv())
            end)
        end)

        it("returns one datagram for each SOCKET_RECV", function()
            connected(function(client, s)
                local got = {}
                sys.subscribe("SOCKET_RECV", function() got[#got + 1] = client:asyncRecv() end)
                for i = 1, 300 do
                    core:arrive(s, i .. ("x"):rep(1000))
                end
                sys.wait(100)
                assert.equal(300, #got)
                for i = 1, 300 do
                    assert.equal(tostring(i), got[i]:match("%d+"))
                end
            end, "udp")
        end)
    end)

    describe("by a function (setRcvProc)", function()
        it("calls it instead of buffering", function()
            connected(function(client, s)
                local got = {}
                client:setRcvProc(function(read, id, len)
                    assert.equal(client.id, id)
                    got[#got + 1] = len .. ":" .. #read(id, len)
                end)
                core:arrive(s, ("x"):rep(3000))
                core:at(50, function() core:peer_close(s) end)
                assert.same({ false, "CLOSED" }, { client:recv() })
                assert.same({ "2048:2048", "952:952" }, got)
                assert.equal("", client:asyncRecv())
            end)
        end)

        it("hands it what was held back, and buffers again after nil", function()
            connected(function(client, s)
                for _ = 1, 100 do
                    core:arrive(s, ("x"):rep(2000))
                end
                sys.wait(10)
                local buffered = #client:asyncRecv()
                for _ = 1, 100 do
                    core:arrive(s, ("x"):rep(2000))
                end
                sys.wait(10)
                local got = 0
                client:setRcvProc(function(read, id, len) got = got + #read(id, len) end)
                sys.wait(10)
                buffered = buffered + #client:asyncRecv()
                assert.equal(400000, buffered + got)
                client:setRcvProc(nil)
                core:arrive(s, "again")
                assert.same({ true, "again" }, { client:recv(10) })
            end)
        end)

        it("goes on after an error in it", function()
            connected(function(client, s)
                local calls = 0
                client:setRcvProc(function(read, id, len)
                    read(id, len)
                    calls = calls + 1
                    error("in the receive function")
                end)
                core:arrive(s, ("x"):rep(5000))
                sys.wait(10)
                assert.equal(3, calls)
            end)
            assert.is_true(core:logged("in the receive function"))
            core.lines = {}
        end)
    end)
end)
