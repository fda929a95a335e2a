-- Clients of socket.lua in tasks of sys.lua, over the real core and link, against the peer.
-- SPDX-License-Identifier: MIT

-- luacheck: globals rtos
local h = require "test.support.helper"
local sys, socket, log = require "sys", require "socket", require "log"

_G.LOG_LEVEL = log.LOG_SILENT

-- A task or handler that fails has its traceback in the log: here it fails the test.
local failure
function log.error(...)
    local parts = { ... }
    for i, part in ipairs(parts) do
        parts[i] = tostring(part)
    end
    failure = failure or table.concat(parts, " ")
end

-- A run that hangs ends, too.
local receive, deadline = rtos.receive, nil
local function receive_with_an_end(timeout)
    if timeout ~= rtos.INF_TIMEOUT then
        return receive(timeout)
    elseif h.now() > deadline then
        error("sys.run did not end in time", 0)
    end
    return receive(200)
end

-- Runs each function as a task and sys.run to its end, which it must come to by itself.
local function run(...)
    failure = nil
    deadline = h.now() + (h.sanitized and 120 or 30)
    rtos.receive = receive_with_an_end
    for _, fn in ipairs({ ... }) do
        sys.taskInit(fn)
    end
    local ok, err = pcall(sys.run)
    rtos.receive = receive
    if failure or not ok then
        error(failure or err, 0)
    end
end

local HOST = "127.0.0.1"

local function connected(kind, port)
    local client = socket[kind]()
    assert(client:connect(HOST, port, 10))
    return client
end

