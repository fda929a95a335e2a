-- Uploads 1 MB to the project's server, takes it back, and compares the checksums.
--
--     ./dev run examples/upload_echo.lua HOST PORT
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "socket"

local host, port = arg[1] or "127.0.0.1", arg[2] or 7
local SIZE = 1024 * 1024

-- No two blocks alike, so that one that is lost, doubled or moved changes the checksum.
local function make_data()
    local bytes, x = {}, 1
    for i = 1, SIZE do
        x = (x * 16807) % 2147483647
        bytes[i] = string.char(x % 256)
    end
    return table.concat(bytes)
end

local function adler32(data)
    local a, b = 1, 0
    for i = 1, #data do
        a = (a + data:byte(i)) % 65521
        b = (b + a) % 65521
    end
    return string.format("%04x%04x", b, a)
end

local function exchange(data)
    local client = socket.tcp()
    if not client:connect(host, port, 10) then
        return nil, "cannot connect"
    end
    -- Returns when the server's TCP has acknowledged every byte.
    local sent = client:send("return " .. #data .. "\n") and client:send(data)
    if not sent then
        client:close()
        return nil, "the upload broke off"
    end
    log.info("upload", #data, "bytes sent and acknowledged")

    local parts, got = {}, 0
    while got < #data do
        local ok, part = client:recv(10000)
        if not ok then
            client:close()
            return nil, got .. " bytes came back, then: " .. part
        end
        parts[#parts + 1] = part
        got = got + #part
    end
    client:close()
    return table.concat(parts)
end

sys.taskInit(function()
    local data = make_data()
    local back, message = exchange(data)
    if not back then
        log.error("upload", host, port, message)
        os.exit(1)
    end
    log.info("upload", #back, "bytes came back, checksums", adler32(data), adler32(back))
    os.exit(back == data and adler32(back) == adler32(data) and 0 or 1)
end)

sys.run()
