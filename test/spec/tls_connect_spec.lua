-- Versions, keys, client certificates, chains, SNI.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local VERSIONS = { { "-tls1_2", "TLSv1.2" }, { "-tls1_3", "TLSv1.3" } }

describe("a TLS connection", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    for _, version in ipairs(VERSIONS) do
        for _, kind in ipairs { "ec256", "ec384", "rsa2048", "rsa4096" } do
            it(("is made with %s and a server's key %s"):format(version[2], kind), function()
                local server = tls.openssl { cert = pki.server(kind), args = version[1] }
                local id = tls.open(server, tls.verified())
                local info = h.sc.sock_info(id)
                assert.equal(version[2], info.tls_version)
                assert.is_true(info.verified)
                assert.is_true(info.time_checked)
                assert.is_false(info.resumed)
                assert.is_nil(info.alpn)
                assert.matches("^TLS", info.cipher_suite)
                assert.matches("CN=localhost", info.peer_subject)
                assert.matches("CN=Test Root", info.peer_issuer)
                assert.matches("^20%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$", info.peer_expires)
                tls.check_echo(id)
                h.close(id)
            end)
        end
    end

    it("takes TLS 1.3 when the server has both", function()
        local server = tls.openssl { cert = pki.server() }
        assert.equal("TLSv1.3", h.sc.sock_info(tls.open(server, tls.verified())).tls_version)
    end)

    it("to a server with a key of RSA 3072 and SHA-384 signatures is made", function()
        local made = pki.issue { issuer = pki.root(), key = "rsa3072", digest = "sha384",
            names = pki.server_names }
        tls.try(tls.openssl { cert = made }, tls.verified())
    end)

    it("to a CA with an RSA key is verified", function()
        local root = pki.root "rsa2048"
        local made = pki.issue { issuer = root, names = pki.server_names }
        for _, version in ipairs(VERSIONS) do
            local server = tls.openssl { cert = made, args = version[1] }
            local id = tls.open(server, tls.verified { caCert = root.pem })
            assert.is_true(h.sc.sock_info(id).verified)
            tls.check_echo(id)
        end
    end)

    it("takes the CA as DER too", function()
        local server = tls.openssl { cert = pki.server() }
        tls.try(server, tls.verified { caCert = pki.der(pki.root()) })
    end)

    it("takes the right CA among several in caCert", function()
        local server = tls.openssl { cert = pki.server() }
        local others = pki.other_root().pem .. pki.root("rsa2048").pem
        tls.try(server, tls.verified { caCert = others .. pki.root().pem })
        tls.try(server, tls.verified { caCert = pki.root().pem .. others })
        assert.matches("not signed by a trusted CA",
            tls.fail(server, tls.verified { caCert = others }))
    end)

    it("takes text around the certificates in caCert", function()
        local server = tls.openssl { cert = pki.server() }
        local text = "# the CAs\n\n" .. pki.other_root().pem .. "\nand ours:\n" .. pki.root().pem
            .. "# the end\n"
        tls.try(server, tls.verified { caCert = text })
        tls.try(server, tls.verified { caCert = (text:gsub("\n", "\r\n")) })
    end)

    it("follows a chain with an intermediate CA that the server sends", function()
        local made = pki.issue { issuer = pki.intermediate(), names = pki.server_names }
        for _, version in ipairs(VERSIONS) do
            local server = tls.openssl { cert = made, args = version[1] }
            tls.try(server, tls.verified())
        end
    end)

    it("follows a chain of four", function()
        local low = pki.issue { issuer = pki.intermediate(), label = "low", ca = true,
            subject = "/CN=Test Low" }
        local made = pki.issue { issuer = low, names = pki.server_names }
        tls.try(tls.openssl { cert = made }, tls.verified())
    end)

    it("needs the intermediate CA from somewhere: the server or caCert", function()
        local made = pki.issue { issuer = pki.intermediate(), names = pki.server_names }
        local server = tls.openssl { cert = made, chain = made.cert }
        assert.matches("not signed by a trusted CA", tls.fail(server, tls.verified()))
        local both = pki.root().pem .. pki.intermediate().pem
        tls.try(server, tls.verified { caCert = both })
        tls.try(server, tls.verified { caCert = pki.intermediate().pem })
    end)

    it("sends SNI for names: hostName, or the address when there is none", function()
        local server = tls.peer { cert = pki.server() }
        local ca = pki.root().pem
        tls.open(server, { caCert = ca, hostName = "sni.test" })
        server:wait "sni=sni.test\n"
        tls.open(server, { caCert = ca }, nil, "localhost")
        server:wait "sni=localhost\n"
        tls.open(server, {}, nil, "localhost")
        server:wait "sni=localhost\nsni=localhost\n"
        tls.open(server, { hostName = "no-ca.test" })
        server:wait "sni=no%-ca.test\n"
    end)

    it("never sends SNI for IP literals", function()
        local server = tls.peer { cert = pki.server() }
        local ca = pki.root().pem
        tls.open(server, { caCert = ca })
        tls.open(server, { caCert = ca }, 0)
        tls.open(server, { caCert = ca, hostName = "127.0.0.1" }, 0)
        tls.open(server, { caCert = ca, hostName = "::1" }, 0)
        tls.open(server, { caCert = ca, hostName = "[::1]" }, 0)
        tls.open(server, {})
        server:wait(("sni=%-\n"):rep(6))
        assert.is_nil(server:output():find "sni=[^-]")
    end)

    it("with hostNameFlag 1 sends a name as SNI, and still no IP literal", function()
        local server = tls.peer { cert = pki.server() }
        local cert = { caCert = pki.root().pem, hostName = "flag.test", resume = false }
        h.open(h.SSL, "127.0.0.1", server.port, cert, 0, 1, 0, 1)
        server:wait "sni=flag.test\n"
        cert.hostName = nil
        h.open(h.SSL, "127.0.0.1", server.port, cert, 0, 1, 0, 1)
        server:wait "sni=%-\n"
    end)

    it("takes port and address in either order", function()
        local server = tls.openssl { cert = pki.server() }
        local cert = tls.verified { resume = false }
        h.close(h.open(h.SSL, server.port, "127.0.0.1", cert))
        h.close(h.open(h.SSL, tostring(server.port), "localhost", cert))
    end)
end)

