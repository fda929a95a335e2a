-- Certificates that mbedTLS cannot read: they matter only where something needs them.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local element = pki.element
local VERSIONS = { "-tls1_2", "-tls1_3" }
local CA = { "basicConstraints=critical,CA:TRUE" }

------------------------------------------------------------------------------- making them

-- The certificate with `old` replaced by `new` of the same length wherever it stands. Its signature
-- is wrong then.
local function altered(made, old, new)
    assert(#old == #new)
    local der, count = pki.der(made):gsub(old:gsub("%p", "%%%0"):gsub("%z", "%%z"),
        (new:gsub("%%", "%%%%")))
    assert(count > 0, "the certificate has no such bytes")
    local name = pki.path "der"
    h.write_file(name, der)
    local text = pki.openssl("base64 -in %s", name)
    local copy = { cert = pki.path "pem", key = made.key,
        pem = "-----BEGIN CERTIFICATE-----\n" .. text .. "-----END CERTIFICATE-----\n" }
    copy.chain = copy.cert
    h.write_file(copy.cert, copy.pem)
    return copy
end

local count = 0
local function ca(spec)
    count = count + 1
    spec.label = spec.label or "ca" .. count
    spec.subject = spec.subject or "/CN=odd " .. count
    spec.ext = spec.ext or CA
    spec.constraints = false
    spec.usage = "keyCertSign"
    return pki.issue(spec)
end

local function leaf(spec)
    spec.issuer = spec.issuer or pki.root()
    spec.names = spec.names or pki.server_names
    spec.subject = "/CN=localhost"
    return pki.issue(spec)
end

local function plain() return ca {} end

-- Each is a CA that nothing needs: what it is, and how it is made.
local EXTRAS = {
    { "Ed25519", function() return ca { key = "ed25519", digest = "" } end },
    { "Ed448", function() return ca { key = "ed448", digest = "" } end },
    { "the root's name and key, signed with Ed25519", function()
        return pki.issue { issuer = ca { key = "ed25519", digest = "" }, digest = "",
            label = "root", subject = "/CN=Test Root ec256", ca = true }
    end },
    { "P-192", function() return ca { key = "p192" } end },
    { "P-224", function() return ca { key = "p224" } end },
    { "secp256k1", function() return ca { key = "secp256k1" } end },
    { "brainpoolP256r1", function() return ca { key = "brainpool256" } end },
    { "brainpoolP512r1", function() return ca { key = "brainpool512" } end },
    { "a curve with explicit parameters", function() return ca { key = "explicit256" } end },
    { "an RSA-PSS key", function() return ca { key = "rsapss" } end },
    { "an RSA-PSS signature", function()
        return ca { key = "rsa2048", sign = "-sigopt rsa_padding_mode:pss" } end },
    { "an RSA-PSS signature with odd parameters", function()
        return ca { key = "rsa2048", sign = "-sigopt rsa_padding_mode:pss "
            .. "-sigopt rsa_pss_saltlen:17 -sigopt rsa_mgf1_md:sha512" } end },
    { "SHA-1", function() return ca { digest = "sha1" } end },
    { "MD5", function() return ca { key = "rsa2048", digest = "md5" } end },
    { "SHA3", function() return ca { key = "rsa2048", digest = "sha3-256" } end },
    { "RSA 1024", function() return ca { key = "rsa1024" } end },
    { "an expired date", function()
        return ca { start = "20100101000000Z", finish = "20110101000000Z" } end },
    { "a serial number of 40 bytes", function()
        return ca { serial = "0x" .. ("7f"):rep(40) } end },
    { "a negative serial number", function() return ca { serial = "-5" } end },
    { "a critical extension that nobody knows", function()
        return ca { ext = { CA[1], "1.2.3.4=critical,DER:0500" } } end },
    { "critical name constraints", function()
        return ca { ext = { CA[1], "nameConstraints=critical,permitted;DNS:corp.test" } } end },
    { "name constraints", function()
        return ca { ext = { CA[1], "nameConstraints=permitted;DNS:corp.test" } } end },
    { "a critical policy", function()
        return ca { ext = { CA[1], "certificatePolicies=critical,1.2.3.4" } } end },
    { "critical policy constraints", function()
        return ca { ext = { CA[1], "policyConstraints=critical,requireExplicitPolicy:0" } } end },
    { "a malformed policy", function()
        return ca { ext = { CA[1], "certificatePolicies=DER:3000" } } end },
    { "a malformed key usage", function()
        return altered(plain(), "\3\85\29\15\1\1\255\4\4\3", "\3\85\29\15\1\1\255\4\4\4") end },
    { "an extension twice", function()
        return altered(ca { ext = { CA[1], "subjectKeyIdentifier=hash", "1.2.3=DER:0500" } },
            "\3\85\29\14", "\3\85\29\19") end },
    { "an address of five bytes", function()
        return ca { ext = { CA[1], pki.extension("subjectAltName",
            element(0x30, element(0x87, "\127\0\0\1\0"))) } } end },
    { "a path length that is too large", function()
        return ca { ext = { "basicConstraints=critical,DER:300a0101ff02050fffffffff" } } end },
    { "version 4", function() return altered(plain(), "\160\3\2\1\2", "\160\3\2\1\3") end },
    { "a name as a NumericString", function()
        return altered(ca { subject = "/CN=4711" }, "\12\4" .. "4711", "\18\4" .. "4711") end },
    { "a date without its Z", function()
        local made = plain()
        local day = pki.der(made):match "0\30\23\r%d+Z\23\r(%d+Z)"
        return altered(made, day, day:sub(1, -2) .. "X")
    end },
    { "no subject", function() return ca { subject = "/" } end },
    { "an RSA key that is even", function()
        return altered(ca { key = "rsa2048" }, "\2\3\1\0\1\163", "\2\3\1\0\0\163") end },
    { "version 1", function()
        local key, request, out = pki.key("ec256", "v1"), pki.path "csr", pki.path "pem"
        pki.openssl("req -new -batch -key %s -subj /CN=v1 -out %s", key, request)
        pki.openssl("x509 -req -in %s -signkey %s -days 9 -out %s", request, key, out)
        return { cert = out, pem = pki.read(out) }
    end },
}

local function serve(cert, version, chain, more)
    return tls.openssl { cert = cert, chain = chain, mode = "-www",
        args = version .. " -cipher ALL:@SECLEVEL=0 " .. (more or "") }
end

local function connects(server, cert, insist)
    local id = tls.open(server, cert, insist)
    local info = h.sc.sock_info(id)
    h.close(id)
    return info
end

------------------------------------------------------------------------------- what is not needed

describe("a certificate that the server sends and nobody needs", function()
    local served

    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    -- Some at a time, in front of one that is needed and behind it.
    for first = 1, #EXTRAS, 6 do
        local what = {}
        for i = first, math.min(first + 5, #EXTRAS) do
            what[#what + 1] = EXTRAS[i][1]
        end
        it("does not matter: " .. table.concat(what, ", "), function()
            local extras, chain = {}, pki.path "pem"
            for i = 1, #what do
                extras[i] = EXTRAS[first + i - 1][2]().pem
            end
            extras = table.concat(extras)
            h.write_file(chain, extras .. pki.intermediate().pem .. extras)
            served = served or leaf { issuer = pki.intermediate() }
            for _, version in ipairs(VERSIONS) do
                local server = serve(served, version, chain)
                assert.is_true(connects(server, tls.verified()).verified)
                assert.is_false(connects(server, {}).verified)
                server:stop()
            end
        end)
    end

    it("is named where the chain does not verify", function()
        local odd = ca { key = "ed25519", digest = "" }
        local made = leaf { issuer = pki.other_root() }
        for _, version in ipairs(VERSIONS) do
            local reason, err = tls.fail(serve(made, version, odd.cert), tls.verified())
            assert.matches("not signed by a trusted CA (one that the server sent with it was left "
                .. "out: key algorithm Ed25519 is not supported)", reason, 1, true)
            assert.equal(h.sc.ERR_SSL_EINVALID, err)
        end
    end)
end)

------------------------------------------------------------------------------- what is needed

-- The server's own certificate, and what is said where it has to be verified; nil: it is accepted.
local LEAVES = {
    { "signed with Ed25519", "signature algorithm Ed25519 is not supported", function()
        return leaf { issuer = ca { key = "ed25519", digest = "" }, digest = "" } end },
    { "signed with Ed448", "signature algorithm Ed448 is not supported", function()
        return leaf { issuer = ca { key = "ed448", digest = "" }, digest = "" } end },
    { "with RSA, signed with Ed25519", "signature algorithm Ed25519 is not supported", function()
        return leaf { key = "rsa2048", issuer = ca { key = "ed25519", digest = "" },
            digest = "" } end },
    { "with a critical extension that nobody knows",
        "critical extension 1.2.3.4 is not supported",
        function() return leaf { ext = { "1.2.3.4=critical,DER:0500" } } end },
    { "with a critical extension that could be another one",
        "critical extension 2.5.29.99 is not supported",
        function() return leaf { ext = { "2.5.29.99=critical,DER:3003800100" } } end },
    { "with critical policy constraints", "critical extension policyConstraints is not supported",
        function()
            return leaf { ext = { "policyConstraints=critical,requireExplicitPolicy:0" } } end },
    { "with a critical policy", nil, function()
        return leaf { ext = { "certificatePolicies=critical,1.2.3.4" } } end },
    { "with critical CRL distribution points", nil, function()
        return leaf { ext = { "crlDistributionPoints=critical,URI:http://crl.test/" } } end },
    { "with an authority key of an issuer without number", nil, function()
        return leaf { ext = { pki.extension("authorityKeyIdentifier", element(0x30,
            element(0xa1, element(0xa4, pki.common_name(12, "x"))))) } } end },
    { "with a malformed policy", "malformed", function()
        return leaf { ext = { "certificatePolicies=DER:3000" } } end },
    { "of version 4", "malformed", function()
        return altered(leaf {}, "\160\3\2\1\2", "\160\3\2\1\3") end },
}

describe("a server's own certificate", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    for _, case in ipairs(LEAVES) do
        it(case[1] .. " is looked at with caCert only", function()
            local made = case[3]()
            for i, version in ipairs(VERSIONS) do
                local server = serve(made, version, made.cert)
                local info = connects(server, {})
                assert.is_false(info.verified)
                assert.matches("CN=localhost", info.peer_subject)
                assert.matches("^20%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$", info.peer_expires)
                if case[2] then
                    local reason, err = tls.fail(server, tls.verified(), i - 1)
                    assert.matches("tls: the server's certificate cannot be read: " .. case[2],
                        reason, 1, true)
                    assert.equal(h.sc.ERR_SSL_EINVALID, err)
                else
                    assert.is_true(connects(server, tls.verified(), 0).verified)
                end
                server:stop()
            end
        end)
    end

    it("that cannot be read is not made up for by another that can", function()
        local made = leaf { issuer = ca { key = "ed25519", digest = "" }, digest = "" }
        for _, version in ipairs(VERSIONS) do
            local reason = tls.fail(serve(made, version, pki.server().cert), tls.verified())
            assert.matches("cannot be read", reason)
        end
    end)

    it("below a CA with a critical extension that nobody knows is refused", function()
        local above = ca { issuer = pki.root(), ext = { CA[1], "1.2.3.4=critical,DER:0500" } }
        local made = leaf { issuer = above }
        for _, version in ipairs(VERSIONS) do
            local reason, err = tls.fail(serve(made, version, above.cert), tls.verified())
            assert.matches("not signed by a trusted CA", reason)
            assert.matches("critical extension 1.2.3.4 is not supported", reason, 1, true)
            assert.equal(h.sc.ERR_SSL_EINVALID, err)
        end
    end)

    it("that cannot be read is resumed, and its key pinned, without caCert", function()
        local made = leaf { issuer = ca { key = "ed25519", digest = "" }, digest = "" }
        local cert = { resume = true, pin = pki.pin(made) }
        for _, version in ipairs(VERSIONS) do
            local server = tls.openssl { cert = made, chain = made.cert, args = version }
            tls.try(server, cert)
            assert.is_true(tls.try(server, cert).resumed)
            assert.matches("not the one of cert.pin", tls.fail(server, { pin = ("0"):rep(64) }))
        end
        h.note_memory() -- sessions are kept
    end)
end)

------------------------------------------------------------------------------- the client's own

describe("a client's certificate that only the server has to understand", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    local function device(spec)
        spec.issuer = spec.issuer or pki.root()
        spec.label, spec.subject = "device", "/CN=device"
        return pki.issue(spec)
    end

    local cases = {
        { "signed with Ed25519", function()
            return device { issuer = ca { key = "ed25519", digest = "" }, digest = "" } end },
        { "with RSA, signed with Ed448", function()
            return device { key = "rsa2048", digest = "", issuer = ca { key = "ed448",
                digest = "" } } end },
        { "with a critical policy", function()
            return device { ext = { "certificatePolicies=critical,1.2.3.4" } } end },
        { "with a critical extension that nobody knows", function()
            return device { ext = { "1.2.3.4=critical,DER:0500" } } end },
        { "of version 4", function()
            return altered(device {}, "\160\3\2\1\2", "\160\3\2\1\3") end },
        { "below a CA with Ed25519", function()
            local above = ca { issuer = ca { key = "ed25519", digest = "" }, digest = "" }
            local made = device { issuer = above }
            made.pem = made.pem .. above.pem .. above.issuer.pem
            return made
        end },
    }
    for _, case in ipairs(cases) do
        it("is sent: " .. case[1], function()
            local made = case[2]()
            for _, version in ipairs(VERSIONS) do
                local server = tls.openssl { cert = pki.server(),
                    args = "-Verify 5 -CAfile " .. pki.root().cert .. " " .. version }
                tls.try(server, tls.verified { clientCert = made.pem, clientKey = made.key_pem
                    or pki.read(made.key) })
                assert.matches("CN ?= ?device", server:output())
                server:stop()
            end
        end)
    end
end)
