-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

local MEGABYTE = 1024 * 1024

describe("a peer that does not read", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Sends all that sock_getremainbuf admits, at most up to `total`. Returns the new offset.
    local function fill(id, sent, total)
        while sent < total do
            local piece = math.min(11200, total - sent)
            if sc.sock_getremainbuf(id) < piece then
                return sent
            end
            assert.equal(1, (sc.sock_send(id, h.pattern(piece, sent))))
            sent = sent + piece
        end
        return sent
    end

    it("for 3 s gets 4 MB all the same, and memory stays bounded meanwhile", function()
        if not h.netns then
            return pending "needs a network namespace, where the kernel's buffers are small"
        end
        local still_works = h.bystander()
        local id, tag = h.open_script "rcvbuf:65536 noread wait:3000 doread"
        local start, total, sent, confirmed = h.now(), 4 * MEGABYTE, 0, 0
        local before = h.resident_kb()
        while h.elapsed(start) < 1500 do
            sent = fill(id, sent, total)
            h.pump(20)
        end
        assert.is_true(sent < total, "the peer never held us back")
        assert.is_true(h.stat(tag).rx < 70000) -- what came with the first line
        still_works()
        local most = h.resident_kb() - before
        while confirmed < total do
            sent = fill(id, sent, total)
            local message = h.wait_for(id, h.SEND_CNF)
            assert.equal(0, message.result)
            confirmed = confirmed + message.send_len
        end
        local stat = h.wait_stat(tag, function(s) return s.rx >= total end)
        assert.equal(total, stat.rx)
        assert.equal(1, stat.match)
        if not h.sanitized then
            assert.is_true(most < 4 * 1024, ("%d KB more in RAM while stalled"):format(most))
        end
    end)

    it("makes sock_send refuse once the buffer is full, and each refusal is confirmed", function()
        local id, tag = h.open_script "rcvbuf:65536 noread hold"
        local piece = ("z"):rep(65536)
        local taken, refused = 0, 0
        while refused < 3 do
            local ok, err = sc.sock_send(id, piece)
            if ok == 1 then
                taken = taken + 1
            else
                assert.equal(sc.ERR_ENOBUFS, err)
                refused = refused + 1
            end
            -- What the machine's own buffers take is confirmed; the rest waits.
            h.pump(2)
        end
        h.tell(tag, "doread")
        local good, bad = 0, 0
        while good < taken or bad < refused do
            local message = h.wait_for(id, h.SEND_CNF)
            if message.result == 0 then
                good = good + 1
            else
                assert.equal(sc.ERR_ENOBUFS, message.error)
                bad = bad + 1
            end
        end
        assert.equal(taken, good)
        assert.equal(refused, bad)
        local stat = h.wait_stat(tag, function(s) return s.rx >= taken * #piece end)
        assert.equal(taken * #piece, stat.rx)
    end)

    it("leaves lwIP no more memory than the send buffer", function()
        if not h.rtos.memory then
            return pending "rtos.memory is not there"
        end
        sc.config { send_buffer = 100000 }
        local id = h.open_script "rcvbuf:65536 noread hold"
        local before = h.rtos.memory()
        local start = h.now()
        while h.elapsed(start) < 500 do
            fill(id, 0, 100000)
            h.pump(10)
        end
        local more = h.rtos.memory() - before
        assert.is_true(more < 250000, ("%d bytes more"):format(more))
    end)
end)
