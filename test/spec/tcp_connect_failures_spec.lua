-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local must = require("test.support.commands").must
local sc = h.sc

describe("a connection that fails", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Opens and expects one failed CONN_CNF and nothing after it. Returns the message and how long
    -- it took in ms.
    local function fail(type, address, port)
        local start = h.now()
        local id, _, why = sc.sock_conn(type, address, port)
        assert(id, why)
        local message = h.wait_for(id)
        local took = h.elapsed(start)
        assert.equal(h.CONN_CNF, message.id)
        assert.equal(1, message.result)
        assert.not_equal(sc.ERR_OK, message.error)
        h.expect_silence(150)
        assert.equal("CONN_CNF!", h.history(id))
        return message, took, id
    end

    it("is reported as refused, at once", function()
        local message, took = fail(h.TCP, "127.0.0.1", h.port.refused)
        assert.matches("^connect: .*refused", message.reason)
        assert.is_true(took < 1000)
    end)

    it("is reported as a time-out when nothing answers", function()
        sc.config { connect_timeout_ms = 600 }
        local message, took = fail(h.TCP, "127.0.0.1", h.port.silent)
        assert.equal(sc.ERR_ETIMEOUT, message.error)
        assert.matches("^connect: no answer .*600 ms", message.reason)
        assert.is_true(took >= 580 and took < 1600, took)
    end)

    it("is reported as a time-out when the address gives no answer", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        sc.config { connect_timeout_ms = 600 }
        local message, took = fail(h.TCP, "192.0.2.1", 80)
        assert.equal(sc.ERR_ETIMEOUT, message.error)
        assert.matches("^connect: ", message.reason)
        assert.is_true(took >= 580 and took < 1600, took)
    end)

    it("is reported at once, as the host says it, when there is no way to the address", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local routes = { "unreachable", "prohibit" }
        for i, kind in ipairs(routes) do
            must(("ip route add %s 198.51.100.%d"):format(kind, i))
        end
        for i = 1, #routes + 1 do
            local message, took = fail(h.TCP, "198.51.100." .. i, 80)
            assert.equal(sc.ERR_ERTE, message.error)
            assert.equal(("connect: no route (198.51.100.%d port 80)"):format(i), message.reason)
            assert.is_true(took < 1000, took)
        end
        assert.equal(sc.ERR_ERTE, fail(h.TCP, "2001:db8::1", 80).error)
    end)

    it("is reported as a time-out when the host gives up", function()
        local retries = "/proc/sys/net/ipv4/tcp_syn_retries"
        local before = h.slurp(retries)
        if not h.netns or not pcall(h.write_file, retries, "1") then
            return pending "needs a network namespace, and its settings"
        end
        local message, took = fail(h.TCP, "192.0.2.1", 80)
        h.write_file(retries, before)
        assert.equal(sc.ERR_ETIMEOUT, message.error)
        assert.matches("^connect: no answer", message.reason)
        assert.is_true(took < 20000, took)
    end)

    it("names the failure that matters most, and how many addresses there were", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        sc.config { connect_timeout_ms = 1500 }
        for _ = 1, 3 do -- the name server turns them round each time
            local message = fail(h.TCP, "half.test", h.port.refused)
            assert.equal(sc.ERR_ERST, message.error)
            assert.equal(("connect: refused (127.0.0.1 port %d), 2 addresses tried"):format(
                h.port.refused), message.reason)
        end
    end)

    it("is reported at once when the host cannot be one, with what to do", function()
        local advice = {
            ["http://localhost"] = 'leave out "http://"',
            ["https://localhost/x"] = 'leave out "https://"',
            ["mqtt://localhost"] = 'leave out everything up to "://"',
            ["localhost/x"] = 'leave out the "/"',
            ["localhost:80"] = "the port is an argument of its own",
            ["127.0.0.1:80"] = "the port is an argument of its own",
            [""] = "it is empty",
            [" "] = "it contains a blank",
            ["local host"] = "it contains a blank",
            ["127.0.0.1 "] = "it contains a blank",
            ["localhost\n"] = "it contains a blank",
            ["local\127host"] = "control character",
            ["300.1.2.3"] = "it is not a valid IPv4 address",
            ["1.2.3.4.5"] = "it is not a valid IPv4 address",
            ["[::1"] = "it is not a valid IPv6 address",
            ["::g"] = "it is not a valid IPv6 address",
            ["m\195\188ller.test"] = "xn%-%-",
            ["a@b"] = "letters, digits",
            ["a..b"] = "a part between its dots is empty",
            [".a"] = "a part between its dots is empty",
            ["."] = "a part between its dots is empty",
            [("a"):rep(64) .. ".test"] = "longer than 63",
            [("abcdefghi."):rep(26)] = "longer than 253",
        }
        for host, what in pairs(advice) do
            local message, took = fail(h.TCP, host, 80)
            assert.equal(sc.ERR_EINVAL, message.error, host)
            assert.matches("is not a host name: ", message.reason)
            assert.matches(what, message.reason)
            assert.matches("^dns: [^%c]*$", message.reason)
            assert.is_true(took < 1000, took)
        end
    end)

    it("is reported when its name does not exist", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local message, took = fail(h.TCP, "nowhere.test", 80)
        assert.matches("^dns: ", message.reason)
        assert.is_true(took < 3000, took)
    end)

    it("is reported when the name server fails", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local _ = h.port.dns_failure
        sc.config { connect_timeout_ms = 8000 }
        local message = fail(h.TCP, "any.servfail.test", 80)
        assert.matches("^dns: ", message.reason)
    end)

    it("is reported as a DNS time-out when the name server does not answer", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        local _ = h.port.dns_silent
        sc.config { connect_timeout_ms = 1000 }
        local message, took = fail(h.TCP, "any.silent.test", 80)
        assert.equal(sc.ERR_ETIMEOUT, message.error)
        assert.matches("^dns: no answer .*1000 ms", message.reason)
        assert.is_true(took >= 950 and took < 2500, took)
    end)

    it("fails for UDP and RAW too when the name does not exist", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        assert.matches("^dns: ", fail(h.UDP, "nowhere.test", 80).reason)
        assert.matches("^dns: ", fail(h.RAW, "nowhere.test", 1).reason)
    end)

    it("tells the script its id first, also when the name is nonsense", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        sc.config { connect_timeout_ms = 300 }
        local nonsense = { ("a"):rep(300), "a..b", ".", "-", "256.256.256.256", "1.2.3.4.5", "a.",
            "name with spaces", "::g", "[::1", ("a."):rep(120), "\255\254", "", "[]", "0.0.0.0",
            "255.255.255.255", "224.0.0.1", "::", "ff02::1", "fe80::1%nowhere", "%",
            "127.0.0.1%lo" }
        for _, name in ipairs(nonsense) do
            local id = sc.sock_conn(h.TCP, name, 80)
            assert(id, name)
            assert.equal(1, h.wait_for(id, h.CONN_CNF).result, name)
            assert.equal(1, sc.sock_destroy(id))
        end
    end)

    it("can be destroyed without closing it first", function()
        local _, _, id = fail(h.TCP, "127.0.0.1", h.port.refused)
        assert.equal(1, sc.sock_destroy(id))
        assert.is_nil(sc.sock_info(id))
        h.expect_silence(100)
    end)

    it("can be closed first, and is confirmed closed", function()
        local _, _, id = fail(h.TCP, "127.0.0.1", h.port.refused)
        assert.equal(1, sc.sock_close(id))
        h.wait_for(id, h.CLOSE_CNF)
        assert.equal(1, sc.sock_destroy(id))
    end)

    it("takes no data and has none", function()
        local _, _, id = fail(h.TCP, "127.0.0.1", h.port.refused)
        assert.equal(0, (sc.sock_send(id, "x")))
        assert.equal("", sc.sock_recv(id, 10))
        assert.equal(0, sc.sock_getremainbuf(id))
        h.expect_silence(100)
    end)

    it("leaves its reason behind for sock_info", function()
        local message, _, id = fail(h.TCP, "127.0.0.1", h.port.refused)
        assert.equal(message.reason, sc.sock_info(id).reason)
    end)

    it("does not disturb a connection beside it", function()
        local still_works = h.bystander()
        sc.config { connect_timeout_ms = 300 }
        fail(h.TCP, "127.0.0.1", h.port.silent)
        still_works()
        fail(h.TCP, "127.0.0.1", h.port.refused)
        still_works()
    end)
end)
