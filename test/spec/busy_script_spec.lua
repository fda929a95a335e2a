-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

-- Computes for `ms` without rtos.receive; `watch` is called now and then.
local function compute(ms, watch)
    local start, number = h.now(), 0
    while h.elapsed(start) < ms do
        for i = 1, 20000 do
            number = (number * 31 + i) % 65521
        end
        if watch then
            watch()
        end
    end
    return number
end

describe("a script that computes for 2 s without rtos.receive", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("has what it sent delivered meanwhile", function()
        local id, tag = h.open_script ""
        assert.equal(1, (sc.sock_send(id, h.pattern(500000))))
        local delivered
        compute(2000, function()
            local stat = h.stat(tag)
            delivered = delivered or stat and stat.rx == 500000
        end)
        assert.is_true(delivered, ("only %d bytes"):format(h.stat(tag).rx))
        assert.equal(1, h.stat(tag).match)
        assert.equal(0, h.wait_for(id, h.SEND_CNF, 500).result)
    end)

    it("has what the peer sent waiting, as much as the receive buffer holds", function()
        local size = sc.config().recv_buffer
        local id, tag = h.open_script "hold"
        h.tell(tag, ("send:%d"):format(size))
        compute(2000)
        local start = h.now()
        h.read_pattern(id, size)
        assert.is_true(h.elapsed(start) < 1000)
    end)

    it("has its connections confirmed in the first call of rtos.receive after it", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        compute(300)
        local message = h.next(0)
        assert.is_truthy(message)
        assert.equal(id, message.socket_index)
        assert.equal(h.CONN_CNF, message.id)
    end)

    it("has its timers fire in order in the first calls after it", function()
        for i = 1, 10 do
            h.rtos.timer_start(i, 110 - i * 10)
        end
        compute(300)
        for i = 10, 1, -1 do
            assert.equal(i, h.next(0).timer)
        end
        assert.is_nil(h.next(0))
    end)

    it("has a close seen by the peer meanwhile", function()
        local id, tag = h.open_script ""
        assert.equal(1, sc.sock_close(id))
        local seen
        compute(1000, function()
            local stat = h.stat(tag)
            seen = seen or stat and stat["end"] == "fin"
        end)
        assert.is_true(seen)
        assert.equal(h.CLOSE_CNF, h.next(0).id)
    end)

    it("has a connect time out meanwhile", function()
        sc.config { connect_timeout_ms = 400 }
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        compute(800)
        local message = h.next(0)
        assert.is_truthy(message)
        assert.equal(id, message.socket_index)
        assert.equal(1, message.result)
    end)

    it("keeps connections alive while peers talk all the time", function()
        local ids, tags = {}, {}
        for i = 1, 10 do
            ids[i], tags[i] = h.open_script "send:20000 wait:300 send:20000 wait:300 send:20000"
        end
        compute(2000)
        for i = 1, 10 do
            h.read_pattern(ids[i], 60000)
            assert.equal(60000, h.stat(tags[i]).tx)
        end
    end)
end)
