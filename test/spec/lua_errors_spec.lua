-- What becomes of an error in a task, handler, subscriber or timer, and of tasks that nothing can
-- wake: in a test, in a script of its own, under a runner and on a device. Against the fake core.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

-- luacheck: globals rtos

-- Ways to have `fn` called from sys.run, 10 ms from now.
local callers = {
    ["a task"] = function(_, sys, fn)
        sys.taskInit(function()
            sys.wait(10)
            fn()
        end)
    end,
    ["a timer's function"] = function(_, sys, fn) sys.timerStart(fn, 10) end,
    ["a subscriber"] = function(_, sys, fn)
        sys.subscribe("T", fn)
        sys.timerStart(sys.publish, 10, "T")
    end,
    ["a handler"] = function(core, _, fn)
        rtos.on(rtos.MSG_UART_RXDATA, fn)
        core:at(10, function() core:post(rtos.MSG_UART_RXDATA) end)
    end,
    ["a task that a task starts"] = function(_, sys, fn)
        sys.taskInit(function()
            sys.wait(10)
            sys.taskInit(fn)
        end)
    end,
    ["a task that a timer resumes"] = function(_, sys, fn)
        local co = sys.taskInit(function()
            coroutine.yield()
            fn()
        end)
        sys.timerStart(coroutine.resume, 10, co)
    end,
}

