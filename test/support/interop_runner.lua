--- One combination of the TLS interoperability specs: two connections to a server that others
-- wrote, what `sock_info` must say of each, and a line in the report $SC_BUILD/tls-interop.md.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local assert = require "luassert"
local luasocket = require "socket.core"
local pki = require "test.support.pki"

local interop = { rows = {} }

interop.NAME = "one.test" -- in the server's certificates, sent as SNI

--- The path of a program, also one that Debian keeps from ordinary users; nil when it is missing.
function interop.find(program)
    local out = io.popen("PATH=$PATH:/usr/sbin:/sbin command -v " .. h.quote(program))
    local found = out:read "*l"
    out:close()
    return found
end

local last_port = 20000

--- A port for a server: another one each time, and below those that the kernel gives to clients, so
-- that none of the many servers here finds its port taken.
function interop.port()
    repeat
        last_port = last_port + 1
        local probe = luasocket.tcp()
        local is_free = probe:bind("127.0.0.1", last_port)
        probe:close()
    until is_free
    return last_port
end

--- The fields of `cert` for a verified connection, and `more`.
function interop.cert(more)
    local cert = { hostName = interop.NAME, caCert = pki.root().pem }
    for name, value in pairs(more or {}) do
        cert[name] = value
    end
    return cert
end

--- The fields of `cert` with a client certificate of this kind, too.
function interop.client_cert(kind)
    local client = pki.client(kind)
    return interop.cert { clientCert = client.pem, clientKey = client.key_pem }
end

--- Sends and reads back a short piece and one as long as the firmware's wrapper makes them. The
-- server works by lines; `turn` is what it does to one.
function interop.echo_lines(turn)
    return function(id)
        for _, text in ipairs { "hello", (h.pattern(11199):gsub("[%c\128-\255]", ".")) } do
            h.send(id, text .. "\n")
            local wanted = turn and turn(text) or text
            assert(h.read(id, #wanted + 1) == wanted .. "\n", "something else came back")
        end
    end
end

--- The same for a server that sends back what it gets.
function interop.echo(id)
    for _, data in ipairs { "hello", h.every_byte() .. h.pattern(20000) } do
        h.send(id, data)
        assert(h.read(id, #data) == data, "something else came back")
    end
end

--- Reads up to the end of a line, which is left away.
function interop.read_line(id)
    local line = ""
    repeat
        local byte = h.read(id, 1)
        line = line .. byte
    until byte == "\n"
    return line:sub(1, -2)
end

local function check_info(c, info, resumed)
    assert.equal(c.version, info.tls_version)
    if c.suite then
        assert.equal(c.suite, info.cipher_suite)
    end
    assert.equal(c.verified ~= false, info.verified)
    -- A session of TLS 1.3 keeps no certificate.
    if c.verified ~= false and not (resumed and c.version == "TLSv1.3") then
        assert.matches("CN=localhost", info.peer_subject)
    end
    assert.equal(c.alpn, info.alpn)
end

local function wait_closed_by_peer(id)
    local message = h.wait_for(id, h.CLOSE_IND)
    assert.equal("closed by the peer", message.reason)
end

local function connect(c, number)
    local id = h.open(h.SSL, "127.0.0.1", c.port, c.cert or interop.cert())
    local info = h.sc.sock_info(id)
    local resumed = number > 1 and c.resumes
    check_info(c, info, resumed)
    assert.equal(resumed, info.resumed)
    c.exchange(id, number, info)
    if number > 1 and c.ask_to_close then
        c.ask_to_close(id)
        wait_closed_by_peer(id)
    end
    h.close(id)
    return info
end

local function note(c, result, suite)
    interop.rows[#interop.rows + 1] = ("| %d | %s | %s | %s | %s | %s | %s |"):format(
        #interop.rows + 1, c.server, c.version, c.what, suite or c.suite or "",
        c.resumes and "yes" or "no", result)
end

--- Runs a combination:
--
-- - `server`, `what`: its name in the report; `port`
-- - `cert`: for `sock_conn`, by default `interop.cert()`
-- - `version`, `suite` (optional), `alpn`, `verified` (false: without a CA): what `sock_info` says
-- - `resumes`: the second connection must resume the first one's session, else it must not
-- - `exchange(id, number, info)`: data both ways on connection 1 and 2
-- - `ask_to_close(id)`: makes the server close connection 2 (optional)
function interop.run(c)
    c.resumes = c.resumes == true
    local ok, got = xpcall(function()
        h.sc.config { close_grace_ms = 0 }
        connect(c, 1)
        return connect(c, 2)
    end, function(err)
        return type(err) == "table" and err.message and err or tostring(err)
    end)
    note(c, ok and "ok" or "FAILED", ok and got.cipher_suite or nil)
    if not ok then
        error(got, 0)
    end
end

--- A combination that must not come about: `reason` is a pattern of why.
function interop.refuse(c, reason)
    local id = assert(h.sc.sock_conn(h.SSL, "127.0.0.1", c.port, c.cert or interop.cert()))
    local message = h.wait_for(id, h.CONN_CNF)
    if message.result == 0 then
        -- TLS 1.3: the server looks at the client's certificate after our handshake is over.
        message = h.wait_for(id, h.CLOSE_IND)
    end
    local ok = tostring(message.reason):find(reason) ~= nil
    note(c, ok and "refused, as it must be" or "FAILED")
    assert.matches(reason, message.reason)
    h.close(id)
end

--- Writes the report. `missing`: names of servers that are not installed.
function interop.write_report(missing)
    local directory = os.getenv "SC_BUILD"
    if not directory then
        return
    end
    local lines = {
        "# TLS with servers that others wrote",
        "",
        ("%d combinations. Each is two connections with data both ways. For \"yes\" below the "
            .. "second one had to resume the session of the first."):format(#interop.rows),
        "",
    }
    for _, name in ipairs(missing) do
        lines[#lines + 1] = ("Not tried, because it is missing here: %s.\n"):format(name)
    end
    lines[#lines + 1] = "| | server | version | what | cipher suite | resumed | result |"
    lines[#lines + 1] = "|---|---|---|---|---|---|---|"
    for _, row in ipairs(interop.rows) do
        lines[#lines + 1] = row
    end
    h.write_file(directory .. "/tls-interop.md", table.concat(lines, "\n") .. "\n")
end

------------------------------------------------------------------------------------------- memory

local function memory_without_sessions()
    return h.rtos.memory() - #h.sc.tls_sessions()
end

local least

--- Notes the memory in use. What is kept for resumption stays, and is counted apart.
function interop.note_memory()
    h.pump(300)
    least = memory_without_sessions()
end

--- Fails when more memory is in use than the sessions that are kept can explain, with what was read
-- from the cert tables of the last 16.
function interop.check_memory()
    local bookkeeping = 32 * 64 + 16 * 8192
    h.wait_until(function() return memory_without_sessions() <= least + bookkeeping end,
        "the memory of closed connections")
end

return interop
