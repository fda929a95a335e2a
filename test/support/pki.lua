--- Keys and certificates for the TLS specs, made with the `openssl` command when they are first
-- asked for, kept in a directory that is gone when this process ends. Keys are shared by kind and
-- label, so that most certificates cost one call of openssl (5 ms).
--
--     local pki = require "test.support.pki"
--     local root = pki.root()                        -- the CA that the specs trust
--     local server = pki.server "ec256"              -- for localhost, *.test and 127.0.0.1, ::1
--     local odd = pki.issue { issuer = root, key = "rsa2048", names = { "DNS:odd.test" } }
--
-- What comes back is a table: `cert`, `key` (file names, PEM), `pem`, `key_pem` (their texts),
-- `issuer` (such a table), `chain` (a file: this certificate and the intermediates above it).
--
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

local pki = {}

local store = debug.getregistry().socketcore_test
if store.pki == nil then
    store.pki = { count = 0, keys = {}, named = {}, dir = h.directory(os.getenv "SOCKETCORE_TMP") }
    -- Ends, and removes the directory, when this process has ended; netns.sh does that itself.
    store.pki.cleaner = io.popen(("exec 2>/dev/null; read _; rm -rf '%s'"):format(store.pki.dir),
        "w")
end
local state = store.pki

--- The directory of all files.
pki.dir = state.dir

--- Is there an `openssl` command?
pki.available = (function()
    local out = io.popen "command -v openssl"
    local found = out:read "*l"
    out:close()
    return found ~= nil
end)()

--- A file name that no other has.
function pki.path(ending)
    state.count = state.count + 1
    return ("%s/%d.%s"):format(state.dir, state.count, ending)
end

local function write(name, text)
    h.write_file(name, text)
    return name
end

local function read(name)
    local file = assert(io.open(name, "rb"))
    local text = file:read "*a"
    file:close()
    return text
end
pki.read = read

--- Runs openssl with these arguments; an error with what it said when it fails.
function pki.openssl(arguments, ...)
    local out = io.popen(("openssl %s 2>&1 </dev/null; echo \"status $?\""):format(
        arguments:format(...)))
    local text = out:read "*a"
    out:close()
    local said, status = text:match "^(.*)status (%d+)%s*$"
    if status ~= "0" then
        error(("openssl %s: %s"):format(arguments:format(...), said), 2)
    end
    return said
end

local kinds = {
    ec256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    ec384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    ec521 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
    rsa1024 = "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
    rsa2048 = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    rsa3072 = "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
    rsa4096 = "-algorithm RSA -pkeyopt rsa_keygen_bits:4096",
    ed25519 = "-algorithm ED25519",
    ed448 = "-algorithm ED448",
    p192 = "-algorithm EC -pkeyopt ec_paramgen_curve:prime192v1",
    p224 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
    secp256k1 = "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1",
    brainpool256 = "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
    brainpool512 = "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP512r1",
    explicit256 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 "
        .. "-pkeyopt ec_param_enc:explicit",
    rsapss = "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
}

