-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

local function has_ipv6()
    for line in io.lines "/proc/net/if_inet6" do
        if line:find "^00000000000000000000000000000001" then
            return true
        end
    end
    return false
end

describe("IPv6", function()
    local ok, there = pcall(has_ipv6)
    if not (ok and there) then
        pending "this machine has no ::1"
        return
    end

    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    for _, address in ipairs { "::1", "[::1]", "0:0:0:0:0:0:0:1", "[0:0::1]" } do
        it(("reaches %s over TCP"):format(address), function()
            local id = h.open(h.TCP, address, h.port.echo)
            h.send(id, "over six")
            assert.equal("over six", h.read(id, 8))
            assert.equal("::1", sc.sock_info(id).remote_address:lower())
        end)
    end

    it("takes both orders of arguments", function()
        h.open(h.TCP, h.port.echo, "::1")
        h.open(h.TCP, ("%d"):format(h.port.echo), "[::1]")
    end)

    it("reaches ::1 over UDP", function()
        local id = h.open(h.UDP, "::1", h.port.udp_echo)
        for _, size in ipairs { 1, 1000, 1472, 8000 } do
            h.send(id, ("6"):rep(size))
            assert.equal(size, #h.read_announced(id))
        end
    end)

    it("carries 1 MB both ways over TCP", function()
        local tag = h.tag()
        local id = h.open(h.TCP, "::1", h.port.script)
        h.send(id, tag .. " send:1000000\n")
        h.read_pattern(id, 1000000)
        h.send_pattern(id, 1000000)
        local stat = h.wait_stat(tag, function(s) return s.rx >= 1000000 end)
        assert.equal(1, stat.match)
    end)

    it("is used for a name that has such an address only", function()
        if not h.netns then
            return pending "needs a network namespace"
        end
        for _, name in ipairs { "six.test", "hosts-six" } do
            local id = h.open(h.TCP, name, h.port.echo)
            assert.equal("::1", sc.sock_info(id).remote_address)
            h.send(id, "x")
            assert.equal("x", h.read(id, 1))
        end
        local id = h.open(h.UDP, "six.test", h.port.udp_echo)
        h.send(id, "x")
        assert.equal("x", h.read_announced(id))
    end)

    it("is reported as refused like IPv4", function()
        local id = sc.sock_conn(h.TCP, "::1", h.port.refused)
        local message = h.wait_for(id, h.CONN_CNF)
        assert.equal(1, message.result)
        assert.matches("refused", message.reason)
    end)
end)
