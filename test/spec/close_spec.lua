-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("sock_close", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Closes and expects one CLOSE_CNF, nothing after it, and an id that can be freed.
    local function close_once(id, within_ms)
        local start = h.now()
        h.forget(id)
        assert.equal(1, sc.sock_close(id))
        local message = h.wait_for(id, h.CLOSE_CNF)
        assert.equal(0, message.result)
        assert.is_true(h.elapsed(start) < (within_ms or 1000), h.elapsed(start))
        h.expect_silence(100)
        assert.equal(1, h.count(id, "CLOSE_CNF"))
        assert.equal(1, sc.sock_destroy(id))
    end

    it("confirms on a connected socket, and the peer sees a FIN", function()
        local id, tag = h.open_script ""
        close_once(id)
        assert.equal("fin", h.wait_stat(tag, function(s) return s["end"] ~= "open" end)["end"])
    end)

    it("returns before anything happens", function()
        local id = h.open_script "send:100"
        h.wait_for(id, h.RECV_IND)
        local start = h.now()
        assert.equal(1, sc.sock_close(id))
        assert.is_true(h.elapsed(start) < 50)
        assert.equal(0, h.count(id, "CLOSE_CNF"))
        h.wait_for(id, h.CLOSE_CNF)
    end)

    it("confirms while the name is being resolved, without a CONN_CNF", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local _ = h.port.dns_silent
        local id = sc.sock_conn(h.TCP, "a.silent.test", 80)
        h.pump(50)
        close_once(id)
        id = sc.sock_conn(h.TCP, "b.silent.test", 80)
        close_once(id)
    end)

    it("is not undone by a name that is answered later", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local _ = h.port.dns_slow
        local id = sc.sock_conn(h.TCP, "late.slow.test", h.port.echo)
        local other = sc.sock_conn(h.TCP, "later.slow.test", h.port.echo)
        h.pump(50)
        close_once(id)
        close_once(other)
        -- The next ones get the same ids, one connected, one waiting for a name itself.
        assert.equal(id, h.open(h.TCP, "127.0.0.1", h.port.echo))
        assert.equal(other, sc.sock_conn(h.TCP, "nobody.silent.test", h.port.echo))
        h.expect_silence(1700)
        h.send(id, "x")
        assert.equal("x", h.read(id, 1))
    end)

    it("confirms while connecting, without a CONN_CNF", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        h.pump(50)
        assert.equal(1, sc.sock_close(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal("CLOSE_CNF", h.history(id))
        h.expect_silence(200)
    end)

    it("confirms right after sock_conn, without a CONN_CNF", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(1, sc.sock_close(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal("CLOSE_CNF", h.history(id))
        h.expect_silence(200)
    end)

    it("confirms when the connection came up but CONN_CNF was not delivered yet", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        local start = h.now()
        while h.elapsed(start) < 200 do end -- the stand-in thread connects meanwhile
        assert.equal(1, sc.sock_close(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal("CLOSE_CNF", h.history(id))
    end)

    it("confirms on a failed socket", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.refused)
        assert.equal(1, h.wait_for(id, h.CONN_CNF).result)
        close_once(id)
    end)

    it("confirms when the failure was not delivered yet", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.refused)
        local start = h.now()
        while h.elapsed(start) < 100 do end
        close_once(id)
    end)

    it("confirms after CLOSE_IND", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.closer)
        h.wait_for(id, h.CLOSE_IND)
        close_once(id)
    end)

    it("confirms when the peer closed and CLOSE_IND was not delivered yet", function()
        local id, tag = h.open_script "send:10 fin"
        h.wait_stat(tag, function(s) return s.tx >= 10 end)
        close_once(id)
    end)

    it("confirms on UDP and RAW", function()
        close_once(h.open(h.UDP, "127.0.0.1", h.port.udp_echo))
        close_once(h.open(h.RAW, "10.0.2.2", 1))
    end)

    it("confirms each call on a socket that is closed already", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        for count = 1, 3 do
            assert.equal(1, sc.sock_close(id))
            h.wait_for(id, h.CLOSE_CNF)
            assert.equal(count, h.count(id, "CLOSE_CNF"))
        end
        h.expect_silence(100)
    end)

    it("confirms each of several calls in a row", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        for _ = 1, 5 do
            assert.equal(1, sc.sock_close(id))
        end
        for _ = 1, 5 do
            h.wait_for(id, h.CLOSE_CNF)
        end
        h.expect_silence(100)
    end)

    it("confirms on an id that was destroyed", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        h.close(id)
        for _ = 1, 2 do
            assert.equal(1, sc.sock_close(id))
            assert.equal(0, h.wait_for(id, h.CLOSE_CNF).result)
        end
        h.expect_silence(100)
        assert.equal(2, #h.take_stray())
        assert.equal(0, sc.sock_destroy(id))
    end)

    it("confirms on an id that was never used", function()
        local last = sc.config().max_sockets - 1
        for _, id in ipairs { 500, last } do
            assert.equal(1, sc.sock_close(id))
            local message = h.wait_for(id, h.CLOSE_CNF)
            assert.equal(0, message.result)
            assert.is_nil(sc.sock_info(id))
        end
        h.expect_silence(100)
        assert.equal(2, #h.take_stray())
    end)

    it("gives 0 and no message for a number that can never be an id", function()
        for _, id in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, 1 / 0, sc.config().max_sockets } do
            assert.equal(0, sc.sock_close(id))
        end
        h.expect_silence(100)
    end)

    it("does not hand an id out again while a CLOSE_CNF for it is to come", function()
        assert.equal(1, sc.sock_close(0)) -- never used, or destroyed: the lowest id
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(h.CLOSE_CNF, h.wait_for(0).id)
        if id ~= 0 then
            h.take_stray()
        end
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        assert.not_equal(0, id)
    end)

    it("delivers what was sent before", function()
        local id, tag = h.open_script ""
        local total = sc.config().send_buffer
        assert.equal(1, (sc.sock_send(id, h.pattern(total))))
        assert.equal(1, sc.sock_close(id))
        local first = h.wait_for(id)
        assert.equal(h.SEND_CNF, first.id)
        assert.equal(0, first.result)
        h.wait_for(id, h.CLOSE_CNF)
        local stat = h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
        assert.equal(total, stat.rx)
        assert.equal(1, stat.match)
        assert.equal("fin", stat["end"])
    end)

    it("delivers many small sends that were under way, each confirmed before CLOSE_CNF", function()
        local id, tag = h.open_script ""
        for i = 0, 199 do
            assert.equal(1, (sc.sock_send(id, h.pattern(100, i * 100))))
        end
        sc.sock_close(id)
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal(201, h.count(id, "SEND_CNF")) -- with the one of open_script
        local stat = h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
        assert.equal(20000, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("does not become a reset because of unread input", function()
        local id, tag = h.open_script "send:100000"
        h.wait_for(id, h.RECV_IND)
        h.pump(50)
        h.close(id)
        local stat = h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
        assert.equal("fin", stat["end"])
    end)

    it("delivers what was sent also when there is unread input", function()
        local id, tag = h.open_script "send:100000"
        h.wait_for(id, h.RECV_IND)
        assert.equal(1, (sc.sock_send(id, h.pattern(200000))))
        h.close(id)
        local stat = h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
        assert.equal("fin", stat["end"])
        assert.equal(200000, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("delivers what was sent also when the peer waits for us to read first", function()
        local total = 8 * 1024 * 1024
        sc.config { send_buffer = total }
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(1, (sc.sock_send(id, h.pattern(total))))
        h.close(id, 8000)
        local stat = h.wait_stat("echo", function(s) return s["end"] ~= "open" end)
        assert.equal(total, stat.rx)
        assert.equal(1, stat.match)
    end)

    it("delivers no data and no CLOSE_IND any more", function()
        local id, tag = h.open_script "hold"
        assert.equal(1, sc.sock_close(id))
        h.tell(tag, "send:1000 fin")
        h.wait_for(id, h.CLOSE_CNF)
        h.expect_silence(700)
        assert.equal("CONN_CNF SEND_CNF CLOSE_CNF", h.history(id))
    end)

    it("forgets a RECV_IND that was not delivered yet", function()
        local id, tag = h.open_script "send:1000"
        h.wait_stat(tag, function(s) return s.tx >= 1000 end)
        local start = h.now()
        while h.elapsed(start) < 100 do end
        assert.equal(1, sc.sock_close(id))
        assert.equal("", sc.sock_recv(id, 2048))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal("", sc.sock_recv(id, 2048))
    end)

    it("gives up after the linger time when the peer does not read", function()
        sc.config { linger_ms = 400 }
        local id = h.open_script "rcvbuf:4096 noread hold"
        for _ = 1, 20 do
            sc.sock_send(id, ("x"):rep(sc.sock_getremainbuf(id)))
            h.pump(20)
        end
        local confirmed = h.count(id, "SEND_CNF")
        local start = h.now()
        assert.equal(1, sc.sock_close(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.is_true(h.elapsed(start) >= 350 and h.elapsed(start) < 1500, h.elapsed(start))
        assert.is_true(h.count(id, "SEND_CNF") > confirmed)
        assert.matches("SEND_CNF! CLOSE_CNF$", h.history(id))
    end)

    it("does not wait for a peer that keeps its side open", function()
        local id, tag = h.open_script "eof hold"
        close_once(id)
        assert.equal(1, h.wait_stat(tag, function(s) return s.fin == 1 end).fin)
        h.tell(tag, "close")
    end)

    it("on one socket leaves the others alone", function()
        local still_works = h.bystander()
        for _ = 1, 5 do
            h.close(h.open(h.TCP, "127.0.0.1", h.port.echo))
            still_works()
        end
    end)
end)
