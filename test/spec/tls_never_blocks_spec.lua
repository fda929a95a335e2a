-- Handshakes advance step by step: other sockets and timers have their turn in between.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if not pki.available then
    pending "openssl is not installed"
    return
end

-- Generous, as machines and sanitizers differ: the sharp numbers are the benchmark's.
local LATE_MS = h.sanitized and 1000 or 150

describe("while 8 handshakes run", function()
    setup(tls.begin_file)
    before_each(h.begin)
    after_each(tls.finish)
    teardown(tls.finish_file)

    -- Runs 8 connections at a time to one server until `total` were made; calls `turn(message)` for
    -- each message that is not theirs.
    local function run_handshakes(server, total, turn)
        local cert = { caCert = pki.root().pem, hostName = "localhost", resume = false }
        local ours, started, done = {}, 0, 0
        local function start()
            started = started + 1
            ours[assert(h.sc.sock_conn(h.SSL, "127.0.0.1", server.port, cert))] = true
        end
        for _ = 1, 8 do
            start()
        end
        while done < total do
            local message = assert(h.next(), "nothing happens")
            local id = message.socket_index
            if not ours[id] then
                turn(message)
            elseif message.id == h.CONN_CNF then
                assert.equal(0, message.result, message.reason)
                assert.equal(1, h.sc.sock_close(id))
            elseif message.id == h.CLOSE_CNF then
                assert.equal(1, h.sc.sock_destroy(id))
                ours[id], done = nil, done + 1
                if started < total then
                    start()
                end
            end
        end
    end

    for _, kind in ipairs { "ec256", "rsa2048" } do
        it("with " .. kind .. ", a TCP ping-pong and timers go on between their steps", function()
            local server = tls.peer { cert = pki.server(kind) }
            local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
            local trips, timers, latest = {}, 0, 0
            local sent_at, due
            local function ping()
                sent_at = h.now()
                h.sc.sock_send(id, "ping")
            end
            local function arm()
                due = h.now() + 0.005
                h.rtos.timer_start(77, 5)
            end
            ping()
            arm()
            run_handshakes(server, 24, function(message)
                if message.timer == 77 then
                    timers, latest = timers + 1, math.max(latest, (h.now() - due) * 1000)
                    arm()
                elseif message.id == h.RECV_IND then
                    assert.equal("ping", h.sc.sock_recv(id, 10))
                    trips[#trips + 1] = h.elapsed(sent_at)
                    ping()
                end
            end)
            h.rtos.timer_stop(77)
            table.sort(trips)
            assert.is_true(#trips >= 5, #trips .. " round trips")
            assert.is_true(timers >= 3, timers .. " timers")
            assert.is_true(trips[math.ceil(#trips / 2)] < LATE_MS, "the median round trip")
            assert.is_true(latest < LATE_MS, "a timer was late by " .. latest .. " ms")
        end)
    end

    it("sock_conn and every other call return at once", function()
        local server = tls.peer { cert = pki.server "rsa4096" }
        local cert = { caCert = pki.root().pem, hostName = "localhost", resume = false }
        local ids = {}
        for i = 1, 8 do
            local start = h.now()
            ids[i] = assert(h.sc.sock_conn(h.SSL, "127.0.0.1", server.port, cert))
            assert.equal(0, (h.sc.sock_send(ids[i], "too early")))
            assert.equal("", h.sc.sock_recv(ids[i], 100))
            assert.is_truthy(h.sc.sock_info(ids[i]))
            assert.is_true(h.elapsed(start) < LATE_MS)
        end
        for _, id in ipairs(ids) do
            assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        end
    end)

    it("each may be closed at any moment, and gets its CLOSE_CNF", function()
        local server = tls.peer { cert = pki.server() }
        local cert = { caCert = pki.root().pem, hostName = "localhost", resume = false }
        local beside = h.bystander()
        for step = 0, 30 do
            local id = assert(h.sc.sock_conn(h.SSL, "127.0.0.1", server.port, cert))
            local connected = false
            for _ = 1, step do
                local message = h.next(1)
                connected = connected or message ~= nil and message.id == h.CONN_CNF
            end
            assert.equal(1, h.sc.sock_close(id))
            h.wait_for(id, h.CLOSE_CNF)
            assert.equal(connected and "CONN_CNF CLOSE_CNF" or h.history(id), h.history(id))
            assert.equal(1, h.sc.sock_destroy(id))
        end
        beside()
    end)

    it("a server that says nothing is given up in time, the others are not held up", function()
        h.sc.config { connect_timeout_ms = 400 }
        local start = h.now()
        local id = h.sc.sock_conn(h.SSL, "127.0.0.1", h.port.discard, { resume = false })
        local server = tls.openssl { cert = pki.server() }
        tls.try(server, { caCert = pki.root().pem, hostName = "localhost" })
        local message = h.wait_for(id, h.CONN_CNF)
        assert.equal(1, message.result)
        assert.equal(h.sc.ERR_ETIMEOUT, message.error)
        assert.matches("handshake", message.reason)
        assert.is_true(h.elapsed(start) >= 390 and h.elapsed(start) < 2000, h.elapsed(start))
    end)
end)
