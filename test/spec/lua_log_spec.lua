-- log: levels and lines.
-- SPDX-License-Identifier: MIT
package.path = "lua/?.lua;test/support/?.lua;" .. package.path
local fake = require "fake_core"

describe("log", function()
    local core, log
    local NAMES = { "trace", "debug", "info", "warn", "error", "fatal" }

    before_each(function()
        core = fake.install()
        log = _G.log
        core.lines = {}
    end)

    after_each(function()
        core:remove()
    end)

    it("prints one line a call: time, level, tag, values", function()
        core.now = 1500
        log.warn("sensor", "too hot", 71.5, nil, true)
        assert.equal(1, #core.lines)
        assert.matches("^%[%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d 1%.500%] %[W%]%-%[sensor%]\t"
            .. "too hot\t71.5\tnil\ttrue$", core.lines[1])
    end)

    it("has a letter for each level", function()
        for _, name in ipairs(NAMES) do
            log[name]("t")
        end
        local letters = {}
        for i, line in ipairs(core.lines) do
            letters[i] = line:match("%[(%u)%]%-%[t%]")
        end
        assert.same({ "T", "D", "I", "W", "E", "F" }, letters)
    end)

    local function printed_with(set)
        core.lines = {}
        set()
        for _, name in ipairs(NAMES) do
            log[name]("t", name)
        end
        return #core.lines
    end

    it("obeys the global LOG_LEVEL of firmware scripts", function()
        assert.equal(6, printed_with(function() _G.LOG_LEVEL = log.LOGLEVEL_TRACE end))
        assert.equal(3, printed_with(function() _G.LOG_LEVEL = log.LOGLEVEL_WARN end))
        assert.equal(1, printed_with(function() _G.LOG_LEVEL = log.LOGLEVEL_FATAL end))
        assert.equal(0, printed_with(function() _G.LOG_LEVEL = log.LOG_SILENT end))
        assert.equal(4, printed_with(function() _G.LOG_LEVEL = nil end))
    end)

    it("obeys setLevel, by number and by name", function()
        assert.equal(2, printed_with(function() log.setLevel(log.LOGLEVEL_ERROR) end))
        assert.equal(5, printed_with(function() log.setLevel("debug") end))
        assert.equal(0, printed_with(function() log.setLevel("silent") end))
        assert.error_matches(function() log.setLevel("loud") end, "no such level: loud")
        assert.error_matches(function() log.setLevel() end, "no such level: nil")
    end)

    it("takes anything as tag and values", function()
        log.info(nil)
        log.info({}, setmetatable({}, { __tostring = function() return "shown" end }))
        assert.matches("%[nil%]$", core.lines[1])
        assert.matches("shown$", core.lines[2])
    end)
end)
