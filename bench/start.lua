--- Measures how long a program takes from before its process exists until it says that it is
-- connected: the median of many starts, in ms.
--
--     lua5.1 start.lua tcp=PORT [seconds=S] [NAME=VALUE...] PROGRAM [ARGUMENTS]
--
-- PROGRAM gets the port as one more argument, and prints a line once it is connected.
--
-- SPDX-License-Identifier: MIT

package.path = arg[0]:match("^(.*)/") .. "/?.lua;" .. package.path
local summary = require "summary"
local uv = require "luv"

local MIN_STARTS = 5

local options, command = {}, {}
for _, word in ipairs(arg) do
    local name, value = word:match("^(%l+)=(.*)$")
    if name and not command[1] then
        options[name] = value
    else
        command[#command + 1] = word
    end
end
local program = table.remove(command, 1)
command[#command + 1] = options.tcp

-- One start: ms until the line is here. Returns once the process has ended.
local function start()
    local out = uv.new_pipe(false)
    local began, took, ended = uv.hrtime(), nil, nil
    local said = ""
    local process, err = uv.spawn(program, { args = command, stdio = { nil, out, 2 } },
        function(status)
            ended = status
        end)
    assert(process, err)
    out:read_start(function(failed, data)
        assert(not failed, failed)
        said = said .. (data or "")
        if not took and said:find("\n") then
            took = (uv.hrtime() - began) / 1e6
        end
        if not data then
            out:close()
        end
    end)
    while not ended or not out:is_closing() do
        uv.run("once")
    end
    process:close()
    uv.run("nowait")
    assert(ended == 0 and said == "connected\n", said)
    return took
end

start() -- what is read from disk is in memory from here on
local times = {}
local deadline = uv.hrtime() + tonumber(options.seconds or 0.5) * 1e9
while #times < MIN_STARTS or uv.hrtime() < deadline do
    times[#times + 1] = start()
end
print(string.format("value %.6g", summary.of(times).median))