--- The file of a private key (PKCS#8 PEM) of a kind: ec256, ec384, ec521, rsa1024, rsa2048,
-- rsa3072, rsa4096, ed25519, or of one that mbedTLS does not know (`kinds` above). The same label
-- gives the same key.
function pki.key(kind, label)
    local name = kind .. (label or "")
    if not state.keys[name] then
        local file = pki.path "key.pem"
        pki.openssl("genpkey %s -out %s", assert(kinds[kind], kind), file)
        state.keys[name] = file
    end
    return state.keys[name]
end

--- The same key in another form: arguments of `openssl pkey`, `openssl ec`, `openssl rsa` and so
-- on, for example `pki.convert(key, "pkcs8 -topk8 -v2 aes256 -passout pass:secret")`. Returns the
-- bytes.
function pki.convert(file, command)
    local out = pki.path "out"
    local program, rest = command:match "^(%S+)%s*(.*)$"
    pki.openssl("%s -in %s %s -out %s", program, file, rest, out)
    return read(out)
end

local function extensions(spec)
    local lines = {}
    local function add(line) lines[#lines + 1] = line end
    if spec.ca then
        add "basicConstraints=critical,CA:TRUE"
        add "keyUsage=critical,keyCertSign,cRLSign"
    else
        if spec.constraints ~= false then
            add "basicConstraints=critical,CA:FALSE"
        end
        if not spec.usage then
            add "keyUsage=critical,digitalSignature,keyEncipherment"
        end
    end
    if spec.usage then
        add("keyUsage=critical," .. spec.usage)
    end
    if spec.extended then
        add("extendedKeyUsage=" .. spec.extended)
    end
    if spec.names and #spec.names > 0 then
        add("subjectAltName=" .. table.concat(spec.names, ","))
    end
    for _, line in ipairs(spec.ext or {}) do
        add(line)
    end
    return table.concat(lines, "\n") .. "\n"
end

-- Only `openssl ca` of OpenSSL 3.0 takes a start date.
local function sign_with_dates(spec, request, ext, out)
    local config, index = pki.path "conf", pki.path "index"
    write(index, "")
    write(index .. ".attr", "unique_subject = no\n")
    write(config, ("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\n"
        .. "policy=p\ndefault_md=%s\n[p]\ncommonName=optional\n"):format(index, state.dir,
        spec.digest or "sha256"))
    local issuer = spec.issuer
    local by = issuer and ("-cert %s -keyfile %s"):format(issuer.cert, issuer.key)
        or ("-selfsign -keyfile %s"):format(spec.key_file)
    pki.openssl("ca -batch -notext -config %s %s -in %s -out %s -extfile %s -startdate %s "
        .. "-enddate %s", config, by, request, out, ext, spec.start or "20200101000000Z",
        spec.finish or "20991231235959Z")
end

--- Makes a certificate. Fields, each optional:
--
-- - `issuer`: a table of this module, absent for a self-signed one
-- - `key`: the kind ("ec256"), `label`: of the key
-- - `subject`: "/CN=..." ; `names`: SANs as openssl writes them, { "DNS:a.test", "IP:127.0.0.1" }
-- - `ca`: true for a CA; `usage`, `extended`: keyUsage and extendedKeyUsage as openssl writes them
-- - `ext`: more lines for openssl's extension file; `constraints = false`: no basicConstraints
-- - `start`, `finish`: "20200101000000Z"; `digest`: "sha256", "" where the key decides
-- - `serial`: as openssl takes it; `sign`: more arguments for `openssl x509`
function pki.issue(spec)
    spec.key_file = pki.key(spec.key or "ec256", spec.label)
    local request, ext, out = pki.path "csr", pki.path "ext", pki.path "crt.pem"
    write(ext, extensions(spec))
    pki.openssl("req -new -batch -utf8 -key %s -subj '%s' -out %s", spec.key_file,
        spec.subject or "/CN=test", request)
    if spec.start or spec.finish then
        sign_with_dates(spec, request, ext, out)
    else
        local by = spec.issuer
            and ("-CA %s -CAkey %s"):format(spec.issuer.cert, spec.issuer.key)
            or ("-signkey %s"):format(spec.key_file)
        state.serial = (state.serial or os.time()) + 1
        local digest = spec.digest or "sha256"
        pki.openssl("x509 -req -in %s %s -set_serial %s -days 3650 %s %s -extfile %s -out %s",
            request, by, spec.serial or state.serial, digest == "" and "" or "-" .. digest,
            spec.sign or "", ext, out)
    end
    local made = { cert = out, key = spec.key_file, pem = read(out), key_pem = read(spec.key_file),
        issuer = spec.issuer }
    local chain, above = made.pem, spec.issuer
    while above and above.issuer do
        chain, above = chain .. above.pem, above.issuer
    end
    made.chain = write(pki.path "chain.pem", chain)
    made.chain_pem = chain
    return made
end

local function once(name, make)
    state.named[name] = state.named[name] or make()
    return state.named[name]
end

--- The CA that the specs trust: P-256 unless another kind is named.
function pki.root(kind)
    kind = kind or "ec256"
    return once("root " .. kind, function()
        return pki.issue { key = kind, label = "root", subject = "/CN=Test Root " .. kind,
            ca = true }
    end)
end

--- A CA below `pki.root()`.
function pki.intermediate()
    return once("intermediate", function()
        return pki.issue { issuer = pki.root(), label = "intermediate", ca = true,
            subject = "/CN=Test Intermediate" }
    end)
end

--- A CA that no spec trusts.
function pki.other_root()
    return once("other root", function()
        return pki.issue { label = "other", subject = "/CN=Other Root", ca = true }
    end)
end

--- The names of `pki.server`.
pki.server_names = { "DNS:localhost", "DNS:*.test", "IP:127.0.0.1", "IP:::1" }

--- A server's certificate from `pki.root()` with a key of this kind.
function pki.server(kind)
    kind = kind or "ec256"
    return once("server " .. kind, function()
        return pki.issue { issuer = pki.root(), key = kind, subject = "/CN=localhost",
            names = pki.server_names, extended = "serverAuth" }
    end)
end

--- A client's certificate from `pki.root()` with a key of this kind.
function pki.client(kind)
    kind = kind or "ec256"
    return once("client " .. kind, function()
        return pki.issue { issuer = pki.root(), key = kind, label = "client",
            subject = "/CN=device",
            extended = "clientAuth" }
    end)
end

--- A certificate's DER bytes.
function pki.der(made)
    return pki.convert(made.cert, "x509 -outform DER")
end

--- An element of DER: its tag and its data.
function pki.element(tag, data)
    local length = #data < 128 and string.char(#data)
        or "\130" .. string.char(math.floor(#data / 256), #data % 256)
    return string.char(tag) .. length .. data
end

--- A line of `ext` for an extension with these bytes.
function pki.extension(name, data)
    return ("%s=DER:%s"):format(name, (data:gsub(".", function(c)
        return ("%02x"):format(c:byte())
    end)))
end

--- A name with the attribute CN alone, its value of the string type `tag`.
function pki.common_name(tag, text)
    return pki.element(0x30, pki.element(0x31, pki.element(0x30, "\6\3\85\4\3"
        .. pki.element(tag, text))))
end

--- SHA-256 of the public key, 64 hexadecimal digits.
function pki.pin(made)
    local der = pki.path "spki"
    write(der, pki.convert(made.key, "pkey -pubout -outform DER"))
    local out = pki.openssl("dgst -sha256 -r %s", der)
    return out:match "^(%x+)"
end

return pki
