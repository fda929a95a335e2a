-- A connection whose peer is gone without a word: the host says so in the end, and its words must
-- reach the script. Not a reset: nobody sent one.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local must = require("test.support.commands").must
local sc = h.sc

local ADDRESS = "10.9.0.2"
local RETRIES = "/proc/sys/net/ipv4/tcp_retries2"

describe("a connection whose network is lost #netns", function()
    if not h.netns or not pcall(h.write_file, RETRIES, "3") then
        pending "needs a network namespace, and its settings"
        return
    end
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function ip(command)
        must("ip " .. command)
    end

    -- A connection to ADDRESS, whose packets are lost from now on.
    local function lose()
        ip(("addr add %s/32 dev lo"):format(ADDRESS))
        local id = h.open(h.TCP, ADDRESS, h.port.echo)
        h.send(id, "before")
        assert.equal("before", h.read(id, 6))
        ip(("addr del %s/32 dev lo"):format(ADDRESS))
        ip(("route add %s/32 dev lo"):format(ADDRESS))
        return id
    end

    local function find()
        ip(("route del %s/32 dev lo"):format(ADDRESS))
    end

    it("ends with no answer, as a socket of the host would", function()
        local id = lose()
        h.send(id, "after")
        local _, message = h.read_to_end(id, 30000)
        find()
        assert.equal(1, message.result)
        assert.equal(sc.ERR_ETIMEOUT, message.error)
        assert.equal("the peer does not answer any more", message.reason)
        assert.equal("CLOSE_IND!", h.history(id):match "%S+$")
    end)

    it("fails the sends that are under way with the same", function()
        local id = lose()
        local piece = ("x"):rep(11200)
        while sc.sock_getremainbuf(id) >= #piece do
            assert.equal(1, (sc.sock_send(id, piece)))
            h.pump(0)
        end
        local message
        repeat
            message = h.wait_for(id, h.SEND_CNF, 30000)
        until message.result == 1
        find()
        assert.equal(sc.ERR_ETIMEOUT, message.error)
    end)
end)
