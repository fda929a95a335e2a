-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("localPort", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    for _, kind in ipairs { { "TCP", "echo" }, { "UDP", "udp_echo" } } do
        local type, peer = h[kind[1]], kind[2]

        it("is the port that " .. kind[1] .. " is bound to", function()
            local id = h.open(type, "127.0.0.1", h.port[peer], nil, 0, nil, 23456)
            assert.equal(23456, sc.sock_info(id).local_port)
            h.send(id, "works")
            assert.equal("works", h.read(id, 5))
        end)

        it("0 or absent is any port for " .. kind[1], function()
            local id = h.open(type, "127.0.0.1", h.port[peer], nil, 0, nil, 0)
            local other = h.open(type, "127.0.0.1", h.port[peer])
            assert.is_true(sc.sock_info(id).local_port > 0)
            assert.not_equal(sc.sock_info(id).local_port, sc.sock_info(other).local_port)
        end)

        it("that is taken is an error for " .. kind[1], function()
            local first = h.open(type, "127.0.0.1", h.port[peer], nil, 0, nil, 23457)
            local port = h.port[peer]
            local id, err, reason = sc.sock_conn(type, "127.0.0.1", port, nil, 0, nil, 23457)
            if id then
                local message = h.wait_for(id, h.CONN_CNF)
                assert.equal(1, message.result)
                err, reason = message.error, message.reason
            end
            assert.equal(sc.ERR_EADDRINUSE, err)
            assert.matches("port", reason)
            h.send(first, "unharmed")
            assert.equal("unharmed", h.read(first, 8))
        end)

        it("can be used again once the socket is gone for " .. kind[1], function()
            h.close(h.open(type, "127.0.0.1", h.port[peer], nil, 0, nil, 23458))
            h.pump(1000) -- longer than TIME_WAIT, and the timer that looks after it
            h.open(type, "127.0.0.1", h.port[peer], nil, 0, nil, 23458)
        end)
    end
end)