-- Reads to the end. Returns the data and what the last recv said.
local function read_to_end(client)
    local parts = {}
    local ok, data = client:recv(10000)
    while ok do
        parts[#parts + 1] = data
        ok, data = client:recv(10000)
    end
    return table.concat(parts), data
end

local function read(client, length)
    local parts, have = {}, 0
    while have < length do
        local ok, data = client:recv(10000)
        assert(ok, data)
        parts[#parts + 1] = data
        have = have + #data
    end
    return table.concat(parts)
end

describe("a client over the real core", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("connects, sends, receives and closes", function()
        local done
        run(function()
            local client = socket.tcp()
            local ok, id = client:connect(HOST, h.port.echo)
            assert.is_true(ok)
            assert.equal(id, client.id)
            for i = 1, 50 do
                local text = ("round %d "):format(i):rep(i)
                assert.is_true(client:send(text))
                assert.equal(text, read(client, #text))
            end
            local bytes = h.every_byte()
            assert.is_true(client:send(bytes))
            assert.equal(bytes, read(client, #bytes))
            assert.is_true(client:close())
            done = true
        end)
        assert.is_true(done)
    end)

    it("takes the port as a string", function()
        run(function()
            local client = socket.tcp()
            assert.is_true((client:connect(HOST, tostring(h.port.echo))))
            client:close()
        end)
    end)

    it("says false when refused, and frees the socket", function()
        local port = h.free_port()
        run(function()
            local client = socket.tcp()
            assert.is_false(client:connect(HOST, port))
            assert.same({}, h.ids_in_use())
            assert.is_true((client:connect(HOST, h.port.echo)))
            client:close()
        end)
    end)

    it("says false when not connected in time, and frees the socket", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        run(function()
            local client = socket.tcp()
            local start = h.now()
            assert.is_false(client:connect("192.0.2.1", 9, 0.3))
            assert.is_true(h.elapsed(start) >= 290 and h.elapsed(start) < 3000)
            assert.same({}, h.ids_in_use())
            client:close()
        end)
    end)

    it("says false for a name that is not found", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        run(function()
            assert.is_false(socket.tcp():connect("no-such-name.test", 80))
        end)
    end)

    it("sends 3 MB, of which nothing is lost or out of place", function()
        local tag = h.tag()
        run(function()
            local client = connected("tcp", h.port.script)
            assert.is_true(client:send(tag .. " discard\n"))
            assert.is_true(client:send(h.pattern(3000000)))
            client:close()
        end)
        local stat = h.wait_stat(tag, function(s) return s.fin == 1 end)
        assert.equal(3000000, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("gets all that the peer sent before CLOSED, without delay", function()
        run(function()
            local client = connected("tcp", h.port.script)
            assert.is_true(client:send(h.tag() .. " send:200000 fin\n"))
            local data, why = read_to_end(client)
            assert.is_true(data == h.pattern(200000))
            assert.equal("CLOSED", why)
            client:close()
        end)
    end)

    it("gets it also when it reads late", function()
        run(function()
            local client = connected("tcp", h.port.script)
            assert.is_true(client:send(h.tag() .. " send:200000 fin\n"))
            sys.wait(700)
            local data, why = read_to_end(client)
            assert.is_true(data == h.pattern(200000))
            assert.equal("CLOSED", why)
            client:close()
        end)
    end)

    it("says CLOSED or false when the peer resets", function()
        run(function()
            local client = connected("tcp", h.port.script)
            client:send(h.tag() .. " wait:50 rst\n")
            local _, why = read_to_end(client)
            assert.equal("CLOSED", why)
            assert.is_false(client:send("x"))
            client:close()
        end)
    end)

    it("returns one datagram a recv on UDP", function()
        run(function()
            local client = connected("udp", h.port.udp_echo)
            for i = 1, 100 do
                assert.is_true(client:send("datagram " .. i))
                assert.same({ true, "datagram " .. i }, { client:recv(5000) })
            end
            for i = 1, 10 do
                client:send(("x"):rep(i * 100))
            end
            for i = 1, 10 do
                local ok, data = client:recv(5000)
                assert.is_true(ok)
                assert.equal(i * 100, #data)
            end
            assert.same({ false, "timeout" }, { client:recv(50) })
            client:close()
        end)
    end)

    it("waits for data and a topic at once", function()
        run(function()
            local client = connected("tcp", h.port.echo)
            sys.timerStart(sys.publish, 50, "SEND", "published")
            assert.same({ false, "SEND", "published" }, { client:recv(5000, "SEND") })
            client:send("published")
            assert.same({ true, "published" }, { client:recv(5000, "SEND") })
            local start = h.now()
            assert.same({ false, "timeout" }, { client:recv(100, "SEND") })
            assert.is_true(h.elapsed(start) >= 99)
            client:close()
        end)
    end)

    it("sends and receives in the firmware's asynchronous way", function()
        local client
        local received, confirmed = {}, 0
        local function on_receive(id)
            if client.id == id then
                received[#received + 1] = client:asyncRecv()
            end
        end
        local function on_sent(id, ok)
            assert(client.id == id and ok)
            confirmed = confirmed + 1
        end
        sys.subscribe("SOCKET_RECV", on_receive)
        sys.subscribe("SOCKET_SEND", on_sent)
        run(function()
            client = socket.tcp()
            assert(client:connect(HOST, h.port.echo))
            sys.publish("CONNECTED")
            while client:asyncSelect(60, "ping") do end -- luacheck: ignore 542
            client:close()
        end, function()
            sys.waitUntil("CONNECTED")
            for i = 1, 50 do
                client:asyncSend(h.pattern(10000, (i - 1) * 10000))
            end
            local have = 0
            while have < 500000 do
                assert(sys.waitUntil("SOCKET_RECV", 10000))
                have = #table.concat(received)
            end
            assert.equal(0, client:getAsyncSend())
            assert.equal(50, confirmed)
            sys.publish("IP_ERROR_IND") -- ends the loop
        end)
        sys.unsubscribe("SOCKET_RECV", on_receive)
        sys.unsubscribe("SOCKET_SEND", on_sent)
        assert.is_true(table.concat(received) == h.pattern(500000))
    end)

    it("hands data to the function of setRcvProc", function()
        local got = {}
        run(function()
            local client = connected("tcp", h.port.script)
            client:setRcvProc(function(read_socket, id, length)
                got[#got + 1] = read_socket(id, length)
            end)
            client:send(h.tag() .. " send:100000 fin\n")
            assert.same({ false, "CLOSED" }, { client:recv(10000) })
            client:close()
        end)
        assert.is_true(table.concat(got) == h.pattern(100000))
    end)

    it("works a hundred times at once, one waiting for nobody", function()
        local count = h.sanitized and 30 or 100
        local tasks, done = {}, 0
        for i = 1, count do
            tasks[i] = function()
                local client = connected("tcp", h.port.echo)
                for round = 1, 5 do
                    local text = ("%d/%d;"):format(i, round):rep(100)
                    assert.is_true(client:send(text))
                    assert.equal(text, read(client, #text))
                end
                client:close()
                done = done + 1
            end
        end
        tasks[#tasks + 1] = function() -- meanwhile, one that hangs
            local client = connected("tcp", h.port.discard)
            client:recv(300)
            client:close()
        end
        run((rawget(_G, "unpack") or rawget(table, "unpack"))(tasks))
        assert.equal(count, done)
    end)

    it("ends with every wait at IP_ERROR_IND", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local ends = {}
        run(function()
            local client = connected("tcp", h.port.discard)
            ends[1] = { client:recv() }
            client:close()
        end, function()
            ends[2] = { socket.tcp():connect("192.0.2.1", 9) }
        end, function()
            local client = connected("tcp", h.port.echo)
            ends[3] = { client:asyncSelect() }
            client:close()
        end, function()
            sys.wait(200)
            sys.publish("IP_ERROR_IND")
        end)
        assert.same({ { false, "IP_ERROR_IND" }, { false }, { false } }, ends)
    end)
end)

describe("a script with its own modules", function()
    before_each(h.begin)
    after_each(h.finish)

    -- A scheduler as firmware has it: no timers of ours, no errors caught.
    local OWN_SYS = [[
        package.preload.sys = function()
            local sys, handlers, timers, topics, queue, last = {}, {}, {}, {}, {}, 0
            local unpack = unpack or table.unpack
            function sys.taskInit(fn, ...)
                local co = coroutine.create(fn)
                assert(coroutine.resume(co, ...))
                return co
            end
            function sys.timerStart(fn, ms, ...)
                last = last + 1
                timers[last] = { fn, ... }
                rtos.timer_start(last, ms)
                return last
            end
            function sys.timerStop(id)
                timers[id] = nil
                rtos.timer_stop(id)
            end
            function sys.wait(ms)
                local co = coroutine.running()
                sys.timerStart(coroutine.resume, ms, co)
                return coroutine.yield()
            end
            function sys.publish(...) queue[#queue + 1] = { ... } end
            function sys.subscribe(topic, fn)
                topics[topic] = topics[topic] or {}
                topics[topic][fn] = true
            end
            function sys.unsubscribe(topic, fn) topics[topic][fn] = nil end
            rtos.on = function(id, fn) handlers[id] = fn end
            function sys.run()
                while true do
                    while queue[1] do
                        local m = table.remove(queue, 1)
                        for fn in pairs(topics[m[1] ] or {}) do fn(unpack(m, 2)) end
                    end
                    local m, id = rtos.receive(rtos.INF_TIMEOUT)
                    if m == rtos.MSG_TIMER and timers[id] then
                        local timer = timers[id]
                        timers[id] = nil
                        timer[1](unpack(timer, 2))
                    elseif type(m) == "table" and handlers[m.id] then
                        handlers[m.id](m)
                    end
                end
            end
            _G.sys = sys
            return sys
        end
    ]]

    local function script(text)
        return ('require "rtos" require "socketcore" LOG_LEVEL = 0 ECHO = %d\n'):format(h.port.echo)
            .. text
    end

    it("works: its sys with our socket", function()
        local printed, status = h.run_lua(script(OWN_SYS .. [[
            require "sys"
            require "socket"
            sys.taskInit(function()
                local client = socket.tcp()
                assert(client:connect("127.0.0.1", ECHO))
                assert(client:send(("x"):rep(30000)))
                local n = 0
                while n < 30000 do
                    local ok, data = client:recv(5000)
                    assert(ok, data)
                    n = n + #data
                end
                print(n, client:recv(50))
                client:close()
                print("closed")
                os.exit(0)
            end)
            sys.run()
        ]]))
        assert.equal("30000\tfalse\ttimeout\nclosed\n", printed)
        assert.equal(0, status)
    end)

    it("works: its socket with our sys", function()
        local printed, status = h.run_lua(script([[
            require "sys"
            local co
            rtos.on(rtos.MSG_SOCK_CONN_CNF, function(msg)
                coroutine.resume(co, msg.result == 0, "RESPONSE")
            end)
            rtos.on(rtos.MSG_SOCK_SEND_CNF, function(msg)
                coroutine.resume(co, msg.result == 0, "RESPONSE")
            end)
            rtos.on(rtos.MSG_SOCK_CLOSE_CNF, function(msg)
                socketcore.sock_destroy(msg.socket_index)
                coroutine.resume(co, true, "RESPONSE")
            end)
            rtos.on(rtos.MSG_SOCK_RECV_IND, function(msg)
                coroutine.resume(co, true, socketcore.sock_recv(msg.socket_index, msg.recv_len))
            end)
            co = sys.taskInit(function()
                local id = socketcore.sock_conn(0, ECHO, "127.0.0.1")
                local timer = sys.timerStart(coroutine.resume, 5000, coroutine.running(), false)
                print(coroutine.yield())
                sys.timerStop(timer)
                socketcore.sock_send(id, "hello")
                print(coroutine.yield())
                print(sys.wait(5000))
                socketcore.sock_close(id)
                print(coroutine.yield())
            end)
            sys.run()
            print("nothing left")
        ]]))
        assert.equal("true\tRESPONSE\ntrue\tRESPONSE\ntrue\thello\ntrue\tRESPONSE\nnothing left\n",
            printed)
        assert.equal(0, status)
    end)

    it("as firmware is laid out: main.lua with modules, a task that fails beside", function()
        local printed, status = h.run_lua(script([[
            PROJECT, VERSION = "DEMO", "1.0.0"
            require "log"
            LOG_LEVEL = log.LOGLEVEL_INFO
            require "sys"
            require "socket"
            sys.taskInit(function()
                sys.waitUntil("IP_READY_IND", 5000)
                error("one of the tasks fails")
            end)
            sys.taskInit(function()
                while not socket.isReady() do sys.wait(100) end
                local c = socket.tcp()
                while not c:connect("127.0.0.1", ECHO) do sys.wait(1000) end
                c:send("data")
                log.info("got", c:recv(5000))
                c:close()
            end)
            sys.init(0, 0)
            sys.run()
        ]]))
        assert.equal(0, status)
        assert.matches("%[I%]%-%[sys.init%]\tDEMO\t1.0.0", printed)
        assert.matches("one of the tasks fails\nstack traceback:", printed)
        assert.matches("%[I%]%-%[got%]\ttrue\tdata\n", printed)
    end)
end)
