-- sys: timers, against the fake core in virtual time.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

-- luacheck: globals rtos

describe("a timer", function()
    local core, sys, got

    local function note(...)
        got[#got + 1] = { core.now, ... }
    end

    before_each(function()
        core = fake.install()
        sys = _G.sys
        got = {}
    end)

    after_each(function()
        core:remove()
    end)

    it("fires once with its arguments", function()
        local n
        sys.timerStart(function(...) n = select("#", ...) end, 7, 1, nil, nil)
        sys.timerStart(note, 5, "a", "b")
        sys.run()
        assert.same({ { 5, "a", "b" } }, got)
        assert.equal(3, n)
    end)

    it("has an id that fits rtos, different from all that run", function()
        local seen = {}
        for i = 1, 1000 do
            local id = sys.timerStart(note, 10, i)
            assert.is_nil(seen[id])
            assert.is_true(id % 1 == 0 and id > 0 and id <= 0x7FFFFFFF)
            seen[id] = true
        end
        sys.run()
        assert.equal(1000, #got)
    end)

    it("with the same function and arguments replaces the one that runs", function()
        local first = sys.timerStart(note, 5, "x", 1)
        local second = sys.timerStart(note, 50, "x", 1)
        assert.not_equal(first, second)
        sys.timerStart(note, 6, "x", 2)
        sys.timerStart(note, 7, "x")
        sys.timerStart(note, 8, "x", 1, nil)
        sys.timerStart(note, 9)
        sys.timerStart(note, 10, nil)
        sys.run()
        assert.same({ { 6, "x", 2 }, { 7, "x" }, { 8, "x", 1 }, { 9 }, { 10 }, { 50, "x", 1 } },
            got)
    end)

    it("can have NaN, false and tables as arguments", function()
        local t = {}
        sys.timerStart(note, 1, 0 / 0)
        sys.timerStart(note, 2, false)
        sys.timerStart(note, 3, t)
        sys.timerStart(note, 4, {})
        sys.timerStop(note, false)
        sys.timerStop(note, {})
        assert.is_true(sys.timerIsActive(note, t))
        sys.run()
        assert.equal(3, #got)
    end)

    it("stops by id and by function and arguments", function()
        local id = sys.timerStart(note, 5, 1)
        sys.timerStart(note, 5, 2)
        sys.timerStart(note, 5, 3)
        sys.timerStop(id)
        sys.timerStop(id)
        sys.timerStop(note, 2)
        sys.timerStop(note) -- the one without arguments, which there is not
        sys.timerStop(note, 3, nil)
        sys.timerStop(123456789)
        sys.run()
        assert.same({ { 5, 3 } }, got)
    end)

    it("that was stopped does not fire, also if its time had run out already", function()
        sys.timerStart(function() sys.timerStop(note) end, 5)
        sys.timerStart(note, 5)
        sys.timerStart(function() core.now = core.now + 10 end, 4)
        sys.run()
        assert.same({}, got)
    end)

    it("stops with all others of its function", function()
        local function other() note("other") end
        sys.timerStart(note, 5)
        sys.timerStart(note, 5, 1)
        sys.timerStart(note, 5, 1, 2)
        sys.timerLoopStart(note, 5, 2)
        sys.timerStart(other, 6)
        sys.timerStopAll(note)
        sys.timerStopAll(print)
        assert.is_false(sys.timerIsActive(note))
        sys.run()
        assert.same({ { 6, "other" } }, got)
    end)

    it("is active from its start until it fires or is stopped", function()
        local id
        local inside
        id = sys.timerStart(function() inside = sys.timerIsActive(id) end, 5)
        assert.is_true(sys.timerIsActive(id))
        sys.timerStart(note, 5, "x")
        assert.is_true(sys.timerIsActive(note, "x"))
        assert.is_false(sys.timerIsActive(note))
        assert.is_false(sys.timerIsActive(note, "y"))
        assert.is_false(sys.timerIsActive(0))
        sys.run()
        assert.is_false(inside)
        assert.is_false(sys.timerIsActive(id))
        assert.is_false(sys.timerIsActive(note, "x"))
    end)

    it("that fails is logged with its traceback, and the others fire", function()
        sys.timerStart(function()
            local function in_the_callback() error("oops") end
            in_the_callback()
        end, 1)
        sys.timerStart(note, 2)
        sys.run()
        assert.same({ { 2 } }, got)
        assert.is_true(core:logged("oops"))
        assert.is_true(core:logged("in_the_callback"))
    end)

    it("may start itself anew", function()
        local function again(n)
            note(n)
            if n < 3 then
                sys.timerStart(again, 10, n + 1)
            end
        end
        sys.timerStart(again, 10, 1)
        sys.run()
        assert.same({ { 10, 1 }, { 20, 2 }, { 30, 3 } }, got)
    end)

    it("runs longer than one rtos timer can, and can be stopped then", function()
        sys.timerStart(note, 126322567 * 2 + 3, 1)
        local id = sys.timerStart(note, 126322567 * 3, 2)
        sys.timerStart(sys.timerStop, 126322567 * 2 + 2, id)
        sys.run()
        assert.same({ { 126322567 * 2 + 3, 1 } }, got)
    end)

    it("of weeks comes each week, and one of ever never", function()
        local week = 7 * 86400 * 1000
        local id = sys.timerLoopStart(note, week, "weekly")
        local never = sys.timerStart(note, math.huge, "never")
        sys.timerStart(note, 2 ^ 40, "late")
        sys.taskInit(function()
            assert.is_nil(sys.wait(3 * week + 1))
            sys.timerStop(id)
            assert.is_true(sys.timerIsActive(never))
            sys.wait(2 ^ 40 - 3 * week)
            sys.timerStop(never)
        end)
        sys.run()
        assert.same({ { week, "weekly" }, { 2 * week, "weekly" }, { 3 * week, "weekly" },
            { 2 ^ 40, "late" } }, got)
    end)

    it("refuses what is no function and no time", function()
        assert.error_matches(function() sys.timerStart(nil, 1) end,
            "bad argument #1 to 'timerStart' %(function expected, got nil%)")
        assert.error_matches(function() sys.timerLoopStart("f", 1) end,
            "bad argument #1 to 'timerLoopStart'")
        assert.error_matches(function() sys.timerStart(note, "x") end,
            "bad argument #2 to 'timerStart' %(milliseconds expected, got string%)")
        assert.error_matches(function() sys.timerLoopStart(note, nil) end,
            "bad argument #2 to 'timerLoopStart'")
        sys.run()
    end)

    describe("that loops", function()
        local function stop_after(ms, fn, ...)
            sys.timerStart(sys.timerStop, ms, fn, ...)
        end

        it("fires until it is stopped", function()
            sys.timerLoopStart(note, 10, "x")
            stop_after(45, note, "x")
            sys.run()
            assert.same({ { 10, "x" }, { 20, "x" }, { 30, "x" }, { 40, "x" } }, got)
        end)

        it("does not drift when its callback takes time", function()
            local function slow()
                note()
                core.now = core.now + 4
            end
            sys.timerLoopStart(slow, 10)
            stop_after(10005, slow)
            sys.run()
            assert.equal(1000, #got)
            assert.is_true(math.abs(got[1000][1] - 10000) <= 1)
        end)

        it("fires once for the beats that it missed, then on time again", function()
            local first = true
            local function stalled()
                note()
                if first then
                    first = false
                    core.now = core.now + 35
                end
            end
            sys.timerLoopStart(stalled, 10)
            stop_after(75, stalled)
            sys.run()
            assert.same({ { 10 }, { 45 }, { 50 }, { 60 }, { 70 } }, got)
        end)

        it("goes on when its callback fails", function()
            local function bad()
                note()
                error("every time")
            end
            sys.timerLoopStart(bad, 10)
            stop_after(35, bad)
            sys.run()
            assert.equal(3, #got)
        end)

        it("is active inside its callback, and can stop itself there", function()
            local id, active
            id = sys.timerLoopStart(function()
                note()
                active = sys.timerIsActive(id)
                sys.timerStop(id)
            end, 10)
            sys.run()
            assert.equal(1, #got)
            assert.is_true(active)
        end)

        it("survives a tick counter that starts over", function()
            local tick = rtos.tick
            rtos.tick = function() return tick() % 600 end -- every 36 ms
            sys.timerLoopStart(note, 10)
            stop_after(1005, note)
            sys.run()
            assert.is_true(#got >= 95 and #got <= 101, #got .. " beats")
        end)
    end)
end)
