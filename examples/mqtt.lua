-- A small MQTT 3.1.1 client: connects to a broker, subscribes to a topic, publishes to it, and
-- waits for the message to come back; once with QoS 0, once with QoS 1. With a CA's file it does so
-- over TLS and verifies the broker; with a certificate and its key it shows those to the broker.
--
--     ./dev run examples/mqtt.lua [HOST [PORT [CA_FILE [CERTIFICATE_FILE KEY_FILE]]]]
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "socket"

local host, port = arg[1] or "127.0.0.1", arg[2] or 1883
local ca_file, certificate_file, key_file = arg[3], arg[4], arg[5]

local KEEP_ALIVE = 60 -- s
local TIMEOUT = 10000 -- ms, for each answer

local CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14

-- Packets (the numbers in brackets are sections of the OASIS standard) -------------------------

local function two_bytes(number)
    return string.char(math.floor(number / 256), number % 256)
end

local function number_at(data, at)
    local high, low = data:byte(at, at + 1)
    return high * 256 + low
end

-- A string with its length in front [1.5.3].
local function text(value)
    return two_bytes(#value) .. value
end

-- Seven bits a byte, the lowest first [2.2.3].
local function remaining_length(length)
    local bytes = ""
    repeat
        local seven = length % 128
        length = math.floor(length / 128)
        bytes = bytes .. string.char(length > 0 and seven + 128 or seven)
    until length == 0
    return bytes
end

local function packet(kind, flags, body)
    return string.char(kind * 16 + flags) .. remaining_length(#body) .. body
end

local function connect_packet(client_id)
    local clean_session = 2
    return packet(CONNECT, 0, text("MQTT") .. string.char(4, clean_session)
        .. two_bytes(KEEP_ALIVE) .. text(client_id))
end

local function subscribe_packet(id, topic, qos)
    return packet(SUBSCRIBE, 2, two_bytes(id) .. text(topic) .. string.char(qos))
end

local function publish_packet(id, topic, payload, qos)
    local id_bytes = qos > 0 and two_bytes(id) or ""
    return packet(PUBLISH, qos * 2, text(topic) .. id_bytes .. payload)
end

-- Takes the first whole packet off `data`: its kind, flags, body and what is left of `data`; or nil
-- while it has not come in full.
local function take_packet(data)
    local length, factor, at = 0, 1, 2
    repeat
        local byte = data:byte(at)
        if not byte then
            return nil
        end
        length = length + byte % 128 * factor
        factor = factor * 128
        at = at + 1
    until byte < 128
    if #data < at - 1 + length then
        return nil
    end
    local first = data:byte(1)
    return math.floor(first / 16), first % 16, data:sub(at, at + length - 1), data:sub(at + length)
end

local function parse_publish(flags, body)
    local topic_length = number_at(body, 1)
    local message = { topic = body:sub(3, 2 + topic_length), qos = math.floor(flags / 2) % 4 }
    local at = 3 + topic_length
    if message.qos > 0 then
        message.id = number_at(body, at)
        at = at + 2
    end
    message.payload = body:sub(at)
    return message
end

-- The session ---------------------------------------------------------------------------------

local client
local received = "" -- not yet a whole packet
local inbox = {} -- messages that came while something else was waited for

local function fail(...)
    log.error("mqtt", host, port, ...)
    os.exit(1)
end

local function send(data)
    if not client:send(data, 10) then
        fail("the connection broke while sending")
    end
end

local function next_packet()
    while true do
        local kind, flags, body, rest = take_packet(received)
        if kind then
            received = rest
            return kind, flags, body
        end
        local ok, data = client:recv(TIMEOUT)
        if not ok then
            fail("waiting for the broker:", data)
        end
        received = received .. data
    end
end

-- Takes one packet. Messages go to the inbox, and are confirmed when the broker wants that.
local function take_one()
    local kind, flags, body = next_packet()
    if kind == PUBLISH then
        local message = parse_publish(flags, body)
        if message.qos == 1 then
            send(packet(PUBACK, 0, two_bytes(message.id)))
        end
        table.insert(inbox, message)
    end
    return kind, body
end

local function wait_for(wanted)
    while true do
        local kind, body = take_one()
        if kind == wanted then
            return body
        end
    end
end

local function wait_for_message()
    while #inbox == 0 do
        take_one()
    end
    return table.remove(inbox, 1)
end

local function publish_and_receive(id, topic, payload, qos)
    send(publish_packet(id, topic, payload, qos))
    if qos == 1 and number_at(wait_for(PUBACK), 1) ~= id then
        fail("PUBACK of another packet")
    end
    local message = wait_for_message()
    if message.topic ~= topic or message.payload ~= payload or message.qos ~= qos then
        fail("another message came:", message.topic, message.payload, message.qos)
    end
    log.info("mqtt", "QoS " .. qos, message.topic, #payload, "bytes published and received")
end

sys.taskInit(function()
    if ca_file then
        client = socket.tcp(true,
            { caCert = ca_file, clientCert = certificate_file, clientKey = key_file })
    else
        client = socket.tcp()
    end
    if not client:connect(host, port, 10) then
        fail("cannot connect")
    end
    -- The broker tells clients apart by their names.
    local name = string.format("socketcore-%d-%d", os.time(), rtos.tick())
    local topic = name .. "/hello"

    send(connect_packet(name))
    local code = wait_for(CONNACK):byte(2)
    if code ~= 0 then
        fail("the broker refused, code", code)
    end
    log.info("mqtt", "connected to the broker as", name)

    send(subscribe_packet(1, topic, 1))
    if wait_for(SUBACK):byte(3) ~= 1 then
        fail("the broker refused the subscription")
    end

    publish_and_receive(2, topic, "hello from lwIP", 0)
    publish_and_receive(3, topic, string.rep("0123456789abcdef", 1000), 1)

    send(packet(DISCONNECT, 0, ""))
    client:close()
    os.exit(0)
end)

sys.run()
