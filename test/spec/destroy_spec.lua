-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("sock_destroy", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("frees the id after CLOSE_CNF, once", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        sc.sock_close(id)
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal(1, sc.sock_destroy(id))
        assert.equal(0, sc.sock_destroy(id))
        assert.is_nil(sc.sock_info(id))
    end)

    it("refuses before CLOSE_CNF and changes nothing", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(0, sc.sock_destroy(id))
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        assert.equal(0, sc.sock_destroy(id))
        h.send(id, "still")
        assert.equal("still", h.read(id, 5))
        assert.equal(0, sc.sock_destroy(id))
        sc.sock_close(id)
        assert.equal(0, sc.sock_destroy(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal(1, sc.sock_destroy(id))
    end)

    it("refuses after CLOSE_IND until the script has closed too", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.closer)
        h.wait_for(id, h.CLOSE_IND)
        assert.equal(0, sc.sock_destroy(id))
        h.close(id)
    end)

    it("refuses while a CLOSE_CNF is there but was not delivered", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        sc.sock_close(id)
        local start = h.now()
        while h.elapsed(start) < 150 do end
        assert.equal(0, sc.sock_destroy(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal(1, sc.sock_destroy(id))
    end)

    it("refuses while a failed CONN_CNF is there but was not delivered", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.refused)
        local start = h.now()
        while h.elapsed(start) < 150 do end
        assert.equal(0, sc.sock_destroy(id))
        h.wait_for(id, h.CONN_CNF)
        assert.equal(1, sc.sock_destroy(id))
    end)

    it("refuses ids that are none", function()
        for _, id in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, 999, sc.config().max_sockets } do
            assert.equal(0, sc.sock_destroy(id))
        end
    end)

    it("works from inside the handler of the message", function()
        local still_works = h.bystander()
        local ids = {}
        for i = 1, 20 do
            ids[i] = h.open(h.TCP, "127.0.0.1", h.port.echo)
        end
        for _, id in ipairs(ids) do
            sc.sock_close(id)
        end
        local left = #ids
        while left > 0 do
            local message = h.next()
            if message.id == h.CLOSE_CNF then
                assert.equal(1, sc.sock_destroy(message.socket_index))
                -- Scripts open the next connection right there.
                sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
                left = left - 1
            end
        end
        still_works()
    end)

    it("hands the id out again", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        h.close(id)
        assert.equal(id, h.open(h.TCP, "127.0.0.1", h.port.echo))
    end)

    it("lets no message of the old socket reach the one that gets its id", function()
        for _ = 1, 30 do
            local id, tag = h.open_script "send:50000"
            h.wait_for(id, h.RECV_IND)
            sc.sock_send(id, ("x"):rep(30000))
            sc.sock_close(id)
            h.wait_for(id, h.CLOSE_CNF)
            assert.equal(1, sc.sock_destroy(id))
            -- The book-keeping fails on any message that does not fit the new one.
            local next_id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.greeter)
            assert.equal(id, next_id)
            assert.equal(h.CONN_CNF, h.wait_for(next_id).id)
            assert.equal("hello", h.read(next_id, 5))
            h.close(next_id)
            h.wait_stat(tag, function(s) return s["end"] ~= "open" end)
        end
    end)

    it("after the first of two CLOSE_CNFs leaves the second to come before the id is used again",
        function()
            local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
            h.allow_early_destroy(id)
            assert.equal(1, sc.sock_close(id))
            assert.equal(1, sc.sock_close(id))
            h.wait_for(id, h.CLOSE_CNF)
            if sc.sock_destroy(id) == 1 then
                local other = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
                h.wait_for(id, h.CLOSE_CNF)
                assert.not_equal(id, other)
                assert.equal(0, h.wait_for(other, h.CONN_CNF).result)
            end
            h.take_stray()
        end)
end)
