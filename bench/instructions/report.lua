-- Reads callgrind's dumps of the program `instructions`, prints the table and compares it with the
-- baseline. run.sh starts it.
--
--     lua5.1 report.lua DUMP_DIR BASELINE ROUNDS PLATFORM [--record]
--
-- What is counted, per operation:
--   all    everything that the device executes for it: the API's side, lwIP's TCP and IP, the
--          driver's hand-over to lwIP. Not the peer, and not what a switch to another
--          thread takes, which depends on the RTOS (`waits` says how often it happens).
--   layer  of that, what is above lwIP's core: socketcore with lwIP's netconn API, or sockets with
--          it. Copying, memory and the operating system count for whoever calls them.
--
-- SPDX-License-Identifier: MIT

local GROWTH_MAX = 0.05 -- beyond the baseline
local RATIO_MAX = 1.3 -- socketcore's `all` to that of lwIP's sockets

local dump_dir, baseline_name, rounds, platform, option = arg[1], arg[2], tonumber(arg[3]), arg[4],
    arg[5]

local OPERATIONS = {
    "send_64", "send_256", "send_1024", "receive_64", "receive_256", "receive_1024",
    "connect_close",
}
local SIDES = { "socketcore", "sockets" }
local COUNTS = { "all", "layer", "waits", "protections", "locks", "posts" }

-- Calls that cost more on a device than the few instructions that they have here.
local CALLS = {
    wait_event = "waits",
    sys_arch_protect = "protections",
    sys_mutex_lock = "locks",
    sys_sem_signal = "posts",
    sys_mbox_trypost = "posts",
}

local function fail(...)
    io.stderr:write("instructions: ", table.concat({ ... }, "\n              "), "\n")
    os.exit(1)
end

-- ---- callgrind's format ----

-- Whose a function is, by its file: "layer", "stack" (lwIP's core), "harness" (no part of the
-- device), or "helper": its cost belongs to whoever calls it.
local function kind_of(file)
    if file:find("/instructions/side_", 1, true) then
        return "layer"
    elseif file:find("/instructions/machine.c", 1, true) or
        file:find("/instructions/strings.c", 1, true) then
        return "helper"
    elseif file:find("/bench/instructions/", 1, true) then
        return "harness"
    elseif file:find("/src/api/tcpip.c", 1, true) then
        return "stack"
    elseif file:find("/src/api/", 1, true) then
        return "layer"
    end
    for _, name in ipairs { "mem", "memp", "pbuf", "def", "sys", "ipv4/ip4_addr" } do
        if file:find("/src/core/" .. name .. ".c", 1, true) then
            return "helper"
        end
    end
    if file:find("/src/core/", 1, true) or file:find("/lwip/", 1, true) then
        return "stack"
    elseif file:find("/src/[%w_]+%.c$") or file:find("/src/port/firmware/", 1, true) then
        return "layer"
    end
    return "helper"
end

-- "(12) name" names number 12, "(12)" is that name again.
local function decompress(names, text)
    local number, name = text:match("^(%(%d+%)) ?(.*)$")
    if name ~= "" then
        names[number] = name
    end
    return number, names[number]
end

local function new_counts()
    local counts = {}
    for _, name in ipairs(COUNTS) do
        counts[name] = 0
    end
    return counts
end

local function count_cost(counts, kind, cost)
    if kind == "layer" or kind == "stack" then
        counts.all = counts.all + cost
    end
    if kind == "layer" then
        counts.layer = counts.layer + cost
    end
end

-- First the file of each function, which a call may name before its own record comes.
local function read_functions(name)
    local files, functions, kinds = {}, {}, {}
    local file
    for line in io.lines(name) do
        local key, value = line:match("^(%l+)=(%(.*)$")
        if key == "fl" or key == "fi" or key == "fe" or key == "cfi" or key == "cfl" then
            local _, path = decompress(files, value)
            if key == "fl" then
                file = path
            end
        elseif key == "fn" then
            local number = decompress(functions, value)
            kinds[number] = kind_of(file)
        elseif key == "cfn" then
            decompress(functions, value)
        end
    end
    return functions, kinds
end

local function read_dump(name)
    local functions, kinds = read_functions(name)
    local counts = new_counts()
    local caller, callee, calls
    for line in io.lines(name) do
        local key, number = line:match("^(c?fn)=(%(%d+%))")
        local cost = line:match("^[%d%+%-%*]%S* (%d+)$")
        if key == "fn" then
            caller = kinds[number]
        elseif key == "cfn" then
            callee = number
        elseif line:find("^calls=") then
            calls = tonumber(line:match("^calls=(%d+)"))
        elseif cost and calls then
            local kind = kinds[callee] or "helper"
            local counter = CALLS[functions[callee]:gsub("'.*", "")]
            if kind == "helper" and caller ~= "helper" then
                count_cost(counts, caller, tonumber(cost))
            end
            if counter then
                counts[counter] = counts[counter] + calls
            end
            calls = nil
        elseif cost then
            if caller ~= "helper" then
                count_cost(counts, caller, tonumber(cost))
            end
        end
    end
    for _, count in ipairs(COUNTS) do
        counts[count] = counts[count] / rounds
    end
    return counts
end

local function find_operation(name)
    for line in io.lines(name) do
        local operation = line:match("^desc: Trigger: Client Request: (.*)$")
        if operation then
            return operation
        end
    end
