-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("received data", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("is announced with the length that sock_recv then returns, at most 2048", function()
        local id = h.open_script "send:20000"
        local got, largest = 0, 0
        while got < 20000 do
            local data = h.read_announced(id)
            assert.is_true(data == h.pattern(#data, got))
            got, largest = got + #data, math.max(largest, #data)
        end
        assert.equal(20000, got)
        assert.equal(2048, largest)
    end)

    it("is announced in larger pieces when the option says so", function()
        sc.config { recv_ind_max = 8192 }
        local id = h.open_script "send:200000"
        local got, largest = 0, 0
        while got < 200000 do
            local data = h.read_announced(id)
            got, largest = got + #data, math.max(largest, #data)
        end
        assert.equal(8192, largest)
    end)

    it("is not announced again before it was read", function()
        local id, tag = h.open_script "send:100 hold"
        assert.equal(100, h.wait_for(id, h.RECV_IND).recv_len)
        for _ = 1, 5 do
            h.tell(tag, "send:100")
            h.expect_silence(40)
        end
        assert.equal(1, h.count(id, "RECV_IND"))
        assert.is_true(sc.sock_recv(id, 100) == h.pattern(100))
        h.read_pattern(id, 500, 100)
    end)

    it("of which a part was read is announced again with what is left", function()
        local id = h.open_script "send:1000"
        assert.equal(1000, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(h.pattern(10), sc.sock_recv(id, 10))
        assert.equal(990, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(h.pattern(1, 10), sc.sock_recv(id, 1))
        assert.equal(989, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(h.pattern(989, 11), sc.sock_recv(id, 989))
        h.expect_silence(100)
    end)

    it("can be read byte by byte", function()
        local id = h.open_script "send:300"
        for i = 0, 299 do
            h.wait_for(id, h.RECV_IND)
            assert.equal(h.pattern(1, i), sc.sock_recv(id, 1))
        end
        h.expect_silence(50)
    end)

    it("can be read in a loop until nothing is there, without an announcement in vain", function()
        local id, tag = h.open_script "send:10000 hold"
        local parts, got = {}, 0
        while got < 10000 do
            h.wait_for(id, h.RECV_IND)
            repeat
                local data = sc.sock_recv(id, 1460)
                parts[#parts + 1], got = data, got + #data
            until data == ""
        end
        assert.is_true(table.concat(parts) == h.pattern(10000))
        h.expect_silence(100)
        h.tell(tag, "send:50")
        assert.equal(50, h.wait_for(id, h.RECV_IND).recv_len)
    end)

    it("is never more than was asked for", function()
        local id = h.open_script "send:5000"
        h.wait_for(id, h.RECV_IND)
        for _, length in ipairs { 1, 100, 999 } do
            assert.equal(length, #sc.sock_recv(id, length))
        end
    end)

    it("holds every byte value", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local bytes = (h.every_byte() .. "\0\0\r\n\26\255"):rep(10)
        h.send(id, bytes)
        assert.equal(bytes, h.read(id, #bytes))
    end)

    it("that came in one byte segments is whole", function()
        local id = h.open_script "tiny:2000"
        h.read_pattern(id, 2000)
    end)

    it("that came in one byte segments while nobody read is whole", function()
        local id, tag = h.open_script "tiny:3000 hold"
        h.wait_stat(tag, function(s) return s.tx >= 3000 end)
        h.read_pattern(id, 3000)
    end)

    it("is an empty string, one value, when there is none", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local returned = { sc.sock_recv(id, 100) }
        assert.same({ "" }, returned)
        local connecting = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        assert.same({ "" }, { sc.sock_recv(connecting, 100) })
        sc.sock_close(id)
        assert.same({ "" }, { sc.sock_recv(id, 100) })
        h.wait_for(id, h.CLOSE_CNF)
        assert.same({ "" }, { sc.sock_recv(id, 100) })
    end)

    it("is left alone by a read of length 0", function()
        local id = h.open_script "send:10"
        h.wait_for(id, h.RECV_IND)
        assert.equal("", sc.sock_recv(id, 0))
        assert.equal(h.pattern(10), sc.sock_recv(id, 10))
    end)

    it("that was waiting before the script asked for messages is announced then", function()
        local id, tag = h.open_script "hold send:300"
        h.tell(tag, "doread")
        h.wait_stat(tag, function(s) return s.tx >= 300 end)
        assert.equal(h.pattern(300), h.read(id, 300))
    end)

    it("can be read after a pause longer than any timer of TCP's", function()
        local id, tag = h.open_script "send:1000 hold"
        h.wait_for(id, h.RECV_IND)
        h.expect_silence(700)
        assert.equal(h.pattern(1000), sc.sock_recv(id, 1000))
        h.tell(tag, "doread")
    end)
end)
