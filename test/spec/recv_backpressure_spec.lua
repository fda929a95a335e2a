-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

local SIZE = 8 * 1024 * 1024

describe("a script that does not read", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("holds the peer back while 8 MB come, and loses nothing", function()
        local still_works = h.bystander()
        local memory, resident = h.rtos.memory and h.rtos.memory(), h.resident_kb()
        local id, tag = h.open_script(("send:%d fin"):format(SIZE))
        h.wait_for(id, h.RECV_IND)
        local start = h.now()
        while h.elapsed(start) < 1000 do
            still_works()
            h.pump(20)
        end
        if memory then
            local more = h.rtos.memory() - memory
            local bound = 2 * sc.config().recv_buffer
            assert.is_true(more < bound, ("%d bytes more in lwIP"):format(more))
        end
        if not h.sanitized then
            local more = h.resident_kb() - resident
            assert.is_true(more < 3000, ("%d KB more in RAM"):format(more))
        end
        assert.equal(0, h.count(id, "CLOSE_IND"))

        local first = sc.sock_recv(id, 2048)
        assert.is_true(first == h.pattern(#first))
        h.read_pattern(id, SIZE - #first, #first)
        assert.equal(SIZE, h.stat(tag).tx)
        still_works()
        h.wait_for(id, h.CLOSE_IND)
    end)

    it("can close the socket all the same", function()
        local id, tag = h.open_script(("send:%d"):format(SIZE))
        h.wait_for(id, h.RECV_IND)
        h.pump(100)
        h.close(id)
        h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
    end)

    it("reads slowly with the peer sending all the time", function()
        local id = h.open_script(("send:%d"):format(300000))
        local got = 0
        for _ = 1, 20 do
            h.wait_for(id, h.RECV_IND)
            local data = sc.sock_recv(id, 777)
            assert.is_true(data == h.pattern(#data, got))
            got = got + #data
            h.pump(5)
        end
        h.read_pattern(id, 300000 - got, got)
    end)
end)
