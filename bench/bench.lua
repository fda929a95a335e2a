--- Measures socketcore beside what else there is, in alternating rounds. run.sh starts it; what it
-- is made of: options, figures (what, on whom, which targets), sides (processes), rounds (the run),
-- summary (numbers), report (text), json, chart and publish (the committed copy).
--
-- SPDX-License-Identifier: MIT

local here, build = os.getenv("BENCH_DIR"), os.getenv("BENCH_BUILD")
package.path = here .. "/?.lua;" .. package.path

local figures = require "figures"
local json = require "json"
local options = require "options"
local publish = require "publish"
local report = require "report"
local rounds = require "rounds"
local sides = require "sides"

local function fail(message)
    io.stderr:write("bench: ", message, "\n")
    os.exit(1)
end

local function parse_options()
    local ok, result = pcall(options.parse, arg)
    if not ok then
        fail(result)
    end
    local client, server = (os.getenv("BENCH_CPUS") or ""):match("^(%d+) (%d+)")
    result.cpus = result.cpus or { client = client, server = server }
    result.json = result.json or build:match("^.*/") .. "bench.json"
    return result
end

-- Now rather than after minutes of measuring; what stands there stays until then.
local function check_writable(name)
    local file, message = io.open(name, "a")
    if not file then
        fail("cannot write the report: " .. message)
    end
    file:close()
end

-- run.sh has raised the limit as far as it goes.
local function check_files(parts, growth)
    local allowed = tonumber(os.getenv("BENCH_FILES") or "") or math.huge
    local function check(needed, what)
        if needed > allowed then
            error(string.format("%s wants %d open files and this shell may have %d. Raise the hard "
                .. "limit (ulimit -H -n, /etc/security/limits.conf), or leave it out with --only.",
                what, needed, allowed), 0)
        end
    end
    check(growth and figures.GROWTH_FILES or 0, "--growth")
    for _, part in ipairs(parts) do
        for _, figure in ipairs(part.figures) do
            check(figure.files or 0, figure.name)
        end
    end
end

local function measure(chosen)
    local result = {
        date = os.date("!%Y-%m-%dT%H:%M:%SZ"),
        machine = sides.describe_machine(),
        versions = sides.describe_versions(),
        link = os.getenv("SOCKETCORE_LINK"), -- none: the default
        cpus = chosen.cpus,
        rounds = chosen.rounds,
        seconds = chosen.seconds,
        figures = {},
    }
    local parts = chosen.growth and {} or rounds.parts(chosen.only)
    check_files(parts, chosen.growth or chosen.publish)
    if not chosen.growth then
        result.figures = report.entries(parts, rounds.run(parts, chosen))
    end
    if chosen.growth or chosen.publish then
        result.growth = report.growth(rounds.run_growth({
            rounds = chosen.growth_rounds, seconds = chosen.growth_seconds, cpus = chosen.cpus,
        }))
    end
    return result
end

local function run(chosen)
    local result = measure(chosen)
    io.write(report.text(result))
    local file = assert(io.open(chosen.json, "w"))
    file:write(json.encode(result))
    file:close()
    io.stderr:write("report: ", chosen.json, "\n")
    if chosen.publish then
        publish.all(here, result)
    end
    if #report.targets(result.figures) == 0 then
        return true
    end
    local line, is_reached = report.verdict(result.figures)
    print("\n" .. line)
    return is_reached
end

local function render()
    publish.render(here)
    return true
end

local chosen = parse_options()
if chosen.help then
    io.write(options.USAGE)
    os.exit(0)
elseif not chosen.render then
    check_writable(chosen.json)
end
local done, result = pcall(chosen.render and render or run, chosen)
if not done then
    if tostring(result):find("interrupted!", 1, true) then -- Ctrl-C
        os.exit(130)
    end
    fail(tostring(result))
end
os.exit(chosen.check and not result and 1 or 0)
