-- Sessions are resumed without asking, by connections that would verify and prove the same only.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local function cert_with(more)
    local cert = { caCert = pki.root().pem, hostName = "localhost", resume = true }
    for name, value in pairs(more or {}) do
        cert[name] = value
    end
    return cert
end

-- Connects, has a line sent back and forth (a ticket of TLS 1.3 comes before the answer) and
-- closes.
-- Was the session resumed?
local function connect(server, cert, insist, address)
    local id = tls.open(server, cert or cert_with(), insist, address)
    local info = h.sc.sock_info(id)
    tls.check_echo(id)
    h.close(id)
    -- mbedTLS does not keep the certificate with a session of TLS 1.3.
    if not info.resumed or info.tls_version == "TLSv1.2" then
        assert.matches("CN=localhost", info.peer_subject)
    end
    return info.resumed
end

local function finish_file()
    h.note_memory() -- sessions are kept
    tls.finish_file()
end

local KINDS = {
    { "TLS 1.2 with session ids", "-tls1_2 -no_ticket" },
    { "TLS 1.2 with tickets", "-tls1_2 -no_cache" },
    { "TLS 1.3 with tickets", "-tls1_3" },
    { "TLS 1.3 with tickets that are ids", "-tls1_3 -no_ticket" },
}

for _, kind in ipairs(KINDS) do
    describe(kind[1], function()
        setup(tls.begin_file)
        before_each(h.begin)
        after_each(tls.finish)
        teardown(finish_file)

        local function start(more)
            return tls.openssl { cert = pki.server(), args = kind[2] .. " " .. (more or "") }
        end

        it("is resumed by the same parameters, again and again", function()
            local server = start()
            assert.is_false(connect(server))
            for _ = 1, 5 do
                assert.is_true(connect(server))
            end
        end)

        it("is verified when it is resumed, and says so", function()
            local server = start()
            connect(server)
            local id = tls.open(server, cert_with())
            local info = h.sc.sock_info(id)
            assert.is_true(info.resumed)
            assert.is_true(info.verified)
            h.close(id)
        end)

        it("is resumed without caCert too", function()
            local server = start()
            assert.is_false(connect(server, { resume = true }))
            assert.is_true(connect(server, { resume = true }))
            assert.is_false(connect(server), "not verified before, verified now")
        end)

        it("is resumed with a client certificate", function()
            local server = start("-Verify 3 -verify_return_error -CAfile " .. pki.root().cert)
            local client = pki.client()
            local cert = cert_with { clientCert = client.pem, clientKey = client.key_pem }
            assert.is_false(connect(server, cert))
            assert.is_true(connect(server, cert))
        end)

        it("is not resumed when cert.resume is false, and nothing is kept then", function()
            local server = start()
            local before = h.sc.tls_sessions()
            assert.is_false(connect(server, cert_with { resume = false }))
            assert.is_false(connect(server, cert_with { resume = false }))
            assert.equal(#before, #h.sc.tls_sessions())
            assert.is_false(connect(server))
            assert.is_true(connect(server))
            assert.is_false(connect(server, cert_with { resume = false }))
            assert.is_true(connect(server))
        end)

        it("is not resumed with any other parameter", function()
            local server = start "-alpn mqtt"
            local client, other = pki.client(), pki.client "rsa2048"
            local root, second = pki.root().pem, pki.other_root().pem
            connect(server)
            local differences = {
                { cert_with { caCert = root .. second } },
                { cert_with { caCert = pki.der(pki.root()) } },
                { cert_with { hostName = "other.test" } },
                { cert_with { alpn = { "mqtt" } } },
                { cert_with { alpn = { "mqtt", "x" } } },
                { cert_with(), 0 },
                { cert_with(), 1 },
                { cert_with { clientCert = client.pem, clientKey = client.key_pem } },
                { cert_with { clientCert = other.pem, clientKey = other.key_pem } },
                { cert_with { pin = pki.pin(pki.server()) } },
                { cert_with(), nil, "localhost" },
                { { hostName = "localhost", resume = true } },
            }
            for i, difference in ipairs(differences) do
                assert.is_false(connect(server, difference[1], difference[2], difference[3]), i)
            end
            for i, difference in ipairs(differences) do
                assert.is_true(connect(server, difference[1], difference[2], difference[3]), i)
            end
            assert.is_true(connect(server))
        end)

        it("is not resumed by a connection that would not verify", function()
            local server = start()
            connect(server)
            local reason = tls.fail(server, cert_with { caCert = pki.other_root().pem })
            assert.matches("not signed by a trusted CA", reason)
            assert.matches("name mismatch", tls.fail(server, cert_with { hostName = "else.where" }))
            assert.is_true(connect(server))
        end)

        it("is not resumed at another port", function()
            local server, second = start(), start()
            assert.is_false(connect(server))
            assert.is_false(connect(second))
            assert.is_true(connect(server))
            assert.is_true(connect(second))
        end)

        it("that the server no longer knows becomes a full handshake, unnoticed", function()
            local server = start()
            connect(server)
            assert.is_true(connect(server))
            server:stop()
            server = tls.openssl { cert = pki.server(), args = kind[2], port = server.port }
            assert.is_false(connect(server))
            assert.is_true(connect(server))
        end)

        it("that the server refuses for good becomes a full handshake each time", function()
            local server = start()
            connect(server)
            server:stop()
            server = tls.openssl { cert = pki.server(), port = server.port,
                args = kind[2]:sub(1, 7) .. " -no_ticket -no_cache -num_tickets 0" }
            for _ = 1, 3 do
                assert.is_false(connect(server))
            end
        end)

        -- mbedTLS offers a session's version only (ssl_client.c, ssl_prepare_client_hello).
        it("to a server that changed its version gets a full handshake unnoticed",
            function()
                local server = start()
                connect(server)
                server:stop()
                local other = kind[2]:find "1_2" and "-tls1_3" or "-tls1_2"
                server = tls.openssl { cert = pki.server(), port = server.port, args = other }
                assert.is_false(connect(server))
                assert.is_true(connect(server))
            end)

        it("is saved to a string and resumed in another process", function()
            local server = start()
            connect(server)
            local saved = pki.path "sessions"
            h.write_file(saved, h.sc.tls_sessions())
            local ca = pki.root().cert
            local text = ([[
                local sc, rtos = require "socketcore", require "rtos"
                local file = io.open("%s", "rb")
                local saved = file:read "*a"
                file:close()
                local ca = io.open("%s"):read "*a"
                local function connect()
                    local id = sc.sock_conn(2, "127.0.0.1", %d, { caCert = ca,
                        hostName = "localhost" })
                    assert(rtos.receive(20000).result == 0)
                    local resumed = sc.sock_info(id).resumed
                    sc.sock_send(id, "a line\n")
                    repeat
                        local message = rtos.receive(20000)
                    until message.id == rtos.MSG_SOCK_RECV_IND
                    sc.sock_close(id)
                    repeat
                        local message = rtos.receive(20000)
                    until message.id == rtos.MSG_SOCK_CLOSE_CNF
                    return resumed
                end
                if %s then
                    sc.tls_sessions(saved)
                end
                print(connect(), connect())
            ]])
            assert.equal("false\ttrue\n", h.run_lua(text:format(saved, ca, server.port, "false")))
            assert.equal("true\ttrue\n", h.run_lua(text:format(saved, ca, server.port, "true")))
        end)
    end)
end

-- The entry of a saved string with 32 bytes before two times, of eight bytes each.
local FROM, UNTIL = 4 + 32, 4 + 32 + 8

local function get_time(saved, at)
    local time = 0
    for i = 1, 8 do
        time = time * 256 + saved:byte(at + i)
    end
    return time
end

local function put_time(saved, at, time)
    local bytes = {}
    for i = 8, 1, -1 do
        bytes[i] = string.char(time % 256)
        time = math.floor(time / 256)
    end
    return saved:sub(1, at) .. table.concat(bytes) .. saved:sub(at + 9)
end

local function utc(date)
    local out = io.popen(("date -u -d '%s' +%%s"):format(date))
    local time = out:read "*n"
    out:close()
    return time
end

for _, kind in ipairs { KINDS[1], KINDS[3] } do
    describe(kind[1] .. " are kept no longer than their server can be trusted:", function()
        setup(tls.begin_file)
        before_each(h.begin)
        after_each(tls.finish)
        teardown(finish_file)

        it("until the first certificate of the chain expires, from when the last became valid",
            function()
                local upper = pki.issue { issuer = pki.root(), label = "upper", ca = true,
                    subject = "/CN=Upper", start = "20200101000000Z", finish = "20300203040506Z" }
                local server = tls.openssl { args = kind[2], cert = pki.issue { issuer = upper,
                    subject = "/CN=localhost", names = pki.server_names,
                    start = "20210506070809Z", finish = "20990101000000Z" } }
                assert.is_false(connect(server))
                local saved = h.sc.tls_sessions() -- the last one used is the first
                local root = pki.openssl("x509 -in %s -noout -startdate", pki.root().cert)
                local last = math.max(utc "2021-05-06 07:08:09", utc(root:match "=(.-)%s*$"))
                assert.equal(last, get_time(saved, FROM))
                assert.equal(utc "2030-02-03 04:05:06", get_time(saved, UNTIL))
                assert.is_true(connect(server))
                -- A session that was resumed and kept anew has the same times.
                local again = h.sc.tls_sessions()
                assert.equal(last, get_time(again, FROM))
                assert.equal(utc "2030-02-03 04:05:06", get_time(again, UNTIL))

                local now = os.time()
                for _, times in ipairs { { last, now - 5 }, { now + 3600, now + 7200 } } do
                    h.sc.tls_sessions(put_time(put_time(saved, FROM, times[1]), UNTIL, times[2]))
                    assert.is_false(connect(server))
                    assert.is_true(connect(server))
                end
                h.sc.tls_sessions(put_time(put_time(saved, FROM, now - 5), UNTIL, now + 3600))
                assert.is_true(connect(server))
            end)

        it("for ever where nothing was verified", function()
            local old = pki.issue { subject = "/CN=localhost", start = "20100101000000Z",
                finish = "20110101000000Z" }
            local server = tls.openssl { cert = old, args = kind[2] }
            assert.is_false(connect(server, { resume = true }))
            assert.is_true(connect(server, { resume = true }))
        end)

        it("while the CAs of the system stay what they were", function()
            local server = tls.openssl { cert = pki.server(), args = kind[2] }
            local interpreter, bundle = h.interpreter, pki.path "crt"
            h.interpreter = ("env SSL_CERT_FILE=%s %s"):format(bundle, interpreter)
            local printed = h.run_lua(([[
                local sc, rtos = require "socketcore", require "rtos"
                local good, other, bundle = %q, %q, %q
                local function trust(...)
                    local file = io.open(bundle, "w")
                    for _, name in ipairs { ... } do
                        file:write(io.open(name):read "*a")
                    end
                    file:close()
                end
                local function connect()
                    local id = sc.sock_conn(2, "127.0.0.1", %d, { caCert = "system",
                        hostName = "localhost" })
                    local message = rtos.receive(20000)
                    local said = message.reason or "resumed " .. tostring(sc.sock_info(id).resumed)
                    if message.result == 0 then
                        sc.sock_send(id, "a line\n")
                        repeat
                            message = rtos.receive(20000)
                        until message.id == rtos.MSG_SOCK_RECV_IND
                        sc.sock_close(id)
                        repeat
                            message = rtos.receive(20000)
                        until message.id == rtos.MSG_SOCK_CLOSE_CNF
                    end
                    sc.sock_destroy(id)
                    print((said:gsub(" %%(.*", "")))
                end
                trust(good)
                connect()
                connect()
                trust(other)
                connect()
                trust(other, good)
                connect()
                trust(good)
                connect()
            ]]):format(pki.root().cert, pki.other_root().cert, bundle, server.port))
            h.interpreter = interpreter
            assert.equal("resumed false\nresumed true\n"
                .. "tls: certificate verify failed: not signed by a trusted CA\n"
                .. "resumed false\nresumed true\n", printed)
        end)
    end)
end

describe("tls_sessions", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(finish_file)

    it("takes back what it gave, as often as one likes", function()
        local saved = h.sc.tls_sessions()
        assert.equal("string", type(saved))
        for _ = 1, 3 do
            h.sc.tls_sessions(saved)
        end
        assert.equal(#saved, #h.sc.tls_sessions())
        assert.is_true(saved == h.sc.tls_sessions(), "the order has changed")
    end)

    it("makes an error of any other string, and keeps what it had", function()
        local server = tls.openssl { cert = pki.server() }
        connect(server)
        local saved = h.sc.tls_sessions()
        local others = { "", "x", "SCT", "SCT2", saved .. "x", saved:sub(2), h.pattern(3000),
            saved:sub(1, 4) .. ("\255"):rep(34), saved:sub(1, 4) .. ("\0"):rep(34) }
        for cut = 5, math.min(#saved - 1, 400) do
            local text = saved:sub(1, cut)
            others[#others + 1] = text
        end
        for _, text in ipairs(others) do
            local ok, err = pcall(h.sc.tls_sessions, text)
            if ok then
                assert.is_true(#saved > #text, "a string that is none was taken")
            else
                assert.matches("bad argument #1", err)
            end
        end
        assert.is_true(connect(server))
    end)

    it("makes an error of another type", function()
        for _, value in ipairs { {}, true, print } do
            assert.is_false((pcall(h.sc.tls_sessions, value)))
        end
    end)

    it("survives any damage to the string", function()
        local saved = h.sc.tls_sessions()
        local random = 12345
        for at = 1, #saved, math.max(1, math.floor(#saved / 300)) do
            random = (random * 171 + 11213) % 53125
            local text = saved:sub(1, at - 1) .. string.char(random % 256) .. saved:sub(at + 1)
            pcall(h.sc.tls_sessions, text)
        end
        h.sc.tls_sessions(saved)
        assert.is_true(#h.sc.tls_sessions() >= #saved)
    end)

    it("keeps a bounded number, and forgets the least recently used", function()
        local server = tls.openssl { cert = pki.server(), args = "-tls1_2" }
        local function number(i)
            return cert_with { alpn = { "x" .. i } }
        end
        connect(server, number(1))
        connect(server, number(2))
        for i = 3, 32 do
            connect(server, number(i))
        end
        local full = #h.sc.tls_sessions()
        local memory = h.rtos.memory()
        assert.is_true(connect(server, number(1)))
        for i = 33, 40 do
            connect(server, number(i))
        end
        assert.is_true(#h.sc.tls_sessions() < full * 1.1)
        h.wait_until(function() return h.rtos.memory() <= memory * 1.1 end, "the memory")
        assert.is_true(connect(server, number(1)), "used lately")
        assert.is_false(connect(server, number(2)), "forgotten")
        assert.is_true(connect(server, number(40)))
    end)
end)
