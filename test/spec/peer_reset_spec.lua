-- Behind the user-mode NAT data that is followed by a reset arrives as data and a FIN; so only
-- connections on which nothing was on its way show the reset itself here.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("a peer that resets", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("an idle connection is reported with a reason that says so", function()
        local id, tag = h.open_script "hold"
        h.tell(tag, "rst")
        local message = h.wait_for(id)
        assert.equal(h.CLOSE_IND, message.id)
        assert.equal(sc.ERR_ERST, message.error)
        assert.matches("reset", message.reason)
        h.expect_silence(150)
        assert.equal("CONN_CNF SEND_CNF CLOSE_IND!", h.history(id))
        assert.equal(message.reason, sc.sock_info(id).reason)
    end)

    it("is reported soon, however long ago the last data was read", function()
        local id, tag = h.open_script "send:10 hold"
        h.read(id, 10)
        local start = h.now()
        h.tell(tag, "rst")
        h.wait_for(id, h.CLOSE_IND)
        assert.is_true(h.elapsed(start) < 1000)
    end)

    it("while sends are under way has each of them fail before CLOSE_IND", function()
        local id, tag = h.open_script "rcvbuf:4096 noread hold"
        for _ = 1, 20 do
            while sc.sock_getremainbuf(id) >= 20000 do
                assert.equal(1, (sc.sock_send(id, ("x"):rep(20000))))
            end
            h.pump(10)
        end
        local confirmed = h.count(id, "SEND_CNF")
        h.tell(tag, "rst")
        local failed = 0
        while true do
            local message = h.wait_for(id)
            if message.id == h.CLOSE_IND then
                break
            end
            assert.equal(h.SEND_CNF, message.id)
            failed = failed + message.result
            assert.is_true(message.result == 0 or message.error ~= 0)
        end
        assert.is_true(failed > 0, ("%d sends were confirmed before"):format(confirmed))
        h.expect_silence(100)
    end)

    it("right after accepting is reported once, as a failed connect or a closed one", function()
        for _ = 1, 10 do
            local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.resetter)
            if h.wait_for(id, h.CONN_CNF).result == 0 then
                h.wait_for(id, h.CLOSE_IND)
            end
            h.close(id)
        end
    end)

    it("leaves data that came before it readable", function()
        -- Not more than a window without scaling: the rest would be lost in the NAT.
        local id, tag = h.open_script "send:50000 hold"
        h.wait_for(id, h.RECV_IND)
        h.wait_stat(tag, function(s) return s.tx >= 50000 end)
        h.pump(100)
        h.tell(tag, "rst")
        h.pump(200)
        assert.equal(0, h.count(id, "CLOSE_IND"))
        local first = sc.sock_recv(id, 2048)
        h.read_pattern(id, 50000 - #first, #first)
        h.wait_for(id, h.CLOSE_IND)
    end)

    it("leaves a socket that can be closed and destroyed", function()
        local id, tag = h.open_script "hold"
        h.tell(tag, "rst")
        h.wait_for(id, h.CLOSE_IND)
        assert.equal(0, (sc.sock_send(id, "x")))
        assert.equal("", sc.sock_recv(id, 1))
        assert.equal(0, sc.sock_destroy(id))
        h.close(id)
    end)

    it("while the script closes the socket does no harm", function()
        for _ = 1, 20 do
            local id, tag = h.open_script "hold"
            assert.equal(1, (sc.sock_send(id, ("y"):rep(5000))))
            h.tell(tag, "rst")
            assert.equal(1, sc.sock_close(id))
            h.wait_for(id, h.CLOSE_CNF)
            assert.equal(1, sc.sock_destroy(id))
        end
    end)
end)
