-- Pings an address: ICMP echo requests through a RAW socket, with socketcore itself. 10.0.2.2 is
-- the gateway of the user-mode network that scripts run in on a PC; it answers by itself.
--
--     ./dev run examples/ping.lua [ADDRESS [COUNT]]
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "rtos"
require "socketcore"

local address, count = arg[1] or "10.0.2.2", tonumber(arg[2] or 4)

local RAW, ICMP = 4, 1
local ECHO_REPLY, ECHO_REQUEST = 0, 8
local IDENTIFIER = 0x5343

-- Message handlers only pass on; the task below waits for what they publish.
local function publish_as(topic)
    return function(message)
        sys.publish(topic, message)
    end
end
rtos.on(rtos.MSG_SOCK_CONN_CNF, publish_as("CONNECTED"))
rtos.on(rtos.MSG_SOCK_RECV_IND, publish_as("RECEIVED"))
rtos.on(rtos.MSG_SOCK_CLOSE_CNF, publish_as("CLOSED"))

local function number_at(data, at)
    local high, low = data:byte(at, at + 1)
    return high * 256 + low
end

local function two_bytes(number)
    return string.char(math.floor(number / 256), number % 256)
end

-- The Internet checksum of an even number of bytes.
local function checksum(data)
    local sum = 0
    for at = 1, #data, 2 do
        sum = sum + number_at(data, at)
    end
    while sum > 0xffff do
        sum = sum % 0x10000 + math.floor(sum / 0x10000)
    end
    return 0xffff - sum
end

local function echo_request(sequence)
    local rest = two_bytes(IDENTIFIER) .. two_bytes(sequence) .. string.rep("socketcore ping ", 3)
    local sum = checksum(string.char(ECHO_REQUEST, 0, 0, 0) .. rest)
    return string.char(ECHO_REQUEST, 0) .. two_bytes(sum) .. rest
end

-- What a RAW socket receives begins with the IP header.
local function is_reply_to(packet, request)
    local header = (packet:byte(1) or 0) % 16 * 4
    local message = packet:sub(header + 1)
    return message:byte(1) == ECHO_REPLY and message:sub(5) == request:sub(5)
        and checksum(message) == 0
end

local function wait_for_reply(id, request)
    while true do
        local ok, message = sys.waitUntil("RECEIVED", 2000)
        if not ok then
            return false
        end
        if is_reply_to(socketcore.sock_recv(id, message.recv_len), request) then
            return true
        end
    end
end

sys.taskInit(function()
    local id, _, reason = socketcore.sock_conn(RAW, address, ICMP)
    local ok, message
    if id then
        ok, message = sys.waitUntil("CONNECTED", 10000)
    end
    if not ok or message.result ~= 0 then
        log.error("ping", address, reason or message and message.reason or "no answer")
        os.exit(1)
    end
    local answered = 0
    for sequence = 1, count do
        local request = echo_request(sequence)
        local start = rtos.tick()
        socketcore.sock_send(id, request)
        if wait_for_reply(id, request) then
            answered = answered + 1
            log.info("ping", address, "sequence", sequence,
                string.format("%.2f ms", (rtos.tick() - start) / 16.384))
        else
            log.warn("ping", address, "sequence", sequence, "no reply")
        end
    end
    socketcore.sock_close(id)
    sys.waitUntil("CLOSED")
    socketcore.sock_destroy(id)
    os.exit(answered == count and 0 or 1)
end)

sys.run()
