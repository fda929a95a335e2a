-- What is verified: each row of CONTRACT.md about caCert and insist, and each fault in its words.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local FAILED = "^tls: certificate verify failed: "
local servers = {}

-- A server with this certificate, for the whole file.
local function server_of(name, make)
    if not servers[name] then
        servers[name] = tls.openssl { cert = make(), keep = true, mode = "-www" }
    end
    return servers[name]
end

local function named(...)
    local names = { ... }
    return server_of(table.concat(names, ","), function()
        return pki.issue { issuer = pki.root(), subject = "/CN=common.test", names = names }
    end)
end

local function connects(server, cert, insist, address)
    local id = tls.open(server, cert, insist, address)
    local verified = h.sc.sock_info(id).verified
    h.close(id)
    return verified
end

local function fails(server, cert, insist, address)
    local reason, err = tls.fail(server, cert, insist, address)
    assert.equal(h.sc.ERR_SSL_EINVALID, err, reason)
    assert.matches(FAILED, reason)
    return reason
end

describe("with caCert a server", function()
    local ca

    setup(function()
        tls.begin_file()
        ca = pki.root().pem
    end)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(function()
        servers = {}
        tls.finish_file()
    end)

    it("whose name matches hostName is taken, with every insist", function()
        for _, insist in ipairs { false, 0, 1 } do
            assert.is_true(connects(named "DNS:one.test", { caCert = ca, hostName = "one.test" },
                insist or nil))
        end
    end)

    it("whose name is not hostName is refused, and both names are told", function()
        local cert = { caCert = ca, hostName = "two.test" }
        local server = named("DNS:one.test", "DNS:other.test", "IP:192.0.2.7", "IP:2001:db8::7")
        for _, insist in ipairs { false, 0 } do
            local reason = fails(server, cert, insist or nil)
            assert.matches("name mismatch: two.test is not among one.test, other.test, 192.0.2.7, "
                .. "2001:db8:0:0:0:0:0:7", reason, 1, true)
        end
    end)

    it("whose name is not hostName is taken with insist 1, and is verified", function()
        assert.is_true(connects(named "DNS:one.test", { caCert = ca, hostName = "two.test" }, 1))
        assert.is_true(connects(named "DNS:one.test",
            { caCert = ca, hostName = "two.test", insist = 1 }))
    end)

    it("is looked at with cert.insist in place of the argument, which comes first", function()
        local server = named "DNS:one.test"
        fails(server, { caCert = ca, hostName = "two.test", insist = 0 })
        fails(server, { caCert = ca, hostName = "two.test", insist = 1 }, 0)
        connects(server, { caCert = ca, hostName = "two.test", insist = 0 }, 1)
    end)

    it("that is not trusted is refused with every insist", function()
        local server = server_of("other root", function()
            return pki.issue { issuer = pki.other_root(), names = pki.server_names }
        end)
        for _, insist in ipairs { false, 0, 1 } do
            assert.matches("not signed by a trusted CA",
                fails(server, { caCert = ca, hostName = "localhost" }, insist or nil))
        end
    end)

    it("is compared with the address when there is no hostName", function()
        local server = named("DNS:localhost", "DNS:one.test")
        assert.is_true(connects(server, { caCert = ca }, nil, "localhost"))
        if h.netns then
            assert.matches("elsewhere.test is not among localhost, one.test",
                fails(named("DNS:localhost", "DNS:one.test"), { caCert = ca, hostName =
                    "elsewhere.test" }))
            assert.is_true(connects(server, { caCert = ca }, nil, "one.test"))
        end
    end)

    it("is compared with hostName and not with the address", function()
        local server = named "DNS:one.test"
        assert.is_true(connects(server, { caCert = ca, hostName = "one.test" }, nil, "localhost"))
        if h.netns then
            fails(server, { caCert = ca, hostName = "else.test" }, nil, "one.test")
        end
    end)

    it("is not compared with an IP literal, unless insist is 0", function()
        local server = named "DNS:one.test"
        assert.is_true(connects(server, { caCert = ca }))
        assert.is_true(connects(server, { caCert = ca, hostName = "127.0.0.1" }))
        assert.is_true(connects(server, { caCert = ca, hostName = "::1" }))
        assert.is_true(connects(server, { caCert = ca }, 1))
        assert.matches("name mismatch: 127.0.0.1 is not among one.test", fails(server,
            { caCert = ca }, 0), 1, true)
        assert.matches("name mismatch: 10.1.2.3 is not among one.test", fails(server,
            { caCert = ca, hostName = "10.1.2.3" }, 0), 1, true)
    end)

    it("is compared with an IP literal by its IP names when insist is 0", function()
        local server = named("DNS:one.test", "IP:127.0.0.1", "IP:::1")
        assert.is_true(connects(server, { caCert = ca }, 0))
        assert.is_true(connects(server, { caCert = ca, hostName = "127.0.0.1" }, 0))
        assert.is_true(connects(server, { caCert = ca, hostName = "::1" }, 0))
        assert.is_true(connects(server, { caCert = ca, hostName = "[::1]" }, 0))
        assert.is_true(connects(server, { caCert = ca, hostName = "0:0:0:0:0:0:0:1" }, 0))
        fails(server, { caCert = ca, hostName = "127.0.0.2" }, 0)
        fails(server, { caCert = ca, hostName = "::2" }, 0)
    end)

    it("that has an address as a DNS name is not that address", function()
        fails(named "DNS:127.0.0.1", { caCert = ca, hostName = "127.0.0.1" }, 0)
    end)

    it("is compared by its common name when it has no other names", function()
        local server = server_of("common name only", function()
            return pki.issue { issuer = pki.root(), subject = "/CN=common.test" }
        end)
        assert.is_true(connects(server, { caCert = ca, hostName = "common.test" }))
        assert.matches("other.test is not among common.test",
            fails(server, { caCert = ca, hostName = "other.test" }), 1, true)
    end)

    it("is not compared by its common name when it has other names", function()
        fails(named "DNS:one.test", { caCert = ca, hostName = "common.test" })
    end)

    it("that fails at one of two addresses has that told, not that the other refused", function()
        if not h.netns then
            return pending "the namespace's hosts file is needed"
        end
        -- localhost is 127.0.0.1 and ::1 there, and openssl listens on the first only.
        fails(named "DNS:one.test", { caCert = ca, hostName = "two.test" }, nil, "localhost")
    end)

    it("may have a wildcard for one label, the leftmost", function()
        local server = named("DNS:*.wild.test")
        assert.is_true(connects(server, { caCert = ca, hostName = "a.wild.test" }))
        assert.is_true(connects(server, { caCert = ca, hostName = "A.WILD.test" }))
        fails(server, { caCert = ca, hostName = "wild.test" })
        fails(server, { caCert = ca, hostName = "a.b.wild.test" })
        fails(server, { caCert = ca, hostName = "awild.test" })
    end)

    it("is compared without regard to upper and lower case", function()
        assert.is_true(connects(named "DNS:one.test", { caCert = ca, hostName = "ONE.Test" }))
    end)
end)

