--- Shell commands, for the specs about ./dev and the build.
-- SPDX-License-Identifier: MIT
local commands = {}

--- `text` as one word of a shell's command line.
function commands.quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- What a command prints, without the last newline, and its exit status.
function commands.shell(command)
    local pipe = io.popen("{ " .. command .. "\n} 2>&1; echo \" $?\"")
    local output = pipe:read "*a"
    pipe:close()
    local text, status = output:match "^(.-)\n? (%d+)\n$"
    return text, tonumber(status)
end

--- Runs a command that has to succeed. Returns what it prints.
function commands.must(command)
    local output, status = commands.shell(command)
    assert(status == 0, command .. ": " .. output)
    return output
end

--- Writes a file.
function commands.write(path, content)
    local file = assert(io.open(path, "w"))
    file:write(content)
    file:close()
end

return commands
