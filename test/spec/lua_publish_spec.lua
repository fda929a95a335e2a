-- sys: publish, subscribe, unsubscribe, against the fake core.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("publish", function()
    local core, sys, got

    local function note(...)
        got[#got + 1] = { ... }
    end

    before_each(function()
        core = fake.install()
        sys = _G.sys
        got = {}
    end)

    after_each(function()
        core:remove()
    end)

    it("delivers from run, not from the call", function()
        sys.subscribe("T", note)
        sys.publish("T", 1)
        assert.same({}, got)
        sys.run()
        assert.same({ { 1 } }, got)
    end)

    it("delivers in the order of the calls, to the subscribers in theirs", function()
        local order = {}
        for i = 1, 3 do
            sys.subscribe("A", function(x) order[#order + 1] = "A" .. i .. x end)
        end
        sys.subscribe("B", function(x) order[#order + 1] = "B" .. x end)
        sys.publish("A", 1)
        sys.publish("B", 2)
        sys.publish("A", 3)
        sys.run()
        assert.same({ "A11", "A21", "A31", "B2", "A13", "A23", "A33" }, order)
    end)

    it("keeps every value, also nil at the end", function()
        local n, values
        sys.subscribe("T", function(...)
            n, values = select("#", ...), { ... }
        end)
        sys.publish("T", nil, "\0x", nil)
        sys.run()
        assert.equal(3, n)
        assert.equal("\0x", values[2])
    end)

    it("delivers what a subscriber publishes after all that was published before", function()
        local order = {}
        sys.subscribe("A", function()
            order[#order + 1] = "A"
            sys.publish("C")
        end)
        sys.subscribe("B", function() order[#order + 1] = "B" end)
        sys.subscribe("C", function() order[#order + 1] = "C" end)
        sys.publish("A")
        sys.publish("B")
        sys.run()
        assert.same({ "A", "B", "C" }, order)
    end)

    it("for ever from a subscriber does not keep timers waiting", function()
        local rounds = 0
        local stop = false
        sys.subscribe("T", function()
            rounds = rounds + 1
            core.now = core.now + 1
            if not stop then
                sys.publish("T")
            end
        end)
        sys.timerStart(function() stop = true end, 50)
        sys.publish("T")
        sys.run()
        assert.is_true(rounds >= 50 and rounds < 60)
    end)

    it("without subscribers is no error", function()
        sys.publish("NOBODY", 1)
        sys.run()
    end)

    it("refuses nil and NaN as topics, and receivers that are none", function()
        assert.error_matches(function() sys.publish(nil) end, "bad argument #1 to 'publish'")
        assert.error_matches(function() sys.publish(0 / 0) end, "bad argument #1 to 'publish'")
        assert.error_matches(function() sys.subscribe(nil, note) end,
            "bad argument #1 to 'subscribe'")
        assert.error_matches(function() sys.subscribe("T", 5) end,
            "bad argument #2 to 'subscribe' %(function or task expected, got number%)")
        assert.error_matches(function() sys.unsubscribe("T") end,
            "bad argument #2 to 'unsubscribe'")
    end)

    it("calls a function that subscribed twice once", function()
        sys.subscribe("T", note)
        sys.subscribe("T", note)
        sys.publish("T", 1)
        sys.run()
        assert.same({ { 1 } }, got)
    end)

    it("calls nobody who has unsubscribed, and leaves nothing behind", function()
        sys.subscribe("T", note)
        sys.unsubscribe("T", note)
        sys.unsubscribe("T", note)
        sys.unsubscribe("OTHER", note)
        sys.publish("T", 1)
        sys.run()
        assert.same({}, got)
    end)

    it("does not reach a subscriber that another one took away during delivery", function()
        local function second() got[#got + 1] = "second" end
        sys.subscribe("T", function() sys.unsubscribe("T", second) end)
        sys.subscribe("T", second)
        sys.subscribe("T", function() got[#got + 1] = "third" end)
        sys.publish("T")
        sys.publish("T")
        sys.run()
        assert.same({ "third", "third" }, got)
    end)

    it("reaches a subscriber that came during delivery from the next message on", function()
        sys.subscribe("T", function(x)
            if x == 1 then
                sys.subscribe("T", note)
            end
        end)
        sys.publish("T", 1)
        sys.publish("T", 2)
        sys.run()
        assert.same({ { 2 } }, got)
    end)

    it("lets a subscriber leave and come back during delivery", function()
        local calls = 0
        local function again()
            calls = calls + 1
            sys.unsubscribe("T", again)
            sys.subscribe("T", again)
        end
        sys.subscribe("T", again)
        sys.publish("T")
        sys.publish("T")
        sys.run()
        assert.equal(2, calls)
    end)

    it("goes on after a subscriber that fails, with its traceback in the log", function()
        sys.subscribe("T", function()
            local function deep_inside() error("no good") end
            deep_inside()
        end)
        sys.subscribe("T", note)
        sys.publish("T", 1, 2)
        sys.publish("T")
        sys.run()
        assert.same({ { 1, 2 }, {} }, got)
        assert.is_true(core:logged("no good"))
        assert.is_true(core:logged("deep_inside"))
    end)

    it("resumes a subscribed task with the topic and the values, and forgets it when it ended",
        function()
            local co = coroutine.create(function(...)
                note(...)
                note(coroutine.yield())
            end)
            sys.subscribe("T", co)
            for i = 1, 4 do
                sys.publish("T", i)
            end
            sys.run()
            assert.same({ { "T", 1 }, { "T", 2 } }, got)
            assert.is_false(core:logged("[E]"))
        end)

    it("holds 100,000 messages and loses none", function()
        local sum = 0
        sys.subscribe("N", function(i) sum = sum + i end)
        for i = 1, 100000 do
            sys.publish("N", i)
        end
        sys.run()
        assert.equal(100000 * 100001 / 2, sum)
    end)
end)