describe("with caCert a certificate", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    local function served(spec)
        spec.issuer = spec.issuer or pki.root()
        spec.names = spec.names or pki.server_names
        return tls.openssl { cert = pki.issue(spec), mode = "-www",
            args = "-cipher DEFAULT@SECLEVEL=0" }
    end
    -- Each is a fault whatever insist says: that is about the name only.
    local function refused(server, words, cert)
        for _, insist in ipairs { false, 0, 1 } do
            assert.matches(words, fails(server, cert or tls.verified(), insist or nil), 1, true)
        end
    end

    it("that has expired is refused", function()
        refused(served { start = "20100101000000Z", finish = "20110101000000Z" }, "expired")
    end)

    it("that is not yet valid is refused", function()
        refused(served { start = "20900101000000Z", finish = "20990101000000Z" }, "not yet valid")
    end)

    it("of an intermediate CA that has expired is refused, and it is told where", function()
        local above = pki.issue { issuer = pki.root(), label = "expired", ca = true,
            subject = "/CN=Expired", start = "20100101000000Z", finish = "20110101000000Z" }
        refused(served { issuer = above }, "expired (a certificate above the server's)")
    end)

    it("that nobody trusted has signed is refused", function()
        refused(served { issuer = pki.other_root() }, "not signed by a trusted CA")
    end)

    it("that signed itself is refused", function()
        local made = pki.issue { subject = "/CN=localhost", names = pki.server_names }
        local server = tls.openssl { cert = made, mode = "-www" }
        refused(server, "not signed by a trusted CA")
    end)

    it("that signed itself is taken when it is the caCert", function()
        local made = pki.issue { subject = "/CN=localhost", names = pki.server_names }
        local server = tls.openssl { cert = made, mode = "-www" }
        assert.is_true(connects(server, { caCert = made.pem, hostName = "localhost" }))
    end)

    it("with RSA 1024 is refused", function()
        refused(served { key = "rsa1024" }, "weak key")
    end)

    it("of a CA with RSA 1024 is refused", function()
        local weak = pki.issue { key = "rsa1024", label = "weak", subject = "/CN=Weak", ca = true }
        local server = tls.openssl { mode = "-www", args = "-cipher DEFAULT@SECLEVEL=0",
            cert = pki.issue { issuer = weak, names = pki.server_names } }
        refused(server, "weak key", tls.verified { caCert = weak.pem })
    end)

    it("signed with SHA-1 is refused", function()
        local made = pki.issue { issuer = pki.root(), names = pki.server_names, digest = "sha1" }
        local server = tls.openssl { cert = made, mode = "-www",
            args = "-cipher DEFAULT@SECLEVEL=0" }
        refused(server, "weak key or hash")
    end)

    it("with a bad signature is refused", function()
        -- A CA of the same name that has another key.
        local impostor = pki.issue { label = "impostor", subject = "/CN=Test Root ec256",
            ca = true }
        refused(served { issuer = impostor }, "bad signature")
    end)

    it("that may not be used for a server's signatures is refused", function()
        refused(served { usage = "cRLSign" }, "wrong key usage")
        refused(served { usage = "keyCertSign" }, "wrong key usage")
    end)

    it("that is for clients only is refused", function()
        refused(served { extended = "clientAuth" }, "wrong extended key usage")
    end)

    it("of an issuer that is no CA is refused", function()
        local issuer = pki.issue { issuer = pki.root(), label = "no CA", subject = "/CN=No CA" }
        refused(served { issuer = issuer }, "not signed by a trusted CA")
    end)

    it("with several faults has all of them told", function()
        local server = served { start = "20100101000000Z", finish = "20110101000000Z",
            issuer = pki.other_root() }
        local reason = fails(server, tls.verified { hostName = "else.where" })
        assert.matches("expired, not signed by a trusted CA, name mismatch", reason, 1, true)
    end)

    it("is looked at with TLS 1.2 as well", function()
        local made = pki.issue { issuer = pki.root(), names = pki.server_names,
            start = "20100101000000Z", finish = "20110101000000Z" }
        refused(tls.openssl { cert = made, mode = "-www", args = "-tls1_2" }, "expired")
    end)

    it("that is refused is told to the server by an alert", function()
        local server = served { issuer = pki.other_root() }
        fails(server, tls.verified())
        server:wait "alert unknown ca"
    end)
end)

