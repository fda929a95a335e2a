-- SSLKEYLOGFILE: lines that Wireshark takes, shown by tshark decrypting a capture.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

local function is_installed(program)
    local out = io.popen("command -v " .. program)
    local found = out:read "*l"
    out:close()
    return found ~= nil
end

-- A client in a process of its own: one line there, turned round and back.
local function run_client(port, key_log)
    local interpreter = h.interpreter
    h.interpreter = ("env SOCKETCORE_LOG=error SSLKEYLOGFILE=%s %s"):format(key_log, interpreter)
    local printed = h.run_lua(([[
        local sc, rtos = require "socketcore", require "rtos"
        local id = sc.sock_conn(2, "127.0.0.1", %d, { hostName = "localhost", resume = false })
        assert(rtos.receive(20000).result == 0)
        sc.sock_send(id, "a secret line\n")
        local message
        repeat
            message = rtos.receive(20000)
        until message.id == rtos.MSG_SOCK_RECV_IND
        print(sc.sock_recv(id, message.recv_len))
        sc.sock_close(id)
        repeat
            message = rtos.receive(20000)
        until message.id == rtos.MSG_SOCK_CLOSE_CNF
    ]]):format(port))
    h.interpreter = interpreter
    assert.matches("^enil terces a", printed)
end

describe("the key log", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    it("has the master secret of a connection with TLS 1.2", function()
        local server, log = tls.openssl { cert = pki.server(), args = "-tls1_2" }, pki.path "keys"
        run_client(server.port, log)
        local random, secret = pki.read(log):match "^CLIENT_RANDOM (%x+) (%x+)\n$"
        assert.equal(64, #random)
        assert.equal(96, #secret)
    end)

    it("has the four traffic secrets of a connection with TLS 1.3", function()
        local server, log = tls.openssl { cert = pki.server(), args = "-tls1_3" }, pki.path "keys"
        run_client(server.port, log)
        local randoms = {}
        for _, label in ipairs { "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0" } do
            local random, secret = ("\n" .. pki.read(log)):match("\n" .. label .. " (%x+) (%x+)\n")
            assert.equal(64, #random)
            assert.is_true(#secret == 64 or #secret == 96)
            randoms[random] = true
        end
        assert.is_not_nil(next(randoms))
        assert.is_nil(next(randoms, (next(randoms))), "not one connection's random")
    end)

    it("is what the server's own key log says", function()
        for _, version in ipairs { "-tls1_2", "-tls1_3" } do
            local ours, theirs = pki.path "keys", pki.path "keys"
            local server = tls.openssl { cert = pki.server(),
                args = version .. " -keylogfile " .. theirs }
            run_client(server.port, ours)
            local known = pki.read(theirs)
            for line in pki.read(ours):gmatch "[^\n]+" do
                assert.is_truthy(known:find(line, 1, true), line)
            end
        end
    end)

    it("gathers the lines of several connections, and is only its owner's", function()
        local server, log = tls.openssl { cert = pki.server(), args = "-tls1_2" }, pki.path "keys"
        for _ = 1, 3 do
            run_client(server.port, log)
        end
        assert.equal(3, select(2, pki.read(log):gsub("CLIENT_RANDOM", "")))
        local out = io.popen("stat -c %a " .. log)
        assert.equal("600", out:read "*l")
        out:close()
    end)

    it("that cannot be written does not disturb the connection", function()
        local server = tls.openssl { cert = pki.server() }
        run_client(server.port, "/nonexistent/directory/keys")
    end)

    it("lets tshark decrypt a capture", function()
        if not is_installed "tshark" then
            pending "tshark is not installed"
        end
        if not h.netns then
            pending "capturing needs the network namespace"
        end
        for _, version in ipairs { "-tls1_2", "-tls1_3" } do
            local server, log = tls.openssl { cert = pki.server(), args = version }, pki.path "keys"
            local capture = pki.path "pcap"
            local dumper = h.spawn(("dumpcap -q -i lo -f 'tcp port %d' -w %s"):format(server.port,
                capture))
            h.wait_until(function()
                return h.slurp(dumper.log):find "File: "
            end, "dumpcap")
            run_client(server.port, log)
            local function decrypted()
                local out = io.popen(("tshark -r %s -o tls.keylog_file:%s -d tcp.port==%d,tls -q "
                    .. "-z follow,tls,ascii,0 2>/dev/null"):format(capture, log, server.port))
                local text = out:read "*a"
                out:close()
                return text:find("a secret line", 1, true) and text:find("enil terces a", 1, true)
            end
            h.wait_until(decrypted, "the lines in clear", 20000)
            h.stop(dumper)
            server:stop()
        end
    end)
end)
