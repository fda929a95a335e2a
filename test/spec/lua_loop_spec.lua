-- sys.run, rtos.on, sys.init, sys.restart, against the fake core.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

-- luacheck: globals rtos

describe("sys.run", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    it("ends on the host when nothing could ever wake a task", function()
        local co = sys.taskInit(function() sys.waitUntil("NEVER") end)
        sys.run()
        assert.equal("suspended", coroutine.status(co))
    end)

    it("never ends where rtos cannot tell", function()
        rtos.idle = nil
        sys.taskInit(function() sys.wait(10) end)
        assert.has_error(sys.run, "rtos.receive would wait for ever")
        assert.equal(10, core.now)
    end)

    it("hands a socket message to its handler as a table, others as values", function()
        local got = {}
        rtos.on(rtos.MSG_SOCK_CONN_CNF, function(...) got[#got + 1] = { ... } end)
        rtos.on(rtos.MSG_UART_RXDATA, function(...) got[#got + 1] = { ... } end)
        local message = { id = rtos.MSG_SOCK_CONN_CNF, socket_index = 3, result = 0 }
        core:post(message)
        core:post(rtos.MSG_UART_RXDATA, 1, 64, "x")
        core:post(rtos.MSG_UART_RXDATA)
        sys.run()
        assert.equal(message, got[1][1])
        assert.same({ 1, 64, "x" }, got[2])
        assert.same({}, got[3])
    end)

    it("calls the handler registered last, none after nil", function()
        local got = {}
        rtos.on(rtos.MSG_UART_RXDATA, function() got[#got + 1] = "old" end)
        rtos.on(rtos.MSG_UART_RXDATA, function() got[#got + 1] = "new" end)
        core:post(rtos.MSG_UART_RXDATA)
        sys.run()
        rtos.on(rtos.MSG_UART_RXDATA, nil)
        core:post(rtos.MSG_UART_RXDATA)
        sys.run()
        assert.same({ "new" }, got)
    end)

    it("passes over messages that nobody handles", function()
        local after
        core:post(rtos.MSG_UART_RXDATA, 1)
        core:post({ id = 999 })
        core:post({})
        core:post(rtos.WAIT_MSG_TIMEOUT)
        core:post(12345)
        sys.timerStart(function() after = true end, 1)
        sys.run()
        assert.is_true(after)
    end)

    it("gives timers that the script started itself to the script", function()
        local got
        rtos.on(rtos.MSG_TIMER, function(id) got = id end)
        rtos.timer_start(5, 10)
        sys.timerStart(function() end, 20)
        sys.run()
        assert.equal(5, got)
    end)

    it("goes on after a handler that fails, with its traceback in the log", function()
        local got
        rtos.on(rtos.MSG_UART_RXDATA, function(n)
            local function in_the_handler() error("bad " .. n) end
            if n == 1 then
                in_the_handler()
            end
            got = n
        end)
        core:post(rtos.MSG_UART_RXDATA, 1)
        core:post(rtos.MSG_UART_RXDATA, 2)
        sys.run()
        assert.equal(2, got)
        assert.is_true(core:logged("bad 1"))
        assert.is_true(core:logged("in_the_handler"))
    end)

    it("goes on after a handler that fails having run everything itself", function()
        local got = {}
        rtos.on(rtos.MSG_UART_RXDATA, function(n)
            got[#got + 1] = n
            if n == 1 then
                sys.run()
                error("after its own run")
            end
        end)
        for n = 1, 3 do
            core:post(rtos.MSG_UART_RXDATA, n)
        end
        sys.run()
        core:post(rtos.MSG_UART_RXDATA, 4)
        sys.run()
        assert.same({ 1, 2, 3, 4 }, got)
        assert.is_true(core:logged("after its own run"))
    end)

    it("says what is wrong when a handler waits", function()
        rtos.on(rtos.MSG_UART_RXDATA, function() sys.wait(1) end)
        core:post(rtos.MSG_UART_RXDATA)
        sys.run()
        assert.is_true(core:logged("sys.wait must be called inside a task"))
    end)

    it("takes handlers only that can be called", function()
        assert.error_matches(function() rtos.on(nil, print) end, "bad argument #1 to 'on'")
        assert.error_matches(function() rtos.on(1, "f") end, "bad argument #2 to 'on'")
    end)

    it("lets an interrupt out of receive through", function()
        local receive = rtos.receive
        rtos.receive = function() error("interrupted!", 0) end
        sys.taskInit(function() sys.wait(10) end)
        assert.has_error(sys.run, "interrupted!")
        rtos.receive = receive
        sys.run()
        assert.equal(10, core.now)
    end)
end)

describe("sys.init and sys.restart", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    it("log what starts", function()
        _G.PROJECT, _G.VERSION = "GREENHOUSE", "1.2.3"
        sys.init(0, 0)
        assert.is_true(core:logged("GREENHOUSE\t1.2.3"))
        _G.PROJECT, _G.VERSION = nil, nil
        sys.init()
    end)

    it("log why, and restart", function()
        sys.restart("new firmware")
        assert.is_true(core:logged("new firmware"))
        assert.equal(1, core.restarts)
        sys.restart()
        assert.equal(2, core.restarts)
    end)
end)

describe("link", function()
    local core

    before_each(function()
        core = fake.install()
    end)

    after_each(function()
        core:remove()
    end)

    it("is ready, and wakes who waits for it", function()
        local got
        _G.sys.taskInit(function()
            got = _G.sys.waitUntil("IP_READY_IND", 1000)
        end)
        _G.sys.run()
        assert.is_true(got)
        assert.is_true(_G.link.isReady())
        assert.is_true(_G.socket.isReady())
    end)

    it("is not ready while the platform has lost it", function()
        local lost, back
        _G.sys.subscribe("IP_ERROR_IND", function() lost = true end)
        core:post(rtos.MSG_PDP_DEACT_IND)
        _G.sys.run()
        assert.is_true(lost)
        assert.is_false(_G.link.isReady())
        _G.sys.subscribe("IP_READY_IND", function() back = true end)
        core:post(rtos.MSG_PDP_ACT_CNF)
        _G.sys.run()
        assert.is_true(back)
        assert.is_true(_G.link.isReady())
    end)
end)
