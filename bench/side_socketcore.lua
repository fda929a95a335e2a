--- The bench's own side: socketcore and rtos as a firmware's scheduler uses them. See measure.lua.
--
-- With one socket a figure is a plain loop around rtos.receive. With several, each socket has a
-- coroutine, which is resumed with the socket's messages, as sys.lua does for tasks.
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local socketcore = require "socketcore"
local rtos = require "rtos"

local options, size = measure.options, measure.size
local sockets = options.sockets

local TCP, UDP, SSL = 0, 1, 2
local sock_conn, sock_close, sock_destroy = socketcore.sock_conn, socketcore.sock_close,
    socketcore.sock_destroy
local sock_send, sock_recv = socketcore.sock_send, socketcore.sock_recv
local receive = rtos.receive
local CONN_CNF, SEND_CNF, RECV_IND, CLOSE_CNF = rtos.MSG_SOCK_CONN_CNF, rtos.MSG_SOCK_SEND_CNF,
    rtos.MSG_SOCK_RECV_IND, rtos.MSG_SOCK_CLOSE_CNF
local TIMEOUT_MS = measure.TIMEOUT * 1000

local config = socketcore.config()
socketcore.config({
    max_sockets = math.max(config.max_sockets, sockets + 1, measure.IDLE_CONNECTIONS + 1),
    send_buffer = math.max(config.send_buffer, 8 * (size or 0)),
    recv_ind_max = options.size and math.min(options.size, 65535) or nil,
})

local function now()
    return rtos.tick() / 16384
end

-- Messages and coroutines ---------------------------------------------------------------------

-- By socket number: the coroutine that its messages are for.
local threads = {}

local function checked(message)
    if type(message) ~= "table" then
        error("no message within " .. measure.TIMEOUT .. " s")
    elseif message.result ~= 0 then
        error(message.reason)
    end
    return message
end

-- The next message, which has to be a good one.
local function receive_next()
    return checked(receive(TIMEOUT_MS))
end

-- How a figure waits for it: by itself, or as one of several coroutines.
local next_message = receive_next

-- Runs `step(i)` for i = 1 to `count` until all have come to their end.
local function each(count, step)
    if count == 1 then
        step(1)
        return
    end
    next_message = coroutine.yield
    local left = count
    local function resume(thread, message)
        local ok, err = coroutine.resume(thread, message)
        if not ok then
            error(err, 0)
        elseif coroutine.status(thread) == "dead" then
            left = left - 1
        end
    end
    for i = 1, count do
        resume(coroutine.create(step), i)
    end
    while left > 0 do
        local message = receive_next()
        local thread = threads[message.socket_index]
        -- The answer may be there before the SEND_CNF, and then nobody waits for that.
        if coroutine.status(thread) == "suspended" then
            resume(thread, message)
        end
    end
    next_message = receive_next
end

-- The messages of this socket are for whoever calls it.
local function adopt(id)
    if sockets > 1 then
        threads[id] = coroutine.running()
    end
    return id
end

local function await(message_id)
    local message
    repeat
        message = next_message()
    until message.id == message_id
    return message
end

-- One socket ----------------------------------------------------------------------------------

local function send(id, data)
    local accepted, err = sock_send(id, data)
    if accepted ~= 1 then
        error("sock_send refused, error " .. tostring(err))
    end
end

-- What the TLS figures connect with. Full handshakes unless a figure allows otherwise.
local cert
if options.ca then
    local file = assert(io.open(options.ca))
    cert = { caCert = file:read("*a"), resume = false }
    file:close()
end

local function open(kind)
    local port = kind == UDP and options.udp or options.tcp
    local id, _, reason = sock_conn(kind, "127.0.0.1", port, kind == SSL and cert or nil)
    if not id then
        error(reason)
    end
    adopt(id)
    await(CONN_CNF)
    return id
end

