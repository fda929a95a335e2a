-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("sock_send", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("returns 1, 0 and is confirmed once with its length", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.discard)
        local returned = { sc.sock_send(id, "hello") }
        assert.same({ 1, 0 }, returned)
        local message = h.wait_for(id)
        assert.equal(h.SEND_CNF, message.id)
        assert.equal(0, message.result)
        assert.equal(5, message.send_len)
        h.expect_silence(150)
    end)

    it("may be called 50 times without waiting, each is confirmed once and in order", function()
        local id, tag = h.open_script ""
        local total = 0
        for i = 1, 50 do
            local length = i * 37
            assert.equal(1, (sc.sock_send(id, h.pattern(length, total))))
            total = total + length
        end
        for i = 1, 50 do
            local message = h.wait_for(id)
            assert.equal(h.SEND_CNF, message.id)
            assert.equal(0, message.result)
            assert.equal(i * 37, message.send_len)
        end
        h.expect_silence(150)
        local stat = h.wait_stat(tag, function(s) return s.rx >= total end)
        assert.equal(total, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("may be called 5,000 times with a byte each", function()
        local id, tag = h.open_script ""
        for i = 0, 4999 do
            assert(sc.sock_send(id, h.pattern(1, i)) == 1)
        end
        for _ = 1, 5000 do
            local message = h.wait_for(id)
            assert(message.id == h.SEND_CNF and message.result == 0 and message.send_len == 1)
        end
        assert.equal(1, h.wait_stat(tag, function(s) return s.rx >= 5000 end).match)
    end)

    it("takes every byte value", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local bytes = h.every_byte() .. h.every_byte():reverse()
        h.send(id, bytes)
        assert.equal(bytes, h.read(id, #bytes))
    end)

    it("takes an empty string and confirms it", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        assert.same({ 1, 0 }, { sc.sock_send(id, "") })
        local message = h.wait_for(id, h.SEND_CNF)
        assert.equal(0, message.result)
        assert.equal(0, message.send_len)
        h.send(id, "after")
        assert.equal("after", h.read(id, 5))
    end)

    it("confirms an empty string in its place between others", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.discard)
        for _, length in ipairs { 5000, 0, 1, 0, 20000 } do
            assert.equal(1, (sc.sock_send(id, ("x"):rep(length))))
        end
        for _, length in ipairs { 5000, 0, 1, 0, 20000 } do
            assert.equal(length, h.wait_for(id, h.SEND_CNF).send_len)
        end
    end)

    it("takes as much in one piece as the send buffer holds", function()
        local id, tag = h.open_script ""
        local size = sc.config().send_buffer
        h.send(id, h.pattern(size))
        local stat = h.wait_stat(tag, function(s) return s.rx >= size end)
        assert.equal(size, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("refuses what does not fit, takes no part of it, and says so in a SEND_CNF", function()
        local id, tag = h.open_script ""
        local size = sc.config().send_buffer
        local ok, err = sc.sock_send(id, h.pattern(size + 1))
        assert.equal(0, ok)
        assert.equal(sc.ERR_ENOBUFS, err)
        local message = h.wait_for(id)
        assert.equal(h.SEND_CNF, message.id)
        assert.equal(1, message.result)
        assert.equal(sc.ERR_ENOBUFS, message.error)
        h.send(id, h.pattern(100))
        local stat = h.wait_stat(tag, function(s) return s.rx >= 100 end)
        assert.equal(100, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("confirms a refused one after those before it", function()
        local id = h.open_script "noread rcvbuf:4096"
        local size = sc.config().send_buffer
        assert.equal(1, (sc.sock_send(id, ("a"):rep(1000))))
        assert.equal(0, (sc.sock_send(id, ("b"):rep(size + 1))))
        assert.equal(1, (sc.sock_send(id, ("c"):rep(3000))))
        assert.equal(1000, h.wait_for(id, h.SEND_CNF).send_len)
        assert.equal(1, h.wait_for(id, h.SEND_CNF).result)
        assert.equal(3000, h.wait_for(id, h.SEND_CNF).send_len)
    end)

    it("is told by sock_getremainbuf how much fits", function()
        local id = h.open_script "noread rcvbuf:4096"
        local free = sc.sock_getremainbuf(id)
        assert.equal(sc.config().send_buffer, free)
        assert.equal(1, (sc.sock_send(id, ("x"):rep(free))))
        assert.is_true(sc.sock_getremainbuf(id) < free)
        local left = sc.sock_getremainbuf(id)
        assert.equal(0, (sc.sock_send(id, ("x"):rep(left + 1))))
        if left > 0 then
            assert.equal(1, (sc.sock_send(id, ("x"):rep(left))))
        end
    end)

    it("on a socket that is not connected gives 0 and no message", function()
        local connecting = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        assert.equal(0, (sc.sock_send(connecting, "x")))
        local closed = h.open(h.TCP, "127.0.0.1", h.port.echo)
        sc.sock_close(closed)
        assert.equal(0, (sc.sock_send(closed, "x")))
        h.wait_for(closed, h.CLOSE_CNF)
        assert.equal(0, (sc.sock_send(closed, "x")))
        h.expect_silence(100)
        local ok, err = sc.sock_send(connecting, "x")
        assert.equal(0, ok)
        assert.equal(sc.ERR_ENOTCONN, err)
    end)

    it("gives sock_getremainbuf 0 on a socket that is not connected", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        assert.equal(0, sc.sock_getremainbuf(id))
    end)

    it("takes a number as Lua does, as its text", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        h.sc.sock_send(id, "12")
        assert.equal("12", h.read(id, 2))
    end)

    it("sends one piece after another to a peer that echoes while more is sent", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local total, sent, got, under_way = 300000, 0, 0, 0
        while got < total do
            while under_way < 4 and sent < total do
                local data = h.pattern(math.min(7000, total - sent), sent)
                assert.equal(1, (sc.sock_send(id, data)))
                sent, under_way = sent + #data, under_way + 1
            end
            local message = h.wait_for(id)
            if message.id == h.SEND_CNF then
                under_way = under_way - 1
            else
                local data = sc.sock_recv(id, message.recv_len)
                assert.is_true(data == h.pattern(#data, got))
                got = got + #data
            end
        end
    end)
end)
