-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("limits", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("hold with 1,000 connections at once, each with its own data", function()
        local count = h.sanitized and 300 or 1000
        local ids = {}
        for i = 1, count do
            local id, err, reason = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
            assert(id, ("connection %d: %s %s"):format(i, tostring(err), tostring(reason)))
            ids[i] = id
        end
        local connected, echoed, texts = 0, 0, {}
        local function text_of(id)
            return ("I am socket %d of many"):format(id)
        end
        while echoed < count do
            local message = assert(h.next(), "nothing came")
            local id = message.socket_index
            if message.id == h.CONN_CNF then
                assert.equal(0, message.result)
                connected = connected + 1
                if connected == count then -- all are there at the same time
                    for _, each in ipairs(ids) do
                        assert.equal(1, (sc.sock_send(each, text_of(each))))
                    end
                end
            elseif message.id == h.RECV_IND then
                texts[id] = (texts[id] or "") .. sc.sock_recv(id, message.recv_len)
                if texts[id] == text_of(id) then
                    echoed = echoed + 1
                end
            end
        end
        for _, id in ipairs(ids) do
            assert.equal(text_of(id), texts[id])
        end
    end)

    it("are told as ERR_ENOMEM, and one closed socket makes room for one", function()
        local most = sc.config().max_sockets
        local ids = {}
        for i = 1, most do
            ids[i] = assert(sc.sock_conn(h.UDP, "127.0.0.1", h.port.udp_echo))
        end
        local id, err, reason = sc.sock_conn(h.UDP, "127.0.0.1", h.port.udp_echo)
        assert.is_nil(id)
        assert.equal(sc.ERR_ENOMEM, err)
        assert.equal("no free socket", reason)
        h.wait_for(ids[10], h.CONN_CNF)
        h.close(ids[10])
        assert.equal(ids[10], sc.sock_conn(h.UDP, "127.0.0.1", h.port.udp_echo))
        assert.is_nil((sc.sock_conn(h.UDP, "127.0.0.1", h.port.udp_echo)))
        h.wait_for(ids[10], h.CONN_CNF)
        for i = 1, most do
            assert.equal(1, sc.sock_close(ids[i]))
        end
    end)

    it("leave memory flat over 10,000 connections one after the other", function()
        local warm, cycles = 2000, h.sanitized and 3000 or 12000
        local port = h.port.echo
        local function cycle(i)
            local id = sc.sock_conn(h.TCP, "127.0.0.1", port)
            local message = h.next()
            assert(message.id == h.CONN_CNF and message.result == 0, message.reason)
            if i % 10 == 0 then
                h.send(id, "x")
                assert(h.read(id, 1) == "x")
            end
            h.close(id)
        end
        for i = 1, warm do
            cycle(i)
        end
        -- Without what waits in TIME_WAIT.
        local function resting_kb()
            h.pump(800)
            collectgarbage()
            collectgarbage()
            return h.resident_kb()
        end
        local before = resting_kb()
        for i = 1, cycles - warm do
            cycle(i)
        end
        local more = resting_kb() - before
        if not h.sanitized then
            assert.is_true(more < 3000, ("%d KB more in RAM"):format(more))
        end
    end)

    it("leave memory flat over many failed connections", function()
        local port = h.port.refused
        local function cycle()
            local id = sc.sock_conn(h.TCP, "127.0.0.1", port)
            assert(h.wait_for(id).result == 1)
            assert(sc.sock_destroy(id) == 1)
        end
        for _ = 1, 200 do
            cycle()
        end
        local before = h.resident_kb()
        for _ = 1, 1000 do
            cycle()
        end
        if not h.sanitized then
            local more = h.resident_kb() - before
            assert.is_true(more < 1000, ("%d KB more in RAM"):format(more))
        end
    end)

    it("of ids stay with the lowest, so that ids do not run away", function()
        for _ = 1, 100 do
            local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
            assert.equal(0, id)
            h.close(id)
        end
    end)
end)
