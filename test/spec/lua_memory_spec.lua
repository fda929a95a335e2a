-- Lua memory that runs out at any allocation of any function: a Lua error, nothing is lost, and the
-- same call works afterwards. Each allocation fails in turn, alone and with all that follow.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

if rawget(_G, "jit") then
    pending "LuaJIT has an allocator of its own, which cannot be made to fail"
    return
end

-- What each script begins with. They run in processes of their own, because a failed allocation in
-- busted would end the test.
local PREAMBLE = ([[
    package.cpath = os.getenv "SC_BUILD" .. "/test/?.so;" .. package.cpath
    local memory = require "lua_memory"
    local unpack = table.unpack or unpack
    local PORT = { echo = %d, script = %d, refused = %d, closer = %d, udp = %d }
    local faults = 0 -- Lua 5.4 collects garbage and tries again: not each one is an error

    -- f(...) with the n-th allocation failing.
    local function attempt(n, sticky, f, ...)
        local result = { memory.fail(n, sticky, f, ...) }
        faults = faults + (result[1] and 1 or 0)
        return unpack(result, 1, 12)
    end

    -- Calls f(...) until none of its allocations fails: the first, the second, ... does. `check(ok,
    -- ...)` is called after each with what f returned or raised. Returns what f returned last.
    local function try_each(sticky, f, check, ...)
        local n = 0
        while true do
            local result = { attempt(n, sticky, f, ...) }
            if not result[2] then
                assert(result[1], result[3])
                assert(tostring(result[3]):find("memory", 1, true), result[3])
            end
            if check then
                check(unpack(result, 2, 12))
            end
            if not result[1] then
                return unpack(result, 3, 12)
            end
            n = n + 1
            assert(n < 1000, "it never succeeds")
        end
    end

    local MODES = { false, true }
]]):format(h.port.echo, h.port.script, h.port.refused, h.port.closer, h.port.udp_echo)

local MODULES = [[
    require "rtos"
    require "socketcore"
    local sc = socketcore
    local NAMES = {}
    for _, name in ipairs { "CONN_CNF", "SEND_CNF", "RECV_IND", "CLOSE_IND", "CLOSE_CNF" } do
        NAMES[rtos["MSG_SOCK_" .. name] ] = name
    end

    -- The next message; each allocation on the way to it fails once.
    local function next_message(sticky, name)
        local n = 0
        while true do
            local _, ok, m, timer = attempt(n, sticky, rtos.receive, 5000)
            if ok and type(m) == "table" then
                assert(NAMES[m.id] == name, NAMES[m.id] .. " instead of " .. name)
                return m
            end
            if ok then
                assert(m == rtos.MSG_TIMER and name == "timer", "nothing came for " .. name)
                return { timer = timer }
            end
            n = n + 1
            assert(n < 100, "it never comes")
        end
    end
]]

