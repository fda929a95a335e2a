-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

local GATEWAY = "10.0.2.2"
local ICMP = 1

local function checksum(packet)
    local sum = 0
    for i = 1, #packet, 2 do
        sum = sum + packet:byte(i) * 256 + (packet:byte(i + 1) or 0)
    end
    while sum > 65535 do
        sum = sum % 65536 + math.floor(sum / 65536)
    end
    return 65535 - sum
end

local function word(number)
    return string.char(math.floor(number / 256), number % 256)
end

local function echo_request(number, payload)
    local rest = word(0x1234) .. word(number) .. payload
    return "\8\0" .. word(checksum("\8\0\0\0" .. rest)) .. rest
end

describe("a RAW socket", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function ping(id, number, payload)
        h.send(id, echo_request(number, payload))
        local packet = h.read_announced(id)
        local header = (packet:byte(1) % 16) * 4
        assert.equal(4, math.floor(packet:byte(1) / 16), "no IPv4 header")
        assert.equal(ICMP, packet:byte(10))
        assert.equal(GATEWAY, table.concat({ packet:byte(13, 16) }, "."))
        local reply = packet:sub(header + 1)
        assert.equal(0, reply:byte(1), "no echo reply")
        assert.equal(0, checksum(reply))
        assert.equal(word(0x1234) .. word(number) .. payload, reply:sub(5))
    end

    it("gets an ICMP echo from the gateway, with the IP header in front", function()
        local id = h.open(h.RAW, GATEWAY, ICMP)
        for number = 1, 10 do
            ping(id, number, ("ping %d"):format(number))
        end
    end)

    it("is also type 3", function()
        ping(h.open(3, GATEWAY, ICMP), 7, "type three")
    end)

    it("carries large packets and all byte values", function()
        local id = h.open(h.RAW, GATEWAY, ICMP)
        ping(id, 1, h.every_byte())
        ping(id, 2, h.pattern(1400))
    end)

    it("drops the rest of a packet that was read in part", function()
        local id = h.open(h.RAW, GATEWAY, ICMP)
        h.send(id, echo_request(1, "first"))
        h.wait_for(id, h.RECV_IND)
        assert.equal(20, #sc.sock_recv(id, 20))
        h.expect_silence(50)
        ping(id, 2, "second")
    end)

    it("confirms each send with its length", function()
        local id = h.open(h.RAW, GATEWAY, ICMP)
        for length = 1, 5 do
            assert.equal(1, (sc.sock_send(id, echo_request(length, ("x"):rep(length)))))
        end
        for length = 1, 5 do
            assert.equal(8 + length, h.wait_for(id, h.SEND_CNF).send_len)
        end
    end)

    it("refuses a packet that is too large and confirms the refusal", function()
        local id = h.open(h.RAW, GATEWAY, ICMP)
        local ok, err = sc.sock_send(id, ("x"):rep(65535))
        assert.equal(0, ok)
        assert.equal(sc.ERR_EARG, err)
        assert.equal(1, h.wait_for(id, h.SEND_CNF).result)
    end)

    it("of one protocol does not see the others", function()
        local id = h.open(h.RAW, GATEWAY, 200)
        local pinger = h.open(h.RAW, GATEWAY, ICMP)
        ping(pinger, 1, "not for 200")
        h.expect_silence(50, id)
    end)

    it("does not disturb TCP and UDP beside it", function()
        local still_works = h.bystander()
        local tcp = h.open(h.RAW, "127.0.0.1", 6)
        still_works()
        h.close(tcp)
        still_works()
    end)
end)