describe("without caCert", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    it("every certificate is taken, with every insist, and sock_info says that it was not verified",
        function()
            local made = {
                pki.server(),
                pki.issue { issuer = pki.other_root(), subject = "/CN=elsewhere",
                    start = "20100101000000Z", finish = "20110101000000Z" },
                pki.issue { subject = "/CN=self" },
            }
            for _, cert in ipairs(made) do
                for _, version in ipairs { "-tls1_2", "-tls1_3" } do
                    local server = tls.openssl { cert = cert, args = version, mode = "-www" }
                    for _, insist in ipairs { false, 0, 1 } do
                        for _, given in ipairs { {}, { hostName = "a.test" } } do
                            assert.is_false(connects(server, given, insist or nil))
                        end
                    end
                    server:stop()
                end
            end
        end)

    it("and without a cert table the connection is made too", function()
        local server = tls.openssl { cert = pki.server(), mode = "-www",
            args = "-tls1_2 -no_ticket" }
        local before = h.sc.tls_sessions()
        local id = h.open(h.SSL, "127.0.0.1", server.port)
        local info = h.sc.sock_info(id)
        assert.is_false(info.verified)
        assert.is_false(info.time_checked)
        assert.matches("CN=localhost", info.peer_subject)
        h.close(id)
        assert.is_true(#h.sc.tls_sessions() >= #before)
        h.note_memory() -- the session is kept
    end)
end)