describe("Lua memory that runs out", function()
    before_each(h.begin)
    after_each(h.finish)
    teardown(h.finish_file)

    -- The script's checks hold, and some allocations have failed.
    local function run(script)
        local printed, status = h.run_lua(PREAMBLE .. script .. " print('faults', faults > 0)", 60)
        assert.equal("faults\ttrue\n", printed)
        assert.equal(0, status)
    end

    it("in rtos.receive loses no message", function()
        run(MODULES .. [[
            for round = 1, 4 do
            for _, sticky in ipairs(MODES) do
                local id = assert(sc.sock_conn(0, "127.0.0.1", PORT.script))
                local m = next_message(sticky, "CONN_CNF")
                assert(m.socket_index == id and m.result == 0 and m.error == nil)
                local line = "t" .. round .. tostring(sticky) .. " send:5 close\n"
                assert(sc.sock_send(id, line) == 1)
                assert(sc.sock_send(id, ("x"):rep(2000000)) == 0)
                m = next_message(sticky, "SEND_CNF")
                assert(m.result == 0 and m.send_len == #line)
                repeat rtos.sleep(5) until sc.sock_info(id).bytes_in == 5
                -- RECV_IND and SEND_CNF take turns.
                m = next_message(sticky, "RECV_IND")
                assert(m.recv_len == 5 and #sc.sock_recv(id, 5) == 5)
                m = next_message(sticky, "SEND_CNF")
                assert(m.result == 1 and m.send_len == 2000000)
                assert(m.error == sc.ERR_ENOBUFS and m.reason:find "buffer is full")
                sc.config { close_grace_ms = 0 }
                m = next_message(sticky, "CLOSE_IND")
                assert(m.error == sc.ERR_ECLSD and m.reason)
                assert(sc.sock_close(id) == 1)
                next_message(sticky, "CLOSE_CNF")
                assert(sc.sock_destroy(id) == 1)

                id = assert(sc.sock_conn(0, "127.0.0.1", PORT.refused))
                m = next_message(sticky, "CONN_CNF")
                assert(m.result == 1 and m.reason:find "refused")
                assert(sc.sock_close(id) == 1)
                next_message(sticky, "CLOSE_CNF")
                assert(sc.sock_destroy(id) == 1)

                assert(sc.sock_close(700) == 1)
                assert(next_message(sticky, "CLOSE_CNF").socket_index == 700)
                rtos.timer_start(round, 1)
                assert(next_message(sticky, "timer").timer == round)
                assert(sc.totals().sockets == 0)
                assert(rtos.receive(0) == rtos.WAIT_MSG_TIMEOUT)
                assert(rtos.idle())
            end
            end
        ]])
    end)

    it("in rtos.receive leaves a message that rtos.idle knows of", function()
        run(MODULES .. [[
            assert(sc.sock_close(700) == 1)
            local _, ok = attempt(0, true, rtos.receive, 5000)
            assert(not ok, "nothing was allocated")
            assert(not rtos.idle())
            assert(rtos.receive(0).socket_index == 700)
            assert(rtos.idle())
        ]])
    end)

    it("in sock_recv loses no byte", function()
        run(MODULES .. ([[
            local pattern = (...)
            sc.config { recv_ind_max = 200000 }
            for _, sticky in ipairs(MODES) do
                local id = assert(sc.sock_conn(0, "127.0.0.1", PORT.script))
                next_message(sticky, "CONN_CNF")
                assert(sc.sock_send(id, "recv" .. tostring(sticky) .. " send:200000\n") == 1)
                local parts, length, left = {}, 1, 200000
                while left > 0 do
                    local m = rtos.receive(5000)
                    assert(type(m) == "table")
                    if m.id == rtos.MSG_SOCK_RECV_IND then
                        local data = try_each(sticky, sc.sock_recv, function(ok, got)
                            if ok then
                                parts[#parts + 1] = got
                                left = left - #got
                            end
                        end, id, length)
                        assert(data)
                        length = length * 3
                    end
                end
                local x, period = 1, {}
                for i = 1, 65521 do
                    x = (x * 171 + 11213) % 53125
                    period[i] = string.char(x % 256)
                end
                local all = table.concat(period):rep(4):sub(1, 200000)
                assert(table.concat(parts) == all, "bytes were lost")
                sc.sock_close(id)
                next_message(sticky, "CLOSE_CNF")
                assert(sc.sock_destroy(id) == 1)
            end
        ]]))
    end)

    it("in sock_conn opens no socket and keeps no memory", function()
        run(MODULES .. [[
            local function close(id)
                assert(sc.sock_close(id) == 1)
                repeat until rtos.receive(5000).id == rtos.MSG_SOCK_CLOSE_CNF
                assert(sc.sock_destroy(id) == 1)
            end
            close(assert(sc.sock_conn(2, "127.0.0.1", PORT.echo, {})))
            local number = 0
            local function cert()
                number = number + 1
                return setmetatable({ hostName = "one" }, { __index = function(_, key)
                    return key == "alpn" and { "a" .. number, "b" .. number }
                        or key == "pskIdentity" and "me" .. number or key == "psk" and "secret"
                        or nil
                end })
            end
            for _, sticky in ipairs(MODES) do
                for _, call in ipairs {
                    function() return sc.sock_conn(0, "127.0.0.1", tostring(PORT.echo), 1024) end,
                    function() return sc.sock_conn(2, "127.0.0.1", PORT.echo, cert()) end,
                    function() return sc.sock_conn(2, "127.0.0.1", PORT.echo, { caCert = "x" }) end,
                } do
                    collectgarbage()
                    local before = rtos.memory()
                    try_each(sticky, call, function(ok, id)
                        if ok and id then
                            assert(sc.totals().sockets == 1)
                            close(id)
                        end
                        assert(sc.totals().sockets == 0, "an id is lost")
                        assert(rtos.memory() <= before, "memory is lost")
                    end)
                end
            end
        ]])
    end)

    it("in sock_send sends nothing", function()
        run(MODULES .. [[
            for _, sticky in ipairs(MODES) do
                local id = assert(sc.sock_conn(0, "127.0.0.1", PORT.echo))
                next_message(sticky, "CONN_CNF")
                local number, sent = 0, 0
                try_each(sticky, function()
                    number = number + 0.12345
                    return sc.sock_send(id, number) -- which becomes a string
                end, function(ok, taken)
                    sent = sent + (ok and taken or 0)
                    assert(ok or sent == 0, "it was sent and raised an error")
                end)
                for _ = 1, sent do
                    next_message(sticky, "SEND_CNF")
                end
                sc.sock_close(id)
                next_message(sticky, "CLOSE_CNF")
                assert(sc.sock_destroy(id) == 1)
            end
        ]])
    end)

    it("in socketcore.config changes nothing", function()
        run(MODULES .. [[
            local value = 1000
            for _, sticky in ipairs(MODES) do
                try_each(sticky, function()
                    value = value + 1
                    return sc.config { linger_ms = value }
                end, function(ok, options)
                    if ok then
                        assert(options.linger_ms == value and sc.config().linger_ms == value)
                    else
                        assert(sc.config().linger_ms ~= value)
                    end
                end)
            end
        ]])
    end)

    it("in what only tells something changes nothing", function()
        run(MODULES .. [[
            local failed = assert(sc.sock_conn(0, "127.0.0.1", PORT.refused))
            next_message(false, "CONN_CNF")
            local saved = sc.tls_sessions()
            local before = rtos.memory()
            local calls = {
                function() return sc.sock_info(failed) end,
                function() return sc.sock_info(900) end,
                function() return sc.totals() end,
                function() return sc.config() end,
                function() return sc.tls_sessions() end,
                function() return sc.tls_sessions(saved) end,
                function() return sc.sock_getremainbuf(failed) end,
                function() return sc.sock_setopt(failed, 6, 3, 1) end,
                function() return sc.sock_send(failed, "x") end,
                function() return sc.sock_recv(failed, 10) end,
                function() return sc.sock_destroy(900) end,
                function() return rtos.timer_start(1, 1e6), rtos.timer_stop(1) end,
                function() return rtos.tick() end,
                function() return rtos.get_version() end,
                function() return rtos.get_build_time() end,
                function() return rtos.memory() end,
                function() return rtos.idle() end,
                function() return rtos.sleep(1) end,
                function() return rtos.set_lua_info(1.2345) end,
                function() return rtos.make_dir "/" end,
                function() return rtos.poweron_reason() end,
                function() return rtos.get_env_usage() end,
                function() return rtos.receive(0) end,
            }
            for _, sticky in ipairs(MODES) do
                for _, call in ipairs(calls) do
                    try_each(sticky, call)
                end
            end
            assert(sc.sock_info(failed).reason:find "refused")
            assert(rtos.memory() == before)
        ]])
    end)

    -- Lua 5.1's require remembers that a module has failed, so the functions behind it are called.
    for _, sticky in ipairs { "false", "true" } do
        it("in require changes nothing, sticky " .. sticky, function()
            run(([[
                local sticky = %s
                local build = os.getenv "SC_BUILD"
                local function registry_size()
                    local size = 0
                    for _ in pairs(debug.getregistry()) do
                        size = size + 1
                    end
                    return size
                end
                for _, name in ipairs { "socketcore", "rtos" } do
                    local open = assert(package.loadlib(build .. "/" .. name .. ".so",
                        "luaopen_" .. name))
                    local size
                    local module = try_each(sticky, open, function(ok)
                        if not ok then
                            assert(rawget(_G, name) == nil, "the global is set")
                            assert(memory.run_in_new_state("require '" .. name .. "'"))
                            size = size or registry_size() + 4
                            assert(registry_size() <= size, "the registry grows")
                        end
                    end)
                    assert(module == rawget(_G, name))
                    assert(module == open())
                    assert(not memory.run_in_new_state("require '" .. name .. "'"))
                end
                assert(socketcore.sock_close(3) == 1)
                assert(rtos.receive(1000).socket_index == 3)
            ]]):format(sticky))
        end)
    end
end)
