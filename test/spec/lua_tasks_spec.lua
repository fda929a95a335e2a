-- sys: tasks and their waits, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("a task", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    it("runs at once up to its first wait, and on from sys.run", function()
        local log = {}
        sys.taskInit(function(a, b, c)
            log[#log + 1] = "started " .. a .. tostring(b) .. c
            sys.wait(10)
            log[#log + 1] = "woken"
        end, "x", nil, "y")
        assert.same({ "started xnily" }, log)
        sys.run()
        assert.same({ "started xnily", "woken" }, log)
        assert.equal(10, core.now)
    end)

    it("is what taskInit returns, and can start others", function()
        local inner
        local outer = sys.taskInit(function()
            inner = sys.taskInit(function()
                sys.wait(1)
            end)
            sys.wait(1)
        end)
        assert.equal("suspended", coroutine.status(outer))
        assert.equal("suspended", coroutine.status(inner))
        sys.run()
        assert.equal("dead", coroutine.status(outer))
        assert.equal("dead", coroutine.status(inner))
    end)

    it("waits get nil when the time ran out", function()
        local n, value
        core:run(function()
            local function count(...)
                n, value = select("#", ...), ...
            end
            count(sys.wait(5))
        end)
        assert.equal(1, n)
        assert.is_nil(value)
    end)

    it("waits get what the task was resumed with, and the timer is gone", function()
        local got
        local co = sys.taskInit(function()
            got = { sys.wait(1000) }
        end)
        coroutine.resume(co, "a", false, 3)
        assert.same({ "a", false, 3 }, got)
        sys.run()
        assert.equal(0, core.now)
    end)

    it("is not woken by the time-out of a wait that ended before", function()
        local log = {}
        local co = sys.taskInit(function()
            log[1] = sys.wait(10)
            log[2] = sys.wait(100) or "timeout"
            log[3] = core.now
        end)
        sys.timerStart(function()
            core.now = 12 -- the time has run out, its message is under way
            coroutine.resume(co, "resumed")
        end, 9)
        sys.run()
        assert.same({ "resumed", "timeout", 112 }, log)
    end)

    it("waits 0 ms until the next round, fractions rounded up, negative times as 0", function()
        core:run(function()
            sys.wait(0)
            assert.equal(1, core.now)
            sys.wait(0.2)
            assert.equal(2, core.now)
            sys.wait(1.5)
            assert.equal(4, core.now)
            sys.wait(-7)
            assert.equal(5, core.now)
            sys.wait("3")
            assert.equal(8, core.now)
        end)
        assert.is_false(core:logged("[E]"))
        assert.equal(8, core.now)
    end)

    it("waits longer than one rtos timer can", function()
        core:run(function()
            sys.wait(3 * 126322567 + 5)
        end)
        assert.equal(3 * 126322567 + 5, core.now)
    end)

    it("cannot wait outside a task", function()
        assert.has_error(function() sys.wait(1) end, "sys.wait must be called inside a task")
        assert.has_error(function() sys.waitUntil("X") end,
            "sys.waitUntil must be called inside a task")
        assert.has_error(function() sys.waitUntilExt("X") end,
            "sys.waitUntilExt must be called inside a task")
        sys.run()
    end)

    it("gets a clear error for a time that is none", function()
        local messages = {}
        core:run(function()
            for i, ms in ipairs({ "soon", {}, 0 / 0, false }) do
                local _, message = pcall(sys.wait, ms)
                messages[i] = message
            end
            local _, message = pcall(sys.wait)
            messages[#messages + 1] = message
        end)
        assert.equal(5, #messages)
        for _, message in ipairs(messages) do
            assert.matches("bad argument #1 to 'wait' %(milliseconds expected, got %a+%)", message)
        end
        assert.has_error(function() sys.taskInit(nil) end,
            "bad argument #1 to 'taskInit' (function expected, got nil)")
    end)

    it("that fails ends alone, with its traceback in the log", function()
        local other
        sys.taskInit(function()
            local function breaks_here()
                sys.wait(1)
                error("the reason")
            end
            breaks_here()
        end)
        sys.taskInit(function()
            sys.wait(5)
            other = true
        end)
        sys.run()
        assert.is_true(other)
        assert.is_true(core:logged("the reason"))
        assert.is_true(core:logged("breaks_here"))
        assert.is_true(core:logged("[E]"))
    end)

    it("that fails at its very start does not take its starter along", function()
        local co = sys.taskInit(function() error({}) end)
        assert.equal("dead", coroutine.status(co))
        assert.is_true(core:logged("task ended by an error"))
        sys.taskInit(function() error(nil) end)
        sys.run()
    end)

    it("is logged only when it fails, and once, however often it is resumed", function()
        local well = sys.taskInit(function() end)
        local itself
        itself = sys.taskInit(function()
            sys.wait(1)
            assert.is_false((coroutine.resume(itself)))
        end)
        local badly = sys.taskInit(function()
            sys.wait(1)
            error("only once")
        end)
        sys.run()
        local lines = #core.lines
        assert.is_true(core:logged("only once"))
        for _, co in ipairs({ well, itself, badly }) do
            assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
        end
        assert.equal(lines, #core.lines)
        assert.is_false(core:logged("cannot resume"))
    end)

    it("that fails is logged also when a script resumed it", function()
        local co = sys.taskInit(function()
            coroutine.yield()
            error("after a resume by hand")
        end)
        sys.timerStart(coroutine.resume, 5, co)
        sys.run()
        assert.is_true(core:logged("after a resume by hand"))
        local lines = #core.lines
        assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
        assert.equal(lines, #core.lines)
    end)
end)

describe("waitUntil", function()
    local core, sys

    before_each(function()
        core = fake.install()
        sys = _G.sys
    end)

    after_each(function()
        core:remove()
    end)

    it("returns true and what was published", function()
        local got
        sys.taskInit(function()
            got = { sys.waitUntil("T") }
        end)
        sys.publish("T", 1, nil, "x")
        sys.run()
        assert.is_true(got[1])
        assert.equal(1, got[2])
        assert.equal("x", got[4])
    end)

    it("returns true for a topic without values", function()
        local n
        sys.taskInit(function()
            n = select("#", sys.waitUntil("T", 50))
        end)
        sys.publish("T")
        sys.run()
        assert.equal(1, n)
        assert.equal(0, core.now)
    end)

    it("returns false when the time ran out", function()
        local got
        core:run(function()
            got = { sys.waitUntil("T", 50) }
        end)
        assert.same({ false }, got)
        assert.equal(50, core.now)
    end)

    it("takes every kind of topic", function()
        local co = coroutine.create(function() end)
        local function fn() end
        local topics = { "s", 12, 1.5, true, false, {}, co, fn }
        local got = {}
        for i, topic in ipairs(topics) do
            sys.taskInit(function()
                got[i] = select(2, sys.waitUntil(topic, 50))
            end)
        end
        for i, topic in ipairs(topics) do
            sys.publish(topic, i)
        end
        sys.run()
        assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, got)
    end)

    it("is not woken by what is published in the round of its time-out, nor is a later wait",
        function()
            local log = {}
            sys.taskInit(function()
                log[1] = sys.waitUntil("T", 10)
                log[2] = sys.waitUntil("OTHER", 100)
                log[3] = sys.wait(100) == nil
            end)
            sys.timerStart(sys.publish, 10, "T", "late")
            sys.run()
            assert.same({ false, false, true }, log)
            assert.equal(210, core.now)
        end)

    it("does not leave its time-out behind", function()
        local log = {}
        sys.taskInit(function()
            log[1] = sys.waitUntil("T", 10)
            log[2] = sys.waitUntil("U", 1000)
        end)
        sys.timerStart(sys.publish, 9, "T")
        sys.run()
        assert.same({ true, false }, log)
        assert.equal(1009, core.now)
    end)

    it("wakes a task once for a message published twice", function()
        local log = {}
        sys.taskInit(function()
            log[#log + 1] = { sys.waitUntil("T") }
            log[#log + 1] = { sys.wait(10) }
            log[#log + 1] = { sys.waitUntil("T", 10) }
        end)
        sys.publish("T", 1)
        sys.publish("T", 2)
        sys.run()
        assert.same({ { true, 1 }, {}, { false } }, log)
    end)

    it("wakes every task that waits, in the order they came", function()
        local order = {}
        for i = 1, 1000 do
            sys.taskInit(function()
                sys.waitUntil("GO")
                order[#order + 1] = i
            end)
        end
        sys.publish("GO")
        sys.run()
        assert.equal(1000, #order)
        for i = 1, 1000 do
            assert.equal(i, order[i])
        end
    end)

    it("as waitUntilExt returns the topic and the values, or false", function()
        local got, late
        sys.taskInit(function()
            got = { sys.waitUntilExt("T", 50) }
            late = { sys.waitUntilExt("T", 50) }
        end)
        sys.publish("T", 7, 8)
        sys.run()
        assert.same({ "T", 7, 8 }, got)
        assert.same({ false }, late)
    end)

    it("does not wait for nil", function()
        local message
        core:run(function()
            local _
            _, message = pcall(sys.waitUntil, nil, 10)
        end)
        assert.matches("topic expected", message)
        assert.equal(0, core.now)
    end)
end)
