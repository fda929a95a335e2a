-- What keepalive then does is in keepalive_spec.lua.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("sock_setopt", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local SOCKET, TCP = sc.SOL_SOCKET, sc.IPPROTO_TCP

    it("has the constants of the firmware", function()
        assert.equal(0xfff, SOCKET)
        assert.equal(6, TCP)
        assert.same({ 4, 8, 3, 4, 5 }, { sc.SO_REUSEADDR, sc.SO_KEEPALIVE, sc.TCP_KEEPIDLE,
            sc.TCP_KEEPINTVL, sc.TCP_KEEPCNT })
    end)

    local GOOD = {
        { SOCKET, sc.SO_KEEPALIVE, 1 }, { SOCKET, sc.SO_KEEPALIVE, 0 },
        { SOCKET, sc.SO_REUSEADDR, 1 }, { SOCKET, sc.SO_REUSEADDR, 0 },
        { TCP, sc.TCP_KEEPIDLE, 1 }, { TCP, sc.TCP_KEEPIDLE, 7200 },
        { TCP, sc.TCP_KEEPINTVL, 1 }, { TCP, sc.TCP_KEEPINTVL, 75 },
        { TCP, sc.TCP_KEEPCNT, 1 }, { TCP, sc.TCP_KEEPCNT, 9 },
    }
    local BAD = {
        { SOCKET, sc.SO_KEEPALIVE, -1 }, { SOCKET, sc.SO_KEEPALIVE, 2 },
        { SOCKET, sc.SO_REUSEADDR, -1 }, { SOCKET, 3, 1 }, { SOCKET, 5, 1 }, { SOCKET, 0, 1 },
        { SOCKET, 99, 1 }, { SOCKET, -4, 1 }, { TCP, sc.TCP_KEEPIDLE, 0 },
        { TCP, sc.TCP_KEEPIDLE, -1 }, { TCP, sc.TCP_KEEPINTVL, 0 }, { TCP, sc.TCP_KEEPCNT, 0 },
        { TCP, sc.TCP_KEEPCNT, -5 }, { TCP, 8, 1 }, { TCP, 0, 1 }, { TCP, 1, 1 }, { TCP, 99, 1 },
        { 0, sc.SO_KEEPALIVE, 1 }, { 1, sc.SO_KEEPALIVE, 1 }, { -1, sc.SO_KEEPALIVE, 1 },
        { TCP, sc.TCP_KEEPIDLE, "one" }, { TCP, sc.TCP_KEEPIDLE, true },
        { TCP, sc.TCP_KEEPIDLE, {} }, { SOCKET, sc.SO_KEEPALIVE, true },
        { TCP, sc.TCP_KEEPIDLE, nil },
        { TCP, sc.TCP_KEEPIDLE, 0.5 }, { TCP, sc.TCP_KEEPIDLE, 2 ^ 53 },
        { TCP, sc.TCP_KEEPIDLE, 0 / 0 },
    }

    local function set(id, option)
        return sc.sock_setopt(id, option[1], option[2], option[3])
    end

    it("takes the options of TCP before the connection is up", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        for _, option in ipairs(GOOD) do
            assert.equal(0, set(id, option), table.concat(option, " "))
        end
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
    end)

    it("takes the options of TCP once it is up, and the connection goes on", function()
        local still_works, id = h.bystander()
        for _, option in ipairs(GOOD) do
            assert.equal(0, set(id, option), table.concat(option, " "))
        end
        still_works()
    end)

    it("gives -1 for what makes no sense, and the connection goes on", function()
        local still_works, id = h.bystander()
        for i, option in ipairs(BAD) do
            assert.equal(-1, set(id, option), "bad option " .. i)
        end
        still_works()
    end)

    it("knows no TCP options on UDP and RAW", function()
        for _, id in ipairs { h.open(h.UDP, "127.0.0.1", h.port.udp_echo),
            h.open(h.RAW, "10.0.2.2", 1) } do
            for _, name in ipairs { sc.TCP_KEEPIDLE, sc.TCP_KEEPINTVL, sc.TCP_KEEPCNT } do
                assert.equal(-1, sc.sock_setopt(id, TCP, name, 1))
            end
            assert.equal(0, sc.sock_setopt(id, SOCKET, sc.SO_REUSEADDR, 1))
        end
    end)

    it("gives -1 on a socket that is closed or failed, and on ids that are none", function()
        local closed = h.open(h.TCP, "127.0.0.1", h.port.echo)
        sc.sock_close(closed)
        h.wait_for(closed, h.CLOSE_CNF)
        assert.equal(-1, set(closed, GOOD[1]))
        local failed = sc.sock_conn(h.TCP, "127.0.0.1", h.port.refused)
        h.wait_for(failed, h.CONN_CNF)
        assert.equal(-1, set(failed, GOOD[1]))
        for _, id in ipairs { -1, 999, 0.5, 2 ^ 53, 0 / 0 } do
            assert.equal(-1, set(id, GOOD[1]))
        end
    end)

    it("lets a local port be taken again with SO_REUSEADDR", function()
        local port = h.free_port()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo, nil, nil, nil, port)
        h.close(id)
        h.pump(100) -- until the peer has closed too: the port is left in TIME_WAIT
        local again = sc.sock_conn(h.TCP, "127.0.0.1", h.port.discard, nil, nil, nil, port)
        assert(again)
        assert.equal(0, sc.sock_setopt(again, SOCKET, sc.SO_REUSEADDR, 1))
        assert.equal(0, h.wait_for(again, h.CONN_CNF).result)
    end)

    it("with keepalive on keeps an idle connection to a living peer", function()
        local still_works, id = h.bystander()
        assert.equal(0, sc.sock_setopt(id, SOCKET, sc.SO_KEEPALIVE, 1))
        assert.equal(0, sc.sock_setopt(id, TCP, sc.TCP_KEEPIDLE, 1))
        assert.equal(0, sc.sock_setopt(id, TCP, sc.TCP_KEEPINTVL, 1))
        assert.equal(0, sc.sock_setopt(id, TCP, sc.TCP_KEEPCNT, 1))
        h.expect_silence(3500)
        still_works()
    end)
end)
