-- socket: making clients, connect and close, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local commands = require "test.support.commands"
local fake = require "fake_core"

local function recorder(sys, topics)
    local seen = {}
    for _, topic in ipairs(topics) do
        sys.subscribe(topic, function(...) seen[#seen + 1] = { topic, ... } end)
    end
    return seen
end

describe("a client", function()
    local core, sys, socket, failing_task

    before_each(function()
        core = fake.install()
        sys, socket = _G.sys, _G.socket
    end)

    after_each(function()
        assert.equal(failing_task and true or false, core:logged("task ended"))
        failing_task = nil
        assert.equal(0, core:open_sockets())
        assert.is_nil(next(core.timers))
        assert.equal(0, core.bad_destroys)
        core:remove()
    end)

    it("is made inside a task only", function()
        assert.is_nil(socket.tcp())
        assert.is_nil(socket.udp())
        assert.is_true(core:logged("must be made inside a task"))
        core:run(function()
            assert.is_table(socket.tcp())
            assert.is_table(socket.tcp(true, {}))
            assert.is_table(socket.udp())
        end)
    end)

    it("connects: true and the id; close frees it", function()
        local ok, id, client
        core:run(function()
            client = socket.tcp()
            ok, id = client:connect("example.org", 80)
            assert.equal(0, client.id)
            assert.is_true(client.connected)
            assert.equal(1, core:open_sockets())
            assert.is_true(client:close())
            assert.is_nil(client.id)
            assert.is_false(client.connected)
        end)
        assert.is_true(ok)
        assert.equal(0, id)
        assert.equal(1, core.closes)
    end)

    it("passes on what sock_conn is to know", function()
        core:run(function()
            for _, client in ipairs({
                socket.tcp(), socket.udp(), socket.tcp(false, nil, { rcvBufferSize = "4096" }),
                socket.tcp(true, { insist = 0, clientPassword = "pw", hostNameFlag = 1 },
                    { rcvBufferSize = 8192 }),
                socket.tcp(true),
            }) do
                client:connect("h", "443")
                client:close()
            end
        end)
        local calls = core.calls
        assert.same({ kind = 0, address = "h", port = "443" }, calls[1])
        assert.same({ kind = 1, address = "h", port = "443" }, calls[2])
        assert.same({ kind = 0, address = "h", port = "443", buffer = 4096 }, calls[3])
        assert.same({ kind = 2, address = "h", port = "443", buffer = 8192, insist = 0, flag = 1,
            cert = { hostName = "h", clientPassword = "pw" } }, calls[4])
        assert.same({ kind = 2, address = "h", port = "443", cert = { hostName = "h" } }, calls[5])
    end)

    it("that is refused returns false, frees the id at once and can try again", function()
        core.servers.bad = { connect = "fail" }
        local seen = recorder(sys, { "LIB_SOCKET_CONNECT_FAIL_IND" })
        local results = {}
        core:run(function()
            local client = socket.tcp()
            results[1] = { client:connect("bad", 1) }
            assert.equal(0, core:open_sockets())
            results[2] = { client:connect("good", 2) }
            client:close()
        end)
        assert.same({ { false }, { true, 0 } }, results)
        assert.same({ { "LIB_SOCKET_CONNECT_FAIL_IND", false, "TCP", "bad", 1 } }, seen)
        assert.is_true(core:logged("connect: refused"))
        assert.equal(1, core.closes)
    end)

    it("that is not connected in time returns false and has closed its socket", function()
        core.servers.silent = { connect = "never" }
        local times = {}
        core:run(function()
            local client = socket.tcp(true)
            assert.is_false(client:connect("silent", 1, 5))
            times[1] = core.now
            assert.equal(0, core:open_sockets())
            assert.is_false(client:connect("silent", 1))
            times[2] = core.now
            client:close()
        end)
        assert.same({ 5001, 125002 }, times)
        assert.equal(2, core.closes)
    end)

    it("that gets no socket returns false, with the reason in the log", function()
        core.servers.full = { refuse_call = "no free socket" }
        local seen = recorder(sys, { "LIB_SOCKET_CONNECT_FAIL_IND" })
        local ok
        core:run(function()
            ok = socket.tcp():connect("full", 1)
        end)
        assert.is_false(ok)
        assert.is_true(core:logged("no free socket"))
        assert.equal(1, #seen)
    end)

    it("does not connect without a link", function()
        core:post(rtos.MSG_PDP_DEACT_IND)
        sys.run()
        local ok
        core:run(function() ok = socket.tcp():connect("h", 1) end)
        assert.is_false(ok)
        assert.equal(0, #core.calls)
    end)

    it("does not wait for a connect that IP_ERROR_IND ends", function()
        core.servers.silent = { connect = "never" }
        local ok, at
        sys.timerStart(sys.publish, 70, "IP_ERROR_IND")
        core:run(function()
            ok, at = socket.tcp():connect("silent", 1), core.now
        end)
        assert.is_false(ok)
        assert.equal(71, at)
    end)

    it("closes what it has before it connects anew", function()
        core:run(function()
            local client = socket.tcp()
            client:connect("a", 1)
            assert.is_true((client:connect("b", 2)))
            assert.equal(1, core:open_sockets())
            client:close()
        end)
        assert.equal(2, core.closes)
    end)

    it("closes in every state, returning when CLOSE_CNF came", function()
        core.servers.h = { close_delay = 4000 }
        local at = {}
        core:run(function()
            local client = socket.tcp()
            assert.is_true(client:close()) -- never connected
            at[1] = core.now
            client:connect("h", 1)
            client:close()
            at[2] = core.now
            client:close() -- twice
            client:connect("h", 1)
            core:peer_close(core.sockets[client.id])
            assert.same({ false, "CLOSED" }, { client:recv() })
            client:close() -- closed by the peer
            at[3] = core.now
        end)
        assert.same({ 0, 4001, 8002 }, at)
    end)

    it("waits for CLOSE_CNF whatever happens meanwhile", function()
        core.servers.h = { close_delay = 500 }
        local at
        core:run(function()
            local client = socket.tcp()
            client:connect("h", 1)
            local co = coroutine.running()
            sys.timerStart(sys.publish, 100, "IP_ERROR_IND")
            sys.timerStart(coroutine.resume, 200, co, true)
            client:close()
            at = core.now
            assert.is_nil(client.error)
        end)
        assert.equal(501, at)
    end)

    it("connects again after IP_ERROR_IND ended its connect", function()
        core.servers.silent = { connect = "never" }
        sys.timerStart(sys.publish, 70, "IP_ERROR_IND")
        core:run(function()
            local client = socket.tcp()
            assert.is_false(client:connect("silent", 1))
            assert.is_true((client:connect("h", 1)))
            assert.is_true(client:send("x"))
            client:close()
        end)
    end)

    it("is out of reach for what comes for its old id", function()
        local seen = recorder(sys, { "LIB_SOCKET_CLOSE_IND", "SOCKET_RECV" })
        core:run(function()
            local client = socket.tcp()
            client:connect("h", 1)
            client:close()
            core:post({ id = rtos.MSG_SOCK_CLOSE_IND, socket_index = 0, result = 0 })
            core:post({ id = rtos.MSG_SOCK_RECV_IND, socket_index = 0, result = 0, recv_len = 1 })
            sys.wait(10)
            assert.is_nil(client.error)
        end)
        assert.same({}, seen)
    end)

    it("is not confused by a confirmation that it does not wait for", function()
        core:run(function()
            local client = socket.tcp()
            client:connect("h", 1)
            for _, name in ipairs({ "CONN_CNF", "SEND_CNF" }) do
                core:post({ id = rtos["MSG_SOCK_" .. name], socket_index = 0, result = 0 })
            end
            assert.same({ false, "timeout" }, { client:recv(100) })
            client:close()
        end)
    end)

    it("stays closed when the script has closed the id itself", function()
        core:run(function()
            local client = socket.tcp()
            client:connect("h", 1)
            socketcore.sock_close(client.id)
            assert.same({ false, "CLOSED" }, { client:recv(100) })
            client:close()
        end)
        assert.equal(2, core.closes)
    end)

    it("tells with SOCKET_ACTIVE whether any is connected", function()
        local seen = recorder(sys, { "SOCKET_ACTIVE", "LIB_SOCKET_CLOSE_IND" })
        core:run(function()
            local a, b = socket.tcp(), socket.udp()
            a:connect("a", 1)
            b:connect("b", 2)
            core:peer_close(core.sockets[a.id])
            a:recv()
            b:close()
            a:close()
        end)
        assert.same({
            { "SOCKET_ACTIVE", true }, { "SOCKET_ACTIVE", true },
            { "SOCKET_ACTIVE", true }, { "LIB_SOCKET_CLOSE_IND", false, "TCP", "a", 1 },
            { "SOCKET_ACTIVE", false },
        }, seen)
    end)

    it("answers false to a task that is not its own, and says so", function()
        core:run(function()
            local client = socket.tcp()
            client:connect("h", 1)
            local results = {}
            sys.taskInit(function()
                results = { client:send("x"), (client:recv(10)), client:asyncSelect(),
                    client:close(), (client:connect("g", 1)) }
            end)
            assert.same({ false, false, false, false, false }, results)
            assert.equal(0, client.id)
            client:close()
        end)
        assert.is_true(core:logged("not called from the client's own task"))
    end)

    it("belongs to the task that connects it", function()
        local client
        sys.taskInit(function() client = socket.tcp() end)
        core:run(function()
            assert.is_true((client:connect("h", 1)))
            assert.is_true(client:send("x"))
            client:close()
        end)
    end)

    it("can be closed by any task once its own has ended", function()
        local client
        sys.taskInit(function()
            client = socket.tcp()
            client:connect("h", 1)
            failing_task = true
            error("gone")
        end)
        core:run(function()
            sys.wait(100)
            assert.equal(1, core:open_sockets())
            assert.is_true(client:close())
        end)
        assert.equal(1, core.closes)
    end)

    it("does not connect from outside a task", function()
        local client
        core:run(function() client = socket.tcp() end)
        assert.is_false(client:connect("h", 1))
        assert.is_true(core:logged("must be called inside a task"))
    end)

    it("asks the core not to hold CLOSE_IND back", function()
        assert.same({ close_grace_ms = 0 }, core.config)
    end)

    it("ignores messages of sockets that are not its own", function()
        local ok
        for _, name in ipairs({ "CONN_CNF", "SEND_CNF", "RECV_IND", "CLOSE_IND", "CLOSE_CNF" }) do
            core:post({ id = rtos["MSG_SOCK_" .. name], socket_index = 77, result = 0,
                recv_len = 5 })
        end
        core:run(function()
            local client = socket.tcp()
            ok = client:connect("h", 1)
            client:close()
        end)
        assert.is_true(ok)
        assert.is_false(core:logged("[E]"))
    end)

    describe("with certificates", function()
        local dir, arg_before

        local function write(name, content)
            local file = assert(io.open(dir .. "/" .. name, "wb"))
            file:write(content)
            file:close()
        end

        before_each(function()
            dir = commands.must "mktemp -d"
            commands.must("mkdir " .. dir .. "/lua")
            arg_before = _G.arg
            _G.arg = { [0] = dir .. "/script.lua" }
            write("ca.pem", "CA\r\n\0")
            write("client.crt", "CERT")
            write("lua/client.key", "KEY")
        end)

        after_each(function()
            _G.arg = arg_before
            os.execute("rm -r " .. dir)
        end)

        local function cert_passed_for(names)
            local ok
            core:run(function()
                local client = socket.tcp(true, names)
                ok = client:connect("h", 443)
                client:close()
            end)
            return ok, core.calls[1] and core.calls[1].cert
        end

        it("reads the files beside the script, or in lua/ there", function()
            local names = { caCert = "ca.pem", clientCert = "client.crt",
                clientKey = "client.key", insist = 1 }
            local ok, cert = cert_passed_for(names)
            assert.is_true(ok)
            assert.same({ hostName = "h", caCert = "CA\r\n\0", clientCert = "CERT",
                clientKey = "KEY" }, cert)
            assert.equal(1, core.calls[1].insist)
            assert.equal("ca.pem", names.caCert)
        end)

        it("takes a device's path for the script's directory", function()
            local ok, cert = cert_passed_for({ caCert = "/lua/ca.pem" })
            assert.is_true(ok)
            assert.equal("CA\r\n\0", cert.caCert)
        end)

        it("reads any other path as it stands", function()
            local ok, cert = cert_passed_for({ caCert = dir .. "/ca.pem" })
            assert.is_true(ok)
            assert.equal("CA\r\n\0", cert.caCert)
        end)

        it("never connects without a file that is named", function()
            assert.is_false((cert_passed_for({ caCert = "missing.pem" })))
            assert.is_false((cert_passed_for({ clientKey = "/nowhere/key.pem" })))
            assert.is_false((cert_passed_for({ caCert = "lua" }))) -- a directory
            assert.equal(0, #core.calls)
            assert.is_true(core:logged("no certificate file missing.pem"))
        end)

        it("passes on what is no file, and the system's certificates", function()
            local names = { caCert = "system", hostName = "other", psk = "key", pskIdentity = "me",
                pin = "sha256", alpn = { "h2" }, resume = false, clientPassword = "pw" }
            local ok, cert = cert_passed_for(names)
            assert.is_true(ok)
            assert.same(names, cert)
        end)

        it("says why a file cannot be read, for each place", function()
            assert.is_false((cert_passed_for({ caCert = "lua" }))) -- a directory
            assert.is_true(core:logged(dir .. "/lua: Is a directory; "))
            assert.is_true(core:logged("/lua/lua: No such file or directory"))
        end)

        it("names the file that the core does not take", function()
            local names = { caCert = "ca.pem", clientCert = dir .. "/client.crt",
                clientKey = "/lua/client.key" }
            local function line_for(reason)
                core.servers.h, core.lines = { refuse_call = reason }, {}
                assert.is_false((cert_passed_for(names)))
                for _, line in ipairs(core.lines) do
                    if line:find("socket.connect", 1, true) then
                        return line
                    end
                end
            end
            local line = line_for("cert.caCert is not valid PEM or DER")
            assert.is_truthy(line:find("DER (caCert: " .. dir .. "/ca.pem)", 1, true), line)
            line = line_for("cert.clientKey does not fit cert.clientCert")
            assert.is_truthy(line:find("(clientCert: " .. dir .. "/client.crt) (clientKey: " .. dir
                .. "/lua/client.key)", 1, true), line)
            line = line_for("no free socket")
            assert.is_nil(line:find(dir, 1, true), line)
        end)

        it("works without an arg table, as on a device", function()
            _G.arg = nil
            assert.is_false((cert_passed_for({ caCert = "ca.pem" })))
            assert.is_true(core:logged("/lua/ca.pem"))
        end)
    end)
end)
