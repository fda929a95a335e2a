--- What the sides of the bench do alike: a side is a Lua script that hands a table of functions to
-- `measure.run`. It gets the figure's name, the two ports, a duration and for TLS the CA's file on
-- its command line and prints the value, all in a process of its own.
--
-- SPDX-License-Identifier: MIT

local measure = {
    SEND_SIZE = 11200, -- the cut of the firmware's socket.lua
    READ_SIZE = 2048, -- what one RECV_IND announces
    ROUND_TRIP_SIZE = 64,
    DATAGRAM_SIZE = 512,
    IDLE_CONNECTIONS = 1000,
    TIMEOUT = 10, -- seconds that any one answer may take
}

-- By figure: what one unit of work counts for, and how many units are enough.
local scales = {
    send = { measure.SEND_SIZE / 1e6 },
    send8 = { measure.SEND_SIZE / 1e6 },
    receive = { measure.READ_SIZE / 1e6 },
    round_trip = { 1 },
    -- Each leaves a port in TIME_WAIT, and both sides share the machine's.
    connect = { 1, most = 3000 },
    datagram = { 1 },
    tls_ecdsa = { 1, most = 3000 },
    tls_rsa = { 1, most = 3000 },
    tls_resume = { 1, most = 3000 },
    tls_send = { measure.SEND_SIZE / 1e6 },
    tls_send8 = { measure.SEND_SIZE / 1e6 },
    tls_receive = { measure.READ_SIZE / 1e6 },
    tls_send8_chacha = { measure.SEND_SIZE / 1e6 },
    tls_receive_chacha = { measure.READ_SIZE / 1e6 },
}

-- Asks `work(n)` for more and more units until it takes long enough, `seconds`, to be believed.
local function rate(work, scale, seconds)
    local n = 20
    while true do
        local took = math.max(work(n), 1e-6)
        if took >= 0.8 * seconds or n == scale.most then
            return n * scale[1] / took
        end
        n = math.ceil(math.min(1.1 * n * seconds / took, 20 * n))
        if scale.most and n > scale.most then
            n = scale.most
        end
    end
end

--- KB of memory that this process has in RAM.
function measure.resident_kb()
    collectgarbage()
    collectgarbage()
    for line in io.lines("/proc/self/status") do
        local kb = line:match("^VmRSS:%s*(%d+)")
        if kb then
            return tonumber(kb)
        end
    end
end

--- Runs the figure that the command line names: `work[figure](n)` does n units of work and returns
-- the seconds they took; `work.idle(n)` returns the KB that one of n idle connections takes.
function measure.run(work, figure, seconds)
    if not work[figure] then
        print("none")
    elseif figure == "idle" then
        print(string.format("value %.6g", work.idle(measure.IDLE_CONNECTIONS)))
    else
        print(string.format("value %.6g", rate(work[figure], scales[figure], seconds)))
    end
end

return measure
