-- Names of all kinds in the server's certificate: those that are compared, and those beside them.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local element = pki.element
local DNS, IP = element(0x82, "localhost"), element(0x87, "\127\0\0\1")
local DIRECTORY = pki.common_name(12, "localhost")

-- GeneralNames beside the one that matches.
local NAMES = {
    { "a URI", element(0x86, "https://localhost/") },
    { "a URI that is the host's name", element(0x86, "localhost") },
    { "an e-mail address", element(0x81, "me@localhost") },
    { "a directory name", element(0xa4, DIRECTORY) },
    { "a directory name of digits", element(0xa4, pki.common_name(18, "4711")) },
    { "a directory name without attributes", element(0xa4, "\48\0") },
    { "a registered id", element(0x88, "\42\3\4") },
    { "another name: a user principal", element(0xa0,
        "\6\10\43\6\1\4\1\130\55\20\2\3" .. element(0xa0, element(12, "me@test"))) },
    { "another name: a malformed hardware module", element(0xa0,
        "\6\8\43\6\1\5\5\7\8\4" .. element(0xa0, element(12, "x"))) },
    { "an X.400 address", element(0xa3, DIRECTORY) },
    { "an EDI party", element(0xa5, element(0xa1, element(12, "x"))) },
    { "an address and its mask", element(0x87, "\10\0\0\0\255\0\0\0") },
    { "an address of no bytes", element(0x87, "") },
    { "an empty DNS name", element(0x82, "") },
}

describe("a name in a certificate", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    local function serve(names)
        local made = pki.issue { issuer = pki.root(), subject = "/CN=localhost", names = {},
            ext = { pki.extension("subjectAltName", element(0x30, names)) } }
        return tls.openssl { cert = made, mode = "-www" }
    end

    local function verified(name)
        return { caCert = pki.root().pem, hostName = name }
    end

    for _, case in ipairs(NAMES) do
        it("matches beside " .. case[1], function()
            local server = serve(case[2] .. DNS .. IP .. case[2])
            h.close(tls.open(server, verified "localhost"))
            h.close(tls.open(server, verified "127.0.0.1", 0))
            assert.matches("name mismatch: a.test is not among ",
                tls.fail(server, verified "a.test"), 1, true)
            assert.matches("name mismatch: 127.0.0.2 is not among ",
                tls.fail(server, verified "127.0.0.2", 0), 1, true)
        end)
    end

    it("of another kind than the one that is wanted does not match", function()
        local names = { element(0x82, "other.test"), element(0x87, "\127\0\0\3") }
        for _, case in ipairs(NAMES) do
            names[#names + 1] = case[2]
        end
        for _, other in ipairs { table.concat(names), names[1], names[2], NAMES[2][2] } do
            local server = serve(other)
            assert.matches("name mismatch: localhost is not among ",
                tls.fail(server, verified "localhost"), 1, true)
            assert.matches("name mismatch: 127.0.0.1 is not among ",
                tls.fail(server, verified "127.0.0.1", 0), 1, true)
        end
    end)
end)
