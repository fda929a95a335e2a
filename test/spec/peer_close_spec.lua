-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("a peer that closes", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("right after 200 KB is reported after all of them were read", function()
        for _, ending in ipairs { "fin", "close" } do
            local id = h.open_script("send:200000 " .. ending)
            local data, message = h.read_to_end(id)
            assert.equal(200000, #data)
            assert.is_true(data == h.pattern(200000))
            assert.matches("clos", message.reason)
            assert.equal(1, h.count(id, "CLOSE_IND"))
        end
    end)

    it("is not reported before data that came earlier was announced and read", function()
        local id, tag = h.open_script "send:5000 fin"
        h.wait_for(id, h.RECV_IND)
        h.wait_stat(tag, function(s) return s.tx >= 5000 end)
        h.expect_silence(900)
        local got = #sc.sock_recv(id, 2048)
        h.read_pattern(id, 5000 - got, got)
        h.wait_for(id, h.CLOSE_IND)
    end)

    it("is not reported within 500 ms of the last read that returned data", function()
        local id = h.open_script "send:100 fin"
        h.wait_for(id, h.RECV_IND)
        h.pump(200)
        assert.equal(100, #sc.sock_recv(id, 100))
        local read_at = h.now()
        h.wait_for(id, h.CLOSE_IND)
        local took = h.elapsed(read_at)
        assert.is_true(took >= 490 and took < 1200, took)
    end)

    it("is reported later by as much as the option says", function()
        sc.config { close_grace_ms = 150 }
        local id = h.open_script "send:100 fin"
        h.wait_for(id, h.RECV_IND)
        sc.sock_recv(id, 100)
        local read_at = h.now()
        h.wait_for(id, h.CLOSE_IND)
        local took = h.elapsed(read_at)
        assert.is_true(took >= 140 and took < 450, took)
    end)

    it("is reported at once after the last read when the option is 0", function()
        sc.config { close_grace_ms = 0 }
        local id = h.open_script "send:100 fin"
        h.wait_for(id, h.RECV_IND)
        h.pump(100)
        sc.sock_recv(id, 100)
        local read_at = h.now()
        h.wait_for(id, h.CLOSE_IND)
        assert.is_true(h.elapsed(read_at) < 150, h.elapsed(read_at))
    end)

    it("is reported at once when nothing was read", function()
        local id, tag = h.open_script "hold"
        local told_at = h.now()
        h.tell(tag, "close")
        h.wait_for(id, h.CLOSE_IND)
        assert.is_true(h.elapsed(told_at) < 250, h.elapsed(told_at))
    end)

    it("is reported at once when nothing was read lately", function()
        local id, tag = h.open_script "send:10 hold"
        assert.equal(10, #h.read(id, 10))
        h.expect_silence(600)
        local told_at = h.now()
        h.tell(tag, "fin")
        h.wait_for(id, h.CLOSE_IND)
        assert.is_true(h.elapsed(told_at) < 250, h.elapsed(told_at))
    end)

    it("without having sent anything is reported after CONN_CNF", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.closer)
        assert.equal(h.CONN_CNF, h.wait_for(id).id)
        assert.equal(h.CLOSE_IND, h.wait_for(id).id)
        h.expect_silence(150)
        assert.equal("CONN_CNF CLOSE_IND", h.history(id))
    end)

    it("is reported whatever number of bytes and segments stood before its FIN", function()
        sc.config { close_grace_ms = 0 }
        local sizes = { 1, 2047, 2048, 2049, 4096, 65535, 65536, 131072, 262143, 262144, 262145,
            300000, 524288 }
        for _, size in ipairs(sizes) do
            local id, tag = h.open_script(("send:%d fin"):format(size))
            h.wait_for(id, h.RECV_IND)
            if size <= 131072 then
                h.wait_stat(tag, function(s) return s.tx >= size end)
                h.pump(10)
            end
            local first = sc.sock_recv(id, 2048)
            h.read_pattern(id, size - #first, #first)
            -- Sooner than a FIN that came upon a full window would be sent again.
            h.wait_for(id, h.CLOSE_IND, h.sanitized and 5000 or 800)
            h.close(id)
        end
    end)

    it("after many tiny segments that nobody read yet is reported, and nothing is lost", function()
        sc.config { close_grace_ms = 0 }
        for _, count in ipairs { 1, 63, 64, 65, 127, 128, 129, 500, 2000 } do
            local id, tag = h.open_script(("tiny:%d fin"):format(count))
            h.wait_for(id, h.RECV_IND)
            h.wait_stat(tag, function(s) return s.tx >= count end)
            h.pump(10)
            local first = sc.sock_recv(id, 2048)
            h.read_pattern(id, count - #first, #first)
            h.wait_for(id, h.CLOSE_IND)
            h.close(id)
        end
    end)

    it("leaves a socket that takes no data and has none", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.closer)
        h.wait_for(id, h.CLOSE_IND)
        local ok, err = sc.sock_send(id, "x")
        assert.equal(0, ok)
        assert.not_equal(0, err)
        assert.equal("", sc.sock_recv(id, 10))
        assert.equal(0, sc.sock_getremainbuf(id))
        h.expect_silence(100)
    end)

    it("only its half still gets what is sent before CLOSE_IND is delivered", function()
        local id, tag = h.open_script "send:1000 fin"
        h.wait_for(id, h.RECV_IND)
        h.pump(50)
        h.send(id, h.pattern(3000))
        assert.equal(3000, h.wait_stat(tag, function(s) return s.rx >= 3000 end).rx)
        assert.is_true(sc.sock_recv(id, 1000) == h.pattern(1000))
        h.wait_for(id, h.CLOSE_IND)
    end)

    it("while 50 connections are open is reported for that one only", function()
        local ids, tags = {}, {}
        for i = 1, 50 do
            ids[i], tags[i] = h.open_script "hold"
        end
        h.tell(tags[25], "close")
        h.wait_for(ids[25], h.CLOSE_IND)
        h.expect_silence(100)
    end)
end)
