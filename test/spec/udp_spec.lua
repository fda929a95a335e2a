-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("UDP", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function open_udp(port)
        return h.open(h.UDP, "127.0.0.1", h.port[port])
    end

    it("is confirmed without a word to the peer", function()
        local id = sc.sock_conn(h.UDP, "127.0.0.1", h.port.udp_sink)
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        h.expect_silence(100)
        local _, sink = h.ask "udp"
        assert.equal(0, sink.count)
    end)

    it("keeps the boundaries of what is sent", function()
        h.ask "udp"
        local id = open_udp "udp_sink"
        local sizes = { 1, 2, 100, 1, 1472, 1473, 5000, 16000 }
        local bytes = 0
        for _, size in ipairs(sizes) do
            h.send(id, ("x"):rep(size))
            bytes = bytes + size
        end
        local seen = ""
        h.wait_until(function()
            local _, sink = h.ask "udp"
            if sink.count > 0 then
                seen = (seen .. "," .. sink.sizes):gsub("^,", "")
            end
            return #seen >= #table.concat(sizes, ",")
        end, "all datagrams at the peer")
        assert.equal(table.concat(sizes, ","), seen)
    end)

    it("keeps the boundaries of what is received", function()
        local id = open_udp "udp_script"
        local sizes = { 3, 2, 100, 2048, 2049, 1472, 1473, 9000, 16000, 1 }
        h.send(id, table.concat(sizes, " "))
        for i, size in ipairs(sizes) do
            local message = h.wait_for(id, h.RECV_IND)
            assert.equal(size, message.recv_len)
            local data = sc.sock_recv(id, 65535)
            assert.equal(size, #data)
            if size > 2 then
                assert.is_true(data:sub(3) == h.pattern(size - 2, 2))
                assert.equal(i - 1, data:byte(1) * 256 + data:byte(2))
            end
        end
        h.expect_silence(100)
    end)

    it("loses nothing of a burst", function()
        local id = open_udp "udp_script"
        h.send(id, "60x500")
        for i = 0, 59 do
            local data = h.read_announced(id)
            assert.equal(500, #data)
            assert.equal(i, data:byte(1) * 256 + data:byte(2))
        end
    end)

    it("carries a datagram of any bytes there and back", function()
        local id = open_udp "udp_echo"
        local bytes = h.every_byte()
        for _ = 1, 100 do
            h.send(id, bytes)
            assert.equal(bytes, h.read_announced(id))
        end
    end)

    it("drops the rest of a datagram that was read in part", function()
        local id = open_udp "udp_script"
        h.send(id, "100 200 300")
        assert.equal(100, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(10, #sc.sock_recv(id, 10))
        assert.equal(200, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(200, #sc.sock_recv(id, 65535))
        assert.equal(300, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(299, #sc.sock_recv(id, 299))
        h.expect_silence(100)
    end)

    it("takes the next datagram when the script reads again without waiting", function()
        local id = open_udp "udp_script"
        h.send(id, "10 20")
        h.wait_for(id, h.RECV_IND)
        h.pump(100)
        assert.equal(10, #sc.sock_recv(id, 65535))
        local data = sc.sock_recv(id, 65535)
        if data == "" then -- it may be announced first
            data = h.read_announced(id)
        end
        assert.equal(20, #data)
        assert.equal("", sc.sock_recv(id, 65535))
        h.expect_silence(100)
    end)

    it("sends and receives empty datagrams", function()
        h.ask "udp"
        local sink = open_udp "udp_sink"
        h.send(sink, "")
        h.wait_until(function()
            local _, seen = h.ask "udp"
            return seen.count == 1 and seen.bytes == 0
        end, "an empty datagram at the peer")
        local id = open_udp "udp_script"
        h.send(id, "0 7")
        assert.equal(0, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal("", sc.sock_recv(id, 100))
        assert.equal(7, h.wait_for(id, h.RECV_IND).recv_len)
        assert.equal(7, #sc.sock_recv(id, 100))
    end)

    it("carries the largest datagram that IPv4 knows there and back", function()
        local id = open_udp "udp_echo"
        local data = h.pattern(65507)
        h.send(id, data)
        assert.is_true(data == h.read_announced(id))
    end)

    it("refuses what is too large for a datagram, whole, and confirms the refusal", function()
        local id = open_udp "udp_echo"
        for _, size in ipairs { 65508, 65535, 65536, 100000 } do
            local ok, err = sc.sock_send(id, ("x"):rep(size))
            assert.equal(0, ok, size)
            assert.equal(sc.ERR_EARG, err, size)
            local message = h.wait_for(id, h.SEND_CNF)
            assert.equal(1, message.result)
            assert.equal(sc.ERR_EARG, message.error)
        end
        h.send(id, "small")
        assert.equal("small", h.read_announced(id))
    end)

    it("confirms 50 datagrams sent without waiting, in order", function()
        h.ask "udp"
        local id = open_udp "udp_sink"
        for i = 1, 50 do
            assert.equal(1, (sc.sock_send(id, ("x"):rep(i))))
        end
        for i = 1, 50 do
            local message = h.wait_for(id)
            assert.equal(h.SEND_CNF, message.id)
            assert.equal(0, message.result)
            assert.equal(i, message.send_len)
        end
        local count = 0
        h.wait_until(function()
            local _, seen = h.ask "udp"
            count = count + seen.count
            return count == 50
        end, "50 datagrams at the peer")
    end)

    it("to a port that nobody listens on breaks nothing", function()
        local id = h.open(h.UDP, "127.0.0.1", h.port.refused)
        for _ = 1, 3 do
            h.send(id, "anybody?")
        end
        h.pump(200)
        assert.equal(0, h.count(id, "CLOSE_IND"))
        h.close(id)
    end)

    it("to a peer that does not answer stays open and silent", function()
        local id = open_udp "udp_silent"
        h.send(id, "anybody?")
        h.expect_silence(300)
    end)

    it("drops what is not read once a bound is reached, and goes on after", function()
        local still_works = h.bystander()
        local memory = h.rtos.memory and h.rtos.memory()
        local id = open_udp "udp_script"
        for _ = 1, 200 do
            h.send(id, "15x10000") -- 30 MB in all
            h.pump(2)
        end
        still_works()
        if memory then
            local more = h.rtos.memory() - memory
            local bound = 4 * sc.config().recv_buffer
            assert.is_true(more < bound, ("%d bytes more in lwIP"):format(more))
        end
        repeat until sc.sock_recv(id, 65535) == ""
        h.pump(50)
        repeat until sc.sock_recv(id, 65535) == ""
        h.send(id, "5")
        h.wait_until(function()
            return #sc.sock_recv(id, 65535) == 5
        end, "a datagram after the flood")
    end)

    it("gives sock_getremainbuf something while it is open", function()
        local id = open_udp "udp_echo"
        assert.is_true(sc.sock_getremainbuf(id) >= 1472)
        sc.sock_close(id)
        assert.equal(0, sc.sock_getremainbuf(id))
    end)

    it("does not take datagrams of another peer", function()
        local first, second = open_udp "udp_echo", open_udp "udp_echo"
        h.send(first, "one")
        h.send(second, "two")
        assert.equal("two", h.read_announced(second))
        assert.equal("one", h.read_announced(first))
        h.expect_silence(50)
    end)

    it("has no trouble with datagrams that arrive after it was closed", function()
        for _ = 1, 10 do
            local id = open_udp "udp_script"
            h.send(id, "20x1000")
            h.close(id)
        end
    end)
end)
