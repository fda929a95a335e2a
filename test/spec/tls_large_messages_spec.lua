-- Handshake messages that are larger than a record, and those that come in many small ones.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local CERT = { hostName = "localhost" }

-- Both versions use the same.
local made = {}

local function once(name, make)
    made[name] = made[name] or make()
    return made[name]
end

-- A name of `size` bytes of DER; each number makes another. A part of n letters takes n + 11.
local function big_name(size, number)
    local cn = ("%04d"):format(number)
    local parts, left = { "/CN=" .. cn }, size - 4 - 15
    while left > 0 do
        local part = left > 150 and 71 or left > 71 and math.floor(left / 2) or left
        parts[#parts + 1] = "/OU=" .. ("x"):rep(part - 11)
        left = left - part
    end
    return table.concat(parts)
end

-- A file of CAs whose names take `bytes` in a CertificateRequest: two more each.
local function make_authorities(bytes)
    local text, left = {}, bytes
    while left > 0 do
        local size = left > 6000 and 3000 or left > 3000 and math.floor(left / 2) or left
        text[#text + 1] = pki.issue { subject = big_name(size - 2, #text), label = "authority",
            ca = true }.pem
        left = left - size
    end
    local file = pki.path "pem"
    h.write_file(file, table.concat(text))
    return file
end

local function authorities(bytes)
    return once(bytes, function() return make_authorities(bytes) end)
end

-- A certificate of `bytes` of DER, give or take the two of its signature.
local function make_big_certificate(bytes, issuer, ca)
    local function issue(count, last)
        local names = { "DNS:localhost" }
        for i = 1, count do
            names[i + 1] = ("DNS:host-%05d.customer.example"):format(i) -- 29 bytes
        end
        names[count + 2] = "DNS:" .. ("p"):rep(last)
        local cert = pki.issue { issuer = issuer, names = names, label = "big" .. tostring(ca),
            ca = ca, subject = ca and "/CN=Big CA" or "/CN=localhost" }
        cert.chain = ca and cert.chain or issuer.chain -- openssl sends the server's own beside it
        return cert
    end
    local count = math.floor((bytes - 1000) / 29)
    local missing = bytes - #pki.der(issue(count, 10))
    count = count + math.floor(missing / 29)
    return issue(count, 10 + missing % 29)
end

local function big_certificate(bytes, issuer, ca)
    return once(("%d %s"):format(bytes, issuer.cert), function()
        return make_big_certificate(bytes, issuer, ca)
    end)
end

for _, version in ipairs { "1_2", "1_3" } do
    describe("large handshake messages, TLS " .. version .. ":", function()
        setup(tls.begin_file)
        before_each(h.begin)
        after_each(tls.finish)
        teardown(tls.finish_file)

        local function start(options)
            options.cert = options.cert or pki.server()
            options.args = ("-tls%s %s"):format(version, options.args or "")
            return tls.openssl(options)
        end

        -- Bytes of the message with this name, as the server has sent it.
        local function sent(server, name)
            local most = 0
            for length in server:output():gmatch(">>> TLS [%d.]+, Handshake %[length (%x+)%], "
                .. name) do
                most = math.max(most, tonumber(length, 16))
            end
            return most
        end

        local function try(server)
            CERT.caCert = pki.root().pem
            return tls.try(server, CERT)
        end

        -- In TLS 1.2 the list of CAs may have 65535 bytes; in 1.3 all extensions together.
        local most = version == "1_2" and 65535 or 65400
        for _, bytes in ipairs { 12000, 20000, 40000, most } do
            it(("a CertificateRequest with CAs of %d bytes"):format(bytes), function()
                local server = start { args = "-msg -verify 3 -CAfile " .. authorities(bytes) }
                assert.is_true(try(server).verified)
                local length = sent(server, "CertificateRequest")
                assert.is_true(length > bytes and length < bytes + 100, length)
            end)
        end

        it("a certificate of 27 KB", function()
            local server = start { args = "-msg", cert = big_certificate(27000, pki.root()) }
            assert.is_true(try(server).verified)
            assert.is_true(sent(server, "Certificate") > 27000)
        end)

        it("a chain of 60 KB", function()
            local upper = big_certificate(30000, pki.root(), true)
            local server = start { args = "-msg", cert = big_certificate(30000, upper) }
            assert.is_true(try(server).verified)
            assert.is_true(sent(server, "Certificate") > 60000)
        end)

        -- The list of certificates may have 65535 bytes, 3 or 5 of them for each beside its own.
        it("certificates that make a message of more than 65535 bytes", function()
            local beside = 2 * (version == "1_2" and 3 or 5) + #pki.der(pki.root())
            local cert = big_certificate(65533 - beside, pki.root())
            local server = start { args = "-msg", cert = cert }
            assert.is_true(try(server).verified)
            assert.is_true(sent(server, "Certificate") > 65535)
        end)

        it("in records of 512 bytes", function()
            local server = start { args = "-max_send_frag 512 -verify 3 -CAfile "
                .. authorities(20000), cert = big_certificate(27000, pki.root()) }
            assert.is_true(try(server).verified)
        end)

        it("one that is too large is told with its size and the limit", function()
            local upper = big_certificate(40000, pki.root(), true)
            local server = start { cert = big_certificate(40000, upper) }
            local reason, err = tls.fail(server, { caCert = pki.root().pem,
                hostName = "localhost" })
            assert.matches("a handshake message of 8%d%d%d%d bytes is too large: at most %d+ ",
                reason)
            assert.equal(h.raw.ERR_SSL_EHANDESHAK, err)
        end)

        it("leaves no larger buffer behind", function()
            local function kept(server)
                local before = h.rtos.memory()
                local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost" })
                tls.check_echo(id) -- tickets come before the answer
                local bytes = h.rtos.memory() - before
                h.close(id)
                return bytes
            end
            local few = kept(start { args = "-verify 3 -CAfile " .. pki.root().cert })
            local many = kept(start { args = "-verify 3 -CAfile " .. authorities(62000) })
            assert.is_true(math.abs(many - few) < 2000, many .. " and " .. few)
        end)
    end)
end
