--- The processes of the bench: the servers, and a side measuring a figure.
--
-- SPDX-License-Identifier: MIT

local sides = {}

local TIME_LIMIT = 120 -- seconds that one measurement may take before it counts as hanging

local here, build = os.getenv("BENCH_DIR"), os.getenv("BENCH_BUILD")

local function quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function script(name)
    return "lua5.1 " .. quoted(here .. "/" .. name .. ".lua")
end

local function program(name)
    return quoted(build .. "/bench/" .. name)
end

local function env(...)
    return "env " .. table.concat({ ... }, " ") .. " "
end

local CERTIFICATES = quoted(build .. "/bench/certificates")
local MODULES = "LUA_CPATH=" .. quoted(build .. "/?.so;;")

-- What is started for a side, before the figure's name.
local PROGRAMS = {
    socketcore = env(MODULES) .. script("side_socketcore"),
    LuaSocket = script("side_luasocket"),
    LuaSec = script("side_luasec"),
    luv = script("side_luv"),
    lwIP = program("limit_lwip"),
    kernel = program("limit_kernel"),
    mbedTLS = program("limit_mbedtls"),
}

-- Start-up is measured by a process of its own, which starts this.
local STARTS = {
    start = {
        socketcore = quoted(here .. "/../dev") .. " run "
            .. quoted(here .. "/start_socketcore.lua"),
        LuaSocket = script("start_luasocket"),
    },
    start_lua = {
        socketcore = env(MODULES) .. "lua5.1 -lrtos -lsocketcore "
            .. quoted(here .. "/start_socketcore.lua"),
        LuaSocket = script("start_luasocket"),
        luv = script("start_luv"),
    },
}

local function pinned(cpu)
    return cpu and "taskset -c " .. cpu .. " " or ""
end

local SERVERS = {
    plain = program("server"),
    tls = program("tls_server") .. " " .. CERTIFICATES,
}

--- Starts a group's server on this CPU, or on any. `stop()` of what is returned ends it.
function sides.start_server(group, cpu)
    -- Its number is that of the shell which becomes the server.
    local out = assert(io.popen(string.format("printf 'pid=%%s ' $$; exec %s%s", pinned(cpu),
        SERVERS[group.name])))
    local server = {}
    for name, value in (out:read("*l") or ""):gmatch("(%w+)=(%d+)") do
        server[name] = value
    end
    -- It ends when its output is closed.
    function server.stop()
        out:close()
    end
    if not server.tcp and not server.ecdsa then
        error("the server did not start.", 0)
    end
    return server
end

-- Where the side finds the server, as words of its command line.
local function place(figure, server)
    if not figure.at then
        return string.format("tcp=%s udp=%s", server.tcp, server.udp)
    end
    return string.format("tcp=%s ca=%s/%s_ca.crt", server[figure.at], CERTIFICATES,
        figure.at:find("^rsa") and "rsa" or "ecdsa")
end

local function command_of(side, figure, server, seconds)
    local work = figure.work or figure.name
    local common = string.format("%s seconds=%g server=%s %s", place(figure, server), seconds,
        server.pid, figure.arguments or "")
    if STARTS[work] then
        return string.format("%s %s %s", script("start"), common, STARTS[work][side])
    end
    return string.format("%s %s %s", PROGRAMS[side], work, common)
end

--- Measures a figure on a side. `cpus` has the numbers `client` and `server`, or nothing. Returns a
-- table: `value`, and where it makes sense `cpu`, the microseconds of CPU time that a unit took,
-- and `server`, the part of the time that the server was busy. nil when this side has no such
-- figure.
function sides.measure(side, figure, server, seconds, cpus)
    local cpu = figure.placement == "shared" and cpus.server or cpus.client
    local out = assert(io.popen(string.format(
        "timeout --foreground -k 2 %d %s%s 2>&1; echo \"status $?\"",
        TIME_LIMIT, pinned(cpu), command_of(side, figure, server, seconds))))
    local printed = out:read("*a")
    out:close()
    local line = printed:match("^(value [^\n]*)\nstatus 0\n$")
    if line then
        local result = {}
        for name, value in line:gmatch("(%l+) (%S+)") do
            result[name] = tonumber(value)
        end
        return result
    elseif printed == "none\nstatus 0\n" then
        return nil
    elseif printed:find("status 124\n$") then
        error(string.format("%s, %s: not done within %d s.", figure.title, side, TIME_LIMIT), 0)
    end
    error(string.format("%s, %s:\n%s", figure.title, side, printed), 0)
end

-- About the machine ---------------------------------------------------------------------------

local function first_match(text, pattern)
    return text and text:match(pattern) or "unknown"
end

local function content(file_name)
    local file = io.open(file_name)
    local text = file and file:read("*a")
    if file then
        file:close()
    end
    return text
end

local function output_of(command)
    local out = assert(io.popen(command .. " 2>/dev/null"))
    local text = out:read("*a")
    out:close()
    return text
end

--- What the report says of where it was measured.
function sides.describe_machine()
    local _, cpus = (content("/proc/cpuinfo") or ""):gsub("processor%s*:", "")
    return {
        cpu = first_match(content("/proc/cpuinfo"), "model name%s*:%s*([^\n]+)"),
        cpus = cpus,
        kernel = first_match(content("/proc/sys/kernel/osrelease"), "[^\n]+"),
        system = first_match(content("/etc/os-release"), 'PRETTY_NAME="([^"\n]+)'),
    }
end

--- The versions of what is measured: Debian's packages, and this project's commit.
function sides.describe_versions()
    local versions = {}
    for name, version in output_of("dpkg-query -W -f '${Package} ${Version}\\n' lua5.1 lua-socket "
        .. "lua-sec lua-luv libslirp0 libssl3"):gmatch("(%S+) (%S+)") do
        versions[name] = version
    end
    versions.socketcore = first_match(output_of("git -C " .. quoted(here)
        .. " describe --always --dirty"), "[^\n]+")
    return versions
end

return sides
