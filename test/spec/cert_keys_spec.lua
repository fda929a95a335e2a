-- What the cert table of sock_conn may hold: a value of a wrong type and a key that is nearly a
-- right one are errors; any other unknown key is a warning.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

local KEYS = { "hostName", "caCert", "clientCert", "clientKey", "clientPassword", "psk",
    "pskIdentity", "pin", "alpn", "resume", "insist" }

describe("a key of the cert table", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Opens a socket with { [key] = value } and closes it again.
    local function try(cert)
        local id = h.sc.sock_conn(h.SSL, "127.0.0.1", h.port.silent, cert)
        if id then
            h.close(id)
        end
    end

    local function misspelt(key, meant)
        local ok, err = pcall(try, { [key] = "x" })
        assert.is_false(ok, key .. " was taken")
        assert.matches("bad argument #4", err, 1, true)
        assert.matches("cert." .. key .. ":", err, 1, true)
        assert.matches("did you mean " .. meant, err, 1, true)
    end

    it("that differs from a right one in case only is an error that names both", function()
        for _, key in ipairs(KEYS) do
            misspelt(key:upper(), key)
            if key:lower() ~= key then
                misspelt(key:lower(), key)
            end
        end
    end)

    it("that differs from a right one by a letter is an error that names both", function()
        for _, key in ipairs(KEYS) do
            misspelt(key .. "s", key)
            misspelt(key:sub(2), key)
            misspelt(key:sub(1, -2), key)
            misspelt("x" .. key:sub(2), key)
            misspelt(key:sub(1, 1) .. "x" .. key:sub(2), key)
            misspelt(key:sub(2, 2) .. key:sub(1, 1) .. key:sub(3), key)
        end
    end)

    it("that differs from a right one by two letters is an error that names both", function()
        for _, key in ipairs(KEYS) do
            if #key > 4 then
                misspelt(key .. "xx", key)
                misspelt("x" .. key:sub(2) .. "y", key)
                misspelt(key:sub(2, -2), key)
            end
        end
        misspelt("ca_Certs", "caCert")
        misspelt("host_name", "hostName")
        misspelt("client_cert", "clientCert")
        misspelt("pskidentify", "pskIdentity")
    end)

    it("is found beside right ones, whatever their order", function()
        for _ = 1, 20 do
            local cert = { hostName = "one", resume = false, cacert = "x", pin = ("a"):rep(64) }
            local ok, err = pcall(try, cert)
            assert.is_false(ok)
            assert.matches("did you mean caCert", err, 1, true)
        end
    end)

    it("that is another word is one warning, and has no effect", function()
        local WORDS = { "colour", "timeout", "name", "file", "id", "ip", "url", "key", "port",
            "ssl", "sni", "verify", "password", "ca", "host", "version", "hostNamePattern" }
        local printed = h.run_lua(([[
            require "socketcore"
            for word in ("%s"):gmatch "%%S+" do
                assert(socketcore.sock_conn(2, "127.0.0.1", %d, { [word] = "x", resume = false }))
            end
            assert(socketcore.sock_conn(0, "127.0.0.1", %d, { other = 1 }))
        ]]):format(table.concat(WORDS, " "), h.port.silent, h.port.silent))
        local seen = {}
        for line in printed:gmatch "[^\n]+" do
            local word = line:match '^socketcore: warn: sock_conn: .*unknown key "(%w+)"'
            if word then
                seen[word] = (seen[word] or 0) + 1
            end
        end
        for _, word in ipairs(WORDS) do
            assert.equal(1, seen[word], word)
        end
        assert.equal(1, seen.other)
    end)

    it("that is no string is a warning, and has no effect", function()
        local printed = h.run_lua(([[
            require "socketcore"
            assert(socketcore.sock_conn(2, "127.0.0.1", %d, { "x", [true] = 1, [{}] = 2 }))
        ]]):format(h.port.silent))
        for _, name in ipairs { "number", "boolean", "table" } do
            local _, count = printed:gsub("warn: sock_conn: cert has a key that is a " .. name, "")
            assert.equal(1, count, name)
        end
    end)

    it("that is right warns of nothing", function()
        local printed = h.run_lua(([[
            require "socketcore"
            assert(socketcore.sock_conn(2, "127.0.0.1", %d, { hostName = "a", alpn = { "b" },
                resume = true, insist = 1, psk = "c", pskIdentity = "d", pin = ("a"):rep(64) }))
        ]]):format(h.port.silent))
        assert.not_matches("unknown key", printed)
        assert.not_matches("sock_conn", printed)
    end)

    it("with a zero byte is none of the right ones", function()
        assert.is_false((pcall(try, { ["caCert\0"] = "x" })))
    end)

    it("with a value of a wrong type is an error that names key and type", function()
        for _, key in ipairs(KEYS) do
            local wanted = key == "alpn" and "table" or key == "resume" and "boolean"
                or key == "insist" and "number" or "string"
            local task = coroutine.create(function() end)
            for _, value in ipairs { 5, print, task, io.stdout, true, {}, "x" } do
                if type(value) ~= wanted then
                    local ok, err = pcall(try, { [key] = value })
                    assert.is_false(ok, key)
                    assert.matches(("cert.%s: %s expected, got %s"):format(key, wanted,
                        type(value)), err, 1, true)
                end
            end
        end
    end)

    it("with a number that insist does not have is an error", function()
        for _, value in ipairs { 2, -1, 0.5 } do
            local ok, err = pcall(try, { insist = value })
            assert.is_false(ok)
            assert.matches("cert.insist must be 0 or 1", err, 1, true)
        end
    end)

    it("in alpn that is no name is an error", function()
        for _, names in ipairs { { 5 }, { "a", {} }, { "a\0b" },
            { "1", "2", "3", "4", "5", "6", "7", "8", "9" } } do
            local ok, err = pcall(try, { alpn = names })
            assert.is_false(ok)
            assert.matches("cert.alpn", err, 1, true)
        end
    end)

    it("is not looked for in what is no table", function()
        for _, type in ipairs { h.TCP, h.UDP, h.SSL, h.RAW } do
            for _, value in ipairs { "ca.crt", true, print } do
                local ok, err = pcall(h.sc.sock_conn, type, "127.0.0.1", 1, value)
                assert.is_false(ok)
                assert.matches("bad argument #4", err, 1, true)
                assert.matches("cert: table expected, got " .. _G.type(value), err, 1, true)
            end
        end
    end)
end)
