-- What TLS keeps: nothing before a socket needs it, nothing after CLOSE_CNF, a bounded amount
-- between.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

for _, version in ipairs { "1.2", "1.3" } do
    describe("memory of TLS " .. version, function()
        local server, cert

        setup(function()
            tls.begin_file()
            server = tls.peer { cert = pki.server(), args = "--tls " .. version, keep = true }
            cert = { caCert = pki.root().pem, hostName = "localhost" }
        end)
        before_each(h.begin)
        after_each(tls.finish)
        teardown(tls.finish_file)

        -- lwIP keeps a closed connection for a moment (TIME_WAIT).
        local function settled()
            local least = h.rtos.memory()
            for _ = 1, 40 do
                h.pump(10)
                least = math.min(least, h.rtos.memory())
            end
            return least
        end

        local function back_to(before)
            h.wait_until(function() return h.rtos.memory() <= before end,
                "the memory to come back", 3000)
        end

        it("is all given back with CLOSE_CNF, again and again", function()
            h.close(tls.open(server, cert))
            local before = settled()
            for _ = 1, 20 do
                local id = tls.open(server, cert)
                h.send(id, "send:20000 end\n")
                h.read_pattern(id, 20000)
                assert.equal(1, h.sc.sock_close(id))
                h.wait_for(id, h.CLOSE_CNF)
                local kept = h.rtos.memory() - before
                -- What TCP keeps of connections that were just closed, and what sock_info tells.
                assert.is_true(kept < 8000, kept .. " bytes after CLOSE_CNF")
                assert.equal(1, h.sc.sock_destroy(id))
            end
            back_to(before)
        end)

        it("is all given back after a handshake that failed", function()
            local bad = { caCert = pki.other_root().pem, hostName = "localhost" }
            tls.fail(server, bad)
            local before = settled()
            for _ = 1, 10 do
                tls.fail(server, bad)
            end
            back_to(before)
        end)

        it("is all given back after sock_close in the handshake", function()
            local function cut()
                local id = tls.conn(server, cert)
                h.pump(4)
                h.sc.sock_close(id)
                h.wait_for(id, h.CLOSE_CNF)
                h.sc.sock_destroy(id)
            end
            cut()
            local before = settled()
            for _ = 1, 10 do
                cut()
            end
            back_to(before)
        end)

        it("is bounded per connection, and the same for each", function()
            local before, ids = settled(), {}
            for i = 1, 10 do
                ids[i] = tls.open(server, cert)
            end
            local each = (settled() - before) / 10
            for i = 11, 20 do
                ids[i] = tls.open(server, cert)
            end
            local more = (settled() - before) / 20
            assert.is_true(each < 80000, each .. " bytes per connection")
            assert.is_true(math.abs(more - each) < 0.1 * each, more .. " and " .. each)
            for _, id in ipairs(ids) do
                h.close(id)
            end
            back_to(before)
        end)

        it("is not taken by a socket that is not connected yet, but for its credentials", function()
            if not h.netns then
                return pending "needs a network namespace"
            end
            h.sc.config { connect_timeout_ms = 500 }
            local before = settled()
            local id = h.sc.sock_conn(h.SSL, "192.0.2.1", 443, { caCert = pki.root().pem,
                resume = false })
            h.pump(50)
            local taken = h.rtos.memory() - before
            assert.is_true(taken < 12000, taken .. " bytes before the handshake")
            h.wait_for(id, h.CONN_CNF)
            h.sc.sock_destroy(id)
        end)
    end)
end
