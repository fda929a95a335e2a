-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local sc = h.sc

describe("socketcore.config", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    local DEFAULTS = { close_grace_ms = 500, connect_timeout_ms = 30000, linger_ms = 5000,
        max_sockets = 1000, recv_buffer = 262144, recv_ind_max = 2048, send_buffer = 1048576 }

    it("returns all options with their defaults", function()
        -- In a process of its own: others may have set some.
        local printed = h.run_lua [[
            require "socketcore"
            for name, value in pairs(socketcore.config()) do
                print(("%s=%d"):format(name, value))
            end
        ]]
        for name, value in pairs(DEFAULTS) do
            assert.truthy(("\n" .. printed):find(("\n%s=%d\n"):format(name, value), 1, true), name)
        end
    end)

    it("sets what is given, leaves the rest, and returns all", function()
        local before = sc.config()
        local after = sc.config { linger_ms = 1234 }
        assert.equal(1234, after.linger_ms)
        assert.equal(1234, sc.config().linger_ms)
        after.linger_ms = before.linger_ms
        assert.same(before, after)
    end)

    it("sets each of the options", function()
        for name, value in pairs(DEFAULTS) do
            if name ~= "max_sockets" then
                assert.equal(value + 1, sc.config { [name] = value + 1 }[name])
                assert.equal(value + 1, sc.config()[name])
                sc.config { [name] = value }
            end
        end
    end)

    it("is an error with an unknown name, which it says, and changes nothing", function()
        local before = sc.config()
        local ok, message = pcall(sc.config, { linger_ms = 77, close_grace_ms = 78, lingerms = 1 })
        assert.is_false(ok)
        assert.matches("lingerms", message)
        assert.same(before, sc.config())
    end)

    it("is an error with a bad value, whose name it says, and changes nothing", function()
        local before = sc.config()
        for name in pairs(before) do
            for _, value in ipairs { -1, 0.5, 0 / 0, 2 ^ 53, "much", true } do
                local ok, message = pcall(sc.config, { linger_ms = 77, [name] = value })
                assert.is_false(ok, name .. " = " .. tostring(value))
                assert.matches(name, message)
                assert.same(before, sc.config())
            end
        end
        for _, name in ipairs { "max_sockets", "recv_ind_max", "send_buffer", "recv_buffer" } do
            assert.is_false((pcall(sc.config, { [name] = 0 })), name .. " = 0")
        end
        assert.same(before, sc.config())
    end)

    it("is an error with a key that is no name", function()
        assert.is_false((pcall(sc.config, { 5 })))
        assert.is_false((pcall(sc.config, { [true] = 5 })))
    end)

    it("lets max_sockets grow only", function()
        local before = sc.config().max_sockets
        assert.is_false((pcall(sc.config, { max_sockets = before - 1 })))
        assert.equal(before, sc.config().max_sockets)
        assert.equal(before + 5, sc.config { max_sockets = before + 5 }.max_sockets)
        assert.equal(1, sc.sock_close(before + 4))
        h.wait_for(before + 4, h.CLOSE_CNF)
        assert.equal(1, #h.take_stray())
        assert.equal(0, sc.sock_close(before + 5))
        h.note_memory()
    end)

    it("keeps open sockets when max_sockets grows", function()
        local still_works = h.bystander()
        sc.config { max_sockets = sc.config().max_sockets + 1 }
        still_works()
        h.finish()
        h.note_memory()
    end)

    it("takes an empty table", function()
        assert.same(sc.config(), sc.config {})
    end)

    it("stands beside a version", function()
        assert.matches("%d+%.%d+", sc._VERSION)
    end)
end)
