--- Measures socketcore beside what else there is, in alternating rounds, and prints medians.
--
-- In every round each figure is measured on every side, one after the other against the same
-- server, in the reverse order in every other round. `ratio` is socketcore's median divided by the
-- other side's.
--
-- SPDX-License-Identifier: MIT

local USAGE = [[
usage: ./dev bench [options]
  --quick          3 short rounds
  --rounds N       rounds (default 7)
  --seconds S      seconds that one measurement aims at (default 0.5)
  --only NAME,...  only these figures: send send8 receive round_trip connect datagram idle
                   tls_ecdsa tls_rsa tls_resume tls_send tls_send8 tls_receive
                   tls_send8_chacha tls_receive_chacha, or groups of them: plain tls
  --cpus C,S       pin clients to CPU C and the server to CPU S, or "none" (default: the first two)
  --json FILE      where the report goes (default build/bench.json)
]]

local ROUNDS, QUICK_ROUNDS = 7, 3
local SECONDS, QUICK_SECONDS = 0.5, 0.15
local TIME_LIMIT = 120 -- seconds that one measurement may take before it counts as hanging

local here, build = os.getenv("BENCH_DIR"), os.getenv("BENCH_BUILD")
local client_cpu, server_cpu = (os.getenv("BENCH_CPUS") or ""):match("^(%d+) (%d+)")

-- What is measured, in groups that share their sides and their server. `less` is true where less is
-- better; `at` is which of the TLS server's ports, see tls_server.sh.
local PLAIN_FIGURES = {
    { name = "send", unit = "MB/s", title = "send 11200 bytes, each waits for SEND_CNF" },
    { name = "send8", unit = "MB/s", title = "send 11200 bytes, 8 under way" },
    { name = "receive", unit = "MB/s", title = "receive in pieces of 2048 bytes" },
    { name = "round_trip", unit = "1/s", title = "round trips of 64 bytes" },
    { name = "connect", unit = "1/s", title = "connect and close" },
    { name = "datagram", unit = "1/s", title = "UDP echoes of 512 bytes" },
    { name = "idle", unit = "KB", title = "memory per idle connection at 1,000", less = true },
}
local TLS_FIGURES = {
    { name = "tls_ecdsa", unit = "1/s", title = "TLS: full handshakes, ECDSA P-256",
        at = "ecdsa" },
    { name = "tls_rsa", unit = "1/s", title = "TLS: full handshakes, RSA-2048", at = "rsa" },
    { name = "tls_resume", unit = "1/s", title = "TLS: resumed (LuaSec: full), 1 byte, close",
        at = "ecdsa" },
    { name = "tls_send", unit = "MB/s", title = "TLS, AES-GCM: send 11200 bytes, one by one",
        at = "ecdsa" },
    { name = "tls_send8", unit = "MB/s", title = "TLS, AES-GCM: send, 8 under way",
        at = "ecdsa" },
    { name = "tls_receive", unit = "MB/s", title = "TLS, AES-GCM: receive in pieces of 2048",
        at = "ecdsa" },
    { name = "tls_send8_chacha", unit = "MB/s", title = "TLS, ChaCha20: send, 8 under way",
        at = "chacha" },
    { name = "tls_receive_chacha", unit = "MB/s",
        title = "TLS, ChaCha20: receive in pieces of 2048", at = "chacha" },
}

local function quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Who is measured.
local SOCKETCORE = {
    name = "socketcore",
    program = "lua5.1 " .. quoted(here .. "/side_socketcore.lua"),
    environment = "LUA_CPATH=" .. quoted(build .. "/?.so;;"),
}
local LUASOCKET = {
    name = "LuaSocket", program = "lua5.1 " .. quoted(here .. "/side_luasocket.lua"),
}
local LUASEC = { name = "LuaSec", program = "lua5.1 " .. quoted(here .. "/side_luasec.lua") }
local MBEDTLS = { name = "mbedTLS", program = quoted(build .. "/bench/limit_mbedtls") }

local function fail(...)
    io.stderr:write("bench: ", string.format(...), "\n")
    os.exit(1)
end

local function pinned(cpu)
    return cpu and "taskset -c " .. cpu .. " " or ""
