-- Wrong arguments of sys, socket and log are told in the script's own line, with the value.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

-- luacheck: globals rtos

local HERE = debug.getinfo(1, "S").short_src
local NAN = 0 / 0

describe("a wrong argument", function()
    local core, sys, socket, log

    before_each(function()
        core = fake.install()
        sys, socket, log = _G.sys, _G.socket, _G.log
    end)

    after_each(function()
        assert.is_false(core:logged("task ended"))
        core:remove()
    end)

    -- fn(...) must raise an error that begins with the line of its call, below, and has `text`.
    local function refuses(text, fn, ...)
        local line = debug.getinfo(1, "l").currentline + 2
        local ok, message = pcall(function(...)
            fn(...)
        end, ...)
        assert.is_false(ok, text)
        local place = ("%s:%d: "):format(HERE, line)
        assert.equal(place, message:sub(1, #place), message)
        assert.is_truthy(message:find(text, 1, true), message)
    end

    local function in_a_task(fn)
        core:run(function()
            local client = socket.tcp()
            fn(client)
            client:close()
        end)
    end

    it("of connect names the port", function()
        in_a_task(function(client)
            for _, port in ipairs { 70000, -1, 80.5, "http", "80x", " 80", "", "-1", "0x50", NAN,
                math.huge, true, {}, function() end } do
                refuses("bad argument #2 to 'connect' (port from 0 to 65535 expected, got ",
                    client.connect, client, "h", port)
            end
            refuses("got 70000)", client.connect, client, "h", 70000)
            refuses('got "http")', client.connect, client, "h", "http")
            refuses("got nil)", client.connect, client, "h")
            assert.equal(0, #core.calls)
            assert.is_true((client:connect("h", 0)))
            assert.is_true((client:connect("h", "65535")))
        end)
    end)

    it("of connect names the address and the time-out", function()
        in_a_task(function(client)
            for _, address in ipairs { 80, true, {}, "a\0b" } do
                refuses("bad argument #1 to 'connect' (name or IP address as a string expected",
                    client.connect, client, address, 80)
            end
            refuses("got nil)", client.connect, client, nil, 80)
            refuses("got 1234)", client.connect, client, 1234, 80)
            refuses("bad argument #3 to 'connect' (seconds expected, got \"soon\")",
                client.connect, client, "h", 80, "soon")
            refuses("bad argument #3 to 'connect'", client.connect, client, "h", 80, NAN)
            assert.equal(0, #core.calls)
            assert.is_true((client:connect("h", 80, "5")))
            assert.is_true((client:connect("h", 80, math.huge)))
        end)
    end)

    it("of the other methods of a client", function()
        in_a_task(function(client)
            client:connect("h", 80)
            refuses("bad argument #1 to 'send' (string expected, got true)", client.send, client,
                true)
            refuses("bad argument #2 to 'send' (seconds expected", client.send, client, "x", {})
            refuses("bad argument #1 to 'recv' (milliseconds expected, got \"x\")", client.recv,
                client, "x")
            refuses("bad argument #1 to 'recv'", client.recv, client, NAN)
            refuses("bad argument #2 to 'recv' (topic expected", client.recv, client, 1, NAN)
            refuses("bad argument #1 to 'asyncSend'", client.asyncSend, client, {})
            refuses("bad argument #2 to 'asyncSend'", client.asyncSend, client, "x", "y")
            refuses("bad argument #1 to 'asyncSelect'", client.asyncSelect, client, "x")
            refuses("bad argument #2 to 'asyncSelect' (string or function expected, got 5)",
                client.asyncSelect, client, 1, 5)
            refuses("bad argument #1 to 'setRcvProc' (function expected", client.setRcvProc, client,
                "f")
            assert.is_true(client:send(12.5, "1"))
            assert.same({ false, "timeout" }, { client:recv("20") })
        end)
    end)

    it("of socket.tcp", function()
        core:run(function()
            refuses("bad argument #1 to 'tcp' (boolean expected, got table", socket.tcp, {})
            for _, cert in ipairs { "ca.pem", 1, true } do
                refuses("bad argument #2 to 'tcp' (table expected, got ", socket.tcp, true, cert)
            end
            refuses("bad argument #3 to 'tcp' (table expected, got 4096)", socket.tcp, false, nil,
                4096)
            for _, size in ipairs { -1, 2 ^ 31, 1.5, NAN, "big", true } do
                refuses("coreExt.rcvBufferSize: bytes expected, got ", socket.tcp, false, nil,
                    { rcvBufferSize = size })
            end
            refuses("coreExt.rcvbufferSize: no such key, coreExt.rcvBufferSize is meant?",
                socket.tcp, false, nil, { rcvbufferSize = 1 })
        end)
    end)

    it("in a cert is named with its key", function()
        core:run(function()
            for key, value in pairs { caCert = 1, clientCert = false, clientKey = {}, pin = 5,
                clientPassword = true, hostName = 1, psk = 1, pskIdentity = 1, insist = 2,
                hostNameFlag = true, resume = 1, alpn = "h2" } do
                refuses(("bad argument #2 to 'tcp' (cert.%s: "):format(key), socket.tcp, true,
                    { [key] = value })
            end
            refuses("cert.insist: 0 or 1 expected, got true)", socket.tcp, true, { insist = true })
            refuses("cert.alpn: names expected", socket.tcp, true, { alpn = { "h2", 5 } })
            assert.is_table(socket.tcp(true, { insist = "1", alpn = { "h2" }, resume = false }))
        end)
    end)

    it("a key of a cert that is nearly right is named with the right one", function()
        core:run(function()
            for wrong, right in pairs {
                cacert = "caCert", CACERT = "caCert", caCerts = "caCert", ca_cert = "caCert",
                caCrt = "caCert", clientcert = "clientCert", clinetCert = "clientCert",
                client_key = "clientKey", clientPasswd = "clientPassword", hostname = "hostName",
                host_name = "hostName", Insist = "insist", pins = "pin", PSK = "psk",
                pskidentity = "pskIdentity",
            } do
                refuses(("cert.%s: no such key, cert.%s is meant?"):format(wrong, right),
                    socket.tcp, true, { [wrong] = "x" })
            end
        end)
        assert.is_false(core:logged("unknown"))
    end)

    it("a key of a cert that is another's is a warning, once", function()
        core:run(function()
            for _ = 1, 3 do
                assert.is_table(socket.tcp(true, { keepAlive = 5, [1] = "x", sni = "y" }))
            end
        end)
        local count = 0
        for _, line in ipairs(core.lines) do
            if line:find("unknown, has no effect", 1, true) then
                count = count + 1
            end
        end
        assert.equal(3, count)
        assert.is_true(core:logged("cert.keepAlive: unknown"))
    end)

    it("of sys", function()
        local function nothing() end
        refuses("bad argument #1 to 'taskInit'", sys.taskInit, "x")
        refuses("bad argument #1 to 'timerStart'", sys.timerStart, "x", 1)
        refuses("bad argument #2 to 'timerStart'", sys.timerStart, nothing, NAN)
        refuses("bad argument #1 to 'timerLoopStart'", sys.timerLoopStart, nil, 1)
        refuses("bad argument #2 to 'timerLoopStart'", sys.timerLoopStart, nothing, "x")
        refuses("bad argument #1 to 'timerStopAll'", sys.timerStopAll, nil)
        refuses("bad argument #1 to 'publish'", sys.publish, nil)
        refuses("bad argument #1 to 'subscribe'", sys.subscribe, NAN, nothing)
        refuses("bad argument #2 to 'subscribe'", sys.subscribe, "T", "x")
        refuses("bad argument #2 to 'unsubscribe'", sys.unsubscribe, "T", nil)
        refuses("bad argument #1 to 'onError'", sys.onError, "x")
        refuses("bad argument #1 to 'on'", rtos.on, nil, nothing)
        refuses("bad argument #2 to 'on'", rtos.on, 1, "x")
        for _, name in ipairs { "wait", "waitUntil", "waitUntilExt" } do
            refuses("sys." .. name .. " must be called inside a task", sys[name], 1)
        end
        core:run(function()
            refuses("bad argument #1 to 'wait'", sys.wait, "soon")
            refuses("bad argument #1 to 'waitUntil'", sys.waitUntil, nil)
            refuses("bad argument #2 to 'waitUntil'", sys.waitUntil, "T", "soon")
            refuses("bad argument #1 to 'waitUntilExt'", sys.waitUntilExt, NAN)
            refuses("bad argument #2 to 'waitUntilExt'", sys.waitUntilExt, "T", {})
        end)
    end)

    it("of log", function()
        refuses("no such level: loud", log.setLevel, "loud")
        _G.LOG_LEVEL = "loud"
        refuses("LOG_LEVEL: no such level: loud", log.info, "tag", "text")
        _G.LOG_LEVEL = "error"
        log.warn("tag", "not seen")
        log.error("tag", "seen")
        assert.is_false(core:logged("not seen"))
        assert.is_true(core:logged("seen"))
    end)
end)
