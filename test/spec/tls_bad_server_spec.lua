-- Servers that do TLS wrong: certificates that must not be accepted, and bytes that no honest
-- server sends. Each ends in exactly one CONN_CNF (or CLOSE_IND) with its reason; memory is back
-- and a good server can be reached afterwards.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"
local luasocket = require "socket.core"
local sc = h.sc

if not pki.available then
    pending "openssl is not installed"
    return
end

local function bytes(hex)
    return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
        return string.char(tonumber(pair, 16))
    end))
end

local function number(value, size)
    local out = {}
    for i = size, 1, -1 do
        out[i] = string.char(value % 256)
        value = math.floor(value / 256)
    end
    return table.concat(out)
end

-- `text` after its length in `size` bytes.
local function sized(text, size)
    return number(#text, size) .. text
end

local function record(type, body, version)
    return string.char(type) .. (version or "\3\3") .. sized(body, 2)
end

local ALERT, HANDSHAKE, DATA, CCS = 21, 22, 23, 20

local function message(type, body)
    return string.char(type) .. sized(body, 3)
end

local function alert(level, code)
    return record(ALERT, string.char(level, code))
end

-- Bytes of a ClientHello that an answer needs.
local function session_id(hello)
    return hello:sub(40, 39 + hello:byte(39))
end

-- A ServerHello: TLS 1.2 with ECDHE-ECDSA and AES-128-GCM unless told otherwise.
local function server_hello(options)
    options = options or {}
    local extensions = options.extensions or bytes "ff01000100 0017 0000"
    return message(2, (options.version or "\3\3") .. (options.random or ("r"):rep(32))
        .. sized(options.session or "", 1) .. (options.cipher or "\192\43") .. "\0"
        .. (extensions == "" and "" or sized(extensions, 2)))
end

local RETRY = bytes "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"

------------------------------------------------------------------- servers within this process

local servers = {}

local client_methods = {}
client_methods.__index = client_methods

function client_methods:fill()
    local data, err, part = self.socket:receive(65536)
    local got = data or part or ""
    self.buffer = self.buffer .. got
    if err == "closed" and got == "" then
        self.closed = true
    end
    return #got > 0
end

-- The next `length` bytes; ends the script when the client is gone.
function client_methods:read(length)
    while #self.buffer < length do
        if not self:fill() then
            coroutine.yield(self.closed)
        end
    end
    local got = self.buffer:sub(1, length)
    self.buffer = self.buffer:sub(length + 1)
    return got
end

-- The next record: its type, its body, all of it.
function client_methods:record()
    local head = self:read(5)
    local body = self:read(head:byte(4) * 256 + head:byte(5))
    return head:byte(1), body, head .. body
end

function client_methods:send(data)
    local at = 1
    while at <= #data do
        local last, err, part = self.socket:send(data, at)
        at = (last or part) + 1
        if err == "closed" then
            coroutine.yield(true)
        elseif err then
            coroutine.yield()
        end
    end
end

function client_methods.sleep(_, ms)
    local start = h.now()
    repeat
        coroutine.yield()
    until h.elapsed(start) >= ms
end

function client_methods:fin()
    self.socket:shutdown "send"
end

function client_methods:rst()
    self.socket:setoption("linger", { on = true, timeout = 0 })
    self.socket:close()
end

-- Listens; `script(client)` runs for each connection, whenever `step` is called.
local function serve(script)
    local listener = assert(luasocket.tcp())
    listener:setoption("reuseaddr", true)
    assert(listener:bind("127.0.0.1", 0))
    assert(listener:listen(8))
    listener:settimeout(0)
    local _, port = listener:getsockname()
    table.insert(servers, { listener = listener, script = script, clients = {} })
    return math.floor(tonumber(port))
end

local function step()
    for _, server in ipairs(servers) do
        local socket = server.listener:accept()
        if socket then
            socket:settimeout(0)
            socket:setoption("tcp-nodelay", true)
            local client = setmetatable({ socket = socket, buffer = "" }, client_methods)
            client.run = coroutine.create(server.script)
            table.insert(server.clients, client)
        end
        for _, client in ipairs(server.clients) do
            if client.run then
                local ok, ended = coroutine.resume(client.run, client)
                assert(ok, ended)
                if ended or coroutine.status(client.run) == "dead" then
                    client.run = nil
                end
            end
        end
    end
end

local function end_servers()
    for _, server in ipairs(servers) do
        server.listener:close()
        for _, client in ipairs(server.clients) do
            client.socket:close()
            if client.back then
                client.back:close()
            end
        end
    end
    servers = {}
end

-- Waits with the servers of this process running.
local function wait_for(id, name, timeout_ms)
    h.wait_until(function()
        step()
        return h.count(id, name) > 0
    end, name, timeout_ms)
    return h.wait_for(id, h[name])
end

local function start(port, cert, insist)
    local settings = { caCert = pki.root().pem, hostName = "localhost", resume = false }
    for name, value in pairs(cert or {}) do
        settings[name] = value
    end
    local id, _, reason = sc.sock_conn(h.SSL, "127.0.0.1", port, settings, nil, insist)
    return assert(id, reason)
end

-- Connects to a script or a port, which must fail with a reason that matches, and with that error.
local function fails(script, reason, options)
    options = options or {}
    local port = type(script) == "number" and script or serve(script)
    local id = start(port, options.cert, options.insist)
    local begun = h.now()
    local cnf = wait_for(id, "CONN_CNF", options.timeout)
    assert.equal(1, cnf.result, "the connection was made")
    assert.matches("^tls: ", cnf.reason)
    assert.matches(reason, cnf.reason)
    assert.equal(options.error or sc.ERR_SSL_EHANDESHAK, cnf.error, cnf.reason)
    assert.equal(cnf.reason, sc.sock_info(id).reason)
    if options.within then
        assert.is_true(h.elapsed(begun) < options.within, "too late")
    end
    h.expect_silence(5)
    assert.equal("CONN_CNF!", h.history(id))
    assert.equal(1, (sc.sock_destroy(id)))
end

-- Answers the ClientHello with `data` and then is silent.
local function answers(data)
    return function(client)
        local _, hello = client:record()
        client:send(type(data) == "function" and data(hello) or data)
        client:record()
    end
end

-- A real server behind a script that sees each record of both ends: `change(record, count, type,
-- client)` gives what is passed on (nil: the record as it is). `count` counts from 1.
local function between(port, from_server, from_client)
    return function(client)
        local back = assert(luasocket.tcp())
        assert(back:connect("127.0.0.1", port))
        back:settimeout(0)
        client.back = back
        local server = setmetatable({ socket = back, buffer = "" }, client_methods)
        local ends = { { client, server, from_client }, { server, client, from_server } }
        local counts = { 0, 0 }
        while true do
            local is_idle = true
            for i, pair in ipairs(ends) do
                local from, to, change = pair[1], pair[2], pair[3]
                from:fill()
                while #from.buffer >= 5
                    and #from.buffer >= 5 + from.buffer:byte(4) * 256 + from.buffer:byte(5) do
                    local kind, _, all = from:record()
                    counts[i] = counts[i] + 1
                    to.socket:send(change and change(all, counts[i], kind, to) or all)
                    is_idle = false
                end
            end
            if client.closed or server.closed then
                back:close()
                client.socket:close()
                return
            end
            if is_idle then
                coroutine.yield()
            end
        end
    end
end

------------------------------------------------------------------------------------ certificates

local function der_item(text, at)
    local length, head = text:byte(at + 1), 2
    if length >= 128 then
        local count = length - 128
        length, head = 0, 2 + count
        for i = 1, count do
            length = length * 256 + text:byte(at + 1 + i)
        end
    end
    return at + head, at + head + length - 1 -- of the contents
end

local function der(tag, contents)
    local length = #contents
    local size = length < 128 and string.char(length)
        or length < 256 and "\129" .. string.char(length) or "\130" .. number(length, 2)
    return string.char(tag) .. size .. contents
end

local function replace(text, from, to)
    local first, last = text:find(from, 1, true)
    assert(first and #from == #to)
    return text:sub(1, first - 1) .. to .. text:sub(last + 1)
end

-- The same certificate with other bytes in it, signed again by its issuer.
local function forge(made, from, to)
    local text = pki.der(made)
    local start_of_tbs = der_item(text, 1)
    local _, end_of_tbs = der_item(text, start_of_tbs)
    local _, end_of_algorithm = der_item(text, end_of_tbs + 1)
    local tbs = replace(text:sub(start_of_tbs, end_of_tbs), from, to)
    local tbs_file, signature_file, der_file = pki.path "tbs", pki.path "sig", pki.path "der"
    h.write_file(tbs_file, tbs)
    pki.openssl("dgst -sha256 -sign %s -out %s %s", made.issuer.key, signature_file, tbs_file)
    h.write_file(der_file, der(48, tbs .. text:sub(end_of_tbs + 1, end_of_algorithm)
        .. der(3, "\0" .. pki.read(signature_file))))
    local pem = pki.path "pem"
    pki.openssl("x509 -inform DER -in %s -out %s", der_file, pem)
    return { cert = pem, key = made.key, chain = pem, issuer = made.issuer }
end

local function with_names(names, more)
    local spec = { issuer = pki.root(), names = names, subject = "/CN=odd" }
    for name, value in pairs(more or {}) do
        spec[name] = value
    end
    return pki.issue(spec)
end

local function leaf(more)
    return with_names({ "DNS:localhost" }, more)
end

-- A CA below the root that differs from pki.intermediate() in its extensions.
local function odd_ca(label, lines, issuer, usage)
    return pki.issue { issuer = issuer or pki.root(), label = label, subject = "/CN=" .. label,
        constraints = false, usage = usage or "keyCertSign", ext = lines }
end

local CERTIFICATES = {
    { "that has expired", "expired", function()
        return leaf { start = "20200101000000Z", finish = "20210101000000Z" } end },
    { "that is not yet valid", "not yet valid", function()
        return leaf { start = "20700101000000Z", finish = "20800101000000Z" } end },
    { "that signed itself", "not signed by a trusted CA", function()
        return leaf { issuer = false, label = "selfish", subject = "/CN=localhost" } end },
    { "from a CA that is not trusted", "not signed by a trusted CA", function()
        return leaf { issuer = pki.other_root() } end },
    { "from a CA with the trusted one's name and another key", "bad signature", function()
        return leaf { issuer = pki.issue { label = "impostor", ca = true,
            subject = "/CN=Test Root ec256" } } end },
    { "for another name", "name mismatch: localhost is not among other%.test", function()
        return with_names { "DNS:other.test" } end },
    { "with the name in CN only while it has others in SAN", "name mismatch", function()
        return with_names({ "DNS:other.test" }, { subject = "/CN=localhost" }) end },
    { "without its intermediate", "not signed by a trusted CA", function()
        local made = leaf { issuer = pki.intermediate() }
        made.chain = made.cert
        return made
    end },
    { "whose chain is in the wrong order", "not signed by a trusted CA", function()
        local lower = odd_ca("lower", { "basicConstraints=critical,CA:TRUE" }, pki.intermediate())
        local made = leaf { issuer = lower }
        made.chain = pki.path "pem"
        h.write_file(made.chain, pki.intermediate().pem .. lower.pem)
        return made
    end },
    { "from an issuer with CA:FALSE", "not signed by a trusted CA", function()
        return leaf { issuer = odd_ca("no-ca", { "basicConstraints=critical,CA:FALSE" }) } end },
    { "from an issuer without basicConstraints", "not signed by a trusted CA", function()
        return leaf { issuer = odd_ca("no-constraints", {}) } end },
    { "from an issuer that is a server", "not signed by a trusted CA", function()
        return leaf { issuer = pki.server "ec256" } end },
    { "from a CA that may not sign certificates", "not signed by a trusted CA", function()
        return leaf { issuer = odd_ca("crl-only", { "basicConstraints=critical,CA:TRUE" }, nil,
            "cRLSign") } end },
    { "below more CAs than pathlen allows", "not signed by a trusted CA", function()
        local upper = odd_ca("short", { "basicConstraints=critical,CA:TRUE,pathlen:0" })
        return leaf {
            issuer = odd_ca("below", { "basicConstraints=critical,CA:TRUE" }, upper)
        }
    end },
    { "from a CA with an expired certificate", "expired %(a certificate above", function()
        return leaf { issuer = pki.issue { issuer = pki.root(), label = "old", subject = "/CN=old",
            ca = true, start = "20200101000000Z", finish = "20210101000000Z" } } end },
    { "from a CA with a version 1 certificate", "not signed by a trusted CA", function()
        local key, request, out = pki.key("ec256", "v1"), pki.path "csr", pki.path "pem"
        pki.openssl("req -new -batch -key %s -subj /CN=v1 -out %s", key, request)
        pki.openssl("x509 -req -in %s -CA %s -CAkey %s -set_serial 99 -days 9 -out %s", request,
            pki.root().cert, pki.root().key, out)
        return leaf { issuer = { cert = out, key = key, pem = pki.read(out), issuer = pki.root() } }
    end },
    -- With TLS 1.2 openssl does not even use it.
    { "with a key usage that does not fit", "wrong key usage", function()
        return leaf { usage = "keyAgreement" } end, only = "-tls1_3" },
    { "for clients only", "wrong extended key usage", function()
        return leaf { extended = "clientAuth" } end },
    { "for signing code only", "wrong extended key usage", function()
        return leaf { extended = "codeSigning" } end },
    { "with an RSA key of 1024 bits", "a key that is too short", function()
        return leaf { key = "rsa1024" } end },
    { "that is signed with SHA-1", "signed with a hash that is not accepted", function()
        return leaf { digest = "sha1" } end },
    { "that is signed with MD5", "signed with a hash that is not accepted", function()
        return leaf { digest = "md5", issuer = pki.root "rsa2048" } end,
        ca = function() return pki.root "rsa2048" end },
    { "whose signature has a wrong byte", "bad signature", function()
        local made = leaf()
        local text = pki.der(made)
        h.write_file(made.cert .. ".der", text:sub(1, -2) .. string.char((text:byte(-1) + 1) % 256))
        pki.openssl("x509 -inform DER -in %s.der -out %s", made.cert, made.cert)
        made.chain = made.cert
        return made
    end },
    { "in which a byte was changed after it was signed", "bad signature", function()
        local made = with_names { "DNS:ALTERED.test" }
        h.write_file(made.cert .. ".der", replace(pki.der(made), "ALTERED.test", "altered.test"))
        pki.openssl("x509 -inform DER -in %s.der -out %s", made.cert, made.cert)
        made.chain = made.cert
        return made
    end, host = "altered.test" },
    { "with a critical extension that nobody knows", "critical extension 1%.2%.3%.4", function()
        return leaf { ext = { "1.2.3.4=critical,DER:0500" } } end },
    { "outside of a CA's critical name constraints", "critical extension nameConstraints",
        function()
            return leaf { issuer = odd_ca("constrained", { "basicConstraints=critical,CA:TRUE",
                "nameConstraints=critical,permitted;DNS:good.test" }) }
        end },
    { "outside of a CA's name constraints", "name constraints, which cannot be checked here",
        function()
            return leaf { issuer = odd_ca("loosely constrained", {
                "basicConstraints=critical,CA:TRUE", "nameConstraints=permitted;DNS:good.test" }) }
        end },
    { "with a NUL byte in its name", "name mismatch: localhost is not among localhost%?%.evil",
        function()
            return forge(with_names { "DNS:localhostX.evil.test" }, "localhostX.evil",
                "localhost\0.evil")
        end },
    { "with a NUL byte at the end of its name", "name mismatch", function()
        return forge(with_names { "DNS:localhostX" }, "localhostX", "localhost\0") end },
    { "with a NUL byte in its common name", "localhost is not among localhost%?%.evil",
        function()
            return forge(pki.issue { issuer = pki.root(), subject = "/CN=localhostX.evil.test" },
                "localhostX.evil", "localhost\0.evil")
        end },
    { "for *.test at a.b.test", "name mismatch", function()
        return with_names { "DNS:*.test" } end, host = "a.b.test" },
    { "for *.test at test", "name mismatch", function()
        return with_names { "DNS:*.test" } end, host = "test" },
    { "for w*.test at www.test", "name mismatch", function()
        return with_names { "DNS:w*.test" } end, host = "www.test" },
    { "for *w.test at www.test", "name mismatch", function()
        return with_names { "DNS:*w.test" } end, host = "www.test" },
    { "for * at localhost", "name mismatch", function()
        return with_names { "DNS:*" } end },
    { "for *.*.test at a.b.test", "name mismatch", function()
        return with_names { "DNS:*.*.test" } end, host = "a.b.test" },
    { "for www.*.test at www.a.test", "name mismatch", function()
        return with_names { "DNS:www.*.test" } end, host = "www.a.test" },
    { "whose name only begins like the host's", "name mismatch", function()
        return with_names { "DNS:localhos", "DNS:localhost.evil.test" } end },
    { "with the name as an e-mail address", "name mismatch", function()
        return with_names { "email:a@localhost", "otherName:1.2.3.4;UTF8:localhost" } end },
    { "with the name as a URI", "name mismatch", function()
        return with_names(nil, { ext = { "subjectAltName=DER:300b86096c6f63616c686f7374" } }) end },
    { "with an IP address as a DNS name", "name mismatch", function()
        return with_names { "DNS:127.0.0.1" } end, host = "127.0.0.1", insist = 0 },
    { "with an IP address as its common name", "name mismatch", function()
        return pki.issue { issuer = pki.root(), subject = "/CN=127.0.0.1" } end,
        host = "127.0.0.1", insist = 0 },
    { "for another IP address", "name mismatch: 127%.0%.0%.1 is not among 127%.0%.0%.2", function()
        return with_names { "IP:127.0.0.2" } end, host = "127.0.0.1", insist = 0 },
    { "with a chain of 90 KB", "a handshake message of %d+ bytes is too large", function()
        local made = leaf { ext = { "1.2.3.4=DER:04824e20" .. ("00"):rep(20000) } }
        made.chain = pki.path "pem"
        h.write_file(made.chain, made.pem:rep(5))
        return made
    end, any_error = true },
}

describe("a server's certificate", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(function()
        end_servers()
        tls.finish()
    end)
    teardown(tls.finish_file)

    for _, case in ipairs(CERTIFICATES) do
        for _, version in ipairs(case.only and { case.only } or { "-tls1_2", "-tls1_3" }) do
            it(("%s is refused (%s)"):format(case[1], version), function()
                local made = case[3]()
                local server = tls.openssl { cert = made,
                    args = version .. " -cipher ALL:@SECLEVEL=0 -groups P-256:X25519" }
                local ca = case.ca and case.ca() or pki.root()
                local cert = { hostName = case.host, caCert = ca.pem }
                local id = start(server.port, cert, case.insist)
                local cnf = h.wait_for(id, h.CONN_CNF)
                assert.equal(1, cnf.result, "the certificate was accepted")
                assert.matches("^tls: ", cnf.reason)
                assert.matches(case[2], cnf.reason)
                if not case.any_error then
                    assert.equal(sc.ERR_SSL_EINVALID, cnf.error)
                end
                h.expect_silence(5)
                assert.equal("CONN_CNF!", h.history(id))
                assert.equal(1, (sc.sock_destroy(id)))
                local good = tls.openssl { cert = pki.server "ec256" }
                h.close(tls.open(good, { caCert = pki.root().pem, hostName = "localhost" }))
            end)
        end
    end
end)

------------------------------------------------------------------------------- scripted servers

local ALERTS = {
    [10] = "unexpected_message", [20] = "bad_record_mac", [21] = "decryption_failed",
    [22] = "record_overflow", [30] = "decompression_failure", [40] = "handshake_failure",
    [41] = "no_certificate", [42] = "bad_certificate", [43] = "unsupported_certificate",
    [44] = "certificate_revoked", [45] = "certificate_expired", [46] = "certificate_unknown",
    [47] = "illegal_parameter", [48] = "unknown_ca", [49] = "access_denied", [50] = "decode_error",
    [51] = "decrypt_error", [60] = "export_restriction", [70] = "protocol_version",
    [71] = "insufficient_security", [80] = "internal_error", [86] = "inappropriate_fallback",
    [90] = "user_canceled", [109] = "missing_extension", [110] = "unsupported_extension",
    [112] = "unrecognized_name", [113] = "bad_certificate_status_response",
    [115] = "unknown_psk_identity", [116] = "certificate_required",
    [120] = "no_application_protocol", [200] = "of an unknown kind",
}

local LONG = ("x"):rep(16384)

-- Answers to a ClientHello: what it is, the reason, the answer, what else differs.
local ANSWERS = {
    { "garbage", "not TLS", ("garbage \1\2\3\255"):rep(50) },
    { "HTTP", "not TLS", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nspeak plainly" },
    { "an SSH banner", "not TLS", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" },
    { "an SMTP banner", "not TLS", "220 mail.test ESMTP ready to serve\r\n" },
    { "zeros", "not TLS", ("\0"):rep(4096) },
    { "an SSLv2 ServerHello", ".", bytes "801e04000100020003000310" .. ("s"):rep(20) },
    { "an SSLv3 ServerHello", "protocol version",
        record(HANDSHAKE, server_hello { version = "\3\0", extensions = "" }, "\3\0") },
    { "a TLS 1.0 ServerHello", "protocol version",
        record(HANDSHAKE, server_hello { version = "\3\1" }, "\3\1") },
    { "a TLS 1.1 ServerHello", "protocol version",
        record(HANDSHAKE, server_hello { version = "\3\2" }, "\3\2") },
    { "a ServerHello of TLS 1.9", "protocol version",
        record(HANDSHAKE, server_hello { version = "\3\10" }) },
    { "a downgrade from TLS 1.3", "illegal parameter",
        record(HANDSHAKE, server_hello { random = ("r"):rep(24) .. "DOWNGRD\1" }) },
    { "a cipher suite that was not offered", ".",
        record(HANDSHAKE, server_hello { cipher = "\0\5" }) },
    { "a cipher suite that does not exist", ".",
        record(HANDSHAKE, server_hello { cipher = "\250\250" }) },
    { "a compressed session", ".",
        record(HANDSHAKE, (replace(server_hello(), "\192\43\0", "\192\43\1"))) },
    { "a ServerHello that is cut short", ".",
        record(HANDSHAKE, message(2, "\3\3" .. ("r"):rep(20))) },
    { "an extension that is longer than the message", ".",
        record(HANDSHAKE, server_hello { extensions = bytes "ff01ffff00" }) },
    { "an extension that was not offered", ".",
        record(HANDSHAKE, server_hello {
            extensions = bytes "ff01000100 0017 0000 3374000a086874747000000000" }) },
    { "a session id of 255 bytes", ".",
        record(HANDSHAKE, server_hello { session = ("i"):rep(255) }) },
    { "renegotiation data in the first handshake", ".",
        record(HANDSHAKE, server_hello { extensions = bytes "ff01000504deadbeef" }) },
    { "a Finished first", ".", record(HANDSHAKE, message(20, ("f"):rep(12))) },
    { "a certificate first", ".", record(HANDSHAKE, message(11, ("c"):rep(100))) },
    { "a ClientHello", ".", function(hello) return record(HANDSHAKE, hello) end },
    { "a HelloRequest", "out of turn", record(HANDSHAKE, message(0, "")) },
    { "a message of an unknown type", ".", record(HANDSHAKE, message(99, "what is this")) },
    { "application data", ".", record(DATA, "hello, here is your data") },
    -- Where TLS 1.3 is possible, one that comes early is passed over.
    { "an early ChangeCipherSpec and no more than a ServerHello", "not finished",
        record(CCS, "\1") .. record(HANDSHAKE, server_hello()), error = "ERR_ETIMEOUT" },
    { "a malformed ChangeCipherSpec", ".", record(CCS, "\2\2") },
    { "a record of an unknown type", "not TLS", record(77, "seventy-seven") },
    { "a record of 65535 bytes", "too large", "\22\3\3\255\255" .. LONG:rep(4) },
    { "a record of 18433 bytes", ".", "\22\3\3" .. number(18433, 2) .. LONG },
    { "a record without a byte", ".", record(HANDSHAKE, "") .. record(HANDSHAKE, server_hello()) },
    { "ten thousand records without a byte", ".", record(HANDSHAKE, ""):rep(10000) },
    { "a handshake message of 16 MB", ".",
        record(HANDSHAKE, "\2\255\255\255" .. LONG:sub(5)) .. record(HANDSHAKE, LONG):rep(5) },
    { "a handshake message of 70 KB", ".",
        record(HANDSHAKE, "\2" .. number(70000, 3) .. LONG:sub(5))
        .. record(HANDSHAKE, LONG):rep(4) },
    { "a certificate message of 70 KB", ".", record(HANDSHAKE, server_hello())
        .. record(HANDSHAKE, "\11" .. number(70000, 3) .. LONG:sub(5))
        .. record(HANDSHAKE, LONG):rep(4) },
    { "a second ServerHello", ".", record(HANDSHAKE, server_hello()):rep(2) },
    { "an empty certificate list", ".",
        record(HANDSHAKE, server_hello()) .. record(HANDSHAKE, message(11, "\0\0\0")) },
    { "a certificate of garbage", "certificate cannot be read: not DER",
        record(HANDSHAKE, server_hello())
        .. record(HANDSHAKE, message(11, sized(sized(("g"):rep(300), 3), 3))),
        error = "ERR_SSL_EINVALID" },
    { "a certificate list longer than its message", ".", record(HANDSHAKE, server_hello())
        .. record(HANDSHAKE, message(11, "\0\255\255\0\255\250" .. ("g"):rep(300))) },
    { "ServerHelloDone instead of a certificate", ".",
        record(HANDSHAKE, server_hello()) .. record(HANDSHAKE, message(14, "")) },
    { "an alert of one byte", ".", record(ALERT, "\2") },
    { "an alert of an unknown level", ".", alert(9, 40), error = "ERR_ETIMEOUT" },
    { "close_notify", "closed by the peer", alert(1, 0), error = "ERR_ECLSD" },
    { "a thousand warnings", ".", alert(1, 90):rep(1000), error = "ERR_ETIMEOUT" },
    { "a HelloRetryRequest for a group that was not offered", ".", function(hello)
        return record(HANDSHAKE, server_hello { random = RETRY, session = session_id(hello),
            cipher = "\19\1", extensions = bytes "002b00020304 003300026a6a" })
    end },
    -- mbedTLS says hello again; the server is silent then.
    { "a HelloRetryRequest that asks for nothing", "not finished", function(hello)
        return record(HANDSHAKE, server_hello { random = RETRY, session = session_id(hello),
            cipher = "\19\1", extensions = bytes "002b00020304" })
    end, error = "ERR_ETIMEOUT" },
    { "a TLS 1.3 ServerHello without a key share", ".", function(hello)
        return record(HANDSHAKE, server_hello { session = session_id(hello), cipher = "\19\1",
            extensions = bytes "002b00020304" })
    end },
    { "a TLS 1.3 ServerHello with a point that is on no curve", ".", function(hello)
        return record(HANDSHAKE, server_hello { session = session_id(hello), cipher = "\19\1",
            extensions = bytes "002b00020304 00330045 0017 0041 04" .. ("\1"):rep(64) })
    end },
    { "a TLS 1.3 ServerHello with another session id", ".", record(HANDSHAKE, server_hello {
        session = ("z"):rep(32), cipher = "\19\1", extensions = bytes "002b00020304" }) },
}

describe("a server that", function()
    local good12, good13
    setup(function()
        tls.begin_file()
        good12 = tls.openssl { cert = pki.server "ec256", args = "-tls1_2", keep = true }
        good13 = tls.openssl { cert = pki.server "ec256", args = "-tls1_3", keep = true }
    end)
    before_each(h.begin)
    after_each(function()
        end_servers()
        h.sc.config { connect_timeout_ms = 30000 }
        h.close(tls.open(good12, { caCert = pki.root().pem, hostName = "localhost" }))
        tls.finish()
    end)
    teardown(tls.finish_file)

    for _, case in ipairs(ANSWERS) do
        it("answers with " .. case[1] .. " is refused", function()
            sc.config { connect_timeout_ms = 600 }
            fails(answers(case[3]), case[2], { error = sc[case.error or "ERR_SSL_EHANDESHAK"] })
        end)
    end

    for code, name in pairs(ALERTS) do
        it("sends the fatal alert " .. name .. " is quoted", function()
            fails(answers(alert(2, code)), "alert " .. name)
        end)
    end

    it("sends an alert after any of its messages is quoted", function()
        for after = 1, 4 do
            fails(between(good12.port, function(all, count)
                return count == after + 1 and alert(2, 80) or count <= after and all or ""
            end), "alert internal_error")
        end
        fails(answers(function() return record(HANDSHAKE, server_hello()) .. alert(2, 40) end),
            "alert handshake_failure")
    end)

    it("has no group in common is quoted", function()
        local server = tls.openssl { cert = pki.server "ec256", args = "-tls1_3 -groups X448" }
        fails(server.port, "tls: the server sent the alert handshake_failure", {})
    end)

    it("signs with another key than its certificate's is refused", function()
        fails(between(good12.port, function(all, count)
            return count == 3 and all:sub(1, -2) .. string.char((all:byte(-1) + 1) % 256) or nil
        end), ".")
        -- The certificate of another server in place of its own.
        local other = pki.der(leaf { label = "another" })
        fails(between(good12.port, function(_, count)
            return count == 2 and record(HANDSHAKE, message(11, sized(sized(other, 3), 3))) or nil
        end), ".")
    end)

    it("damages any record of its flight is refused", function()
        local function damage(server, damaged)
            fails(between(server.port, function(all, count)
                return count == damaged
                    and all:sub(1, -2) .. string.char((all:byte(-1) + 128) % 256) or nil
            end), ".")
        end
        for damaged = 1, 3 do
            damage(good12, damaged)
        end
        damage(good13, 1)
        damage(good13, 3)
        damage(good13, 4)
    end)

    it("sends one byte a second is given up in time", function()
        sc.config { connect_timeout_ms = 1500 }
        fails(function(client)
            client:record()
            for i = 1, 100 do
                client:send(record(HANDSHAKE, server_hello()):sub(i, i))
                client:sleep(1000)
            end
        end, "not finished", { error = sc.ERR_ETIMEOUT, within = 2500 })
    end)

    it("sends records one at a time for ever is given up in time", function()
        sc.config { connect_timeout_ms = 800 }
        fails(function(client)
            client:record()
            while true do
                client:send(alert(1, 90))
                client:sleep(300)
            end
        end, "not finished", { error = sc.ERR_ETIMEOUT, within = 2000 })
    end)

    it("sends one byte a segment is a good one", function()
        for _, server in ipairs { good12, good13 } do
            local id = start(serve(between(server.port, function(all, _, _, to)
                for i = 1, #all do
                    while not to.socket:send(all:sub(i, i)) do
                        coroutine.yield()
                    end
                end
                return ""
            end)))
            local cnf = wait_for(id, "CONN_CNF")
            assert.equal(0, cnf.result, cnf.reason)
            h.close(id)
        end
    end)

    it("asks for a client certificate that there is not is quoted", function()
        local server = tls.openssl { cert = pki.server "ec256",
            args = "-tls1_2 -Verify 1 -verify_return_error -CAfile " .. pki.root().cert }
        fails(server.port, "alert handshake_failure")
    end)

    it("does not trust the client's certificate is quoted", function()
        local server = tls.openssl { cert = pki.server "ec256",
            args = "-tls1_2 -Verify 1 -verify_return_error -CAfile " .. pki.root().cert }
        local mine = pki.issue { issuer = pki.other_root(), label = "client",
            subject = "/CN=stranger" }
        fails(server.port, "alert unknown_ca",
            { cert = { clientCert = mine.pem, clientKey = mine.key_pem } })
    end)

    it("asks for a client certificate with TLS 1.3 ends the open connection", function()
        local server = tls.openssl { cert = pki.server "ec256",
            args = "-tls1_3 -Verify 1 -verify_return_error -CAfile " .. pki.root().cert }
        local id = start(server.port)
        assert.equal(0, wait_for(id, "CONN_CNF").result)
        local ind = wait_for(id, "CLOSE_IND")
        assert.matches("alert certificate_required", ind.reason)
        assert.equal("CONN_CNF CLOSE_IND!", h.history(id):gsub("RECV_IND ", ""))
        h.close(id)
    end)

    it("sends HelloRetryRequest after HelloRetryRequest is refused", function()
        local asked = 0
        fails(function(client)
            while true do
                local kind, hello = client:record()
                if kind == HANDSHAKE then
                    asked = asked + 1
                    client:send(record(HANDSHAKE, server_hello { random = RETRY,
                        session = session_id(hello), cipher = "\19\1",
                        extensions = bytes "002b00020304 003300020018" }))
                end
            end
        end, "out of turn")
        assert.equal(2, asked)
    end)

    it("gives tickets of 12 KB is resumed or gives a full handshake", function()
        local mine = pki.issue { issuer = pki.root(), label = "client", subject = "/CN=large",
            ext = { "1.2.3.4=DER:04822ee0" .. ("00"):rep(12000) } }
        for _, version in ipairs { "-tls1_2", "-tls1_3" } do
            local server = tls.openssl { cert = pki.server "ec256",
                args = version .. " -Verify 1 -verify_return_error -CAfile " .. pki.root().cert }
            for _ = 1, 3 do
                local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost",
                    clientCert = mine.pem, clientKey = mine.key_pem, resume = true })
                tls.check_echo(id)
                h.close(id)
            end
        end
        h.note_memory() -- the sessions are kept
    end)

    it("has lost the keys of its tickets gives a full handshake", function()
        for _, version in ipairs { "-tls1_2", "-tls1_3" } do
            local port
            for _ = 1, 2 do
                local server = tls.openssl { cert = pki.server "ec256", args = version,
                    port = port }
                port = server.port
                for round = 1, 2 do
                    local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost",
                        resume = true })
                    tls.check_echo(id)
                    assert.equal(round == 2, sc.sock_info(id).resumed)
                    h.close(id)
                end
                server:stop()
            end
        end
        h.note_memory() -- the sessions are kept
    end)

    -- Opens through `script` and says something; then the connection must end.
    local function ends(script, reason)
        sc.config { close_grace_ms = 0 }
        local id = start(serve(script))
        local cnf = wait_for(id, "CONN_CNF")
        assert.equal(0, cnf.result, cnf.reason)
        sc.sock_send(id, "hello\n")
        local ind = wait_for(id, "CLOSE_IND")
        assert.matches(reason, ind.reason)
        h.pump(5)
        assert.equal(1, h.count(id, "CLOSE_IND"))
        h.close(id)
    end

    -- In place of the answer to the first data.
    local function instead(server, replacement, action)
        local was_asked
        return between(server.port, function(all, _, kind, client)
            if not was_asked or kind ~= DATA then
                return
            end
            if action then
                client[action](client)
                return ""
            end
            return replacement(all)
        end, function(_, _, kind)
            was_asked = was_asked or kind == DATA
        end)
    end

    it("sends a forged record when connected ends the connection", function()
        ends(instead(good12, function()
            return record(DATA, ("forged"):rep(10))
        end), "damaged or forged")
        ends(instead(good12, function(all)
            return all:sub(1, -2) .. string.char((all:byte(-1) + 1) % 256)
        end), "damaged or forged")
    end)

    it("sends garbage when connected ends the connection", function()
        ends(instead(good12, function() return ("garbage"):rep(10) end), "not TLS")
        ends(instead(good13, function() return ("garbage"):rep(10) end), ".")
    end)

    it("closes without close_notify when connected is told apart", function()
        ends(instead(good12, nil, "fin"), "without close_notify")
    end)

    it("resets when connected ends the connection", function()
        ends(instead(good12, nil, "rst"), "reset")
    end)

    it("finds our record damaged is quoted", function()
        local id = start(serve(between(good12.port, nil, function(all, _, kind)
            if kind == DATA then
                return all:sub(1, -2) .. string.char((all:byte(-1) + 1) % 256)
            end
        end)))
        assert.equal(0, wait_for(id, "CONN_CNF").result)
        sc.sock_send(id, "hello\n")
        local ind = wait_for(id, "CLOSE_IND")
        assert.matches("alert bad_record_mac", ind.reason)
        h.close(id)
    end)

    -- Refused by a warning; openssl takes that for the end.
    it("wants to renegotiate is refused", function()
        local server = tls.openssl { cert = pki.server "ec256", args = "-tls1_2", mode = "" }
        local id = tls.open(server, { caCert = pki.root().pem, hostName = "localhost" })
        server:write "R\n"
        local ind = h.wait_for(id, h.CLOSE_IND)
        assert.matches("alert handshake_failure", ind.reason)
        h.close(id)
    end)
end)
