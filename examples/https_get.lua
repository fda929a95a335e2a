-- Gets a page over HTTPS twice, from a server that a CA's certificate vouches for, and says how it
-- was encrypted: the second connection resumes the first one's session where the server lets it.
-- Writes the second body to a file when one is named.
--
--     ./dev run examples/https_get.lua [HOST [PORT [PATH [CA_FILE [FILE]]]]]
--
-- SPDX-License-Identifier: MIT

require "sys"
require "log"
require "socket"

local host, port, path = arg[1] or "localhost", arg[2] or 443, arg[3] or "/"
local ca_file, file_name = arg[4] or "ca.crt", arg[5]

-- Firmware has no sock_info.
local function log_tls(client)
    local info = socketcore.sock_info and socketcore.sock_info(client.id)
    if info then
        log.info("https", info.tls_version, info.cipher_suite,
            info.verified and "verified" or "not verified", info.resumed and "resumed" or "new")
    end
end

-- The head of the response and as much of the body as the server says there is.
local function get()
    local client = socket.tcp(true, { caCert = ca_file })
    if not client:connect(host, port, 10) then
        return nil, "cannot connect"
    end
    log_tls(client)
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

local function get_page()
    local head, body = get()
    if not head then
        log.error("https", host, port, body)
        os.exit(1)
    end
    local status = head:match("^HTTP/1%.%d (%d+)")
    log.info("https", "status", status, "body", #body, "bytes", body:match("<title>(.-)</title>"))
    if status ~= "200" then
        os.exit(1)
    end
    return body
end

sys.taskInit(function()
    get_page()
    local body = get_page()
    if file_name then
        local file = assert(io.open(file_name, "wb"))
        assert(file:write(body))
        assert(file:close())
    end
    os.exit(0)
end)

sys.run()
