-- Loading the modules: what fails changes nothing, and can be tried again.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

describe("require of socketcore and rtos", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- Lua 5.1 remembers that a module has failed: so package.loaded is cleared before an attempt.
    local PREAMBLE = [[
        package.cpath = os.getenv "SC_BUILD" .. "/test/?.so;" .. package.cpath
        local function try(name)
            package.loaded[name] = nil
            return pcall(require, name)
        end
        local function works()
            assert(socketcore.sock_close(3) == 1)
            local m = rtos.receive(1000)
            return m.socket_index == 3 and m.id == rtos.MSG_SOCK_CLOSE_CNF and m.result == 0
        end
    ]]

    local function run(script, environment)
        local out = assert(io.popen(("%s timeout 30 %s %s 2>&1; echo status $?"):format(
            environment or "", h.interpreter, h.file(PREAMBLE .. script))))
        local printed = out:read "*a"
        out:close()
        return printed
    end

    it("in a second Lua state is refused, and the first one notices nothing", function()
        assert.equal("good\nstatus 0\n", run [[
            require "socketcore" require "rtos"
            local states = require "lua_memory"
            for _ = 1, 2 do
                for _, name in ipairs { "socketcore", "rtos" } do
                    local ok, reason = states.run_in_new_state(
                        -- Its references differ from the first one's.
                        "local r = debug.getregistry() for _ = 1, 20 do r[#r + 1] = true end\n" ..
                        "local ok, reason = pcall(require, '" .. name .. "')\n" ..
                        "assert(not ok and _G['" .. name .. "'] == nil)\n" ..
                        "error(reason, 0)")
                    assert(not ok and reason:find "another Lua state of this process", reason)
                end
                assert(works())
            end
            print "good"
        ]])
    end)

    it("is refused where the network cannot be started, again and again", function()
        local printed = run([[
            for _ = 1, 3 do
                local ok, reason = try "socketcore"
                assert(not ok and reason:find "does not start", reason)
                assert(rawget(_G, "socketcore") == nil)
            end
            print "good"
        ]], "SOCKETCORE_LOG=error SOCKETCORE_LINK=tap:nothere")
        assert.matches("good\nstatus 0\n$", printed)
    end)

    it("fails with the globals' metatable, and works without it", function()
        assert.equal("good\nstatus 0\n", run [[
            for _, name in ipairs { "socketcore", "rtos" } do
                setmetatable(_G, { __newindex = function() error "no new globals" end })
                local ok, reason = try(name)
                assert(not ok and reason:find "no new globals", reason)
                setmetatable(_G, nil)
                assert(require "lua_memory".run_in_new_state("require '" .. name .. "'"))
                assert(try(name))
            end
            assert(works())
            print "good"
        ]])
    end)

    it("may be called again while it runs", function()
        assert.equal("good\nstatus 0\n", run [[
            for _, name in ipairs { "socketcore", "rtos" } do
                local open = package.loadlib(os.getenv "SC_BUILD" .. "/" .. name .. ".so",
                    "luaopen_" .. name)
                local inner
                setmetatable(_G, { __newindex = function(t, key, value)
                    rawset(t, key, value)
                    inner = inner or open()
                end })
                local outer = open()
                setmetatable(_G, nil)
                assert(outer == inner and outer == rawget(_G, name) and outer == open())
                package.loaded[name] = outer
                collectgarbage()
                collectgarbage()
            end
            assert(works())
            print "good"
        ]])
    end)
end)