describe("an error in a test", function()
    local core, sys

    before_each(function()
        core = fake.install({ runner = false })
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    for what, start in pairs(callers) do
        it("of " .. what .. " comes out of sys.run as it was raised, at once", function()
            local raised = { "an assertion's table" }
            local function breaks_here() error(raised) end
            start(core, sys, function() breaks_here() end)
            sys.timerStart(function() end, 20) -- would go on
            local ok, message = pcall(sys.run)
            assert.is_false(ok)
            assert.equal(raised, message)
            assert.equal(10, core.now)
            assert.is_true(core:logged("breaks_here"))
            sys.run() -- only once
            assert.equal(20, core.now)
        end)
    end

    it("that was raised before sys.run comes out of it", function()
        sys.taskInit(function() error("at its start", 0) end)
        assert.has_error(sys.run, "at its start")
        sys.run()
    end)

    it("is the first one when there are several", function()
        for i = 1, 3 do
            sys.taskInit(function()
                sys.wait(5)
                error("number " .. i, 0)
            end)
        end
        assert.has_error(sys.run, "number 1")
    end)

    it("may be nil or false", function()
        sys.taskInit(function() error(nil) end)
        assert.same({ false }, { pcall(sys.run) })
        sys.taskInit(function() error(false) end)
        assert.same({ false, false }, { pcall(sys.run) })
    end)

    it("comes out also of a sys.run in a coroutine, or some calls deeper", function()
        local function deeper() sys.run() end
        for _, way in ipairs { coroutine.wrap(function() return pcall(coroutine.wrap(sys.run)) end),
            function() return pcall(deeper) end, function() return xpcall(deeper, tostring) end } do
            sys.taskInit(function() sys.wait(1) error("out", 0) end)
            assert.same({ false, "out" }, { way() })
        end
    end)

    it("is what the test's own tasks do not catch", function()
        local caught
        sys.taskInit(function()
            caught = select(2, pcall(error, "inside", 0))
            sys.wait(1)
        end)
        sys.run()
        assert.equal("inside", caught)
    end)
end)

describe("an error under a runner", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    for what, start in pairs(callers) do
        it("of " .. what .. " is logged and counted, and all others go on", function()
            local other
            start(core, sys, function() error("the reason") end)
            sys.timerStart(function() other = true end, 20)
            sys.run()
            assert.is_true(other)
            assert.is_true(core:logged("the reason"))
            assert.equal(1, core.rtos.runner.failures)
            assert.matches("the reason", core.rtos.runner.first_failure)
        end)
    end
end)

describe("an error on a device", function()
    it("is logged, and sys.run goes on", function()
        local core = fake.install({ runner = false })
        rtos.idle = nil
        local other
        _G.sys.taskInit(function() error("the reason") end)
        _G.sys.taskInit(function()
            _G.sys.wait(10)
            other = true
        end)
        assert.has_error(_G.sys.run, "rtos.receive would wait for ever")
        assert.is_true(other)
        assert.is_true(core:logged("the reason"))
        core:remove()
    end)
end)

describe("sys.onError", function()
    local core, sys

    before_each(function()
        core = fake.install({ runner = false })
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    for what, start in pairs(callers) do
        it("is told of an error of " .. what .. ", which is dealt with then", function()
            local raised, got, calls = {}, nil, 0
            sys.onError(function(...)
                got = { ... }
                calls = calls + 1
            end)
            local function breaks_here() error(raised) end
            start(core, sys, function() breaks_here() end)
            sys.run()
            assert.equal(1, calls)
            assert.equal(raised, got[1])
            assert.matches("breaks_here", got[2])
            assert.equal(what:find "task" and "thread" or "nil", type(got[3]))
            assert.is_false(core:logged("[E]"))
        end)
    end

    it("ends sys.run by an error of its own", function()
        sys.onError(function(message) error("decided: " .. message, 0) end)
        sys.taskInit(function()
            sys.wait(5)
            error("x", 0)
        end)
        sys.timerStart(function() end, 50)
        assert.has_error(sys.run, "decided: x")
        assert.equal(5, core.now)
    end)

    it("with nil is as at first", function()
        sys.onError(function() end)
        sys.onError(nil)
        sys.taskInit(function() error("seen", 0) end)
        assert.has_error(sys.run, "seen")
        assert.is_true(core:logged("seen"))
    end)
end)

describe("tasks that nothing can wake", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    local function line_here(offset)
        local info = debug.getinfo(2, "Sl")
        return info.short_src .. ":" .. info.currentline + offset
    end

    it("are told with what they wait for, and where", function()
        local places = {}
        sys.taskInit(function()
            places[1] = line_here(1)
            sys.waitUntil("NEVER")
        end)
        for _ = 1, 3 do
            sys.taskInit(function()
                local function deeper()
                    places[2] = line_here(1)
                    sys.waitUntilExt("SELDOM")
                end
                deeper()
            end)
        end
        sys.taskInit(function()
            places[3] = line_here(1)
            coroutine.yield()
        end)
        sys.taskInit(function() sys.wait(10) end)
        sys.run()
        assert.equal("sys.run: nothing can wake 5 tasks any more:"
            .. "\n    waits for topic NEVER at " .. places[1]
            .. "\n    waits for topic SELDOM at " .. places[2] .. " (3 tasks)"
            .. "\n    waits in yield at " .. places[3], core.ended)
    end)

    it("are told with the method of a client that they are in", function()
        local place
        sys.taskInit(function()
            local client = _G.socket.tcp()
            client:connect("h", 1)
            core.sockets[client.id] = nil -- as by sock_destroy
            place = line_here(1)
            client:recv()
        end)
        sys.run()
        assert.equal("sys.run: nothing can wake 1 task any more:\n    waits in recv at " .. place,
            core.ended)
    end)

    it("are told with their function when it has left the stack", function()
        local place = line_here(1)
        sys.taskInit(function() return sys.waitUntil("NEVER") end)
        sys.run()
        assert.is_truthy(core.ended:find("topic NEVER at " .. place, 1, true), core.ended)
    end)

    it("are not told when there are none", function()
        core.ended = "not yet"
        sys.taskInit(function() sys.wait(10) end)
        sys.taskInit(function() error("ended by an error") end)
        sys.run()
        assert.is_nil(core.ended)
        assert.same({ {}, 0 }, { sys.waiting() })
    end)

    it("can be asked for while others run", function()
        local lines, total
        sys.taskInit(function() sys.waitUntil("LATER") end)
        sys.taskInit(function()
            sys.wait(5)
            lines, total = sys.waiting()
            sys.publish("LATER")
        end)
        sys.run()
        assert.equal(1, total)
        assert.matches("^waits for topic LATER at ", lines[1])
        assert.is_nil(core.ended)
    end)

    it("are a warning where no runner is", function()
        core:remove()
        core = fake.install({ runner = false })
        _G.sys.taskInit(function() _G.sys.waitUntil("NEVER") end)
        _G.sys.run()
        assert.is_true(core:logged("[W]"))
        assert.is_true(core:logged("waits for topic NEVER at "))
    end)
end)