describe("a client certificate", function()
    local forms = {
        { "PKCS#8 in PEM", "pkey" },
        { "PKCS#8 in DER", "pkey -outform DER" },
        { "the traditional form in PEM", "pkey -traditional" },
        { "the traditional form in DER", "pkey -traditional -outform DER" },
        { "encrypted PEM of the traditional form, AES-128",
            "pkey -traditional -aes128 -passout pass:secret", "secret" },
        { "encrypted PEM of the traditional form, AES-256",
            "pkey -traditional -aes256 -passout pass:secret", "secret" },
        { "encrypted PEM of the traditional form, 3DES",
            "pkey -traditional -des3 -passout pass:secret", "secret" },
        { "encrypted PKCS#8, AES-256 and HMAC-SHA256",
            "pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA256 -passout pass:secret", "secret" },
        { "encrypted PKCS#8, AES-128 and HMAC-SHA1",
            "pkcs8 -topk8 -v2 aes128 -v2prf hmacWithSHA1 -passout pass:secret", "secret" },
        { "encrypted PKCS#8 in DER",
            "pkcs8 -topk8 -v2 aes256 -outform DER -passout pass:secret", "secret" },
        { "encrypted PKCS#8, 3DES of PKCS#12",
            "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:secret", "secret" },
    }
    local server = {}

    setup(function()
        tls.begin_file()
        for _, version in ipairs(VERSIONS) do
            server[version[1]] = tls.openssl { cert = pki.server(), keep = true,
                args = ("%s -Verify 3 -verify_return_error -CAfile %s"):format(version[1],
                    pki.root().cert) }
        end
    end)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    for _, kind in ipairs { "ec256", "ec384", "rsa2048" } do
        for _, form in ipairs(forms) do
            it(("of %s, its key as %s, is accepted"):format(kind, form[1]), function()
                local client = pki.client(kind)
                for _, version in ipairs(VERSIONS) do
                    local id = tls.open(server[version[1]], tls.verified { clientCert = client.pem,
                        clientKey = pki.convert(client.key, form[2]), clientPassword = form[3] })
                    tls.check_echo(id)
                    h.close(id)
                end
            end)
        end
    end

    it("may be DER", function()
        local client = pki.client()
        for _, version in ipairs(VERSIONS) do
            tls.try(server[version[1]], tls.verified { clientCert = pki.der(client),
                clientKey = client.key_pem })
        end
    end)

    it("may have a password that its key does not need", function()
        local client = pki.client()
        tls.try(server["-tls1_3"], tls.verified { clientCert = client.pem,
            clientKey = client.key_pem, clientPassword = "superfluous" })
    end)

    it("of RSA 4096 is accepted", function()
        local client = pki.client "rsa4096"
        for _, version in ipairs(VERSIONS) do
            tls.try(server[version[1]], tls.verified { clientCert = client.pem,
                clientKey = client.key_pem })
        end
    end)

    it("is sent with its intermediate CAs", function()
        local client = pki.issue { issuer = pki.intermediate(), label = "client",
            subject = "/CN=device" }
        for _, version in ipairs(VERSIONS) do
            tls.try(server[version[1]], tls.verified { clientCert = client.chain_pem,
                clientKey = client.key_pem })
        end
    end)

    it("of a CA that the server does not know is refused, with the alert by name", function()
        local client = pki.issue { issuer = pki.other_root(), label = "client", subject = "/CN=x" }
        local cert = tls.verified { clientCert = client.pem, clientKey = client.key_pem }
        assert.matches("alert unknown_ca", tls.fail(server["-tls1_2"], cert))
        -- In TLS 1.3 the client is done before the server looks at its certificate.
        local id = tls.open(server["-tls1_3"], cert)
        local message = h.wait_for(id, h.CLOSE_IND)
        assert.matches("alert unknown_ca", message.reason)
        assert.equal(h.sc.ERR_SSL_EHANDESHAK, message.error)
    end)

    it("that is missing is told by the alert's name", function()
        local reason, err = tls.fail(server["-tls1_2"], tls.verified())
        assert.matches("^tls: the server sent the alert handshake_failure", reason)
        assert.equal(h.sc.ERR_SSL_EHANDESHAK, err)
        local id = tls.open(server["-tls1_3"], tls.verified())
        assert.matches("alert certificate_required", h.wait_for(id, h.CLOSE_IND).reason)
    end)

    it("is not asked for, and not missed, by a server that wants none", function()
        local client = pki.client()
        for _, version in ipairs(VERSIONS) do
            local other = tls.openssl { cert = pki.server(), args = version[1] }
            tls.try(other, tls.verified { clientCert = client.pem,
                clientKey = client.key_pem })
        end
    end)

    it("is left out when the server only asks", function()
        for _, version in ipairs(VERSIONS) do
            local other = tls.openssl { cert = pki.server(), args = version[1] .. " -verify 3" }
            tls.try(other, tls.verified())
        end
    end)
end)
