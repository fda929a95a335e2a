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

local function verified(more)
    local cert = { caCert = pki.root().pem, hostName = "localhost" }
    for name, value in pairs(more or {}) do
        cert[name] = value
    end
    return cert
end

describe("a TLS connection", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    for _, pair in ipairs(VERSIONS) do
        local flag, version = pair[1], pair[2]
        for _, kind in ipairs { "ec256", "ec384", "rsa2048", "rsa4096" } do
            it(("is made with %s and a server's key %s"):format(version, kind), function()
                local server = tls.openssl { cert = pki.server(kind), args = flag }
                local id = tls.open(server, verified())
                local info = h.sc.sock_info(id)
                assert.equal(version, info.tls_version)
                assert.is_true(info.verified)
                assert.is_true(info.time_checked)
                assert.is_false(info.resumed)
                assert.matches("^TLS", info.cipher_suite)
                assert.matches("CN=localhost", info.peer_subject)
                assert.matches("CN=Test Root", info.peer_issuer)
                assert.matches("^20%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d$", info.peer_expires)
                tls.check_echo(id)
                h.close(id)
            end)
        end
    end
end)
