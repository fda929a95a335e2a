-- run.lua SCRIPT [args]: runs a firmware script on this computer as `./dev run` promises. The
-- script sees its own name and arguments in `arg`, and no difference to `lua5.1 SCRIPT [args]` but
-- these:
--
-- - rtos and socketcore are there without a require, as on the device.
-- - Ctrl-C ends it wherever it is, with a traceback of that place and exit status 130.
-- - What was to end with exit status 0 ends with 1 when a task, handler, subscriber or timer had an
--   error, and with 3 when tasks were left that nothing could wake.
--
-- SPDX-License-Identifier: MIT

local FAILED, STUCK, INTERRUPTED = 1, 3, 130

require "rtos"
require "socketcore"

local exit = os.exit
local name = arg[0]
local rtos = rawget(_G, "rtos")

-- lua/sys.lua keeps its own part of this up to date; see there.
local state = { failures = 0, first_failure = nil, has_run = false, is_stuck = false }

local function say(...)
    io.stdout:flush()
    io.stderr:write(...)
    io.stderr:write("\n")
end

function state.ended(text)
    state.is_stuck = text ~= nil
    if text then
        say(text)
    end
end

-- Without the lines of this file at its end.
local function traceback(message, level)
    local text = debug.traceback(message, level + 1)
    local from = text:find("\n\t[C]: in function 'xpcall'\n\t" .. name .. ":", 1, true)
    return from and text:sub(1, from - 1) or text
end

local function waiting_tasks()
    local sys = package.loaded.sys
    if type(sys) ~= "table" or not sys.waiting then
        return {}, 0 -- none, or the script's own
    end
    return sys.waiting()
end

-- The exit status of a script that ends well.
local function final_status()
    if state.failures > 0 then
        say(("exit status %d: %d error%s, the first: %s"):format(FAILED, state.failures,
            state.failures > 1 and "s" or "", state.first_failure))
        return FAILED
    end
    if not state.has_run then
        local lines, total = waiting_tasks()
        if total > 0 then
            say(("the script has ended without sys.run(), so nothing wakes its %d task%s:\n    %s")
                :format(total, total > 1 and "s" or "", table.concat(lines, "\n    ")))
            return STUCK
        end
    end
    return state.is_stuck and STUCK or 0
end

local function interrupt()
    say(traceback("interrupted", 2))
    local co, is_main = coroutine.running()
    local lines, total = waiting_tasks()
    if total > 0 and (not co or is_main) then
        say("tasks:\n    ", table.concat(lines, "\n    "))
    end
    exit(INTERRUPTED)
end

-- An error is told also when another task ends the script well. That tasks still wait is what a
-- script that calls os.exit has accepted.
function os.exit(code, ...) -- luacheck: ignore 122
    if (code == nil or code == true or tonumber(code) == 0) and state.failures > 0 then
        code = final_status()
    end
    exit(code, ...)
end

-- The system has a process ignore Ctrl-C while it waits for a command, which it ends.
local execute = os.execute
function os.execute(command) -- luacheck: ignore 122
    local status, how, number = execute(command)
    if status == 2 or status == 256 * INTERRUPTED or how == "signal" and number == 2 then
        interrupt()
    end
    if how ~= nil then
        return status, how, number
    end
    return status
end

-- As `lua5.1 SCRIPT [args]` has it.
local function set_arg(old)
    local lowest = 0
    while old[lowest - 1] do
        lowest = lowest - 1
    end
    local new = { [-1] = old[lowest] }
    for i = 1, #old do
        new[i - 1] = old[i]
    end
    arg = new -- luacheck: ignore 111 121
end

if rtos then
    rtos.runner = state
    local poweroff = rtos.poweroff
    function rtos.poweroff(...)
        if state.failures > 0 then
            exit(final_status())
        end
        poweroff(...)
    end
    rtos.on_interrupt(interrupt)
end

set_arg(arg)
local chunk, problem = loadfile(arg[0])
if not chunk then
    say(problem)
    exit(FAILED)
end
local unpack = rawget(_G, "unpack") or rawget(table, "unpack")
local ok, message = xpcall(function() return chunk(unpack(arg)) end, function(message)
    return traceback(tostring(message), 2)
end)
if not ok then
    say(message)
    exit(FAILED)
end
local status = final_status()
if status ~= 0 then
    exit(status)
end
