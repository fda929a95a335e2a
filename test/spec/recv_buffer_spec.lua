-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("recvBufferLen", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local SIZE = 1024 * 1024

    -- How much lwIP holds for a socket of this buffer while nobody reads and the peer sends.
    local function memory_held(recv_buffer)
        local before = h.rtos.memory()
        local id = h.open_script(("send:%d"):format(SIZE), nil, recv_buffer)
        h.wait_for(id, h.RECV_IND)
        h.pump(200)
        local held = h.rtos.memory() - before
        local first = sc.sock_recv(id, 2048)
        h.read_pattern(id, SIZE - #first, #first)
        h.close(id)
        return held
    end

    it("bounds what is held for a socket that is not read, and all data comes", function()
        if not h.rtos.memory then
            return pending "rtos.memory is not there"
        end
        local small = memory_held(32768)
        h.pump(300)
        local default = memory_held(nil)
        assert.is_true(small < 32768 * 2.5, ("%d bytes held"):format(small))
        assert.is_true(default > small, ("%d bytes by default, %d small"):format(default, small))
        assert.is_true(default < sc.config().recv_buffer * 2, ("%d bytes held"):format(default))
    end)

    it("0 is the default", function()
        local id = h.open_script(("send:%d"):format(SIZE), nil, 0)
        h.read_pattern(id, SIZE)
    end)

    for _, size in ipairs { 1, 536, 1460, 4096, 65535, 65536, 1000000 } do
        it(("of %d bytes still lets everything through"):format(size), function()
            local total = size < 2000 and 20000 or 300000
            local id = h.open_script(("send:%d fin"):format(total), nil, size)
            local data = h.read_to_end(id)
            assert.equal(total, #data)
            assert.is_true(data == h.pattern(total))
        end)
    end

    it("that is far too large is cut down, not an error", function()
        local id = h.open_script("send:100000", nil, 2 ^ 30)
        h.read_pattern(id, 100000)
    end)

    it("can be given for UDP too", function()
        local id = h.open(h.UDP, "127.0.0.1", h.port.udp_echo, 4096)
        h.send(id, ("x"):rep(1000))
        assert.equal(1000, #h.read_announced(id))
    end)

    it("has a default that socketcore.config sets", function()
        if not h.rtos.memory then
            return pending "rtos.memory is not there"
        end
        sc.config { recv_buffer = 32768 }
        local held = memory_held(nil)
        assert.is_true(held < 32768 * 2.5, ("%d bytes held"):format(held))
    end)
end)
