-- Memory or descriptors that run out, at whatever allocation and step: each outcome is a result or
-- a Lua error, the process stays alive, and everything works again when they are back. Each attempt
-- is a process of its own, because what is made once is made at the first use.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"
local pki = require "test.support.pki"
local tls = require "test.support.tls_server"

if h.sanitized then
    pending "the sanitizers have an allocator of their own"
    return
end

local build = os.getenv "SC_BUILD"

-- What each script begins with. `outcomes(list)` opens what the list has, waits until each has its
-- CONN_CNF and returns them as text; "ok" for a connection.
local PRELUDE = ([[
    package.cpath = %q .. "/test/?.so;" .. package.cpath
    local PORT, UDP_PORT, TLS_PORT, HOST = %%d, %%d, %%d, %%q
    local faults = require "faults"
    local kinds = {
        tcp = { 0, "127.0.0.1", PORT },
        udp = { 1, "127.0.0.1", UDP_PORT },
        name = { 0, "localhost", PORT },
        host = { 0, HOST, PORT },
        tls = { 2, "127.0.0.1", TLS_PORT, {} },
    }
    local function load()
        require "rtos"
        require "socketcore"
        -- What a connection waits for when memory is out is tried again until then.
        socketcore.config { connect_timeout_ms = 1500 }
    end
    local function outcomes(list)
        local texts, waits = {}, {}
        for i, kind in ipairs(list) do
            local id, err, reason = socketcore.sock_conn(unpack(kinds[kind], 1, 4))
            if id then
                waits[id] = i
            else
                texts[i] = ("%%%%s: sock_conn %%%%d %%%%s"):format(kind, err, reason)
            end
        end
        while next(waits) do
            local m = rtos.receive(10000)
            if type(m) ~= "table" then
                return "no CONN_CNF came"
            end
            local i = waits[m.socket_index]
            if i and m.id == rtos.MSG_SOCK_CONN_CNF then
                texts[i] = m.result == 0 and list[i] .. ": ok"
                    or ("%%%%s: %%%%d %%%%s"):format(list[i], m.error, m.reason)
                waits[m.socket_index] = nil
                socketcore.sock_close(m.socket_index)
            end
        end
        return table.concat(texts, "\n") .. "\n"
    end
    unpack = unpack or table.unpack
]]):format(build)

