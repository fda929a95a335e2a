-- Of the ciphers that both know a server takes the one that is fast here.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

-- mbedTLS's own AES-GCM is slower than its ChaCha20 everywhere.
local function is_aes_fast()
    local file = os.getenv "SC_SUITE" ~= "portable" and io.open "/proc/cpuinfo"
    local text = file and file:read "*a" or ""
    if file then
        file:close()
    end
    return text:find " aes " ~= nil and (text:find " pclmulqdq " or text:find " pmull ") ~= nil
end

describe("the cipher that is preferred", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    local preferred = is_aes_fast() and "AES%-256%-GCM" or "CHACHA20"

    -- OpenSSL goes by the client's order unless it is told otherwise.
    local function chosen(args)
        local server = tls.openssl { cert = pki.server(), args = args }
        return tls.try(server, { caCert = pki.root().pem, hostName = "localhost", resume = false })
            .cipher_suite
    end

    for _, version in ipairs { "-tls1_2", "-tls1_3" } do
        it("is the one that this machine is fast at, " .. version, function()
            assert.matches(preferred, chosen(version))
        end)
    end

    it("is not the only one", function()
        assert.matches("CHACHA20", chosen "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256")
        assert.matches("AES%-128%-GCM", chosen "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256")
        assert.matches("CHACHA20", chosen "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305")
        assert.matches("AES%-128%-GCM", chosen "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256")
        assert.matches("AES%-256%-CBC", chosen "-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384")
    end)
end)