end

-- Processes -----------------------------------------------------------------------------------

local function start_plain_server()
    local out = assert(io.popen("exec " .. pinned(server_cpu) .. quoted(build .. "/bench/server")))
    local tcp_port, udp_port = (out:read("*l") or ""):match("^tcp=(%d+) udp=(%d+)$")
    if not tcp_port then
        fail("the server did not start.")
    end
    -- It ends when its output is closed.
    return { tcp_port = tcp_port, udp_port = udp_port, stop = function() out:close() end }
end

local function start_tls_server()
    local out = assert(io.popen(string.format("exec %ssh %s %s", pinned(server_cpu),
        quoted(here .. "/tls_server.sh"), quoted(build .. "/bench/server"))))
    local ecdsa, rsa, chacha, directory =
        (out:read("*l") or ""):match("^ecdsa=(%d+) rsa=(%d+) chacha=(%d+) dir=(.+)$")
    if not ecdsa then
        fail("the TLS server did not start.")
    end
    return {
        ecdsa = { port = ecdsa, ca_file = directory .. "/ecdsa_ca.crt" },
        chacha = { port = chacha, ca_file = directory .. "/ecdsa_ca.crt" },
        rsa = { port = rsa, ca_file = directory .. "/rsa_ca.crt" },
        stop = function() out:close() end,
    }
end

-- The first side is the one that the others stand beside.
local GROUPS = {
    {
        name = "plain", figures = PLAIN_FIGURES, sides = { SOCKETCORE, LUASOCKET },
        start_server = start_plain_server,
    },
    {
        name = "tls", figures = TLS_FIGURES, sides = { SOCKETCORE, LUASEC, MBEDTLS },
        start_server = start_tls_server,
    },
}

-- What a side is told about the server, after the figure's name.
local function server_arguments(figure, server, seconds)
    if figure.at then
        local there = server[figure.at]
        return string.format("%s 0 %g %s", there.port, seconds, quoted(there.ca_file))
    end
    return string.format("%s %s %g", server.tcp_port, server.udp_port, seconds)
end

-- The value that a side prints for a figure, or nil when the figure is not for this side.
local function measure(side, figure, server, seconds)
    local out = assert(io.popen(string.format(
        "%s timeout --foreground -k 2 %d %s%s %s %s 2>&1; echo \"status $?\"",
        side.environment or "", TIME_LIMIT, pinned(client_cpu), side.program, figure.name,
        server_arguments(figure, server, seconds))))
    local printed = out:read("*a")
    out:close()
    local value = printed:match("^value (%S+)\nstatus 0\n$")
    if value then
        return tonumber(value)
    elseif printed == "none\nstatus 0\n" then
        return nil
    elseif printed:find("status 124\n$") then
        fail("%s, %s: not done within %d s.", figure.title, side.name, TIME_LIMIT)
    end
    fail("%s, %s:\n%s", figure.title, side.name, printed)
end

-- Numbers -------------------------------------------------------------------------------------

local function summary(values)
    local sorted = {}
    for i, value in ipairs(values) do
        sorted[i] = value
    end
    table.sort(sorted)
    local n = #sorted
    local middle = math.floor((n + 1) / 2)
    return {
        values = values,
        median = n % 2 == 1 and sorted[middle] or (sorted[middle] + sorted[middle + 1]) / 2,
        min = sorted[1],
        max = sorted[n],
    }
end

local function readable(value)
    if value < 100 then
        return string.format("%.1f", value)
    end
    local digits = string.format("%.0f", value)
    while digits:find("%d%d%d%d") do
        digits = digits:gsub("^(%d+)(%d%d%d)", "%1,%2")
    end
    return digits
end

-- The report ----------------------------------------------------------------------------------