end

-- result[side][operation][count]
local function read_side(side)
    local result = {}
    for number = 1, #OPERATIONS do
        local name = ("%s/%s.%d"):format(dump_dir, side, number)
        local file = io.open(name)
        if not file then
            fail("callgrind has not written " .. name)
        end
        file:close()
        result[find_operation(name)] = read_dump(name)
    end
    return result
end

-- ---- the baseline ----

local HEADER = [[
# Instructions per operation on the firmware configuration, socketcore beside lwIP's own sockets.
# Written by ./dev instructions --record, explained in bench/instructions/report.lua. Compilers
# differ: the counts below hold for the one that is named.
]]

local function write_baseline(measured)
    local file = assert(io.open(baseline_name, "w"))
    file:write(HEADER, "platform ", platform, "\n\n")
    file:write(("%-14s %-11s"):format("operation", "side"))
    for _, count in ipairs(COUNTS) do
        file:write((" %11s"):format(count))
    end
    file:write("\n")
    for _, operation in ipairs(OPERATIONS) do
        for _, side in ipairs(SIDES) do
            file:write(("%-14s %-11s"):format(operation, side))
            for _, count in ipairs(COUNTS) do
                file:write((" %11.1f"):format(measured[side][operation][count]))
            end
            file:write("\n")
        end
    end
    file:close()
end

local function read_baseline()
    local baseline = { socketcore = {}, sockets = {} }
    local names
    for line in io.lines(baseline_name) do
        local words = {}
        for word in line:gmatch("%S+") do
            words[#words + 1] = word
        end
        if words[1] == "platform" then
            baseline.platform = line:match("^platform (.*)$")
        elseif words[1] == "operation" then
            names = words
        elseif baseline[words[2]] and names then
            local counts = {}
            for i = 3, #words do
                counts[names[i]] = tonumber(words[i])
            end
            baseline[words[2]][words[1]] = counts
        end
    end
    return baseline
end

-- ---- the report ----

local function print_table(measured)
    local function print_row(...)
        print(("%-14s|%8s %8s %6s |%8s %8s %6s |%7s |%7s |%9s |%9s"):format(...))
    end
    print "Instructions per operation, socketcore (sc) beside lwIP's sockets (lwip), and how often"
    print "each calls what costs more on a device than here (sc/lwip)."
    print_row("", "all: sc", "lwip", "ratio", "layer:sc", "lwip", "ratio", "waits", "posts",
        "locks", "protect")
    for _, operation in ipairs(OPERATIONS) do
        local sc, lwip = measured.socketcore[operation], measured.sockets[operation]
        local function pair(count)
            return ("%.3g/%.3g"):format(sc[count], lwip[count])
        end
        print_row(operation, ("%.0f"):format(sc.all), ("%.0f"):format(lwip.all),
            ("%.2f"):format(sc.all / lwip.all), ("%.0f"):format(sc.layer),
            ("%.0f"):format(lwip.layer), ("%.2f"):format(sc.layer / lwip.layer), pair "waits",
            pair "posts", pair "locks", pair "protections")
    end
end

-- What is wrong with a count, and what is worth a note.
local function compare(operation, count, now, before, problems, notes)
    if not before then
        problems[#problems + 1] = ("%s: %s has no baseline"):format(operation, count)
    elseif now > before * (1 + GROWTH_MAX) then
        problems[#problems + 1] = ("%s: %s has grown from %.1f to %.1f (%+.1f %%)"):format(
            operation, count, before, now, (now / before - 1) * 100)
    elseif now < before * (1 - GROWTH_MAX) then
        notes[#notes + 1] = ("%s: %s has fallen from %.1f to %.1f (%+.1f %%)"):format(operation,
            count, before, now, (now / before - 1) * 100)
    end
end

local function check(measured, baseline)
    local problems, notes = {}, {}
    for _, operation in ipairs(OPERATIONS) do
        local sc = measured.socketcore[operation]
        local before = baseline.socketcore[operation] or {}
        local ratio = sc.all / measured.sockets[operation].all
        for _, count in ipairs(COUNTS) do
            compare(operation, count, sc[count], before[count], problems, notes)
        end
        if ratio > RATIO_MAX then
            problems[#problems + 1] = ("%s: %.2f times what lwIP's sockets take, more than %.2f")
                :format(operation, ratio, RATIO_MAX)
        end
    end
    return problems, notes
end

local measured = { socketcore = read_side "socketcore", sockets = read_side "sockets" }
print_table(measured)
if option == "--record" then
    write_baseline(measured)
    print("recorded in " .. baseline_name)
    return
end

local baseline = read_baseline()
local problems, notes = check(measured, baseline)
if #notes > 0 then
    print("Below the baseline, so record it (./dev instructions --record):")
    print("    " .. table.concat(notes, "\n    "))
end
if #problems > 0 then
    local advice = {
        "If that is meant: ./dev instructions --record, and commit the baseline with it.",
    }
    if baseline.platform ~= platform then
        table.insert(advice, 1, ("The baseline was recorded with %s, this is %s:"):format(
            baseline.platform, platform))
        table.insert(advice, 2, "the counts may differ for that alone.")
    end
    fail(table.concat(problems, "\n              "), unpack(advice))
end
