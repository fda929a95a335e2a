-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("the arguments of sock_conn", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local function echoes(...)
        local id = h.open(...)
        h.send(id, "ping")
        assert.equal("ping", h.read(id, 4))
        return id
    end

    for _, kind in ipairs { { h.TCP, "echo" }, { h.UDP, "udp_echo" } } do
        local type, name = kind[1], kind[2]

        it("may name the address first, for type " .. type, function()
            echoes(type, "127.0.0.1", h.port[name])
        end)

        it("may name the port first, for type " .. type, function()
            echoes(type, h.port[name], "127.0.0.1")
        end)

        it("may have the port as a string, for type " .. type, function()
            echoes(type, "127.0.0.1", ("%d"):format(h.port[name]))
            echoes(type, ("%d"):format(h.port[name]), "127.0.0.1")
        end)

        it("may have a name for the address, for type " .. type, function()
            echoes(type, "localhost", ("%d"):format(h.port[name]))
            echoes(type, h.port[name], "localhost")
        end)

        it("may have recvBufferLen as the fourth, for type " .. type, function()
            echoes(type, "127.0.0.1", h.port[name], 8192)
            echoes(type, "127.0.0.1", h.port[name], 0)
        end)

        it("may have nil or a table in the place of cert, for type " .. type, function()
            echoes(type, "127.0.0.1", h.port[name], nil, 8192)
            echoes(type, "127.0.0.1", h.port[name], {}, 8192)
            echoes(type, "127.0.0.1", h.port[name], nil, nil, nil, nil, nil)
        end)

        it("keep their places behind nil, for type " .. type, function()
            local port = h.free_port()
            local id = echoes(type, "127.0.0.1", h.port[name], nil, nil, nil, port)
            assert.equal(port, sc.sock_info(id).local_port)
        end)

        it("shift by one without cert, for type " .. type, function()
            local port = h.free_port()
            local id = echoes(type, "127.0.0.1", h.port[name], 8192, 0, port)
            assert.equal(port, sc.sock_info(id).local_port)
        end)
    end

    it("may have both orders for RAW", function()
        h.open(h.RAW, "10.0.2.2", 1)
        h.open(h.RAW, 1, "10.0.2.2")
        h.open(h.RAW, "1", "10.0.2.2")
    end)

    it("take 3 as the type of RAW too", function()
        local id = h.open(3, "10.0.2.2", 1)
        assert.equal(sc.sock_info(h.open(4, "10.0.2.2", 1)).type, sc.sock_info(id).type)
    end)
end)