-- Right-aligned but for the first column. # does for widths: everything is ASCII.
local function print_table(rows)
    local widths = {}
    for _, row in ipairs(rows) do
        for column, text in ipairs(row) do
            widths[column] = math.max(widths[column] or 0, #text)
        end
    end
    for _, row in ipairs(rows) do
        local cells = {}
        for column, text in ipairs(row) do
            local space = string.rep(" ", widths[column] - #text)
            cells[column] = column == 1 and text .. space or space .. text
        end
        print((table.concat(cells, "  "):gsub(" +$", "")))
    end
end

local function table_row(group, figure)
    local row = { figure.title, figure.unit }
    for _, side in ipairs(group.sides) do
        local result = figure.sides[side.name]
        row[#row + 1] = result and readable(result.median) or "-"
        row[#row + 1] = result and string.format("(%s .. %s)", readable(result.min),
            readable(result.max)) or ""
    end
    for k = 2, #group.sides do
        local ratio = figure.ratios[group.sides[k].name]
        row[#row + 1] = ratio and string.format("%.2f%s", ratio, figure.less and " (less)" or "")
            or "-"
    end
    return row
end

-- One table for each group.
local function print_groups(groups)
    for number, part in ipairs(groups) do
        local header = { "median (min .. max)", "" }
        for _, side in ipairs(part.group.sides) do
            header[#header + 1] = side.name
            header[#header + 1] = ""
        end
        for k = 2, #part.group.sides do
            header[#header + 1] = #part.group.sides == 2 and "ratio"
                or "to " .. part.group.sides[k].name
        end
        local rows = { header }
        for _, figure in ipairs(part.figures) do
            rows[#rows + 1] = table_row(part.group, figure)
        end
        if number > 1 then
            print()
        end
        print_table(rows)
    end
end

local function json(value, indent)
    local kind = type(value)
    if kind == "number" then
        return string.format("%.6g", value)
    elseif kind == "string" then
        return '"' .. value:gsub('[%c"\\]', function(character)
            return string.format("\\u%04x", character:byte())
        end) .. '"'
    elseif kind ~= "table" then
        return tostring(value)
    end
    local items, deeper = {}, indent .. "  "
    if #value > 0 then
        local flat = type(value[1]) == "number"
        for i, item in ipairs(value) do
            items[i] = (flat and "" or deeper) .. json(item, deeper)
        end
        return flat and "[" .. table.concat(items, ", ") .. "]"
            or "[\n" .. table.concat(items, ",\n") .. "\n" .. indent .. "]"
    end
    for name, item in pairs(value) do
        items[#items + 1] = deeper .. json(name) .. ": " .. json(item, deeper)
    end
    table.sort(items)
    return "{\n" .. table.concat(items, ",\n") .. "\n" .. indent .. "}"
end

local function first_match(file_name, pattern)
    local file = io.open(file_name)
    local text = file and file:read("*a") or ""
    if file then
        file:close()
    end
    return text:match(pattern) or "unknown"
end

local function describe_machine()
    return {
        cpu = first_match("/proc/cpuinfo", "model name%s*:%s*([^\n]+)"),
        kernel = first_match("/proc/sys/kernel/osrelease", "[^\n]+"),
        system = first_match("/etc/os-release", 'PRETTY_NAME="([^"\n]+)'),
        client_cpu = client_cpu and tonumber(client_cpu),
        server_cpu = server_cpu and tonumber(server_cpu),
    }
end

-- The run -------------------------------------------------------------------------------------

local function parse_options(words)
    local options = { json = build:match("^.*/") .. "bench.json" }
    -- By each name that --only takes: the figures that it stands for.
    local names = {}
    for _, group in ipairs(GROUPS) do
        names[group.name] = group.figures
        for _, figure in ipairs(group.figures) do
            names[figure.name] = { figure }
        end
    end
    local i = 1
    local function value_of(word)
        i = i + 1
        if not words[i] then
            fail("%s wants a value.\n%s", word, USAGE)
        end
        return words[i]
    end
    while words[i] do
        local word = words[i]
        if word == "--quick" then
            options.quick = true
        elseif word == "--rounds" then
            local rounds = tonumber(value_of(word))
            if not rounds or rounds < 1 or rounds % 1 ~= 0 then
                fail("--rounds wants a whole number, 1 or more, not %s.", words[i])
            end
            options.rounds = rounds
        elseif word == "--seconds" then
            local seconds = tonumber(value_of(word))
            if not seconds or not (seconds > 0 and seconds <= 20) then
                fail("--seconds wants a number up to 20, not %s.", words[i])
            end
            options.seconds = seconds
        elseif word == "--only" then
            options.only = {}
            for name in value_of(word):gmatch("[^,]+") do
                if not names[name] then
                    fail("there is no figure \"%s\".\n%s", name, USAGE)
                end
                for _, figure in ipairs(names[name]) do
                    options.only[figure] = true
                end
            end
        elseif word == "--cpus" then
            local value = value_of(word)
            client_cpu, server_cpu = value:match("^(%d+),(%d+)$")
            if not client_cpu and value ~= "none" then
                fail("--cpus wants two numbers like 0,1, or none, not %s.", value)
            end
        elseif word == "--json" then
            options.json = value_of(word)
        elseif word == "--help" then
            io.write(USAGE)
            os.exit(0)
        else
            fail("\"%s\" is not an option.\n%s", word, USAGE)
        end
        i = i + 1
    end
    options.rounds = options.rounds or options.quick and QUICK_ROUNDS or ROUNDS
    options.seconds = options.seconds or options.quick and QUICK_SECONDS or SECONDS
    return options
end

-- One round of a group's figures; adds to values[figure][side], a list with one value a round.
local function run_round(part, round, options, values)
    -- A server of its own for each round: the ports that wait in TIME_WAIT do not add up.
    local server = part.group.start_server()
    local sides = part.group.sides
    for number, figure in ipairs(part.figures) do
        io.stderr:write(string.format("round %d of %d: %d of %d, %s\n", round, options.rounds,
            number, #part.figures, figure.title))
        values[figure] = values[figure] or {}
        for i = 1, #sides do
            local side = sides[round % 2 == 1 and i or #sides + 1 - i]
            local value = measure(side, figure, server, options.seconds)
            values[figure][side] = values[figure][side] or {}
            table.insert(values[figure][side], value)
        end
    end
    server.stop()
end

local function run_rounds(parts, options)
    local values = {}
    for round = 1, options.rounds do
        for _, part in ipairs(parts) do
            run_round(part, round, options, values)
        end
    end
    return values
end

local function make_entry(group, figure, values)
    local entry = {
        name = figure.name, title = figure.title, unit = figure.unit,
        less = figure.less or false, sides = {}, ratios = {},
    }
    for _, side in ipairs(group.sides) do
        local list = values[figure][side]
        if #list > 0 then
            entry.sides[side.name] = summary(list)
        end
    end
    local ours = entry.sides[group.sides[1].name]
    for k = 2, #group.sides do
        local other = entry.sides[group.sides[k].name]
        if ours and other then
            entry.ratios[group.sides[k].name] = ours.median / other.median
        end
    end
    return entry
end

local function make_report(parts, options, values)
    local report = {
        machine = describe_machine(),
        date = os.date("!%Y-%m-%dT%H:%M:%SZ"),
        rounds = options.rounds,
        seconds = options.seconds,
        figures = {},
    }
    local groups = {}
    for i, part in ipairs(parts) do
        groups[i] = { group = part.group, figures = {} }
        for k, figure in ipairs(part.figures) do
            local entry = make_entry(part.group, figure, values)
            groups[i].figures[k] = entry
            table.insert(report.figures, entry)
        end
    end
    return report, groups
end

local options = parse_options(arg)
-- Now rather than after minutes of measuring; what stands there stays until then.
local file, message = io.open(options.json, "a")
if not file then
    fail("cannot write the report: %s", message)
end
file:close()
-- The groups of which something is wanted.
local parts = {}
for _, group in ipairs(GROUPS) do
    local figures = {}
    for _, figure in ipairs(group.figures) do
        if not options.only or options.only[figure] then
            figures[#figures + 1] = figure
        end
    end
    if #figures > 0 then
        parts[#parts + 1] = { group = group, figures = figures }
    end
end
local done, values = pcall(run_rounds, parts, options)
if not done then
    if tostring(values):find("interrupted!", 1, true) then -- Ctrl-C
        os.exit(130)
    end
    error(values, 0)
end
local report, groups = make_report(parts, options, values)
print_groups(groups)
file = assert(io.open(options.json, "w"))
file:write(json(report, ""), "\n")
file:close()
io.stderr:write("report: ", options.json, "\n")
