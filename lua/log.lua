--- Log lines with a time stamp and a level.
-- `log.info("tag", value, ...)` prints one line: date, seconds since start, level, tag, values
-- separated by tabs. Lines go through `print`, so a platform that redirects `print` gets them too.
--
-- The level is the global `LOG_LEVEL`, as firmware scripts set it, or its name, or INFO.
--
-- SPDX-License-Identifier: MIT
-- @module log

local log = {
    LOG_SILENT = 0,
    LOGLEVEL_TRACE = 1,
    LOGLEVEL_DEBUG = 2,
    LOGLEVEL_INFO = 3,
    LOGLEVEL_WARN = 4,
    LOGLEVEL_ERROR = 5,
    LOGLEVEL_FATAL = 6,
}

local TICKS_PER_SECOND = 16384
local LETTERS = { "T", "D", "I", "W", "E", "F" }
local NAMES = { silent = 0, trace = 1, debug = 2, info = 3, warn = 4, error = 5, fatal = 6 }

local function uptime()
    local rtos = rawget(_G, "rtos")
    return rtos and rtos.tick and rtos.tick() / TICKS_PER_SECOND or os.clock()
end

local started = uptime()

local function write(level, tag, ...)
    local threshold = rawget(_G, "LOG_LEVEL") or log.LOGLEVEL_INFO
    if type(threshold) ~= "number" then
        threshold = NAMES[threshold]
            or error("LOG_LEVEL: no such level: " .. tostring(rawget(_G, "LOG_LEVEL")), 3)
    end
    if level < threshold or threshold == log.LOG_SILENT then
        return
    end
    print(string.format("[%s %.3f] [%s]-[%s]", os.date("%Y-%m-%d %H:%M:%S"), uptime() - started,
        LETTERS[level], tostring(tag)), ...)
end

--- Sets the level below which nothing is printed; the same as assigning the global `LOG_LEVEL`.
-- @tparam number|string level one of the `LOGLEVEL_*` constants, `LOG_SILENT`, or a name such as
-- `"debug"` or `"silent"`
-- @raise an error when there is no such level
function log.setLevel(level)
    local number = NAMES[level] or level
    if type(number) ~= "number" or number < 0 or number > 6 then
        error("bad argument #1 to 'setLevel' (no such level: " .. tostring(level) .. ")", 2)
    end
    rawset(_G, "LOG_LEVEL", number)
end

--- Prints one line at level TRACE.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.trace(tag, ...) write(1, tag, ...) end

--- Prints one line at level DEBUG.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.debug(tag, ...) write(2, tag, ...) end

--- Prints one line at level INFO.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.info(tag, ...) write(3, tag, ...) end

--- Prints one line at level WARN.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.warn(tag, ...) write(4, tag, ...) end

--- Prints one line at level ERROR.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.error(tag, ...) write(5, tag, ...) end

--- Prints one line at level FATAL.
-- @param tag where the line comes from
-- @param ... values, shown as by `tostring`
function log.fatal(tag, ...) write(6, tag, ...) end

-- A log that is piped or redirected is read while the script runs, and must survive its end.
pcall(function() io.stdout:setvbuf("line") end)

_G.log = log
return log
