-- ALPN, pre-shared keys, the pinned public key, the system's CAs.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local PSK = " -nocert -psk 00112233445566778899aabbccddeeff -psk_identity device"

for _, version in ipairs { "-tls1_2", "-tls1_3" } do
    describe("with " .. version:sub(2), function()
        setup(tls.begin_file)
        before_each(h.begin)
        after_each(tls.finish)
        teardown(tls.finish_file)

        it("the server's choice among the protocols in cert.alpn is told", function()
            local server = tls.openssl { cert = pki.server(),
                args = version .. " -alpn http/1.1,mqtt" }
            assert.equal("mqtt", tls.try(server, tls.verified { alpn = { "mqtt" } }).alpn)
            local cert = tls.verified { alpn = { "x-other", "mqtt" } }
            assert.equal("mqtt", tls.try(server, cert).alpn)
            assert.equal("http/1.1",
                tls.try(server, tls.verified { alpn = { "mqtt", "http/1.1" } }).alpn)
        end)

        it("no protocol is told when the server does not choose, or none was offered", function()
            local plain = tls.openssl { cert = pki.server(), args = version }
            assert.is_nil(tls.try(plain, tls.verified { alpn = { "mqtt" } }).alpn)
            local server = tls.openssl { cert = pki.server(), args = version .. " -alpn mqtt" }
            assert.is_nil(tls.try(server, tls.verified()).alpn)
            assert.is_nil(tls.try(server, tls.verified { alpn = {} }).alpn)
        end)

        it("a server without a common protocol refuses, and its alert is told", function()
            local server = tls.openssl { cert = pki.server(), args = version .. " -alpn mqtt" }
            local reason, err = tls.fail(server, tls.verified { alpn = { "x-one", "x-two" } })
            assert.matches("alert no_application_protocol", reason)
            assert.equal(h.sc.ERR_SSL_EHANDESHAK, err)
        end)

        it("a pre-shared key makes a connection without certificates", function()
            local server = tls.openssl { args = version .. PSK }
            local info = tls.try(server, { psk =
                "\0\17\34\51\68\85\102\119\136\153\170\187\204\221\238\255",
                    pskIdentity = "device" })
            assert.is_false(info.resumed)
            assert.is_nil(info.peer_subject)
        end)

        it("a wrong pre-shared key is refused", function()
            local server = tls.openssl { args = version .. PSK }
            local reason, err = tls.fail(server, { psk = "another key altogether",
                pskIdentity = "device" })
            assert.matches("^tls: the server sent the alert ", reason)
            assert.equal(h.sc.ERR_SSL_EHANDESHAK, err)
        end)

        it("a pre-shared key does not stand in the way of a server with a certificate", function()
            local server = tls.openssl { cert = pki.server(), args = version }
            tls.try(server, tls.verified { psk = "some key of ours", pskIdentity = "device" })
        end)

        it("a pinned key is taken as 32 bytes and as hexadecimal digits", function()
            for _, kind in ipairs { "ec256", "rsa2048" } do
                local server = tls.openssl { cert = pki.server(kind), args = version }
                local hex = pki.pin(pki.server(kind))
                local bytes = hex:gsub("..", function(two)
                    return string.char(tonumber(two, 16))
                end)
                assert.equal(32, #bytes)
                for _, pin in ipairs { hex, hex:upper(), bytes } do
                    tls.try(server, tls.verified { pin = pin })
                    tls.try(server, { pin = pin })
                end
            end
        end)

        it("another key than the pinned one is refused, also without caCert", function()
            local server = tls.openssl { cert = pki.server(), args = version }
            local pin = pki.pin(pki.client())
            for _, cert in ipairs { tls.verified { pin = pin }, { pin = pin } } do
                local reason, err = tls.fail(server, cert)
                assert.matches("^tls: the server's public key is not the one of cert.pin", reason)
                assert.equal(h.sc.ERR_SSL_EINVALID, err)
            end
        end)

        it("a pinned key does not make up for a certificate that is not trusted", function()
            local made = pki.issue { issuer = pki.other_root(), names = pki.server_names }
            local server = tls.openssl { cert = made, args = version }
            assert.matches("not signed by a trusted CA",
                tls.fail(server, tls.verified { pin = pki.pin(made) }))
            tls.try(server, { pin = pki.pin(made) })
        end)
    end)
end

describe("caCert = \"system\"", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    -- In a process of its own, whose environment says where the CAs are. Returns what it printed.
    local function connect(server, setting)
        local interpreter = h.interpreter
        h.interpreter = "env " .. setting .. " " .. interpreter
        local printed = h.run_lua(([[
            local sc, rtos = require "socketcore", require "rtos"
            local id, err, reason = sc.sock_conn(2, "127.0.0.1", %d,
                { caCert = "system", hostName = "localhost", resume = false })
            if not id then
                print("refused", err, reason)
                os.exit(0)
            end
            local message = rtos.receive(20000)
            print(message.result, message.reason, sc.sock_info(id).verified)
            sc.sock_close(id)
            rtos.receive(20000)
        ]]):format(server.port))
        h.interpreter = interpreter
        return printed
    end

    it("takes the file that SSL_CERT_FILE names", function()
        local server = tls.openssl { cert = pki.server() }
        assert.matches("^0%s+nil%s+true", connect(server, "SSL_CERT_FILE=" .. pki.root().cert))
        assert.matches("not signed by a trusted CA",
            connect(server, "SSL_CERT_FILE=" .. pki.other_root().cert))
    end)

    local function bundle(...)
        local name = pki.path "pem"
        h.write_file(name, table.concat { ... })
        return "SSL_CERT_FILE=" .. name
    end

    local function odd_ca(number, spec)
        spec = spec or { key = "ed25519", digest = "" }
        spec.ca, spec.subject = true, "/CN=Odd " .. number
        return pki.issue(spec).pem
    end

    it("passes over certificates that cannot be read, and says which in the log, once", function()
        local server = tls.openssl { cert = pki.server() }
        local root = pki.root().pem
        local printed = connect(server, bundle(odd_ca(1), root, odd_ca(2, { key = "p224" }),
            root:sub(1, 99), "\n", pki.other_root().pem))
        assert.matches('warn: tls: caCert "system": 3 of 5 certificates cannot be read and are '
            .. "left out: CN=Odd 1: key algorithm Ed25519 is not supported; CN=Odd 2: curve P-224 "
            .. "is not supported; number 4: PEM that is damaged or cut short\n", printed, 1, true)
        assert.matches("\n0%s+nil%s+true", printed)
        assert.is_nil(printed:match "left out.*left out")
    end)

    it("verifies nothing by what it has passed over", function()
        local odd = pki.issue { label = "odd", ca = true, subject = "/CN=Odd",
            ext = { "nameConstraints=critical,permitted;DNS:localhost" } }
        local server = tls.openssl { cert = pki.issue { issuer = odd, names = pki.server_names } }
        assert.matches("not signed by a trusted CA", connect(server, bundle(odd.pem,
            pki.root().pem)))
    end)

    it("without one that can be read makes no socket", function()
        local server = tls.openssl { cert = pki.server() }
        for _, text in ipairs { odd_ca(1) .. odd_ca(2), "no certificates" } do
            assert.matches("^refused%s+19%s+tls: cert.caCert", connect(server, bundle(text)))
        end
    end)

    it("that is not there makes no socket", function()
        local server = tls.openssl { cert = pki.server() }
        local printed = connect(server, "SSL_CERT_FILE=/nonexistent/bundle.pem")
        assert.matches("^refused%s+19%s+tls: cert.caCert", printed)
    end)
end)