local function close(id)
    adopt(id)
    assert(sock_close(id) == 1)
    await(CLOSE_CNF)
    assert(sock_destroy(id) == 1)
end

local function command(id, line)
    send(id, line .. "\n")
    await(SEND_CNF)
end

-- The figures ---------------------------------------------------------------------------------

-- A figure whose sockets are opened first. `work(id, count)` is what is measured,
-- `first_line(count)` what the server is told before that, if anything.
local function on_open_sockets(kind, first_line, work)
    return function(n)
        local ids = {}
        local count = math.ceil(n / sockets)
        each(sockets, function(i)
            ids[i] = open(kind)
            if first_line then
                command(ids[i], first_line(count))
            end
        end)
        measure.begin(now)
        each(sockets, function(i)
            work(adopt(ids[i]), count)
        end)
        measure.finish()
        each(sockets, function(i)
            close(ids[i])
        end)
        return count * sockets
    end
end

local function sink(count)
    return "sink " .. count * size
end

local function sending(kind, under_way)
    local piece = string.rep("x", size or 0)
    return on_open_sockets(kind, sink, function(id, count)
        for _ = 1, math.min(under_way, count) do
            send(id, piece)
        end
        for _ = under_way + 1, count do
            await(SEND_CNF)
            send(id, piece)
        end
        await(RECV_IND)
    end)
end

local function receiving(kind)
    return on_open_sockets(kind, nil, function(id, count)
        local left = count * size
        send(id, "source " .. left .. "\n")
        while left > 0 do
            local message = next_message()
            if message.id == RECV_IND then
                left = left - #sock_recv(id, message.recv_len)
            end
        end
    end)
end

local function echo(id, count)
    local data = string.rep("x", size)
    for _ = 1, count do
        send(id, data)
        local left = size
        repeat
            local message = next_message()
            if message.id == RECV_IND then
                left = left - #sock_recv(id, message.recv_len)
            end
        until left == 0
    end
end

-- A figure that opens and closes: `connect()` is what is measured.
local function connecting(connect)
    return function(n)
        local count = math.ceil(n / sockets)
        measure.begin(now)
        each(sockets, function()
            for _ = 1, count do
                connect()
            end
        end)
        measure.finish()
        return count * sockets
    end
end

-- In TLS 1.3 the next session's ticket comes after the handshake: so one byte is asked for.
local function reconnect()
    local id = open(SSL)
    local is_resumed = socketcore.sock_info(id).resumed
    send(id, "source 1\n")
    sock_recv(id, await(RECV_IND).recv_len)
    close(id)
    return is_resumed
end

local work = {
    -- Each send waits for the SEND_CNF of the one before.
    send = sending(TCP, 1),
    send8 = sending(TCP, 8),
    receive = receiving(TCP),
    round_trip = on_open_sockets(TCP, function() return "echo" end, echo),
    datagram = on_open_sockets(UDP, nil, echo),
    connect = connecting(function() close(open(TCP)) end),
    tls_full = connecting(function() close(open(SSL)) end),
    tls_send = sending(SSL, 1),
    tls_send8 = sending(SSL, 8),
    tls_receive = receiving(SSL),
}

function work.tls_resume(n)
    cert.resume = true
    reconnect()
    return connecting(function()
        assert(reconnect(), "the session was not resumed")
    end)(n)
end

function work.idle(n)
    for _ = 1, n do
        open(TCP)
    end
end

local kept = {}

-- All are open; a few of them exchange something.
function work.event(n)
    if #kept == 0 then
        for i = 1, sockets do
            kept[i] = open(TCP)
            command(kept[i], "echo")
        end
    end
    local count = math.ceil(n / measure.EVENT_SOCKETS)
    measure.begin(now)
    each(measure.EVENT_SOCKETS, function(i)
        echo(adopt(kept[i]), count)
    end)
    measure.finish()
    return count * measure.EVENT_SOCKETS
end

measure.run(work)
