-- A cert table that cannot work makes no socket, and says which part it was.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local BAD_PEM = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"

describe("a cert table", function()
    local client

    setup(function()
        tls.begin_file()
        client = pki.client()
    end)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    -- No socket is made and nothing is kept. Returns the reason.
    local function refused(cert)
        local used = #h.ids_in_use()
        local memory = h.rtos.memory()
        local id, err, reason = h.raw.sock_conn(h.SSL, "127.0.0.1", h.port.silent, cert)
        assert.is_nil(id)
        assert.equal(h.sc.ERR_SSL_EINIT, err)
        assert.equal("string", type(reason))
        assert.equal(used, #h.ids_in_use())
        assert.is_true(h.rtos.memory() <= memory, "memory was kept")
        return reason
    end

    it("with a caCert that does not parse is refused", function()
        local parts = { "", "x", "garbage\n", "\0\0\0", BAD_PEM, h.pattern(5000),
            pki.root().pem:sub(1, 200),
            pki.der(pki.root()):sub(1, -2), "-----BEGIN CERTIFICATE-----", client.key_pem }
        for _, text in ipairs(parts) do
            assert.matches("caCert", refused { caCert = text })
        end
    end)

    it("with one bad certificate among good ones is refused", function()
        local reason = refused { caCert = pki.root().pem .. BAD_PEM .. pki.other_root().pem }
        assert.matches("caCert: certificate 2 of 3: not DER", reason, 1, true)
    end)

    it("with a clientCert that does not parse is refused", function()
        for _, text in ipairs { "", "x", BAD_PEM, client.key_pem } do
            assert.matches("clientCert", refused { clientCert = text, clientKey = client.key_pem })
        end
    end)

    it("with a clientKey that does not parse is refused", function()
        for _, text in ipairs { "", "x", client.pem, client.key_pem:sub(1, 100),
            pki.convert(client.key, "pkey -outform DER"):sub(1, -2) } do
            assert.matches("clientKey", refused { clientCert = client.pem, clientKey = text })
        end
    end)

    it("with a clientCert and no clientKey is refused, and the reverse", function()
        assert.matches("clientCert needs clientKey", refused { clientCert = client.pem })
        assert.matches("clientKey needs clientCert", refused { clientKey = client.key_pem })
    end)

    it("that is refused has told what it is and why", function()
        local root = pki.root()
        local function key(kind, form) return pki.convert(pki.key(kind), form or "pkey") end
        local function ca(spec)
            spec.ca, spec.subject = true, "/CN=Odd"
            return pki.issue(spec).pem
        end
        local request = pki.path "csr"
        pki.openssl("req -new -batch -key %s -subj /CN=x -out %s", root.key, request)
        local ed = ca { key = "ed25519", digest = "" }
        local cases = {
            { "", "empty" },
            { "ca.crt", "neither PEM nor DER (it must be the contents of a file, not its name)" },
            { root.key_pem, "PEM that holds a PRIVATE KEY, not a CERTIFICATE" },
            { key("rsa2048", "rsa -traditional"), "PEM that holds an RSA PRIVATE KEY, not a CERT" },
            { pki.read(request), "PEM that holds a CERTIFICATE REQUEST, not a CERTIFICATE" },
            { pki.convert(root.cert, "x509 -trustout"),
                "PEM that holds a TRUSTED CERTIFICATE, not a CERTIFICATE" },
            { key("ec256", "pkey -outform DER"), "DER, but not of a certificate" },
            { pki.der(root):sub(1, -2), "DER that is cut short" },
            { root.pem:sub(1, 200), "PEM that is damaged or cut short" },
            { root.pem:gsub("\nM", "\n*", 1), "PEM that is damaged or cut short" },
            { ed, "key algorithm Ed25519 is not supported" },
            { root.pem .. root.pem:sub(1, 100) .. "\n" .. root.pem,
                "certificate 2 of 3: PEM that is damaged or cut short" },
            { root.pem .. ed, "certificate 2 of 2: key algorithm Ed25519 is not supported" },
            { ca { key = "ed448", digest = "" }, "key algorithm Ed448 is not supported" },
            { ca { key = "p224" }, "curve P-224 is not supported" },
            { ca { key = "brainpool512" }, "curve brainpoolP512r1 is not supported" },
            { ca { key = "rsapss" }, "key algorithm RSASSA-PSS is not supported" },
            { ca { key = "rsa2048", digest = "sha3-256" },
                "signature algorithm 2.16.840.1.101.3.4.3.14 is not supported" },
            { ca { ext = { "nameConstraints=critical,permitted;DNS:a.test" } },
                "critical extension nameConstraints is not supported" },
            { ca { ext = { "1.2.3.4=critical,DER:0500" } },
                "critical extension 1.2.3.4 is not supported" },
            { ca { ext = { "certificatePolicies=DER:3000" } }, "malformed" },
        }
        for _, case in ipairs(cases) do
            assert.matches("tls: cert.caCert: " .. case[2], refused { caCert = case[1] }, 1, true)
        end

        -- Only what is of use to the client itself is looked at.
        cases = {
            { client.key_pem, "PEM that holds a PRIVATE KEY, not a CERTIFICATE" },
            { pki.issue { key = "ed25519", digest = "" }.pem,
                "key algorithm Ed25519 is not supported" },
            { client.pem .. client.pem:sub(1, 100), "certificate 2 of 2: PEM that is damaged" },
        }
        for _, case in ipairs(cases) do
            assert.matches("tls: cert.clientCert: " .. case[2],
                refused { clientCert = case[1], clientKey = client.key_pem }, 1, true)
        end

        cases = {
            { "", "empty" },
            { "client.key", "neither PEM nor DER" },
            { client.pem, "PEM that holds a CERTIFICATE, not a PRIVATE KEY" },
            { key("ec256", "pkey -pubout"), "PEM that holds a PUBLIC KEY, not a PRIVATE KEY" },
            { "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n"
                .. "-----END OPENSSH PRIVATE KEY-----\n", "an OpenSSH key" },
            { key "ed25519", "key algorithm Ed25519 is not supported" },
            { key("ed25519", "pkey -outform DER"), "key algorithm Ed25519 is not supported" },
            { key "p224", "curve P-224 is not supported" },
            { key("p224", "ec"), "curve P-224 is not supported" },
            { key("ec256", "ec"):sub(1, -40), "PEM that is damaged or cut short" },
            { pki.der(client), "DER, but not of a private key" },
        }
        for _, case in ipairs(cases) do
            assert.matches("tls: cert.clientKey: " .. case[2],
                refused { clientCert = client.pem, clientKey = case[1] }, 1, true)
        end
        for _, form in ipairs { "pkcs8 -topk8 -scrypt -passout pass:x",
            "ec -aes128 -passout pass:x", "ec -camellia128 -passout pass:x" } do
            local words = form:match "scrypt" or form:match "camellia"
            assert.matches(words and "clientKey: encrypted in a way that is not supported"
                or "clientPassword does not fit", refused { clientCert = client.pem,
                clientKey = key("ec256", form), clientPassword = "y" }, 1, true)
        end
    end)

    it("may hold more than is asked for", function()
        local server = tls.openssl { cert = pki.server(),
            args = "-Verify 3 -verify_return_error -CAfile " .. pki.root().cert }
        local both = "some text\n" .. client.key_pem .. "more\n" .. client.pem
        tls.try(server, { caCert = pki.root().key_pem .. pki.root().pem, hostName = "localhost",
            clientCert = both, clientKey = both })
    end)

    it("with a key that does not belong to the certificate is refused", function()
        for _, kind in ipairs { "ec256", "ec384", "rsa2048" } do
            assert.matches("clientKey does not belong to clientCert", refused {
                clientCert = client.pem, clientKey = pki.read(pki.key(kind)) })
        end
    end)

    it("with a wrong password, or none where one is needed, is refused", function()
        for _, kind in ipairs { "ec256", "rsa2048" } do
            for _, form in ipairs { "pkey -traditional -aes128 -passout pass:secret",
                "pkcs8 -topk8 -v2 aes256 -passout pass:secret" } do
                local made = pki.client(kind)
                local cert = { clientCert = made.pem, clientKey = pki.convert(made.key, form) }
                assert.matches("clientKey: encrypted, and clientPassword is missing", refused(cert))
                cert.clientPassword = "Secret"
                assert.matches("clientPassword does not fit", refused(cert))
                cert.clientPassword = ""
                assert.matches("clientKey", refused(cert))
            end
        end
    end)

    it("with a hostName that is too long is refused", function()
        assert.matches("hostName", refused { hostName = ("a"):rep(300) })
    end)

    it("with ALPN names that cannot be is refused", function()
        assert.matches("alpn", refused { alpn = { "" } })
        assert.matches("alpn", refused { alpn = { ("x"):rep(256) } })
    end)

    it("with a psk and no pskIdentity is refused, and the reverse, and empty ones", function()
        assert.matches("psk", refused { psk = "secret" })
        assert.matches("psk", refused { pskIdentity = "me" })
        assert.matches("psk", refused { psk = "", pskIdentity = "me" })
        assert.matches("psk", refused { psk = ("x"):rep(5000), pskIdentity = "me" })
    end)

    it("with a pin that is no SHA-256 is refused", function()
        for _, pin in ipairs { "", "abc", ("x"):rep(31), ("a"):rep(63), ("a"):rep(65),
            ("g"):rep(64),
            ("a"):rep(62) .. "+1", (" 1"):rep(32) } do
            assert.matches("pin", refused { pin = pin })
        end
    end)

    it("with a field of a wrong type is an error that names it", function()
        for _, name in ipairs { "hostName", "caCert", "clientCert", "clientKey", "clientPassword",
            "psk", "pskIdentity", "pin" } do
            for _, value in ipairs { {}, true, print } do
                local ok, err = pcall(h.raw.sock_conn, h.SSL, "127.0.0.1", 1, { [name] = value })
                assert.is_false(ok)
                assert.matches("bad argument #4", err, 1, true)
                assert.matches("cert." .. name, err, 1, true)
            end
        end
        for _, value in ipairs { "mqtt", 5, true, { {} }, { true } } do
            local ok, err = pcall(h.raw.sock_conn, h.SSL, "127.0.0.1", 1, { alpn = value })
            assert.is_false(ok)
            assert.matches("alpn", err)
        end
        for _, value in ipairs { "x", {}, 2, -1, 0.5 } do
            local ok, err = pcall(h.raw.sock_conn, h.SSL, "127.0.0.1", 1, { insist = value })
            assert.is_false(ok)
            assert.matches("insist", err)
        end
    end)

    it("with a zero byte in hostName is an error", function()
        assert.is_false((pcall(h.raw.sock_conn, h.SSL, "127.0.0.1", 1, { hostName = "a\0b" })))
    end)

    it("that is no table is an error", function()
        for _, value in ipairs { "x", true, 5 } do
            local ok, err = pcall(h.raw.sock_conn, h.SSL, "127.0.0.1", 1, value)
            assert.is_false(ok)
            assert.matches("cert", err)
        end
    end)

    it("with fields that nobody knows is taken", function()
        local server = tls.openssl { cert = pki.server() }
        tls.try(server, { caCert = pki.root().pem, hostName = "localhost", colour = "blue",
            [1] = 2 })
    end)

    it("may be changed and collected once the socket is made", function()
        local server = tls.openssl { cert = pki.server(),
            args = "-Verify 3 -verify_return_error -CAfile " .. pki.root().cert }
        local cert = { caCert = pki.read(pki.root().cert), hostName = ("local"):rep(1) .. "host",
            clientCert = pki.read(client.cert), clientKey = pki.read(client.key), resume = false }
        local id = h.sc.sock_conn(h.SSL, "127.0.0.1", server.port, cert)
        for name in pairs(cert) do
            cert[name] = nil
        end
        cert = nil -- luacheck: ignore
        collectgarbage()
        collectgarbage()
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        tls.check_echo(id)
    end)

    it("may make its values when they are asked for", function()
        local server = tls.openssl { cert = pki.server(), keep = true,
            args = "-Verify 3 -verify_return_error -CAfile " .. pki.root().cert }
        local files = { caCert = pki.root().cert, clientCert = client.cert,
            clientKey = client.key }
        local number = 0
        local cert = setmetatable({ resume = false }, { __index = function(_, key)
            -- Overwrites what earlier calls have returned, unless somebody has it.
            for i = 1, 100 do
                string.rep("-", 20 * i + number % 7)
            end
            collectgarbage()
            number = number + 1
            return files[key] and pki.read(files[key]) .. ("\n"):rep(number)
                or key == "hostName" and ("local"):rep(1) .. "host" or nil
        end })
        for _ = 1, 3 do
            local id = h.open(h.SSL, "127.0.0.1", server.port, cert)
            assert.is_true(h.sc.sock_info(id).verified)
            tls.check_echo(id)
            h.close(id)
        end
        assert.is_true(number > 20)
    end)

    it("of a socket that is not SSL is read all the same, and not used", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo, { caCert = pki.root().pem })
        h.send(id, "plain")
        assert.equal("plain", h.read(id, 5))
    end)
end)

