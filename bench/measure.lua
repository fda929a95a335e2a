--- What the sides of the bench do alike, as limit.c does it for those in C. A side is a Lua script
-- that hands a table of functions to `measure.run`:
--
--     lua5.1 side_NAME.lua FIGURE [tcp=PORT] [udp=PORT] [seconds=S] [ca=FILE] [server=PID]
--         [sockets=N] [size=BYTES]
--
-- It prints the value, all in a process of its own.
--
-- SPDX-License-Identifier: MIT

local measure = {
    READ_SIZE = 2048, -- what one RECV_IND announces
    IDLE_CONNECTIONS = 1000,
    EVENT_SOCKETS = 10, -- that exchange something, of all that are open
    TIMEOUT = 10, -- seconds that any one answer may take
}

local FIRST_UNITS = 20
local SEND_SIZE = 11200 -- the cut of the firmware's socket.lua

-- By figure: the size of what goes back and forth, whether the value is bytes, and how many units
-- are enough. A port that a client used stays in TIME_WAIT, and a machine has 28,000 of them.
local SCALES = {
    send = { size = SEND_SIZE, is_bytes = true },
    send8 = { size = SEND_SIZE, is_bytes = true },
    receive = { size = measure.READ_SIZE, is_bytes = true },
    round_trip = { size = 64 },
    connect = { most = 8000 },
    datagram = { size = 512 },
    idle = { is_memory = true },
    event = { size = 64, is_cpu = true },
    tls_full = { most = 3000 },
    tls_resume = { most = 3000 },
    tls_send = { size = SEND_SIZE, is_bytes = true },
    tls_send8 = { size = SEND_SIZE, is_bytes = true },
    tls_receive = { size = measure.READ_SIZE, is_bytes = true },
}

-- What the command line says.
measure.options = { sockets = 1, seconds = 0.5 }
for i = 2, #arg do
    local name, value = arg[i]:match("^(%l+)=(.*)$")
    assert(name, "not an option: " .. arg[i])
    measure.options[name] = tonumber(value) or value
end
measure.figure = arg[1]
local options = measure.options
local scale = assert(SCALES[measure.figure], "there is no such figure")
--- Bytes of one send, read or datagram.
measure.size = options.size or scale.size

-- Seconds of CPU time that the server has had.
local function server_cpu()
    local file = options.server and io.open("/proc/" .. options.server .. "/schedstat")
    if not file then
        return 0
    end
    local nanoseconds = file:read("*n")
    file:close()
    return nanoseconds / 1e9
end

local began, took

--- Stands before what is measured. `now` is the side's clock, in seconds.
function measure.begin(now)
    began = { server = server_cpu(), cpu = os.clock(), now = now, time = now() }
end

--- Stands behind it; nothing between the two is left out.
function measure.finish()
    took = { time = math.max(began.now() - began.time, 1e-6) }
    took.cpu = os.clock() - began.cpu
    took.server = server_cpu() - began.server
end

-- Asks for more and more units until they take long enough to be believed. Returns how many; the
-- function may do a few more than it was asked for, and returns how many then.
local function run_long_enough(work)
    -- With many sockets, enough for each that what goes through them is more than the beginning.
    local first = FIRST_UNITS
    if scale.size and not scale.is_cpu then
        first = first * options.sockets
    end
    local n = first
    while true do
        local done = work(n) or n
        -- The first ones may be slow for reasons of their own.
        if n > first and (took.time >= 0.8 * options.seconds or n == scale.most) then
            return done
        end
        n = math.ceil(math.max(2, math.min(1.1 * options.seconds / took.time, 20)) * n)
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

--- Runs the figure that the command line names: `work[figure](n)` does n units of work between
-- `measure.begin` and `measure.finish`; `work.idle(n)` opens n connections and keeps them.
function measure.run(work)
    local run = work[measure.figure]
    if not run then
        print("none")
    elseif scale.is_memory then
        run(1)
        local before = measure.resident_kb()
        run(measure.IDLE_CONNECTIONS)
        print(string.format("value %.6g",
            (measure.resident_kb() - before) / measure.IDLE_CONNECTIONS))
    else
        local n = run_long_enough(run)
        local cpu = 1e6 * took.cpu / n
        local value = scale.is_cpu and cpu or n / took.time
        print(string.format("value %.6g cpu %.6g server %.3g",
            scale.is_bytes and value * measure.size / 1e6 or value, cpu, took.server / took.time))
    end
end

return measure