describe("without memory or descriptors", function()
    local server, prelude

    setup(function()
        tls.begin_file()
        server = tls.peer { cert = pki.server(), keep = true }
        prelude = PRELUDE:format(h.port.echo, h.port.udp_echo, server.port,
            h.netns and "one.test" or "localhost")
    end)
    before_each(h.begin)
    after_each(h.finish)
    teardown(tls.finish_file)

    local function run(script, number, limits)
        local file = h.file(prelude .. script)
        local command = (limits or "") .. (' SOCKETCORE_LOG=error LD_PRELOAD=%s timeout -k 1 60 '
            .. '%s %s %d 2>&1; echo " exit $?"'):format(h.preload "faults.so",
            h.interpreter, file, number)
        local out = assert(io.popen(command))
        local text, status = out:read("*a"):match "^(.*) exit (%d+)%s*$"
        out:close()
        assert(status == "0", ("%d: exit status %s\n%s"):format(number, status, text))
        return text
    end

    -- The lines of what `outcomes` returned: each a connection, or told as memory.
    local function check_lines(text, number)
        for line in text:gmatch "[^\n]+" do
            local fine = line:find ": ok$" or line:find ": 1 " or line:find ": sock_conn 1 "
            assert(fine, ("%d: %s"):format(number, line))
        end
    end

    it("the modules do not load, with that reason, and load later", function()
        for _, bytes in ipairs { 0, 5000, 25000, 40000, 70000, 200000, 450000, 700000 } do
            local text = run([[
                -- GLib allocates while it is loaded, before anything of ours could refuse.
                package.loadlib("libslirp.so.0", "*")
                faults.budget(tonumber(arg[1]))
                local is_loaded, why = pcall(load)
                faults.off()
                if is_loaded then
                    print "loaded"
                else
                    print(why)
                end
                load()
                io.write("after: ", outcomes { "tcp", "tls" })
            ]], bytes)
            assert.matches("after: tcp: ok\ntls: ok", text)
            assert(text:find "memory" or text:find "not found" or text:find "error loading", text)
            assert.is_nil(text:find "^loaded", text)
        end
    end)

    it("the first connections of a process have a result, at each allocation", function()
        for n = 1, 46 do
            local text = run([[
                load()
                faults.fail_from(tonumber(arg[1]))
                local now = outcomes { "tcp", "udp", "name" }
                faults.off()
                io.write(now, "after: ", outcomes { "tcp", "udp", "name", "tls" })
            ]], n)
            local now, after = text:match "^(.*)after: (.*)$"
            check_lines(now, n)
            assert.equal("tcp: ok\nudp: ok\nname: ok\ntls: ok\n", after)
        end
    end)

    it("a first handshake has a result, at each allocation", function()
        for n = 1, 400, 7 do
            local text = run([[
                load()
                faults.fail_from(tonumber(arg[1]))
                local now = outcomes { "tls" }
                faults.off()
                io.write(now, "after: ", outcomes { "tls" })
            ]], n)
            assert.matches("^tls: .*after: tls: ok\n$", text)
        end
    end)

    it("all that the process has may be short, whatever the size", function()
        for _, bytes in ipairs { 0, 2000, 5000, 10000, 20000, 60000, 120000, 180000, 250000 } do
            local text = run([[
                load()
                faults.budget(tonumber(arg[1]))
                local now = outcomes { "tcp", "udp", "name", "tls" }
                faults.off()
                io.write(now, "after: ", outcomes { "tcp", "udp", "name", "tls" })
            ]], bytes)
            local now, after = text:match "^(.*)after: (.*)$"
            check_lines(now:gsub("tls: [^\n]*\n", ""), bytes)
            assert.equal("tcp: ok\nudp: ok\nname: ok\ntls: ok\n", after)
        end
    end)

    -- Takes all descriptors but `arg[1]`, does `attempt`, and gives them back.
    local DESCRIPTORS = [[
        local taken = {}
        local function take_all()
            repeat
                taken[#taken + 1] = io.open "/dev/null"
            until not io.open "/dev/null"
            for _ = 1, tonumber(arg[1]) do
                table.remove(taken):close()
            end
        end
        local function give_back()
            for _, file in ipairs(taken) do
                file:close()
            end
        end
    ]]

    it("the modules do not load without descriptors, with that reason, and load later", function()
        for free = 0, 4 do
            local text = run(DESCRIPTORS .. [[
                collectgarbage "stop"
                take_all()
                local is_loaded, why = pcall(load)
                print(is_loaded and "loaded" or why)
                give_back()
                load()
                rtos.sleep(1100) -- names come from files, which are looked at once a second
                io.write("after: ", outcomes { "tcp", "host", "tls" })
            ]], free, "ulimit -n 40;")
            assert.matches("after: tcp: ok\nhost: ok\ntls: ok\n$", text)
            assert(text:find "^loaded" or text:find "not found" or text:find "too many open files",
                text)
        end
    end)

    it("connections without descriptors have a result at once", function()
        for free = 0, 4 do
            local text = run(DESCRIPTORS .. [[
                load()
                take_all()
                local now = outcomes { "tcp", "tls", "name", "tcp", "tls" }
                give_back()
                io.write(now, "after: ", outcomes { "tcp", "name", "tls" })
            ]], free, "ulimit -n 40;")
            local now, after = text:match "^(.*)after: (.*)$"
            check_lines(now, free)
            local failed = select(2, now:gsub(": 1 connect: no socket is left", ""))
            -- A connection that is closed gives back what the next one takes.
            assert(free > 0 or failed == 5, text)
            assert.equal("tcp: ok\nname: ok\ntls: ok\n", after)
        end
    end)
end)
