--- The bench's own side: socketcore and rtos as a firmware's scheduler uses them.
--
--     lua5.1 side_socketcore.lua FIGURE TCP_PORT UDP_PORT SECONDS [CA_FILE]
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local measure = require "measure"
local socketcore = require "socketcore"
local rtos = require "rtos"

local figure, tcp_port, udp_port, seconds = arg[1], arg[2], arg[3], arg[4]
tcp_port, udp_port = tonumber(tcp_port), tonumber(udp_port)

local TCP, UDP, SSL = 0, 1, 2
local sock_send, sock_recv = socketcore.sock_send, socketcore.sock_recv
local receive = rtos.receive
local CONN_CNF, SEND_CNF, RECV_IND, CLOSE_CNF = rtos.MSG_SOCK_CONN_CNF, rtos.MSG_SOCK_SEND_CNF,
    rtos.MSG_SOCK_RECV_IND, rtos.MSG_SOCK_CLOSE_CNF
local TIMEOUT_MS = measure.TIMEOUT * 1000

local function now()
    return rtos.tick() / 16384
end

-- The next message, which has to be a good one.
local function next_message()
    local message = receive(TIMEOUT_MS)
    if type(message) ~= "table" then
        error("no message within " .. measure.TIMEOUT .. " s")
    elseif message.result ~= 0 then
        error(message.reason)
    end
    return message
end

local function await(message_id)
    local message
    repeat
        message = next_message()
    until message.id == message_id
    return message
end

local function send(id, data)
    local accepted, err = sock_send(id, data)
    if accepted ~= 1 then
        error("sock_send refused, error " .. tostring(err))
    end
end

-- What the TLS figures connect with. Full handshakes unless a figure allows otherwise.
local cert
if arg[5] then
    local file = assert(io.open(arg[5]))
    cert = { caCert = file:read("*a"), resume = false }
    file:close()
end

local function open(kind, port)
    local id, _, reason = socketcore.sock_conn(kind, "127.0.0.1", port, kind == SSL and cert or nil)
    if not id then
        error(reason)
    end
    await(CONN_CNF)
    return id
end

local function close(id)
    assert(socketcore.sock_close(id) == 1)
    await(CLOSE_CNF)
    assert(socketcore.sock_destroy(id) == 1)
end

local function command(id, line)
    send(id, line .. "\n")
    await(SEND_CNF)
end

local work = {}

local function send_with(kind, under_way, n)
    local piece = string.rep("x", measure.SEND_SIZE)
    local id = open(kind, tcp_port)
    command(id, "sink " .. n * measure.SEND_SIZE)
    local start = now()
    for _ = 1, math.min(under_way, n) do
        send(id, piece)
    end
    for _ = under_way + 1, n do
        await(SEND_CNF)
        send(id, piece)
    end
    await(RECV_IND)
    local took = now() - start
    close(id)
    return took
end

-- Each send waits for the SEND_CNF of the one before.
function work.send(n)
    return send_with(TCP, 1, n)
end

function work.send8(n)
    return send_with(TCP, 8, n)
end

local function receive_with(kind, n)
    local id = open(kind, tcp_port)
    local start = now()
    send(id, "source " .. n * measure.READ_SIZE .. "\n")
    local left = n * measure.READ_SIZE
    while left > 0 do
        local message = next_message()
        if message.id == RECV_IND then
            left = left - #sock_recv(id, message.recv_len)
        end
    end
    local took = now() - start
    assert(left == 0)
    close(id)
    return took
end

function work.receive(n)
    return receive_with(TCP, n)
end

local function echo(id, data, n)
    local start = now()
    for _ = 1, n do
        send(id, data)
        local left = #data
        repeat
            local message = next_message()
            if message.id == RECV_IND then
                left = left - #sock_recv(id, message.recv_len)
            end
        until left == 0
    end
    return now() - start
end

function work.round_trip(n)
    local id = open(TCP, tcp_port)
    command(id, "echo")
    local took = echo(id, string.rep("x", measure.ROUND_TRIP_SIZE), n)
    close(id)
    return took
end

function work.connect(n)
    local start = now()
    for _ = 1, n do
        close(open(TCP, tcp_port))
    end
    return now() - start
end

function work.datagram(n)
    local id = open(UDP, udp_port)
    local took = echo(id, string.rep("x", measure.DATAGRAM_SIZE), n)
    close(id)
    return took
end

function work.idle(n)
    socketcore.config({ max_sockets = math.max(socketcore.config().max_sockets, n + 1) })
    open(TCP, tcp_port)
    local before = measure.resident_kb()
    for _ = 1, n do
        open(TCP, tcp_port)
    end
    return (measure.resident_kb() - before) / n
end

function work.tls_ecdsa(n)
    local start = now()
    for _ = 1, n do
        close(open(SSL, tcp_port))
    end
    return now() - start
end

work.tls_rsa = work.tls_ecdsa

-- In TLS 1.3 the next session's ticket comes after the handshake: so one byte is asked for.
local function reconnect()
    local id = open(SSL, tcp_port)
    local is_resumed = socketcore.sock_info(id).resumed
    send(id, "source 1\n")
    sock_recv(id, await(RECV_IND).recv_len)
    close(id)
    return is_resumed
end

function work.tls_resume(n)
    cert.resume = true
    reconnect()
    local start = now()
    for _ = 1, n do
        assert(reconnect(), "the session was not resumed")
    end
    return now() - start
end

function work.tls_send(n)
    return send_with(SSL, 1, n)
end

function work.tls_send8(n)
    return send_with(SSL, 8, n)
end

function work.tls_receive(n)
    return receive_with(SSL, n)
end

work.tls_send8_chacha, work.tls_receive_chacha = work.tls_send8, work.tls_receive

measure.run(work, figure, tonumber(seconds))
