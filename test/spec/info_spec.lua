-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("sock_info", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("tells addresses, ports, type and state of a connection", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        local info = sc.sock_info(id)
        assert.equal(h.TCP, info.type)
        assert.equal("connected", info.state)
        assert.equal("127.0.0.1", info.remote_address)
        assert.equal(h.port.echo, info.remote_port)
        assert.matches("^%d+%.%d+%.%d+%.%d+$", info.local_address)
        assert.is_true(info.local_port > 0)
        assert.is_nil(info.reason)
    end)

    it("counts bytes both ways", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(0, sc.sock_info(id).bytes_in)
        assert.equal(0, sc.sock_info(id).bytes_out)
        h.send(id, ("x"):rep(1000))
        h.read(id, 1000)
        assert.equal(1000, sc.sock_info(id).bytes_in)
        assert.equal(1000, sc.sock_info(id).bytes_out)
    end)

    it("tells the age", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        h.pump(200)
        local age = sc.sock_info(id).age_ms
        assert.is_true(age >= 190 and age < 5000, age)
    end)

    it("follows the states", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        h.pump(20)
        assert.equal("connecting", sc.sock_info(id).state)
        sc.sock_close(id)
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal("closed", sc.sock_info(id).state)
        local lost = h.open(h.TCP, "127.0.0.1", h.port.closer)
        h.wait_for(lost, h.CLOSE_IND)
        assert.equal("lost", sc.sock_info(lost).state)
        if h.netns then
            local _ = h.port.dns_silent
            local resolving = sc.sock_conn(h.TCP, "x.silent.test", 80)
            h.pump(20)
            assert.equal("resolving", sc.sock_info(resolving).state)
        end
    end)

    it("tells the reason of the last failure", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.refused)
        local message = h.wait_for(id, h.CONN_CNF)
        local info = sc.sock_info(id)
        assert.equal(message.reason, info.reason)
        assert.equal(message.error, info.error)
    end)

    it("stands beside totals of ids in use and of connections whose peer has not closed", function()
        assert.same({ sockets = 0, lingering = 0 }, sc.totals())
        local id, tag = h.open_script "eof hold"
        assert.equal(1, sc.totals().sockets)
        h.close(id)
        assert.same({ sockets = 0, lingering = 1 }, sc.totals())
        h.tell(tag, "close")
        h.wait_until(function() return sc.totals().lingering == 0 end, "the end of lingering")
    end)

    it("is nil for ids that are not in use", function()
        for _, id in ipairs { -1, 0.5, 2 ^ 53, 0 / 0, 1 / 0, 998, sc.config().max_sockets } do
            assert.is_nil(sc.sock_info(id))
        end
    end)

    it("has the error numbers of the firmware beside it", function()
        local numbers = { ERR_UNKOWN = -1, ERR_UNKNOWN = -1, ERR_OK = 0, ERR_ENOMEM = 1,
            ERR_ENOBUFS = 2, ERR_ETIMEOUT = 3, ERR_ERTE = 4, ERR_EINPROGRESS = 5, ERR_EINVAL = 6,
            ERR_EWOULDBLOCK = 7, ERR_EADDRINUSE = 8, ERR_EALREADY = 9, ERR_EISCONN = 10,
            ERR_ENOTCONN = 11, ERR_EIF = 12, ERR_EABORT = 13, ERR_ERST = 14, ERR_ECLSD = 15,
            ERR_EARG = 16, ERR_EIO = 17, ERR_SSL_EHANDESHAK = 18, ERR_SSL_EINIT = 19,
            ERR_SSL_EINVALID = 20 }
        for name, number in pairs(numbers) do
            assert.equal(number, sc[name], name)
        end
    end)
end)
