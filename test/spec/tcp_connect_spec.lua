-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("a TCP connection", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    it("is confirmed once and then says nothing by itself", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        local message = h.wait_for(id)
        assert.equal(h.CONN_CNF, message.id)
        assert.equal(0, message.result)
        assert.equal(id, message.socket_index)
        h.expect_silence(200)
    end)

    it("is the same with sock_conn_ext", function()
        local id = sc.sock_conn_ext(h.TCP, "127.0.0.1", h.port.echo)
        assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
        h.send(id, "hello")
        assert.equal("hello", h.read(id, 5))
    end)

    it("is not waited for by the call that opens it", function()
        local start = h.now()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.silent)
        assert.is_true(h.elapsed(start) < 50)
        assert.is_true(id >= 0 and id == math.floor(id))
        assert.equal("", h.history(id))
    end)

    it("carries bytes both ways", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        for i = 1, 20 do
            local text = ("round %d, "):format(i):rep(i * 10)
            h.send(id, text)
            assert.equal(text, h.read(id, #text))
        end
    end)

    it("delivers a server's greeting that comes right behind the handshake", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.greeter)
        assert.equal(h.CONN_CNF, h.wait_for(id).id)
        assert.equal("hello", h.read(id, 5))
        assert.equal("CONN_CNF RECV_IND", h.history(id))
    end)

    it("is one of many that are opened in one go", function()
        local ids = {}
        for i = 1, 50 do
            ids[i] = sc.sock_conn(h.TCP, "127.0.0.1", h.port.echo)
        end
        for i, id in ipairs(ids) do
            assert.equal(0, h.wait_for(id, h.CONN_CNF).result)
            sc.sock_send(id, "I am " .. i)
        end
        for i, id in ipairs(ids) do
            assert.equal("I am " .. i, h.read(id, #("I am " .. i)))
        end
    end)

    it("gets an id that no other has", function()
        local seen = {}
        for _ = 1, 5 do
            local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
            assert.is_nil(seen[id])
            assert.is_true(id < sc.config().max_sockets)
            seen[id] = true
        end
    end)

    it("learns of nothing from inside a call, only from rtos.receive", function()
        local id = sc.sock_conn(h.TCP, "127.0.0.1", h.port.greeter)
        local start = h.now()
        while h.elapsed(start) < 100 do
            sc.sock_recv(id, 0)
            sc.sock_getremainbuf(id)
        end
        assert.equal("", h.history(id))
        assert.equal(h.CONN_CNF, h.wait_for(id).id)
    end)

    it("leaves the modules' globals as scripts expect them", function()
        assert.equal(package.loaded.socketcore, _G.socketcore)
        assert.equal(package.loaded.rtos, _G.rtos)
        local printed = h.run_lua [[
            require "socketcore" require "rtos"
            print(type(socketcore.sock_conn), type(rtos.receive), require "rtos" == rtos)
        ]]
        assert.equal("function\tfunction\ttrue\n", printed)
    end)
end)
