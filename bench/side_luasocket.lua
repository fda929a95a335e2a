--- The bench's LuaSocket side: blocking sockets over the kernel's loopback.
--
--     lua5.1 side_luasocket.lua FIGURE TCP_PORT UDP_PORT SECONDS
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local luasocket = require "socket"

local figure, tcp_port, udp_port, seconds = arg[1], arg[2], arg[3], arg[4]
local now = luasocket.gettime

local function connect()
    local client = assert(luasocket.tcp())
    client:settimeout(measure.TIMEOUT)
    assert(client:connect("127.0.0.1", tcp_port))
    assert(client:setoption("tcp-nodelay", true))
    return client
end

local work = {}

function work.send(n)
    local piece = string.rep("x", measure.SEND_SIZE)
    local client = connect()
    assert(client:send("sink " .. n * measure.SEND_SIZE .. "\n"))
    local start = now()
    for _ = 1, n do
        assert(client:send(piece))
    end
    assert(client:receive(1))
    local took = now() - start
    client:close()
    return took
end

-- What send waits for here, the kernel's buffer, lets many be under way anyhow.
work.send8 = work.send

function work.receive(n)
    local client = connect()
    local start = now()
    assert(client:send("source " .. n * measure.READ_SIZE .. "\n"))
    local got = 0
    for _ = 1, n do
        got = got + #assert(client:receive(measure.READ_SIZE))
    end
    local took = now() - start
    assert(got == n * measure.READ_SIZE)
    client:close()
    return took
end

function work.round_trip(n)
    local data = string.rep("x", measure.ROUND_TRIP_SIZE)
    local client = connect()
    assert(client:send("echo\n"))
    local start = now()
    for _ = 1, n do
        assert(client:send(data))
        assert(client:receive(measure.ROUND_TRIP_SIZE))
    end
    local took = now() - start
    client:close()
    return took
end

function work.connect(n)
    local start = now()
    for _ = 1, n do
        local client = assert(luasocket.tcp())
        client:settimeout(measure.TIMEOUT)
        assert(client:connect("127.0.0.1", tcp_port))
        client:close()
    end
    return now() - start
end

function work.datagram(n)
    local data = string.rep("x", measure.DATAGRAM_SIZE)
    local client = assert(luasocket.udp())
    client:settimeout(measure.TIMEOUT)
    assert(client:setpeername("127.0.0.1", udp_port))
    local start = now()
    for _ = 1, n do
        assert(client:send(data))
        local back = assert(client:receive())
        assert(#back == measure.DATAGRAM_SIZE)
    end
    local took = now() - start
    client:close()
    return took
end

function work.idle(n)
    local clients = { connect() }
    local before = measure.resident_kb()
    for i = 1, n do
        clients[i + 1] = connect()
    end
    local each = (measure.resident_kb() - before) / n
    assert(#clients == n + 1)
    return each
end

measure.run(work, figure, tonumber(seconds))
