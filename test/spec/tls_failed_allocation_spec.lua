-- Each allocation of a TLS connection fails in turn: the connection is made all the same, or the
-- script is told that memory was out, and nothing else. mbedTLS's own ciphers allocate for each
-- number: with them the first 60 fail in turn, and then each one that comes 1/30 later.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end
if h.sanitized then
    pending "the sanitizers have an allocator of their own"
    return
end

-- Runs in a process of its own, below fail_calloc.c. `mode` is "single" or "all after it",
-- `verdict` what a connection ends with that has all its memory: "" when it is made.
local WALK = [[
    local sc, rtos = require "socketcore", require "rtos"
    local port, mode, verdict, stride = %d, "%s", "%s", %d
    local function read(name)
        local file = assert(io.open(name, "rb"))
        local text = file:read "*a"
        file:close()
        return text
    end
    local cert = { hostName = "localhost", resume = false }
    for name, file in pairs { %s } do
        cert[name] = read(file)
    end

    local function disarm()
        return (select(3, os.remove "calloc:off")) or 0
    end

    local function receive(wanted)
        local message
        repeat
            message = rtos.receive(20000)
            assert(type(message) == "table", "no message came")
        until message.id == wanted
        return message
    end

    -- "" when the connection was made, else the error and the reason; and how many calls failed.
    local function attempt(first, last)
        os.remove(("calloc:%%d:%%d"):format(first, last))
        local id, err, reason = sc.sock_conn(2, "127.0.0.1", port, cert)
        local failed
        if id then
            local message = receive(rtos.MSG_SOCK_CONN_CNF)
            err, reason = message.error, message.reason
            if message.result == 0 then
                sc.sock_send(id, "send:10\n")
                -- Memory may run out behind the handshake too: then the connection breaks.
                repeat
                    message = rtos.receive(20000)
                    assert(type(message) == "table", "no answer came")
                until message.id == rtos.MSG_SOCK_RECV_IND or message.id == rtos.MSG_SOCK_CLOSE_IND
                if message.id == rtos.MSG_SOCK_CLOSE_IND then
                    err, reason = message.error, message.reason
                end
            end
            sc.sock_close(id)
            receive(rtos.MSG_SOCK_CLOSE_CNF)
            failed = disarm()
            sc.sock_destroy(id)
        else
            failed = disarm()
        end
        return err and (err .. " " .. reason):gsub(" %%(.*", "") or "", failed
    end

    for _ = 1, 3 do
        local said = attempt(1000000, 0)
        assert(said == verdict, said)
    end
    -- A SYN that the link has no memory for is lost; lwIP sends the next one after 3 seconds.
    sc.config { connect_timeout_ms = mode == "single" and 15000 or 2000 }
    local before = rtos.memory()
    local n, tried, refused, wrong, seen = 0, 0, 0, 0, {}
    repeat
        n = n + math.max(1, math.floor(n / stride))
        tried = tried + 1
        local said, failed = attempt(n, mode == "single" and n or 0)
        if said:find("^" .. sc.ERR_ENOMEM .. " .*out of memory") then
            refused = refused + 1
        elseif said ~= verdict then
            wrong = wrong + 1
            if not seen[said] then
                print(("the call %%d failed: %%s"):format(n, said))
            end
            seen[said] = true
        end
        assert(failed > 0 or said == verdict, "memory is said to be out, and it was not")
    until failed == 0
    local deadline = rtos.tick() + 5 * 16384
    while rtos.memory() > before and rtos.tick() < deadline do
        rtos.sleep(20)
    end
    print(("calls=%%d refused=%%d wrong=%%d leaked=%%d"):format(tried - 1, refused, wrong,
        math.max(0, rtos.memory() - before)))
]]

-- mbedtls_ssl_tls13_compute_handshake_transform and ..._application_transform (ssl_tls13_keys.c)
-- lose the first of their two cipher contexts when there is no memory for the second.
local LOST_BY_MBEDTLS = 2 * 24

local STRIDE = os.getenv "SC_SUITE" == "portable" and 30 or 1000000

local function walk(server, mode, files, verdict)
    local list = {}
    for name, file in pairs(files) do
        list[#list + 1] = ("%s = %q"):format(name, file)
    end
    local script = h.file(WALK:format(server.port, mode, verdict or "", STRIDE,
        table.concat(list, ", ")))
    local command = ("SOCKETCORE_LOG=error LD_PRELOAD=%s timeout -k 1 240 %s %s 2>&1"):format(
        h.preload "fail_calloc.so", h.interpreter, script)
    local out = assert(io.popen(command, "r"))
    local said = out:read "*a"
    out:close()
    local calls, refused, leaked = said:match "^calls=(%d+) refused=(%d+) wrong=0 leaked=(%d+)\n$"
    assert(calls and tonumber(leaked) <= LOST_BY_MBEDTLS, said)
    assert.is_true(tonumber(calls) > 50, "calloc was not counted: " .. said)
    assert.is_true(tonumber(refused) > calls / 2, said)
end

for _, version in ipairs { "1.2", "1.3" } do
    for _, kind in ipairs { "ec256", "rsa2048" } do
        describe(("an allocation that fails, TLS %s, %s:"):format(version, kind), function()
            local root, server

            setup(function()
                tls.begin_file()
                root = pki.root(kind)
                local cert = pki.issue { issuer = root, key = kind, subject = "/CN=localhost",
                    names = pki.server_names }
                server = tls.peer { cert = cert, keep = true,
                    args = ("--tls %s --ca %s"):format(version, root.cert) }
            end)
            before_each(h.begin)
            after_each(tls.finish)
            teardown(tls.finish_file)

            for _, mode in ipairs { "single", "all after it" } do
                it(("%s, with a client certificate"):format(mode), function()
                    local client = pki.issue { issuer = root, key = kind, subject = "/CN=device" }
                    walk(server, mode, { caCert = root.cert, clientCert = client.cert,
                        clientKey = client.key })
                end)
            end

            it("single, never makes a server trusted that is not", function()
                walk(server, "single", { caCert = pki.other_root().cert },
                    "20 tls: certificate verify failed: not signed by a trusted CA")
            end)
        end)
    end
end
