-- The user-mode NAT answers probes itself, so these tests use the TAP link, where the kernel is the
-- peer and disappears when its address is taken away. Each test is a process of its own.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

local PEER = "192.168.77.1"

local function run(command)
    local status = os.execute(command .. " 2>/dev/null")
    return status == 0 or status == true
end

local function make_tap()
    return h.netns and run "ip tuntap add tap77 mode tap"
        and run("ip addr add " .. PEER .. "/24 dev tap77") and run "ip link set tap77 up"
end

describe("over the TAP link", function()
    local has_tap = false

    setup(function()
        has_tap = make_tap()
    end)
    teardown(function()
        if has_tap then
            run "ip link del tap77"
        end
        h.finish_file()
    end)
    before_each(h.begin)
    after_each(function()
        run("ip addr add " .. PEER .. "/24 dev tap77")
        h.finish()
    end)

    -- Runs `body` in a process whose lwIP is 192.168.77.2, with these functions.
    local function over_tap(body)
        local text = ([[
            local socketcore, rtos = require "socketcore", require "rtos"
            local gettime = require "socket.core".gettime
            local ECHO, SCRIPT, PEER = %d, %d, "%s"
            local function receive(ms)
                local message = rtos.receive(ms)
                return type(message) == "table" and message or nil
            end
            local function wait(id, kind, ms)
                local deadline = gettime() + (ms or 10000) / 1000
                while gettime() < deadline do
                    local message = receive(math.ceil((deadline - gettime()) * 1000))
                    if message and message.socket_index == id and message.id == kind then
                        return message
                    end
                end
                error("nothing came", 2)
            end
            local function open(port)
                local id = assert(socketcore.sock_conn(0, PEER, port))
                local message = wait(id, rtos.MSG_SOCK_CONN_CNF)
                assert(message.result == 0, message.reason)
                return id
            end
            local function set(...)
                assert(socketcore.sock_setopt(...) == 0)
            end
            local function keepalive(id, idle, interval, count)
                set(id, socketcore.SOL_SOCKET, socketcore.SO_KEEPALIVE, 1)
                local names = { "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT" }
                for i, value in ipairs { idle, interval, count } do
                    set(id, socketcore.IPPROTO_TCP, socketcore[names[i] ], value)
                end
            end
            local function vanish() os.execute("ip addr del " .. PEER .. "/24 dev tap77") end
            local function come_back() os.execute("ip addr add " .. PEER .. "/24 dev tap77") end
            -- Frames that lwIP has sent.
            local function frames()
                for line in io.lines "/proc/net/dev" do
                    local count = line:match "tap77:%%s*%%d+%%s+(%%d+)"
                    if count then return tonumber(count) end
                end
            end
            local function compute(seconds)
                local start = gettime()
                while gettime() - start < seconds do end
            end
        ]]):format(h.port.echo, h.port.script, PEER) .. body
        local name = h.file(text)
        local command = "SOCKETCORE_LINK=tap:tap77 SOCKETCORE_TAP_ADDR=192.168.77.2/24 "
            .. "timeout 60 %s %s 2>&1; echo status $?"
        local out = assert(io.popen(command:format(h.interpreter, name)))
        local printed = out:read "*a"
        out:close()
        local rest, status = printed:match "^(.*)status (%d+)%s*$"
        assert.equal("0", status, rest)
        return rest
    end

    local function test(name, body)
        it(name, function()
            if not has_tap then
                return pending "needs a network namespace and /dev/net/tun"
            end
            body()
        end)
    end

    test("data goes both ways", function()
        assert.equal("hello\n", over_tap [[
            local id = open(ECHO)
            assert(socketcore.sock_send(id, "hello") == 1)
            wait(id, rtos.MSG_SOCK_RECV_IND)
            print(socketcore.sock_recv(id, 5))
        ]])
    end)

    test("a peer that disappears is noticed by keepalive, and the reason says so", function()
        local printed = over_tap [[
            local id = open(ECHO)
            keepalive(id, 1, 1, 2)
            assert(receive(2500) == nil, "a living peer was given up")
            vanish()
            local start, before = gettime(), frames()
            local message = wait(id, rtos.MSG_SOCK_CLOSE_IND, 12000)
            print(("took=%.1f frames=%d reason=%s"):format(gettime() - start, frames() - before,
                message.reason))
            assert(receive(200) == nil)
            assert(socketcore.sock_close(id) == 1)
            wait(id, rtos.MSG_SOCK_CLOSE_CNF)
        ]]
        assert.matches("reason=.*keepalive", printed)
        local took = tonumber(printed:match "took=([%d.]+)")
        assert.is_true(took >= 1.5 and took < 9, printed)
        assert.is_true(tonumber(printed:match "frames=(%d+)") >= 2, printed)
    end)

    test("options that were set before the connection was up hold", function()
        local printed = over_tap [[
            local id = assert(socketcore.sock_conn(0, PEER, ECHO))
            keepalive(id, 1, 1, 1)
            assert(wait(id, rtos.MSG_SOCK_CONN_CNF).result == 0)
            vanish()
            print(wait(id, rtos.MSG_SOCK_CLOSE_IND, 10000).reason)
        ]]
        assert.matches("keepalive", printed)
    end)

    test("without keepalive a silent connection stays, and probes are off again with 0", function()
        over_tap [[
            local plain, off = open(ECHO), open(ECHO)
            keepalive(off, 1, 1, 1)
            set(off, socketcore.SOL_SOCKET, socketcore.SO_KEEPALIVE, 0)
            vanish()
            assert(receive(3200) == nil, "a silent connection was given up")
            assert(socketcore.sock_info(plain).state == "connected")
        ]]
    end)

    test("keepalive runs while the script computes", function()
        local printed = over_tap [[
            local id = open(ECHO)
            keepalive(id, 1, 1, 1)
            compute(2)
            assert(receive(0) == nil, "a living peer was given up")
            local before = frames()
            compute(2)
            assert(frames() - before >= 1, "no probe was sent while the script computed")
            vanish()
            compute(4)
            local message = receive(0)
            assert(message and message.id == rtos.MSG_SOCK_CLOSE_IND, "not noticed meanwhile")
            print(message.reason)
        ]]
        assert.matches("keepalive", printed)
    end)

    test("SEND_CNF waits until the peer's TCP has acknowledged", function()
        over_tap [[
            local id = open(ECHO)
            vanish()
            assert(socketcore.sock_send(id, "are you there?") == 1)
            assert(receive(600) == nil, "confirmed by a peer that is not there")
            come_back()
            local message = wait(id, rtos.MSG_SOCK_SEND_CNF, 15000)
            assert(message.result == 0 and message.send_len == 14)
            wait(id, rtos.MSG_SOCK_RECV_IND)
            assert(socketcore.sock_recv(id, 100) == "are you there?")
        ]]
    end)

    test("data and the reset right behind it arrive both", function()
        local printed = over_tap [[
            local id = open(SCRIPT)
            assert(socketcore.sock_send(id, "tap1 send:1000 wait:200 rst\n") == 1)
            wait(id, rtos.MSG_SOCK_RECV_IND)
            rtos.sleep(500)
            assert(#socketcore.sock_recv(id, 2048) == 1000)
            print(wait(id, rtos.MSG_SOCK_CLOSE_IND).reason)
        ]]
        assert.matches("reset", printed)
    end)

    test("close gives up after the linger time when the peer has disappeared", function()
        over_tap [[
            socketcore.config { linger_ms = 500 }
            local id = open(ECHO)
            vanish()
            assert(socketcore.sock_send(id, ("x"):rep(10000)) == 1)
            assert(socketcore.sock_close(id) == 1)
            local start = gettime()
            assert(wait(id, rtos.MSG_SOCK_SEND_CNF).result == 1)
            wait(id, rtos.MSG_SOCK_CLOSE_CNF)
            assert(gettime() - start < 2, "it took " .. (gettime() - start))
            assert(socketcore.sock_destroy(id) == 1)
        ]]
    end)

    test("a connect to an address where nobody is times out", function()
        local printed = over_tap [[
            socketcore.config { connect_timeout_ms = 700 }
            local start = gettime()
            local id = assert(socketcore.sock_conn(0, "192.168.77.99", 80))
            local message = wait(id, rtos.MSG_SOCK_CONN_CNF)
            assert(message.result == 1 and gettime() - start < 2)
            print(message.reason)
        ]]
        assert.matches("^connect: ", printed)
    end)
end)
