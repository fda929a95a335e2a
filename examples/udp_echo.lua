-- Sends datagrams to an echo server, one after the other, and counts what comes back.
--
--     ./dev run examples/udp_echo.lua HOST PORT [COUNT]
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "socket"

local host, port, count = arg[1] or "127.0.0.1", arg[2] or 7, tonumber(arg[3] or 100)

sys.taskInit(function()
    local client = socket.udp()
    if not client:connect(host, port, 10) then
        log.error("udp", host, port, "cannot connect")
        os.exit(1)
    end
    local back = 0
    for i = 1, count do
        local data = string.format("datagram %d of %d ", i, count) .. string.rep("#", i)
        client:send(data)
        local ok, answer = client:recv(2000)
        if ok and answer == data then
            back = back + 1
        else
            log.warn("udp", "datagram", i, "did not come back:", answer)
        end
    end
    client:close()
    log.info("udp", back, "of", count, "round trips")
    os.exit(back == count and 0 or 1)
end)

sys.run()
