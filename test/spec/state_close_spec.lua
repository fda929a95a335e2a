-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

describe("lua_close", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- A script that leaves sockets behind in every state there is.
    local function mess()
        return ([[
            local socketcore, rtos = require "socketcore", require "rtos"
            local PORT = { echo = %d, silent = %d, refused = %d, closer = %d, udp = %d,
                script = %d }
            local function wait(id, message)
                while true do
                    local got = rtos.receive(5000)
                    assert(type(got) == "table", "nothing came")
                    if got.socket_index == id and got.id == message then return got end
                end
            end
            local function open(type, port)
                local id = assert(socketcore.sock_conn(type, "127.0.0.1", port))
                return id, wait(id, rtos.MSG_SOCK_CONN_CNF)
            end
            assert(socketcore.sock_info(0) == nil, "a socket of an earlier state is there")
            assert(rtos.receive(0) == rtos.WAIT_MSG_TIMEOUT, "a message of an earlier state came")
            assert(open(0, PORT.echo) == 0, "ids do not begin afresh")
            local reading = open(0, PORT.script)
            socketcore.sock_send(reading, "t send:1000000\n")
            wait(reading, rtos.MSG_SOCK_RECV_IND)
            local sending = open(0, PORT.echo)
            socketcore.sock_send(sending, ("x"):rep(500000))
            local _, failed = open(0, PORT.refused)
            assert(failed.result == 1)
            local lost = open(0, PORT.closer)
            wait(lost, rtos.MSG_SOCK_CLOSE_IND)
            local closed = open(0, PORT.echo)
            socketcore.sock_close(closed)
            wait(closed, rtos.MSG_SOCK_CLOSE_CNF)
            local closing = open(0, PORT.echo)
            socketcore.sock_send(closing, ("x"):rep(500000))
            socketcore.sock_close(closing)
            local udp = open(1, PORT.udp)
            socketcore.sock_send(udp, ("x"):rep(1000))
            socketcore.sock_conn(0, "127.0.0.1", PORT.silent)
            if os.getenv "SOCKETCORE_NETNS" == "1" then
                socketcore.sock_conn(0, "nobody.silent.test", 80)
            end
            socketcore.sock_conn(4, "10.0.2.2", 1)
            socketcore.sock_close(700)
            rtos.timer_start(1, 1)
            rtos.timer_start(2, 100000)
            socketcore.config { linger_ms = 4321 }
            print "left"
        ]]):format(h.port.echo, h.port.silent, h.port.refused, h.port.closer, h.port.udp_echo,
            h.port.script)
    end

    it("with sockets in any state ends cleanly and soon", function()
        local start = h.now()
        local printed, status = h.run_lua(mess())
        assert.equal("left\n", printed)
        assert.equal(0, status)
        assert.is_true(h.elapsed(start) < (h.sanitized and 10000 or 3000), h.elapsed(start))
    end)

    it("ends the peers' connections", function()
        h.run_lua(mess())
        h.wait_until(function()
            local _, count = h.ask "count"
            return count.open == 0
        end, "the peer to see all connections end")
    end)

    local LIBRARIES = { ["Lua 5.1"] = "liblua5.1.so.0", ["Lua 5.3"] = "liblua5.3.so.0",
        ["Lua 5.4"] = "liblua5.4.so.0" }

    it("lets a new state in the same process start afresh", function()
        local library = rawget(_G, "jit") and "libluajit-5.1.so.2" or LIBRARIES[_VERSION]
        local script = h.file(mess())
        local out = assert(io.popen(("timeout 30 %s %s %s %s %s 2>&1; echo status $?"):format(
            h.program "states", library, script, script, script)))
        local printed = out:read "*a"
        out:close()
        if printed:find "status 77" then
            return pending(library .. " is not installed")
        end
        assert.equal("left\nleft\nleft\nstatus 0\n", printed)
    end)

    it("starts with the default options again in a new state", function()
        local library = rawget(_G, "jit") and "libluajit-5.1.so.2" or LIBRARIES[_VERSION]
        local script = h.file [[
            local socketcore = require "socketcore"
            assert(socketcore.config().linger_ms == 5000, "options of an earlier state hold")
            socketcore.config { linger_ms = 1 }
            print "fresh"
        ]]
        local out = assert(io.popen(("timeout 30 %s %s %s %s 2>&1; echo status $?"):format(
            h.program "states", library, script, script)))
        local printed = out:read "*a"
        out:close()
        if printed:find "status 77" then
            return pending(library .. " is not installed")
        end
        assert.equal("fresh\nfresh\nstatus 0\n", printed)
    end)

    -- Runs the scripts, each in a state of its own of one process. Returns what they printed.
    local function run_states(...)
        local library = rawget(_G, "jit") and "libluajit-5.1.so.2" or LIBRARIES[_VERSION]
        local command = { "timeout 30", h.program "states", library }
        for _, script in ipairs { ... } do
            command[#command + 1] = h.file(script)
        end
        local out = assert(io.popen(table.concat(command, " ") .. " 2>&1; echo status $?"))
        local printed = out:read "*a"
        out:close()
        return printed
    end

    -- The finalizer of what was made before the modules were loaded runs after they have ended.
    local LATE = [[
        local function late()
            local socketcore, rtos = socketcore, rtos
            assert(select(2, socketcore.sock_conn(0, "127.0.0.1", 9)) == socketcore.ERR_ECLSD)
            assert(select(3, socketcore.sock_conn(2, "127.0.0.1", 9)):find "closed")
            local ok, reason = pcall(socketcore.config, { max_sockets = 5000 })
            assert(not ok and reason:find "socketcore is closed", reason)
            assert(type(socketcore.config()) == "table")
            assert(select(2, socketcore.tls_sessions()) == socketcore.ERR_ECLSD)
            assert(select(2, socketcore.tls_sessions "SCT1") == socketcore.ERR_ECLSD)
            assert(socketcore.sock_close(0) == 0 and socketcore.sock_destroy(0) == 0)
            assert(socketcore.sock_send(0, "x") == 0 and socketcore.sock_recv(0, 1) == "")
            assert(socketcore.sock_setopt(0, 6, 3, 1) == -1)
            assert(socketcore.sock_getremainbuf(0) == 0 and socketcore.sock_info(0) == nil)
            assert(socketcore.totals().sockets == 0)
            assert(rtos.timer_start(1, 1) == 0 and rtos.timer_stop(1) == 1)
            assert(rtos.receive(rtos.INF_TIMEOUT) == rtos.WAIT_MSG_TIMEOUT)
            rtos.sleep(1)
            package.loaded.socketcore, package.loaded.rtos = nil, nil
            assert(require "socketcore" == socketcore and require "rtos" == rtos)
            assert(socketcore.sock_conn(0, "127.0.0.1", 9) == nil)
            print "late"
        end
        local object
        if newproxy then
            object = newproxy(true)
            getmetatable(object).__gc = late
        else
            object = setmetatable({}, { __gc = late })
        end
    ]]

    it("leaves nothing that a finalizer can bring back", function()
        local script = LATE .. ([[
            require "socketcore" require "rtos"
            -- What a first connection leaves, in this process.
            local id = assert(socketcore.sock_conn(0, "127.0.0.1", %d))
            assert(rtos.receive(5000).result == 0)
            socketcore.tls_sessions()
            rtos.timer_start(5, 1e6)
            anchor = object
        ]]):format(h.port.echo)
        local measure = [[
            require "socketcore" require "rtos"
            assert(rtos.receive(20) == rtos.WAIT_MSG_TIMEOUT)
            assert(socketcore.sock_info(0) == nil and rtos.idle())
            assert(socketcore.config().max_sockets == 1000)
            io.write(rtos.memory(), "\n")
        ]]
        local printed = run_states(script, measure, script, measure)
        if printed:find "status 77" then
            return pending "this Lua's library is not installed"
        end
        local first, second = printed:match "^late\n(%d+)\nlate\n(%d+)\nstatus 0\n$"
        assert(first, printed)
        assert.equal(first, second)
    end)

    it("leaves the modules to a state that is opened afterwards, also by a failed one", function()
        local printed = run_states([[
            require "socketcore" require "rtos"
            error "on purpose"
        ]], [[
            require "rtos" require "socketcore"
            assert(socketcore.sock_close(1) == 1 and rtos.receive(1000).socket_index == 1)
            print "good"
        ]])
        if printed:find "status 77" then
            return pending "this Lua's library is not installed"
        end
        assert.matches("good\nstatus 1\n$", printed)
    end)

    it("ends a process whose script fails with sockets open", function()
        local printed, status = h.run_lua(([[
            require "socketcore" require "rtos"
            socketcore.sock_conn(0, "127.0.0.1", %d)
            rtos.receive(1000)
            error "on purpose"
        ]]):format(h.port.echo))
        assert.matches("on purpose", printed)
        assert.equal(1, status)
    end)

    it("is not needed: os.exit ends the process at once", function()
        local start = h.now()
        local _, status = h.run_lua(([[
            require "socketcore" require "rtos"
            socketcore.sock_conn(0, "127.0.0.1", %d)
            rtos.receive(1000)
            os.exit(3)
        ]]):format(h.port.echo))
        assert.equal(3, status)
        assert.is_true(h.elapsed(start) < 5000)
    end)
end)
