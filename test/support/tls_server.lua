--- TLS servers for the specs: `openssl s_server`, and tls_peer.py, whose client says what it shall
-- do.
--
--     local tls = require "test.support.tls_server"
--     describe("...", function()
--         setup(tls.begin_file)        -- once per process: memory that TLS keeps for good
--         before_each(h.begin)
--         after_each(tls.finish)       -- stops the servers of the test, then h.finish
--         teardown(tls.finish_file)
--
--     local server = tls.openssl { cert = pki.server "ec256", args = "-tls1_2" }
--     local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost" })
--
-- Sessions are not kept unless a cert table says `resume = true`, so that each test stands alone
-- and memory comes back to where it was.
--
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local luasocket = require "socket.core"

local tls = {}

local store = debug.getregistry().socketcore_test
local running = {} -- servers to stop after the test
local kept = {} -- servers to stop after the file

local function wait_log(server, pattern, from, timeout_s)
    local deadline = h.now() + (timeout_s or (h.sanitized and 30 or 10))
    repeat
        local found = h.slurp(server.log):match(pattern, from or 1)
        if found then
            return found
        end
        luasocket.sleep(0.005)
    until h.now() > deadline
    error(("the server never printed %s; it printed:\n%s"):format(pattern, h.slurp(server.log)), 2)
end

-- For lines that come while our engine has to run.
local function pump_log(server, pattern, timeout_ms)
    return h.wait_until(function()
        return h.slurp(server.log):match(pattern)
    end, "the server to print " .. pattern, timeout_ms)
end

local methods = {}
methods.__index = methods

--- What it has printed.
function methods:output()
    return h.slurp(self.log)
end

--- Waits, with the engine running, until it has printed something that matches the Lua pattern.
function methods:wait(pattern, timeout_ms)
    return pump_log(self, pattern, timeout_ms)
end

--- Writes to its standard input: what `openssl s_server` then sends to its client.
function methods:write(text)
    self.input:write(text)
    self.input:flush()
end

--- Ends it.
function methods:stop()
    if self.process then
        if self.input then
            self.input:close()
        end
        h.stop(self.process)
        self.process = nil
    end
end

local function keep(server, options)
    table.insert(options.keep and kept or running, server)
    return setmetatable(server, methods)
end

--- Starts `openssl s_server` on a free port and returns when it listens. Options:
--
-- - `cert`: a certificate of pki.lua; its chain is sent. Absent with `args = "-nocert ..."`.
-- - `key`: another key file; `chain`: file of other certificates to send with it
-- - `args`: more arguments; `mode`: "-rev" (answers each line turned round, the default), "-www",
--   "" (what is written to its standard input goes out, what arrives is printed)
-- - `port`: a port that was used before; `keep`: stop it after the file, not after the test
function tls.openssl(options)
    local port = options.port or h.free_port()
    local input = pki.path "in"
    assert(os.execute("mkfifo " .. input))
    local identity = ""
    if options.cert then
        identity = ("-cert %s -key %s -cert_chain %s"):format(options.cert.cert,
            options.key or options.cert.key, options.chain or options.cert.chain)
    end
    local command = ("openssl s_server -accept 127.0.0.1:%d %s %s %s"):format(port, identity,
        options.mode or "-rev", options.args or "")
    local process = h.spawn(("sh -c 'exec %s <%s'"):format(command, input))
    local server = keep({ process = process, pid = process.pid, log = process.log, port = port,
        input = assert(io.open(input, "r+")) }, options)
    wait_log(server, "ACCEPT")
    return server
end

--- Starts tls_peer.py. Options: `cert`, `keep` as above, `args` for it, `go`: the file that "wait"
-- of a script waits for, `small = true`: it takes little that was not read. Its client's first
-- line is a script, see there; `tls.open_script` opens a connection and sends one.
function tls.peer(options)
    local args = (options.args or "") .. (options.go and " --go " .. options.go or "")
        .. (options.small and " --small" or "")
    local script = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/tls_peer.py"
    local process = h.spawn(("python3 %s --cert %s --key %s %s"):format(h.quote(script),
        options.cert.chain, options.cert.key,
            args))
    local server = keep({ process = process, pid = process.pid, log = process.log }, options)
    server.port = tonumber(wait_log(server, "port=(%d+)"))
    return server
end

-- `defaults`, with what `more` says instead or besides.
local function merge(defaults, more)
    for name, value in pairs(more or {}) do
        defaults[name] = value
    end
    return defaults
end

--- A cert table that verifies the servers of pki.server(), and what `more` says.
function tls.verified(more)
    return merge({ caCert = pki.root().pem, hostName = "localhost" }, more)
end

--- sock_conn to a server (or a port) on 127.0.0.1. Returns what that returns.
function tls.conn(server, cert, insist, address)
    local port = type(server) == "number" and server or server.port
    return h.sc.sock_conn(h.SSL, address or "127.0.0.1", port, merge({ resume = false }, cert), nil,
        insist)
end

--- Connects, and returns the id once the connection is up.
function tls.open(server, cert, insist, address)
    local id, _, reason = tls.conn(server, cert, insist, address)
    assert(id, reason)
    local message = h.wait_for(id, h.CONN_CNF)
    if message.result ~= 0 then
        error("not connected: " .. tostring(message.reason), 2)
    end
    return id
end

--- Connects, which must fail, and returns the reason and the error. The id is free afterwards.
function tls.fail(server, cert, insist, address)
    local id, _, reason = tls.conn(server, cert, insist, address)
    assert(id, reason)
    local message = h.wait_for(id, h.CONN_CNF)
    assert(message.result == 1, "the connection was made")
    assert(h.sc.sock_info(id).reason == message.reason, "sock_info has another reason")
    assert(h.sc.sock_destroy(id) == 1)
    return message.reason, message.error
end

--- Sends a line to an `openssl s_server -rev` and checks its answer.
function tls.check_echo(id, text)
    text = text or "stressed desserts 123"
    h.send(id, text .. "\n")
    local answer = h.read(id, #text + 1)
    assert(answer == text:reverse() .. "\n", "another answer: " .. answer)
end

--- Connects to an `openssl s_server -rev`, which serves one client at a time, has a line turned
-- round and closes. Returns what sock_info said.
function tls.try(server, cert, insist, address)
    local id = tls.open(server, cert, insist, address)
    local info = h.sc.sock_info(id)
    tls.check_echo(id)
    h.close(id)
    return info
end

--- Opens a connection to a tls_peer.py, verified, and sends the script.
function tls.open_script(server, script, cert)
    local id = tls.open(server, cert or { caCert = pki.root().pem, hostName = "localhost" })
    h.send(id, script .. "\n")
    return id
end

local function warm_up()
    local server = tls.openssl { cert = pki.server "ec256" }
    for _ = 1, 2 do
        h.close(tls.open(server, { caCert = pki.root().pem, hostName = "localhost" }))
    end
    server:stop()
    running = {}
    store.tls_is_warm = true
    h.note_memory()
end

--- setup of a spec file.
function tls.begin_file()
    h.begin()
    if not store.tls_is_warm then
        warm_up()
    end
end

local function stop_all(servers)
    for _, server in ipairs(servers) do
        server:stop()
    end
end

--- after_each of a spec file.
function tls.finish()
    local ok, err = pcall(h.finish)
    stop_all(running)
    running = {}
    if not ok then
        error(err, 0)
    end
end

--- teardown of a spec file.
function tls.finish_file()
    stop_all(kept)
    kept = {}
    h.finish_file()
end

return tls
