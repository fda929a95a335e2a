-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local rtos = h.rtos

describe("timers", function()
    before_each(h.begin)
    after_each(function()
        for id = 1, 100 do
            rtos.timer_stop(id)
        end
        h.finish()
    end)
    teardown(h.finish_file)

    -- The timers that fire until nothing comes for `silence_ms`.
    local function fired(silence_ms)
        local ids = {}
        while true do
            local message = h.next(silence_ms)
            if not message then
                return ids
            end
            ids[#ids + 1] = message.timer
        end
    end

    it("fire once, as two values, not early and not late", function()
        for _, ms in ipairs { 1, 20, 150 } do
            local start = h.now()
            assert.equal(1, rtos.timer_start(42, ms))
            local id, timer = rtos.receive(2000)
            local took = h.elapsed(start)
            assert.equal(rtos.MSG_TIMER, id)
            assert.equal(42, timer)
            assert.is_true(took >= ms - 1 and took < ms + 60, took)
        end
        h.expect_silence(100)
    end)

    it("fire in the order of their times, whatever the order of their starts", function()
        for id, ms in ipairs { 90, 30, 60, 120, 10 } do
            rtos.timer_start(id, ms)
        end
        assert.same({ 5, 2, 3, 1, 4 }, fired(200))
    end)

    it("of one time fire in the order of their starts", function()
        local want = {}
        for id = 1, 20 do
            rtos.timer_start(id, 30)
            want[id] = id
        end
        assert.same(want, fired(200))
    end)

    it("that run already start anew", function()
        rtos.timer_start(1, 50)
        rtos.timer_start(2, 100)
        rtos.timer_start(1, 150)
        assert.same({ 2, 1 }, fired(250))
        rtos.timer_start(1, 300)
        rtos.timer_start(1, 10)
        local start = h.now()
        assert.same({ 1 }, fired(400))
        assert.is_true(h.elapsed(start) < 1000)
    end)

    it("that were stopped never fire", function()
        rtos.timer_start(1, 20)
        rtos.timer_start(2, 30)
        assert.equal(1, rtos.timer_stop(1))
        assert.same({ 2 }, fired(150))
    end)

    it("that were stopped after they fired into the queue are not delivered", function()
        for id = 1, 5 do
            rtos.timer_start(id, id)
        end
        local start = h.now()
        while h.elapsed(start) < 60 do end
        assert.equal(1, h.next(0).timer) -- now all are in the queue
        assert.equal(1, rtos.timer_stop(3))
        assert.equal(1, rtos.timer_stop(4))
        assert.same({ 2, 5 }, fired(100))
    end)

    it("started anew after they fired into the queue fire at the new time only", function()
        rtos.timer_start(1, 1)
        rtos.timer_start(2, 2)
        local start = h.now()
        while h.elapsed(start) < 40 do end
        assert.equal(1, h.next(0).timer)
        local again = h.now()
        rtos.timer_start(2, 120)
        assert.equal(2, h.next(1000).timer)
        assert.is_true(h.elapsed(again) >= 115)
        h.expect_silence(50)
    end)

    it("can be stopped when they do not run", function()
        assert.equal(1, rtos.timer_stop(77))
        rtos.timer_start(1, 1)
        assert.equal(1, h.next(500).timer)
        assert.equal(1, rtos.timer_stop(1))
        assert.equal(1, rtos.timer_stop(1))
    end)

    it("can be started from the handler of the same timer", function()
        local count, start = 0, h.now()
        rtos.timer_start(9, 10)
        while count < 10 do
            assert.equal(9, h.next(500).timer)
            count = count + 1
            rtos.timer_start(9, 10)
        end
        rtos.timer_stop(9)
        assert.is_true(h.elapsed(start) >= 95)
        h.expect_silence(50)
    end)

    it("run by the thousands", function()
        local count = 10000
        local start = h.now()
        for id = 1, count do
            -- A spread that is not sorted; each time is due within 300 ms.
            assert(rtos.timer_start(id, 50 + (id * 7919) % 250) == 1)
        end
        local started_in = h.elapsed(start)
        local seen, last, early = 0, {}, 0
        while seen < count do
            local message = assert(h.next(2000), "timers are missing")
            assert(not last[message.timer], "a timer fired twice")
            last[message.timer] = true
            seen = seen + 1
            if h.elapsed(start) < 50 + (message.timer * 7919) % 250 - 1 then
                early = early + 1
            end
        end
        assert.equal(0, early)
        if not h.sanitized then
            assert.is_true(started_in < 500, started_in)
            assert.is_true(h.elapsed(start) < 2000, h.elapsed(start))
        end
        h.expect_silence(50)
    end)

    it("are stopped by the thousands", function()
        for id = 1, 10000 do
            rtos.timer_start(id, 30000 + id)
        end
        for id = 10000, 1, -1 do
            assert(rtos.timer_stop(id) == 1)
        end
        rtos.timer_start(1, 10)
        assert.same({ 1 }, fired(100))
    end)

    it("have ids up to 0x7FFFFFFF and times up to 126322567 ms", function()
        assert.equal(1, rtos.timer_start(0x7FFFFFFF, 10))
        assert.equal(0x7FFFFFFF, h.next(500).timer)
        assert.equal(1, rtos.timer_start(5, 126322567))
        assert.equal(1, rtos.timer_start(0, 5))
        assert.equal(0, h.next(500).timer)
        assert.equal(1, rtos.timer_stop(5))
    end)

    it("that cannot be kept give 0, raise nothing and leave the one that runs", function()
        rtos.timer_start(3, 40)
        for _, ms in ipairs { 126322568, 7 * 86400 * 1000, 2 ^ 31, 2 ^ 32, 2 ^ 53, 1e300,
            math.huge, -math.huge, 0 / 0, 0, -0.0, -1, -1e300, 126322567.5 } do
            assert.equal(0, rtos.timer_start(3, ms), tostring(ms))
        end
        assert.same({ 3 }, fired(200))
    end)

    it("take fractions of a millisecond as whole ones, and numbers in strings", function()
        for _, ms in ipairs { 0.001, 1.5, "2" } do
            assert.equal(1, rtos.timer_start(4, ms))
            assert.same({ 4 }, fired(50))
        end
        assert.is_false((pcall(rtos.timer_start, 4, "soon")))
        assert.is_false((pcall(rtos.timer_start, 4, {})))
        assert.is_false((pcall(rtos.timer_start, 4)))
    end)

    it("come between the messages of sockets", function()
        local id = h.open(h.TCP, "127.0.0.1", h.port.echo)
        for i = 1, 5 do
            rtos.timer_start(i, i * 20)
        end
        local timers = 0
        for i = 1, 50 do
            assert.equal(1, (h.sc.sock_send(id, ("%d "):format(i))))
        end
        local sends = 0
        while timers < 5 or sends < 50 do
            local message = h.next()
            if message.timer then
                timers = timers + 1
                assert.equal(timers, message.timer)
            elseif message.id == h.SEND_CNF then
                sends = sends + 1
            else
                h.sc.sock_recv(id, 2048)
            end
        end
    end)
end)
