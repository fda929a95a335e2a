-- Memory that runs out at any point of a TLS connection's making is told as that.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

-- Bytes by which the limit grows from one attempt to the next.
local STEP = h.sanitized and 1499 or 499

for _, version in ipairs { "1.2", "1.3" } do
    describe("memory that runs out in the handshake, TLS " .. version, function()
        local server

        setup(function()
            tls.begin_file()
            -- It serves the next one while it waits for a client that had no memory to say goodbye.
            server = tls.peer { cert = pki.server(), args = "--tls " .. version, keep = true }
        end)
        before_each(h.begin)
        after_each(function()
            h.rtos.memory(0)
            tls.finish()
        end)
        teardown(tls.finish_file)

        local function cert()
            return { caCert = pki.root().pem, hostName = "localhost", resume = false }
        end

        -- Opens a socket with `room` bytes to spare. Its CONN_CNF, or what sock_conn returned.
        local function attempt(room)
            h.rtos.memory(h.rtos.memory() + room)
            local id, err, reason = tls.conn(server, cert())
            if not id then
                h.rtos.memory(0)
                return { result = 1, error = err, reason = reason }
            end
            local message = h.wait_for(id, h.CONN_CNF)
            h.rtos.memory(0)
            if message.result == 0 then
                h.close(id)
            else
                assert.equal(1, h.sc.sock_destroy(id))
            end
            return message
        end

        it("is told, wherever it happens, and the next connection works", function()
            -- lwIP sends again what it had no memory for, until the time is up.
            h.sc.config { connect_timeout_ms = 2000 }
            local message
            local room = 64
            repeat
                message = attempt(room)
                if message.result == 1 then
                    assert.equal(h.raw.ERR_ENOMEM, message.error, message.reason)
                    assert.matches("out of memory", message.reason)
                end
                room = room + STEP
                assert.is_true(room < 200000, "it never had enough")
            until message.result == 0
            h.close(tls.open(server, cert()))
        end)
    end)
end
