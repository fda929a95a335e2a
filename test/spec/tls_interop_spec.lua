-- TLS with servers that nobody wrote for these tests, combination by combination. The table of them
-- is $SC_BUILD/tls-interop.md.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local interop = require "test.support.interop_runner"
local pki = require "test.support.pki"

local missing = {}

-- A group of combinations with one server, or a pending test when it is not installed.
local function with(program, title, body)
    describe(title, function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local path = interop.find(program)
        if not path then
            missing[#missing + 1] = program
            pending(program .. " is not installed")
            return
        end
        before_each(h.begin)
        after_each(h.finish)
        body(h.quote(path))
    end)
end

-- A server of its own for one combination.
local function serve(c, command, ...)
    c.port = interop.port()
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

-- Sessions with a pre-shared key are not resumed: mosquitto would not know the client any more.
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
            local what = key and ("%s, resumed by %s"):format(key,
                has_tickets and "ticket" or "session id") or "a pre-shared key"
            it(("speaks TLS 1.2 with %s: %s"):format(suite.name, what), function()
                run({ version = "TLSv1.2", suite = suite.name, what = what, verified = key and true,
                    resumes = key and true, cert = not key and psk_cert() or nil }, key,
                    ("-tls1_2 -cipher %s:@SECLEVEL=0 %s %s"):format(suite.openssl,
                        has_tickets and "" or "-no_ticket",
                        key and "" or "-psk_identity device -psk " .. PSK_HEX))
            end)
        end
    end

    -- Does it have this suite of TLS 1.3, whatever its default level of security leaves out?
    local function has_suite(name)
        local out = io.popen(("%s ciphers -s -tls1_3 -ciphersuites %s ALL:@SECLEVEL=0 2>&1"):format(
            openssl, name))
        local list = out:read "*a"
        out:close()
        return (":" .. list):find(":" .. name, 1, true) ~= nil
    end

    for _, suite in ipairs { "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256",
        "AES_128_CCM_SHA256", "AES_128_CCM_8_SHA256" } do
        local is_there = has_suite("TLS_" .. suite)
        for _, key in ipairs(all_keys) do
            number = number + 1
            local is_stateful = number % 2 == 0
            local what = ("%s%s"):format(key, is_stateful and ", tickets that are ids" or "")
            it(("speaks TLS 1.3 with %s: %s"):format(suite, what), function()
                if not is_there then
                    return pending(("this openssl has no TLS_%s"):format(suite))
                end
                run({ version = "TLSv1.3", suite = "TLS1-3-" .. suite:gsub("_", "-"), what = what,
                    resumes = true }, key,
                    ("-tls1_3 -ciphersuites TLS_%s -cipher ALL:@SECLEVEL=0 %s"):format(suite,
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

with("gnutls-serv", "gnutls-serv", function(gnutls)
    local function run(c, key, priority, arguments)
        c.server = "gnutls-serv"
        c.exchange = interop.echo_lines()
        local certificate = ""
        if key then
            certificate = ("--x509certfile %s --x509keyfile %s"):format(pki.server(key).cert,
                pki.server(key).key)
        end
        serve(c, "%s --port PORT --echo --quiet %s --priority 'NONE:+COMP-NULL:+SIGN-ALL:%s' %s",
            gnutls, certificate, priority, arguments or "--disable-client-cert")
    end

    -- GnuTLS's words for a cipher and a hash, and the end of mbedTLS's name of such a suite.
    local ciphers = {
        { "AES-128-GCM:+AEAD", "AES-128-GCM-SHA256" },
        { "AES-256-GCM:+AEAD", "AES-256-GCM-SHA384" },
        { "CHACHA20-POLY1305:+AEAD", "CHACHA20-POLY1305-SHA256" },
        { "AES-128-CCM:+AEAD", "AES-128-CCM", "AES-128-CCM-SHA256" },
        { "AES-128-CCM-8:+AEAD", "AES-128-CCM-8", "AES-128-CCM-8-SHA256" },
        { "AES-256-CCM:+AEAD", "AES-256-CCM", false },
        { "AES-256-CCM-8:+AEAD", "AES-256-CCM-8", false },
        { "AES-128-CBC:+SHA1", "AES-128-CBC-SHA", false },
        { "AES-256-CBC:+SHA1", "AES-256-CBC-SHA", false },
        { "AES-128-CBC:+SHA256", "AES-128-CBC-SHA256", false },
    }
    local number = 0
    for _, exchange in ipairs { "ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA", "PSK", "DHE-PSK",
        "ECDHE-PSK" } do
        local kind = exchange:match "ECDSA$" or exchange:match "RSA$"
        for _, cipher in ipairs(ciphers) do
            local is_there = cipher[2]:find "CBC" or cipher[2]:find "^CHACHA"
                or exchange ~= "ECDHE-PSK" and not (exchange == "ECDHE-RSA"
                and cipher[2]:find "CCM")
            if is_there then
                local suite = ("TLS-%s-WITH-%s"):format(exchange, cipher[2])
                number = number + 1
                local has_tickets = number % 2 == 0
                local key = kind and keys_of[kind][math.floor(number / 2) % 2 + 1] or false
                local what = key and ("%s, resumed by %s"):format(key,
                    has_tickets and "ticket" or "session id") or "a pre-shared key"
                it(("speaks TLS 1.2 with %s: %s"):format(suite, what), function()
                    local keys = pki.path "psk"
                    h.write_file(keys, "device:" .. PSK_HEX .. "\n")
                    run({ version = "TLSv1.2", suite = suite, what = what,
                        verified = key and true, resumes = key and true,
                        cert = not key and psk_cert() or nil }, key,
                        ("+VERS-TLS1.2:+%s:+%s:+CTYPE-X509:+GROUP-ALL"):format(exchange,
                            cipher[1]), "--disable-client-cert"
                            .. (has_tickets and "" or " --noticket")
                            .. (key and "" or " --pskpasswd " .. keys))
                end)
            end
        end
    end

    for i, cipher in ipairs(ciphers) do
        local suite = cipher[3] == nil and cipher[2] or cipher[3]
        for j, key in ipairs(suite and all_keys or {}) do
            if (i + j) % 2 == 0 then
                it(("speaks TLS 1.3 with %s: %s"):format(suite, key), function()
                    run({ version = "TLSv1.3", suite = "TLS1-3-" .. suite, what = key,
                        resumes = true }, key, ("+VERS-TLS1.3:+%s:+CTYPE-X509:+GROUP-ALL"):format(
                        cipher[1]))
                end)
            end
        end
    end

    for _, group in ipairs { "X25519", "SECP256R1", "SECP384R1", "SECP521R1" } do
        it("speaks TLS 1.2 over " .. group, function()
            run({ version = "TLSv1.2", what = "rsa2048, group " .. group, resumes = true },
                "rsa2048", "+VERS-TLS1.2:+ECDHE-RSA:+AES-128-GCM:+AEAD:+CTYPE-X509:+GROUP-"
                .. group)
        end)
        it("speaks TLS 1.3 over " .. group, function()
            run({ version = "TLSv1.3", what = "ec256, group " .. group, resumes = true }, "ec256",
                "+VERS-TLS1.3:+AES-128-GCM:+AEAD:+CTYPE-X509:+GROUP-" .. group)
        end)
    end

    for _, version in ipairs { "1.2", "1.3" } do
        for _, key in ipairs { "ec256", "rsa2048" } do
            it(("gets a client certificate in TLS %s: %s"):format(version, key), function()
                run({ version = "TLSv" .. version, resumes = true,
                    what = "ec384, client certificate " .. key, cert = interop.client_cert(key) },
                    "ec384", ("+VERS-TLS%s:+ECDHE-ECDSA:+AES-256-GCM:+AEAD:+CTYPE-X509"
                        .. ":+GROUP-ALL"):format(version),
                    "--require-client-cert --verify-client-cert --x509cafile " .. pki.root().cert)
            end)
        end
    end
end)

with("nginx", "nginx", function(nginx)
    local server, directory
    local words = { on = "tickets", cache = "no tickets, a cache", off = "no sessions" }
    local cases = {}
    for _, version in ipairs { "1.2", "1.3" } do
        for _, key in ipairs { "ec256", "rsa2048" } do
            for _, verify in ipairs { "off", "optional", "on" } do
                for _, tickets in ipairs { "on", "cache", "off" } do
                    local sends = { verify ~= "off" }
                    if verify == "optional" then
                        sends[2] = false
                    end
                    cases[#cases + 1] = { version = version, key = key, verify = verify,
                        tickets = tickets, sends = sends }
                end
            end
        end
    end
    -- What stands in many a configuration: the server's order before the client's.
    cases[#cases + 1] = { version = "1.2", key = "rsa2048", verify = "off", tickets = "on",
        sends = { false }, prefers = "on" }

    setup(function()
        directory = h.directory()
        local servers = {}
        for i, c in ipairs(cases) do
            c.port = interop.port()
            local made = pki.server(c.key)
            servers[i] = ([[
                server {
                    listen 127.0.0.1:%d ssl; ssl_protocols TLSv%s;
                    ssl_certificate %s; ssl_certificate_key %s; ssl_prefer_server_ciphers %s;
                    ssl_client_certificate %s; ssl_verify_client %s;
                    ssl_session_tickets %s; ssl_session_cache %s;
                    location / {
                        return 200
                            "$ssl_protocol $ssl_session_reused $ssl_client_verify $ssl_server_name";
                    }
                }]]):format(c.port, c.version, made.cert, made.key, c.prefers or "off",
                pki.root().cert, c.verify, c.tickets == "on" and "on" or "off",
                c.tickets == "cache" and "shared:ids:1m" or "none")
        end
        h.write_file(directory .. "/nginx.conf", ([[
            daemon off; master_process off; pid DIR/pid; error_log stderr;
            events { worker_connections 600; }
            http {
                access_log off; client_body_temp_path DIR/body; proxy_temp_path DIR/proxy;
                fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
                %s
            }]]):gsub("DIR", directory):format(table.concat(servers, "\n")))
        server = h.spawn(("%s -p %s -c %s/nginx.conf"):format(nginx, directory, directory))
        h.wait_listening(cases[#cases].port)
    end)
    teardown(function()
        h.stop(server)
        os.execute("rm -rf " .. directory)
    end)

    -- One request on the connection; nginx closes it after the second connection's.
    local function get(id, number)
        h.send(id, ("GET / HTTP/1.1\r\nHost: one.test\r\n%s\r\n"):format(
            number == 2 and "Connection: close\r\n" or ""))
        local length
        local status = interop.read_line(id):match "^HTTP/1.1 (%d+)"
        repeat
            local line = interop.read_line(id)
            length = tonumber(line:match "^Content%-Length: (%d+)") or length
        until line == "\r"
        return status, h.read(id, length)
    end

    for _, case in ipairs(cases) do
        for _, sends in ipairs(case.sends) do
            local what = ("%s, client certificate %s%s, %s%s"):format(case.key, case.verify,
                case.verify == "optional" and (sends and " and sent" or " and absent") or "",
                words[case.tickets],
                case.prefers and ", the server's order" or "")
            it(("answers in TLS %s: %s"):format(case.version, what), function()
                local resumes = case.tickets ~= "off"
                interop.run { server = "nginx", what = what, port = case.port,
                    version = "TLSv" .. case.version, resumes = resumes,
                    cert = sends and interop.client_cert(case.key) or nil,
                    exchange = function(id, number)
                        local status, body = get(id, number)
                        assert.equal("200", status)
                        assert.equal(("TLSv%s %s %s one.test"):format(case.version,
                            number == 2 and resumes and "r" or ".", sends and "SUCCESS" or "NONE"),
                            body)
                        if number == 2 then
                            local message = h.wait_for(id, h.CLOSE_IND)
                            assert.equal("closed by the peer", message.reason)
                        end
                    end }
            end)
        end
        if case.verify == "on" and case.tickets == "on" then
            local what = case.key .. ", client certificate on but absent: 400"
            it(("answers in TLS %s: %s"):format(case.version, what), function()
                interop.run { server = "nginx", what = what, port = case.port, resumes = true,
                    version = "TLSv" .. case.version, exchange = function(id, number)
                        local status, body = get(id, number)
                        assert.equal("400", status)
                        assert.matches("No required SSL certificate was sent", body)
                    end }
            end)
        end
    end
end)

with("node", "node", function(node)
    local server
    local cases = {
        { what = "tickets" },
        { what = "the client's order", honorCipherOrder = false },
        { what = "ALPN", ALPNProtocols = { "mqtt", "http/1.1" }, alpn = "mqtt" },
        { what = "a client certificate, asked for", requestCert = true,
            rejectUnauthorized = false, sends = "ec256" },
        { what = "no client certificate, asked for", requestCert = true,
            rejectUnauthorized = false },
        { what = "a client certificate, needed", requestCert = true, rejectUnauthorized = true,
            sends = "rsa2048" },
        { what = "group P-384", ecdhCurve = "P-384" },
    }
    local all = {}

    local function quote(value)
        if type(value) == "table" then
            local parts = {}
            for i, part in ipairs(value) do
                parts[i] = quote(part)
            end
            return "[" .. table.concat(parts, ",") .. "]"
        end
        return type(value) == "string" and '"' .. value .. '"' or tostring(value)
    end

    local function to_json(c)
        local fields = {}
        for name, value in pairs(c) do
            fields[#fields + 1] = quote(name) .. ":" .. quote(value)
        end
        return "{" .. table.concat(fields, ",") .. "}"
    end

    for _, version in ipairs { "1.2", "1.3" } do
        for _, key in ipairs(all_keys) do
            for _, case in ipairs(cases) do
                local c = { version = "TLSv" .. version, keyKind = key }
                for name, value in pairs(case) do
                    c[name] = value
                end
                c.minVersion, c.maxVersion = c.version, c.version
                all[#all + 1] = c
            end
        end
    end

    setup(function()
        local texts = {}
        for i, c in ipairs(all) do
            c.port, c.keyFile, c.certFile = interop.port(), pki.server(c.keyKind).key,
                pki.server(c.keyKind).cert
            c.caFile = pki.root().cert
            texts[i] = to_json(c)
        end
        local config = pki.path "json"
        h.write_file(config, "[" .. table.concat(texts, ",\n") .. "]")
        local script = (os.getenv "SC_ROOT" or ".") .. "/test/support/interop_node.js"
        server = h.spawn(("%s %s %s"):format(node, h.quote(script), config))
        assert.equal("ready", h.first_line(server))
    end)
    teardown(function()
        h.stop(server)
    end)

    for _, c in ipairs(all) do
        local what = c.keyKind .. ", " .. c.what
        it(("echoes in %s: %s"):format(c.version, what), function()
            local cert = c.sends and interop.client_cert(c.sends) or interop.cert()
            cert.alpn = c.alpn and { "h2", c.alpn }
            interop.run { server = "node", what = what, port = c.port, version = c.version,
                resumes = true, alpn = c.alpn, cert = cert,
                exchange = function(id, number)
                    -- Of a resumed session of TLS 1.2 node does not tell the name; with openssl's
                    -- client neither.
                    local name = number == 2 and c.version == "TLSv1.2" and "-" or interop.NAME
                    assert.equal(("%s %s %s %s %s"):format(c.version,
                        number == 2 and "resumed" or "full", c.sends and "device" or "-",
                        c.alpn or "-", name), interop.read_line(id))
                    interop.echo(id)
                end,
                ask_to_close = function(id) h.send(id, "CLOSE") end }
        end)
    end
end)

with("stunnel4", "stunnel", function(stunnel)
    local server
    local all = {}
    for _, version in ipairs { "1.2", "1.3" } do
        for _, key in ipairs(all_keys) do
            all[#all + 1] = { version = version, key = key, what = key }
        end
        for _, key in ipairs { "ec256", "rsa2048" } do
            all[#all + 1] = { version = version, key = key, sends = key,
                what = key .. ", a client certificate, needed" }
        end
        all[#all + 1] = { version = version, is_psk = true, what = "a pre-shared key" }
    end

    setup(function()
        local keys, config = pki.path "psk", pki.path "conf"
        h.write_file(keys, "device:" .. PSK_HEX .. "\n")
        local lines = { "foreground = yes", "pid =", "debug = 5" }
        for i, c in ipairs(all) do
            c.port = interop.port()
            lines[#lines + 1] = ("[service%d]\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\n"
                .. "sslVersion = TLSv%s"):format(i, c.port, h.port.echo, c.version)
            if c.is_psk then
                lines[#lines + 1] = ("ciphers = PSK\nPSKsecrets = %s"):format(keys)
            else
                lines[#lines + 1] = ("cert = %s\nkey = %s"):format(pki.server(c.key).cert,
                    pki.server(c.key).key)
            end
            if c.sends then
                lines[#lines + 1] = "verifyChain = yes\nCAfile = " .. pki.root().cert
            end
        end
        h.write_file(config, table.concat(lines, "\n") .. "\n")
        os.execute("chmod 600 " .. keys)
        server = h.spawn(stunnel .. " " .. config)
        h.wait_listening(all[#all].port)
    end)
    teardown(function()
        h.stop(server)
    end)

    for _, c in ipairs(all) do
        it(("passes on what TLS %s brings: %s"):format(c.version, c.what), function()
            interop.run { server = "stunnel", what = c.what, port = c.port,
                resumes = not c.is_psk, version = "TLSv" .. c.version, exchange = interop.echo,
                cert = c.is_psk and psk_cert() or c.sends and interop.client_cert(c.sends),
                verified = not c.is_psk }
        end)
    end
end)

with("mosquitto", "mosquitto", function(mosquitto)
    local brokers
    local all = {}
    for _, version in ipairs { "1.2", "1.3" } do
        for _, key in ipairs(all_keys) do
            all[#all + 1] = { version = version, key = key, what = key }
        end
        for _, key in ipairs { "ec256", "rsa2048" } do
            all[#all + 1] = { version = version, key = key, sends = key,
                what = key .. ", a client certificate, needed" }
        end
        all[#all + 1] = { version = version, is_psk = true, what = "a pre-shared key" }
    end

    local function listener(c, keys)
        local lines = { ("listener %d 127.0.0.1"):format(c.port) }
        if c.is_psk then
            lines[2] = "allow_anonymous true\npsk_hint hint\nuse_identity_as_username true\n"
                .. "psk_file " .. keys
        else
            lines[2] = ("allow_anonymous true\ncertfile %s\nkeyfile %s"):format(
                pki.server(c.key).cert, pki.server(c.key).key)
        end
        if c.sends then
            lines[3] = "require_certificate true\nuse_identity_as_username true\ncafile "
                .. pki.root().cert
        end
        return table.concat(lines, "\n")
    end

    -- A broker for each version, because its own setting of the version is only the lowest one.
    setup(function()
        brokers = {}
        local keys = pki.path "psk"
        h.write_file(keys, "device:" .. PSK_HEX .. "\n")
        for _, version in ipairs { "1.2", "1.3" } do
            local limits, config = pki.path "cnf", pki.path "conf"
            h.write_file(limits, ([[
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = limits
[limits]
MinProtocol = TLSv%s
MaxProtocol = TLSv%s
]]):format(version, version))
            local lines, port = { "per_listener_settings true", "user root" }, nil
            for _, c in ipairs(all) do
                if c.version == version then
                    c.port = interop.port()
                    lines[#lines + 1], port = listener(c, keys), c.port
                end
            end
            h.write_file(config, table.concat(lines, "\n") .. "\n")
            brokers[#brokers + 1] = h.spawn(("env OPENSSL_CONF=%s %s -c %s"):format(limits,
                mosquitto, config))
            h.wait_listening(port)
        end
    end)
    teardown(function()
        for _, broker in ipairs(brokers) do
            h.stop(broker)
        end
    end)

    local function text(value)
        return string.char(math.floor(#value / 256), #value % 256) .. value
    end

    -- CONNECT, SUBSCRIBE, and what is published comes back.
    local function talk(id, number)
        local name = "client" .. number
        local function packet(first, body)
            return string.char(first, #body) .. body
        end
        h.send(id, packet(0x10, text "MQTT" .. "\4\2\0\60" .. text(name)))
        assert.equal("\32\2\0\0", h.read(id, 4))
        h.send(id, packet(0x82, "\0\1" .. text "a/topic" .. "\0"))
        assert.equal("\144\3\0\1\0", h.read(id, 5))
        local message = packet(0x30, text "a/topic" .. "hello over TLS")
        h.send(id, message)
        assert.equal(message, h.read(id, #message))
    end

    -- Some brokers offer pre-shared keys in TLS 1.2 only: openssl's client, too, is turned away.
    local function takes_psk(c)
        return os.execute(("openssl s_client -connect 127.0.0.1:%d -tls%s -psk_identity device "
            .. "-psk %s </dev/null >/dev/null 2>&1"):format(c.port, c.version:gsub("%.", "_"),
            PSK_HEX))
    end

    for _, c in ipairs(all) do
        it(("passes on messages over TLS %s: %s"):format(c.version, c.what), function()
            local is_taken = not c.is_psk or takes_psk(c)
            if is_taken ~= true and is_taken ~= 0 then
                return pending(("openssl's client cannot use a pre-shared key of TLS %s either")
                    :format(c.version))
            end
            interop.run { server = "mosquitto", what = c.what, port = c.port,
                version = "TLSv" .. c.version, exchange = talk,
                resumes = not c.is_psk, verified = not c.is_psk,
                cert = c.is_psk and psk_cert() or c.sends and interop.client_cert(c.sends),
                ask_to_close = function(id) h.send(id, "\224\0") end }
        end)
    end
end)

-- Built with the modules; of the other builds' specs it serves those that find it.
local own_server = (os.getenv "SC_ROOT" or ".") .. "/build/release/test/ssl_server2"

with(own_server, "mbedTLS's ssl_server2", function(program)
    local function run(c, key, arguments)
        c.server = "mbedTLS ssl_server2"
        c.exchange = function(id)
            h.send(id, "GET / HTTP/1.0\r\n\r\n")
            local answer, message = h.read_to_end(id)
            assert.matches("^HTTP/1.0 200 OK", answer)
            assert.is_truthy(answer:find("using: " .. (c.suite or "TLS"), 1, true))
            assert.equal("closed by the peer", message.reason)
        end
        local made = key and pki.server(key)
        serve(c, "%s server_addr=127.0.0.1 server_port=PORT ca_file=%s crt_file=%s key_file=%s %s",
            program, c.ca_file or "none", made and made.cert or "none", made and made.key or "none",
            arguments)
    end

    local ciphers = { "AES-128-GCM-SHA256", "AES-256-GCM-SHA384", "CHACHA20-POLY1305-SHA256",
        "AES-128-CCM", "AES-256-CCM", "AES-128-CCM-8", "AES-256-CCM-8", "AES-128-CBC-SHA",
        "AES-256-CBC-SHA", "AES-128-CBC-SHA256", "AES-256-CBC-SHA384" }
    local number = 0
    for _, exchange in ipairs { "ECDHE-ECDSA", "ECDHE-RSA", "DHE-RSA", "PSK", "DHE-PSK",
        "ECDHE-PSK" } do
        local kind = exchange:match "ECDSA$" or exchange:match "RSA$"
        for _, cipher in ipairs(ciphers) do
            if exchange == "DHE-RSA" then
                cipher = cipher:gsub("CBC%-SHA384", "CBC-SHA256")
            end
            local is_there = not cipher:find "[GC]CM" or exchange ~= "ECDHE-PSK"
                and not (exchange == "ECDHE-RSA" and cipher:find "CCM")
            if is_there then
                number = number + 1
                local has_tickets = number % 2 == 0
                local suite = ("TLS-%s-WITH-%s"):format(exchange, cipher)
                local key = kind and keys_of[kind][math.floor(number / 2) % 2 + 1] or false
                local what = key and ("%s, resumed by %s"):format(key,
                    has_tickets and "ticket" or "session id") or "a pre-shared key"
                it(("speaks TLS 1.2 with %s: %s"):format(suite, what), function()
                    run({ version = "TLSv1.2", suite = suite, what = what,
                        verified = key and true, resumes = key and true,
                        cert = not key and psk_cert() or nil }, key,
                        ("force_ciphersuite=%s tickets=%d %s"):format(suite, has_tickets and 1 or 0,
                            key and "" or "psk_identity=device psk=" .. PSK_HEX))
                end)
            end
        end
    end

    for _, suite in ipairs { "AES-128-GCM-SHA256", "AES-256-GCM-SHA384",
        "CHACHA20-POLY1305-SHA256", "AES-128-CCM-SHA256", "AES-128-CCM-8-SHA256" } do
        for _, key in ipairs(all_keys) do
            it(("speaks TLS 1.3 with %s: %s"):format(suite, key), function()
                run({ version = "TLSv1.3", suite = "TLS1-3-" .. suite, what = key,
                    resumes = true }, key, "force_version=tls13 force_ciphersuite=TLS1-3-" .. suite)
            end)
        end
    end

    for _, group in ipairs { "x25519", "secp256r1", "secp384r1", "secp521r1" } do
        for _, version in ipairs { "1.2", "1.3" } do
            it(("speaks TLS %s over %s"):format(version, group), function()
                run({ version = "TLSv" .. version, what = "rsa2048, group " .. group,
                    resumes = true }, "rsa2048", ("force_version=tls%s groups=%s"):format(
                    version:gsub("%.", ""), group))
            end)
        end
    end

    for _, version in ipairs { "1.2", "1.3" } do
        local force = "force_version=tls" .. version:gsub("%.", "")
        for _, key in ipairs { "ec256", "rsa2048" } do
            it(("gets a client certificate in TLS %s: %s"):format(version, key), function()
                run({ version = "TLSv" .. version, what = "ec384, client certificate " .. key,
                    ca_file = pki.root().cert, resumes = true, cert = interop.client_cert(key) },
                    "ec384", force .. " auth_mode=required")
            end)
        end
        it("names a protocol in TLS " .. version, function()
            run({ version = "TLSv" .. version, what = "ec256, ALPN", alpn = "mqtt", resumes = true,
                cert = interop.cert { alpn = { "h2", "mqtt" } } }, "ec256", force .. " alpn=mqtt")
        end)
        it("takes the client's full handshake where it keeps no sessions, TLS " .. version,
            function()
            run({ version = "TLSv" .. version, what = "ec256, no tickets, no cache" }, "ec256",
                force .. " tickets=0 cache_max=1 cache_timeout=1 cache_remove=1")
        end)
    end
    it("takes a pre-shared key in TLS 1.3", function()
        run({ version = "TLSv1.3", what = "a pre-shared key", verified = false, cert = psk_cert() },
            false, "force_version=tls13 psk_identity=device psk=" .. PSK_HEX)
    end)
end)
