-- A server that nothing vouches for is a warning in the log, once for each host.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

describe("a server that was not verified", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    -- In a process of its own: opens a connection for each line "address, port, cert" and returns
    -- the lines of its log.
    local function log_of(connections)
        local printed, status = h.run_lua(([[
            local sc, rtos = require "socketcore", require "rtos"
            local function connect(address, port, cert)
                local id = assert(sc.sock_conn(2, address, port, cert))
                local message = rtos.receive(20000)
                assert(message.result == 0, message.reason)
                sc.sock_close(id)
                rtos.receive(20000)
                sc.sock_destroy(id)
            end
            local pem, pin = io.open(%q):read "*a", %q
            %s
        ]]):format(pki.root().cert, pki.pin(pki.server()), connections), 60)
        assert.equal(0, status, printed)
        return printed
    end

    local function warning(name)
        return ("socketcore: warn: tls: connected, server not verified: %s "
            .. "(cert.caCert is not set)\n"):format(name)
    end

    it("is told once for each host, whatever the port and the case", function()
        local server, other = tls.peer { cert = pki.server() }, tls.peer { cert = pki.server() }
        assert.equal(warning "127.0.0.1" .. warning "localhost" .. warning "a.test",
            log_of(([[
                for _ = 1, 3 do
                    for _, port in ipairs { %d, %d } do
                        connect("127.0.0.1", port)
                        connect("localhost", port, {})
                        connect("LOCALHOST.", port)
                        connect("127.0.0.1", port, { hostName = "a.test" })
                    end
                end
            ]]):format(server.port, other.port)))
    end)

    it("is told of a session that is resumed", function()
        local server = tls.openssl { cert = pki.server(), args = "-tls1_2" }
        assert.equal(warning "localhost", log_of(([[
            connect("localhost", %d)
            connect("localhost", %d)
        ]]):format(server.port, server.port)))
    end)

    it("is not told when caCert or pin has vouched for it", function()
        local server = tls.peer { cert = pki.server() }
        assert.equal("", log_of(([[
            connect("localhost", %d, { caCert = pem })
            connect("127.0.0.1", %d, { caCert = pem })
            connect("localhost", %d, { pin = pin })
        ]]):format(server.port, server.port, server.port)))
    end)

    for _, version in ipairs { "1_2", "1_3" } do
        it("is not told of a pre-shared key, TLS " .. version, function()
            local server = tls.openssl { mode = "-rev", args = ("-tls%s -nocert -psk 00112233 "
                .. "-psk_identity me"):format(version) }
            local psk = "{ psk = '\\0\\17\\34\\51', pskIdentity = 'me' }"
            assert.equal("", log_of(("connect('localhost', %d, %s)"):format(server.port, psk)))
        end)

        it("is told when a certificate came in place of a pre-shared key, TLS " .. version,
            function()
                local server = tls.openssl { cert = pki.server(), args = "-tls" .. version }
                local psk = "{ psk = '\\0\\17\\34\\51', pskIdentity = 'me' }"
                assert.equal(warning "localhost",
                    log_of(("connect('localhost', %d, %s)"):format(server.port, psk)))
            end)
    end

    it("takes no more memory for many hosts", function()
        local server = tls.peer { cert = pki.server() }
        local printed = log_of(([[
            local before
            for i = 1, 70 do
                connect("127.0.0.1", %d, { hostName = "host" .. i .. ".test", resume = false })
                before = before or rtos.memory()
            end
            connect("127.0.0.1", %d, { hostName = "host70.test", resume = false })
            rtos.sleep(300)
            assert(rtos.memory() <= before)
        ]]):format(server.port, server.port))
        for i = 1, 70 do
            assert.is_truthy(printed:find(warning(("host%d.test"):format(i)), 1, true))
        end
        assert.equal(#warning "" * 70, #printed:gsub("host%d+.test", ""))
    end)
end)
