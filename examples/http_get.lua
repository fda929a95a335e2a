-- Gets a page over HTTP and says how long it was; writes its body to a file when one is named.
--
--     ./dev run examples/http_get.lua [HOST [PORT [PATH [FILE]]]]
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "socket"

local host, port, path, file_name = arg[1] or "127.0.0.1", arg[2] or 80, arg[3] or "/", arg[4]

-- The head of the response and as much of the body as the server says there is.
local function get()
    local client = socket.tcp()
    if not client:connect(host, port, 10) then
        return nil, "cannot connect"
    end
    client:send("GET " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\nConnection: close\r\n\r\n")

    local response, head, body_at, length = ""
    repeat
        local ok, data = client:recv(10000)
        if not ok then
            client:close()
            return nil, "the response broke off: " .. data
        end
        response = response .. data
        if not head then
            head, body_at = response:match("^(.-\r\n)\r\n()")
            length = head and tonumber(head:match("[Cc]ontent%-[Ll]ength: *(%d+)"))
        end
    until length and #response - body_at + 1 >= length
    client:close()
    return head, response:sub(body_at)
end

sys.taskInit(function()
    local head, body = get()
    if not head then
        log.error("http", host, port, body)
        os.exit(1)
    end
    local status = head:match("^HTTP/1%.%d (%d+)")
    log.info("http", "status", status, "server", head:match("\r\nServer: ([^\r]*)"))
    log.info("http", "body", #body, "bytes", body:match("<title>(.-)</title>"))
    if file_name then
        local file = assert(io.open(file_name, "wb"))
        assert(file:write(body))
        assert(file:close())
    end
    os.exit(status == "200" and 0 or 1)
end)

sys.run()
