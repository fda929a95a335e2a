-- The zone and the hosts file are those of test/support/netns.sh.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("a name", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function greeted(name, port)
        local id = h.open(h.TCP, name, port or h.port.greeter)
        assert.equal("hello", h.read(id, 5))
        return id
    end

    it("localhost is the host", function()
        greeted "localhost"
    end)

    it("localhost is tried over IPv4 when IPv6 refuses", function()
        for _ = 1, 3 do
            greeted("localhost", h.port.ipv4)
        end
    end)

    if not h.netns then
        pending "others need a network namespace"
        return
    end

    it("of the hosts file is found, with aliases and in any case", function()
        for _, name in ipairs { "hosts-one", "hosts-alias", "Hosts-Mixed", "hosts-mixed",
            "HOSTS-ONE" } do
            greeted(name)
        end
    end)

    it("of the hosts file with several addresses is tried address by address", function()
        for _ = 1, 3 do
            local id = greeted("hosts-two", h.port.ipv4)
            assert.equal("127.0.0.1", sc.sock_info(id).remote_address)
        end
    end)

    it("of the name server is found", function()
        local id = greeted "one.test"
        assert.equal("127.0.0.1", sc.sock_info(id).remote_address)
        greeted "One.TEST"
    end)

    it("with several addresses is tried address by address until one takes it", function()
        for _ = 1, 8 do -- the name server turns them round each time
            greeted("multi.test", h.port.ipv4)
        end
    end)

    it("with an address that never answers has its other one tried in time", function()
        sc.config { connect_timeout_ms = 2000 }
        for _ = 1, 4 do
            greeted("half.test", h.port.ipv4)
        end
    end)

    it("with addresses of both families is tried in both", function()
        for _ = 1, 3 do
            greeted("both.test", h.port.ipv4)
            greeted "both.test"
        end
    end)

    it("whose addresses all refuse gives one failed CONN_CNF", function()
        local id = sc.sock_conn(h.TCP, "elsewhere.test", h.port.ipv4)
        local message = h.wait_for(id, h.CONN_CNF)
        assert.equal(1, message.result)
        assert.matches("refused", message.reason)
        h.expect_silence(150)
    end)

    it("is looked up for 60 sockets at once", function()
        local ids = {}
        for i = 1, 60 do
            ids[i] = sc.sock_conn(h.TCP, ("host%d.many.test"):format(i), h.port.greeter)
        end
        for _, id in ipairs(ids) do
            local message = h.wait_for(id, h.CONN_CNF)
            assert.equal(0, message.result, message.reason)
            assert.equal("hello", h.read(id, 5))
        end
    end)

    it("is looked up while 10 others get no answer", function()
        local _ = h.port.dns_silent
        for i = 1, 10 do
            assert(sc.sock_conn(h.TCP, ("never%d.silent.test"):format(i), 80))
        end
        local start = h.now()
        greeted "one.test"
        assert.is_true(h.elapsed(start) < 3000, h.elapsed(start))
    end)

    it("that is answered late is connected then", function()
        local _ = h.port.dns_slow
        local start = h.now()
        greeted "soon.slow.test"
        local took = h.elapsed(start)
        assert.is_true(took >= 1000 and took < 6000, took)
    end)

    it("is resolved for UDP and RAW too", function()
        local id = h.open(h.UDP, "one.test", h.port.udp_echo)
        h.send(id, "by name")
        assert.equal("by name", h.read_announced(id))
        h.open(h.RAW, "one.test", 1)
    end)

    it("is looked up again each time, without leaking", function()
        for _ = 1, 100 do
            h.close(h.open(h.UDP, "one.test", h.port.udp_echo))
        end
    end)

    it("whose lookup is under way does not hold up the others", function()
        local _ = h.port.dns_silent
        local still_works = h.bystander()
        sc.sock_conn(h.TCP, "nobody.silent.test", 80)
        for _ = 1, 20 do
            still_works()
        end
    end)

    it("that ends in a dot is the same", function()
        greeted "one.test."
    end)
end)
