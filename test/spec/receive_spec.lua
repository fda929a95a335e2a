-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc, rtos = h.sc, h.rtos

describe("rtos.receive", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("is also called rtos.recv", function()
        rtos.timer_start(1, 10)
        assert.equal(rtos.WAIT_MSG_TIMEOUT, (rtos.recv(1)))
        local id, timer = rtos.recv(1000)
        assert.equal(rtos.MSG_TIMER, id)
        assert.equal(1, timer)
    end)

    it("gives WAIT_MSG_TIMEOUT when nothing came in time", function()
        for _, ms in ipairs { 1, 30, 120 } do
            local start = h.now()
            assert.equal(rtos.WAIT_MSG_TIMEOUT, (rtos.receive(ms)))
            local took = h.elapsed(start)
            assert.is_true(took >= ms - 1 and took < ms + 60, took)
        end
    end)

    it("polls with 0", function()
        local start = h.now()
        for _ = 1, 100 do
            assert.equal(rtos.WAIT_MSG_TIMEOUT, (rtos.receive(0)))
        end
        assert.is_true(h.elapsed(start) < 500)
    end)

    it("makes progress when it is only ever polled", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.greeter)
        local start, message = h.now(), nil
        while h.elapsed(start) < 5000 do
            message = h.next(0)
            if message and message.id == h.RECV_IND then
                break
            end
        end
        assert.equal(h.RECV_IND, message and message.id)
        assert.equal("hello", sc.sock_recv(id, 100))
    end)

    it("waits for ever with INF_TIMEOUT, until something comes", function()
        rtos.timer_start(1, 150)
        local start = h.now()
        local id, timer = rtos.receive(rtos.INF_TIMEOUT)
        assert.equal(rtos.MSG_TIMER, id)
        assert.equal(1, timer)
        assert.is_true(h.elapsed(start) >= 145)
    end)

    it("takes any time, however long", function()
        for _, ms in ipairs { 2 ^ 31, 2 ^ 53, 1e15 + 1, 1e300, math.huge } do
            rtos.timer_start(1, 1)
            assert.equal(rtos.MSG_TIMER, (rtos.receive(ms)), tostring(ms))
        end
        for _, ms in ipairs { -2, -math.huge, 0 / 0 } do
            assert.is_false((pcall(rtos.receive, ms)), tostring(ms))
            assert.is_false((pcall(rtos.sleep, ms)), tostring(ms))
        end
    end)

    it("wakes up at once when a message is there", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local start = h.now()
        for _ = 1, 100 do
            h.send(id, "ping")
            assert.equal("ping", h.read(id, 4))
        end
        if not h.sanitized then
            assert.is_true(h.elapsed(start) < 500, h.elapsed(start))
        end
    end)

    -- Seconds of CPU that this process uses in `ms` of waiting.
    local function cpu_while_waiting(ms)
        h.pump(300)
        local before = os.clock()
        assert.equal(rtos.WAIT_MSG_TIMEOUT, (rtos.receive(ms)))
        return os.clock() - before
    end

    it("sleeps while it waits: no CPU with open and connecting sockets", function()
        for _ = 1, 20 do
            h.open(h.TCP, "127.0.0.1", h.port.echo)
        end
        sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        h.open(h.UDP, "127.0.0.1", h.port.udp_echo)
        local used = cpu_while_waiting(1000)
        assert.is_true(used < 0.02, ("%.3f s of CPU in 1 s"):format(used))
    end)

    it("sleeps while data that nobody reads holds a peer back", function()
        local id = h.open_script "send:4000000"
        h.wait_for(id, h.RECV_IND)
        local used = cpu_while_waiting(500)
        assert.is_true(used < 0.02, ("%.3f s of CPU in 0.5 s"):format(used))
    end)

    it("sleeps while a peer that does not read holds us back", function()
        local id = h.open_script "rcvbuf:4096 noread hold"
        for _ = 1, 15 do
            sc.sock_send(id, ("x"):rep(sc.sock_getremainbuf(id)))
            h.pump(20)
        end
        local used = cpu_while_waiting(500)
        assert.is_true(used < 0.02, ("%.3f s of CPU in 0.5 s"):format(used))
    end)

    it("sleeps with closed and lost sockets", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.closer)
        h.wait_for(id, h.CLOSE_IND)
        local closed = h.open(h.TCP, "127.0.0.1", h.port.echo)
        sc.sock_close(closed)
        h.wait_for(closed, h.CLOSE_CNF)
        local used = cpu_while_waiting(500)
        assert.is_true(used < 0.02, ("%.3f s of CPU in 0.5 s"):format(used))
    end)

    -- Runs a script in a process of its own, interrupts it once it has said that it is ready, and
    -- returns its output, its exit status and how long it took to end, in ms.
    local function interrupt(text)
        local script, log = h.file(text), h.file ""
        -- The shell has its background processes ignore Ctrl-C.
        local command = [[env --default-signal=INT %s %s >%s 2>&1 & child=$!
            until grep -q ready %s; do sleep 0.02; done
            sleep 0.1; kill -INT $child
            (sleep 10; kill -KILL $child 2>/dev/null) & killer=$!
            wait $child; status=$?; kill $killer; echo $status]]
        local out = assert(io.popen(command:format(h.interpreter, script, log, log)))
        local start = h.now()
        local status = tonumber(out:read "*l")
        local took = h.elapsed(start)
        out:close()
        return h.slurp(log), status, took
    end

    it("is ended by Ctrl-C", function()
        local printed, status, took = interrupt [[
            require "socketcore" require "rtos"
            io.stdout:write("ready\n")
            io.stdout:flush()
            rtos.receive(rtos.INF_TIMEOUT)
        ]]
        assert.is_true(took < 3000, took)
        assert.is_true(status == 1 or status == 130, printed)
    end)

    it("is ended by Ctrl-C with sockets open too", function()
        local printed, status, took = interrupt(([[
            require "socketcore" require "rtos"
            for _ = 1, 5 do socketcore.sock_conn(0, "127.0.0.1", %d) end
            for _ = 1, 5 do rtos.receive(5000) end
            io.stdout:write("ready\n")
            io.stdout:flush()
            while true do rtos.receive(rtos.INF_TIMEOUT) end
        ]]):format(h.port.echo))
        assert.is_true(took < 3000, took)
        assert.is_true(status == 1 or status == 130, printed)
    end)

    it("has its message numbers, all different", function()
        local seen = {}
        for _, name in ipairs { "WAIT_MSG_TIMEOUT", "MSG_TIMER", "MSG_UART_RXDATA",
            "MSG_UART_TX_DONE", "MSG_KEYPAD", "MSG_INT", "MSG_PMD", "MSG_ALARM", "MSG_AUDIO",
            "MSG_RECORD", "MSG_STREAM_RECORD", "MSG_HEADSET", "MSG_RTMP", "MSG_TTS",
            "MSG_TTSPLY_STATUS", "MSG_TTSPLY_ERROR", "MSG_PDP_ACT_CNF", "MSG_PDP_DEACT_IND",
            "MSG_ZBAR", "MSG_WIFI", "MSG_BLUETOOTH", "MSG_SOCK_CONN_CNF", "MSG_SOCK_SEND_CNF",
            "MSG_SOCK_RECV_IND", "MSG_SOCK_CLOSE_IND", "MSG_SOCK_CLOSE_CNF" } do
            local number = rawget(rtos, name)
            assert.equal("number", type(number), name)
            assert.is_nil(seen[number], name .. " is the same as " .. tostring(seen[number]))
            seen[number] = name
        end
        for _, name in ipairs { "MOD_KEYPAD", "MOD_ALARM", "POWERON_KEY", "POWERON_CHARGER",
            "POWERON_ALARM", "POWERON_RESTART", "POWERON_EXCEPTION" } do
            assert.equal("number", type(rawget(rtos, name)), name)
        end
    end)

    it("has a number of its own for each message of hardware that it does not know", function()
        local printed, status = h.run_lua [[
            require "rtos"
            local known = {}
            for name, value in pairs(rtos) do
                if type(value) == "number" then
                    known[value] = name
                end
            end
            local a, b, c = rtos.MSG_SCANNER_2, rtos.MSG_X, rtos.MOD_LASER
            assert(type(a) == "number" and type(b) == "number" and type(c) == "number")
            assert(a ~= b and b ~= c and a ~= c and not (known[a] or known[b] or known[c]))
            assert(a % 1 == 0 and a == rtos.MSG_SCANNER_2, "the same each time")
            rtos.MSG_OWN = 7
            assert(rtos.MSG_OWN == 7, "a script's own wins")
        ]]
        assert.equal(0, status, printed)
        local _, lines = printed:gsub("\n", "")
        assert.equal(3, lines, printed)
        assert.matches("rtos.MSG_SCANNER_2: unknown", printed, 1, true)
    end)

    it("has nothing for a socket's message that is misspelt, nor for other names", function()
        for _, name in ipairs { "MSG_SOCK_CON_CNF", "MSG_SOCK_", "msg_audio", "MSG_", "MSG_Audio",
            "XMSG_AUDIO", "on_", "get_fs", 1, true } do
            assert.is_nil(rtos[name], tostring(name))
        end
    end)

    it("stands in a table that scripts may write to, beside what schedulers touch", function()
        rtos.on = function() end
        assert.equal("function", type(rtos.on))
        rtos.on = nil
        for _, name in ipairs { "set_lua_info", "get_build_time", "get_version", "poweron_reason",
            "restart", "sleep", "tick", "timer_start", "timer_stop" } do
            assert.equal("function", type(rtos[name]), name)
        end
        assert.equal("string", type(rtos.get_version()))
        rtos.poweron_reason()
        rtos.set_lua_info "PROJECT"
        rtos.get_build_time()
    end)

    it("has a clock of 16384 ticks a second beside it, in whole numbers", function()
        local before, start = rtos.tick(), h.now()
        rtos.sleep(200)
        local ticks, seconds = rtos.tick() - before, h.now() - start
        assert.equal(ticks, math.floor(ticks))
        assert.is_true(math.abs(ticks / 16384 - seconds) < 0.03, ticks)
        assert.is_true(seconds >= 0.199 and seconds < 0.4)
    end)

    it("is not needed for the stack to go on during rtos.sleep", function()
        local id, tag = h.open_script ""
        assert.equal(1, (sc.sock_send(id, h.pattern(300000))))
        rtos.sleep(300)
        assert.equal(300000, h.stat(tag).rx)
    end)

    it("takes bad arguments as errors", function()
        assert.is_false((pcall(rtos.receive, "soon")))
        assert.is_false((pcall(rtos.receive, {})))
        assert.is_false((pcall(rtos.timer_start, 1)))
        assert.is_false((pcall(rtos.timer_start, "x", 1)))
        assert.is_false((pcall(rtos.timer_stop)))
    end)
end)
