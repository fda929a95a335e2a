-- A host's name with the dot of the root, "localhost.": neither SNI nor a certificate has it.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

describe("a name with the dot of the root", function()
    local ca

    setup(function()
        tls.begin_file()
        ca = pki.root().pem
    end)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(function()
        h.note_memory() -- sessions are kept
        tls.finish_file()
    end)

    for _, version in ipairs { "1.2", "1.3" } do
        it("is compared and sent without it, TLS " .. version, function()
            local server = tls.peer { cert = pki.server(), args = "--tls " .. version }
            local id = tls.open(server, { caCert = ca, hostName = "localhost." })
            assert.is_true(h.sc.sock_info(id).verified)
            server:wait "sni=localhost\n"
            tls.open(server, { caCert = ca, hostName = "Some.TEST." }, 0)
            server:wait "sni=[Ss]ome.[Tt][Ee][Ss][Tt]\n"
        end)
    end

    it("may be the address", function()
        local server = tls.peer { cert = pki.server() }
        local id = tls.open(server, { caCert = ca }, nil, "localhost.")
        assert.is_true(h.sc.sock_info(id).verified)
        server:wait "sni=localhost\n"
        h.close(h.open(h.TCP, "localhost.", h.port.echo))
    end)

    it("does not make another name match", function()
        local server = tls.peer { cert = pki.server() }
        for _, name in ipairs { "local.", "localhost.host.", "a.b.test." } do
            assert.matches("name mismatch: " .. name:sub(1, -2) .. " is not among",
                tls.fail(server, { caCert = ca, hostName = name }), 1, true)
        end
    end)

    it("may be an IP address", function()
        local server = tls.peer { cert = pki.server() }
        tls.open(server, { caCert = ca, hostName = "127.0.0.1." }, 0)
        server:wait "sni=%-\n"
    end)

    it("shares its session with the name that has none", function()
        local server = tls.openssl { cert = pki.server(), args = "-tls1_2" }
        local function resumed(name, address)
            return tls.try(server, { caCert = ca, hostName = name, resume = true }, nil,
                address).resumed
        end
        assert.is_false(resumed "localhost.")
        assert.is_true(resumed "localhost")
        assert.is_true(resumed "localhost.")
        assert.is_false(resumed(nil, "localhost"))
        assert.is_true(resumed(nil, "localhost."))
    end)

    it("with nothing between two dots, or before the only one, is refused at once", function()
        for _, name in ipairs { ".", "..", "localhost..", ".localhost", "a..test" } do
            local id, err, reason = tls.conn(443, { caCert = ca, hostName = name })
            assert.is_nil(id)
            assert.equal(h.sc.ERR_SSL_EINIT, err)
            assert.matches(("tls: cert.hostName \"%s\" is not a host name"):format(name), reason, 1,
                true)
        end
    end)
end)