-- What was read from a cert table is kept with the session that it can resume.
describe("a cert table that was used before", function()
    local server

    setup(function()
        tls.begin_file()
        server = tls.openssl { cert = pki.server(), keep = true,
            args = "-Verify 3 -verify_return_error -CAfile " .. pki.root().cert }
    end)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(function()
        h.note_memory() -- sessions are kept
        tls.finish_file()
    end)

    local function cert_with(more)
        local client = pki.client()
        local cert = { caCert = pki.root().pem, hostName = "localhost", resume = true,
            clientCert = client.pem, clientKey = client.key_pem }
        for name, value in pairs(more or {}) do
            cert[name] = value
        end
        return cert
    end

    -- Bytes that a socket takes before it is connected.
    local function taken(cert)
        local before = h.rtos.memory()
        local id = h.sc.sock_conn(h.SSL, "127.0.0.1", server.port, cert)
        local more = h.rtos.memory() - before
        h.wait_for(id, h.CONN_CNF)
        h.close(id)
        return more
    end

    it("is not read again", function()
        local first = taken(cert_with { alpn = { "one" } })
        assert.is_true(first > 3000, first .. " bytes are no certificates and key")
        tls.try(server, cert_with { alpn = { "one" } })
        for _ = 1, 3 do
            local more = taken(cert_with { alpn = { "one" } })
            assert.is_true(more < 1000, more .. " bytes")
        end
        assert.is_true(taken(cert_with { alpn = { "two" } }) > 3000)
    end)

    it("is shared by the connections of a time", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local cert = cert_with { resume = false }
        local first = h.sc.sock_conn(h.SSL, "192.0.2.1", 443, cert)
        local before = h.rtos.memory()
        local second = h.sc.sock_conn(h.SSL, "192.0.2.1", 443, cert)
        assert.is_true(h.rtos.memory() - before < 1000, h.rtos.memory() - before)
        h.close(first)
        h.close(second)
    end)

    it("is read again with any part changed", function()
        tls.try(server, cert_with())
        local function refused(more, why)
            local cert = cert_with(more)
            local id, err, reason = h.raw.sock_conn(h.SSL, "127.0.0.1", server.port, cert)
            assert.is_nil(id)
            assert.equal(h.sc.ERR_SSL_EINIT, err)
            assert.matches(why, reason)
        end
        refused({ clientKey = pki.read(pki.key "ec384") }, "does not belong")
        refused({ clientCert = pki.client("rsa2048").pem }, "does not belong")
        refused({ caCert = pki.root().pem .. BAD_PEM }, "caCert")
        refused({ psk = "secret" }, "psk")
        refused({ pin = "x" }, "pin")
        local encrypted = pki.convert(pki.client().key,
            "pkcs8 -topk8 -v2 aes256 -passout pass:secret")
        tls.try(server, cert_with { clientKey = encrypted, clientPassword = "secret" })
        refused({ clientKey = encrypted, clientPassword = "Secret" }, "does not fit")
        refused({ clientKey = encrypted }, "clientPassword is missing")
        assert.matches("not signed by a trusted CA",
            tls.fail(server, cert_with { caCert = pki.other_root().pem }))
    end)
end)
