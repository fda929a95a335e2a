-- TLS with servers that nobody wrote for these tests, combination by combination. The table of them
-- is $SC_BUILD/tls-interop.md.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local interop = require "test.support.interop_runner"
local pki = require "test.support.pki"

local missing = {}

-- A group of combinations with one server, or a pending test when it is not installed.
local function with(program, title, body)
    describe(title .. " #netns", function()
        local path = interop.find(program)
        if not path then
            missing[#missing + 1] = program
            pending(program .. " is not installed")
            return
        end
        before_each(h.begin)
        after_each(h.finish)
        body(path)
    end)
end

-- A server of its own for one combination.
local function serve(c, command, ...)
    c.port = h.free_port()
    local server = h.spawn(command:gsub("PORT", tostring(c.port)):format(...))
    h.wait_listening(c.port)
    local ok, err = pcall(interop.run, c)
    local log = h.slurp(server.log)
    h.stop(server)
    if not ok then
        if type(err) == "table" then
            error(err, 0)
        end
        error(("%s\n%s said: %s"):format(tostring(err), c.server, log:sub(-1500)), 0)
    end
end

local PSK, PSK_HEX = "0123456789abcdef", "30313233343536373839616263646566"
local function psk_cert()
    return { hostName = interop.NAME, psk = PSK, pskIdentity = "device" }
end

setup(function()
    h.begin()
    local _ = pki.available and pki.root()
    interop.note_memory()
    h.finish()
end)
teardown(function()
    interop.write_report(missing)
    interop.check_memory()
end)

local keys_of = { ECDSA = { "ec256", "ec384" }, RSA = { "rsa2048", "rsa4096" } }
local all_keys = { "ec256", "ec384", "rsa2048", "rsa4096" }

with("openssl", "openssl s_server", function(openssl)
    local function run(c, certificate, arguments)
        c.server = "openssl s_server"
        c.exchange = interop.echo_lines(string.reverse)
        c.ask_to_close = function(id) h.send(id, "CLOSE\n") end
        if certificate then
            certificate = pki.server(certificate)
            certificate = ("-cert %s -key %s"):format(certificate.cert, certificate.key)
        end
        serve(c, "%s s_server -accept 127.0.0.1:PORT -rev %s %s", openssl, certificate or "-nocert",
            arguments)
    end

    -- { name = mbedTLS's, openssl = OpenSSL's, exchange = "ECDHE-ECDSA" } of each suite of TLS 1.2
    -- that this openssl and our configuration of mbedTLS have.
    local function common_suites()
        local ours = { ["ECDHE-ECDSA"] = true, ["ECDHE-RSA"] = true, ["DHE-RSA"] = true,
            PSK = true, ["DHE-PSK"] = true, ["ECDHE-PSK"] = true }
        local list = {}
        local out = io.popen(openssl .. " ciphers -stdname -tls1_2 'ALL:PSK:@SECLEVEL=0'")
        for line in out:lines() do
            local standard, name = line:match "^(TLS_%S+)%s+%-%s+(%S+)"
            standard = (standard or ""):gsub("^TLS_PSK_DHE_", "TLS_DHE_PSK_")
            local exchange, cipher = standard:match "^TLS_(.-)_WITH_(.+)$"
            exchange = (exchange or ""):gsub("_", "-")
            if ours[exchange] and (cipher:find "^AES" or cipher:find "^CHACHA20") then
                list[#list + 1] = { name = standard:gsub("_", "-"), openssl = name,
                    exchange = exchange }
            end
        end
        out:close()
        return list
    end

    local number = 0
    for _, suite in ipairs(common_suites()) do
        local kind = suite.exchange:match "ECDSA$" or suite.exchange:match "RSA$"
        for _, key in ipairs(kind and keys_of[kind] or { false }) do
            number = number + 1
            local has_tickets = number % 2 == 0
            local what = ("%s, resumed by %s"):format(key or "a pre-shared key",
                has_tickets and "ticket" or "session id")
            it(("speaks TLS 1.2 with %s: %s"):format(suite.name, what), function()
                run({ version = "TLSv1.2", suite = suite.name, what = what, resumes = true,
                    cert = not key and psk_cert() or nil, verified = key and true }, key,
                    ("-tls1_2 -cipher %s:@SECLEVEL=0 %s %s"):format(suite.openssl,
                        has_tickets and "" or "-no_ticket",
                        key and "" or "-psk_identity device -psk " .. PSK_HEX))
            end)
        end
    end

    for _, suite in ipairs { "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256",
        "AES_128_CCM_SHA256", "AES_128_CCM_8_SHA256" } do
        for _, key in ipairs(all_keys) do
            number = number + 1
            local is_stateful = number % 2 == 0
            local what = ("%s%s"):format(key, is_stateful and ", tickets that are ids" or "")
            it(("speaks TLS 1.3 with %s: %s"):format(suite, what), function()
                run({ version = "TLSv1.3", suite = "TLS1-3-" .. suite:gsub("_", "-"), what = what,
                    resumes = true }, key, ("-tls1_3 -ciphersuites TLS_%s %s"):format(suite,
                    is_stateful and "-no_ticket" or ""))
            end)
        end
    end

    for _, group in ipairs { "X25519", "P-256", "P-384", "P-521", "brainpoolP256r1",
        "brainpoolP384r1" } do
        it("speaks TLS 1.2 over " .. group, function()
            run({ version = "TLSv1.2", suite = "TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384",
                resumes = true, what = "rsa2048, group " .. group }, "rsa2048",
                "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384 -groups " .. group)
        end)
    end
    for _, group in ipairs { "X25519", "P-256", "P-384", "P-521" } do
        it("speaks TLS 1.3 over " .. group, function()
            run({ version = "TLSv1.3", what = "ec256, group " .. group, resumes = true }, "ec256",
                "-tls1_3 -groups " .. group)
        end)
    end

    for _, version in ipairs { "1.2", "1.3" } do
        for _, server_key in ipairs { "ec256", "rsa2048" } do
            for _, key in ipairs(all_keys) do
                it(("gets a client certificate in TLS %s: %s to %s"):format(version, key,
                    server_key), function()
                    run({ version = "TLSv" .. version, resumes = true,
                        what = ("%s, client certificate %s"):format(server_key, key),
                        cert = interop.client_cert(key) }, server_key,
                        ("-tls%s -Verify 1 -verify_return_error -CAfile %s"):format(
                            version:gsub("%.", "_"), pki.root().cert))
                end)
            end
        end
        it("without sessions makes a full handshake each time in TLS " .. version, function()
            run({ version = "TLSv" .. version, what = "ec256, no tickets, no cache" }, "ec256",
                ("-tls%s -no_ticket -no_cache -num_tickets 0"):format(version:gsub("%.", "_")))
        end)
    end
end)
