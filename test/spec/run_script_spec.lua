-- tools/run.lua, which ./dev run runs scripts with: how they end.
-- SPDX-License-Identifier: MIT
local h = require "test.support.helper"

local compile = loadstring or load

-- How this Lua names a file in its messages: of a long path only the end.
local function shown(path)
    return debug.getinfo(assert(compile("", "@" .. path)), "S").short_src
end

describe("a script that is run", function()
    before_each(h.begin)
    after_each(h.finish)

    -- Runs `text` with arguments for a shell. Returns what it printed, its exit status, its name
    -- as messages have it, and its path.
    local function run(text, arguments)
        local name = h.file(text)
        local out = assert(io.popen(("timeout -k 1 30 %s tools/run.lua %s %s 2>&1; echo status $?")
            :format(h.interpreter, name, arguments or "")))
        local printed, status = out:read("*a"):match "^(.*)status (%d+)\n$"
        out:close()
        return printed, tonumber(status), shown(name), name
    end

    local function contains(printed, ...)
        for _, text in ipairs { ... } do
            assert.is_truthy(printed:find(text, 1, true), printed)
        end
    end

    it("has rtos and socketcore, its arguments, and ends as it says", function()
        local printed, status, _, path = run([[
            assert(rtos.receive and socketcore.sock_conn and arg[-1])
            print(arg[0], #arg, arg[1], arg[2], arg[3], select("#", ...), ...)
            os.exit(42)
        ]], [[a '' 'b c']])
        assert.equal(path .. "\t3\ta\t\tb c\t3\ta\t\tb c\n", printed)
        assert.equal(42, status)
        printed, status = run "local x = ..."
        assert.equal("", printed)
        assert.equal(0, status)
    end)

    it("ends with 1 when a task failed, after all others went on", function()
        local printed, status, name = run [[
            require "sys"
            sys.taskInit(function() sys.wait(5) error("the reason") end)
            sys.taskInit(function() sys.wait(30) print("the other went on") end)
            sys.run()
            print("after sys.run")
        ]]
        assert.equal(1, status, printed)
        contains(printed, "the reason\nstack traceback:", "the other went on\n", "after sys.run\n",
            "exit status 1: 1 error, the first: " .. name .. ":2: the reason")
    end)

    it("ends with 1 also when a timer's function failed and another task ends it well", function()
        for _, good_end in ipairs { "os.exit()", "os.exit(0)", "rtos.poweroff()" } do
            local printed, status = run(([[
                require "sys"
                sys.timerStart(function() error("the reason") end, 5)
                sys.taskInit(function() sys.wait(30) %s end)
                sys.run()
            ]]):format(good_end))
            assert.equal(1, status, printed)
            contains(printed, "exit status 1: 1 error, the first: ")
        end
        local _, status = run [[
            require "sys"
            sys.taskInit(error)
            os.exit(7)
        ]]
        assert.equal(7, status)
    end)

    it("ends with 0 when sys.onError has dealt with the error", function()
        local printed, status = run [[
            require "sys"
            sys.onError(function(message) print("dealt with", message) end)
            sys.taskInit(function() error("the reason", 0) end)
            sys.run()
        ]]
        assert.equal("dealt with\tthe reason\n", printed)
        assert.equal(0, status)
    end)

    it("ends with 3 when nothing can wake its tasks, and says which", function()
        local printed, status, name = run [[
            require "sys"
            sys.taskInit(function()
                sys.waitUntil("BROKER_READY")
            end)
            sys.run()
            print("after sys.run")
        ]]
        assert.equal("sys.run: nothing can wake 1 task any more:\n    "
            .. "waits for topic BROKER_READY at " .. name .. ":3\nafter sys.run\n", printed)
        assert.equal(3, status)
    end)

    it("ends with 0 when it knows that its tasks wait, or they go on later", function()
        for _, rest in ipairs { "os.exit(0)", "sys.publish('LATER') sys.run()" } do
            local printed, status = run([[
                require "sys"
                sys.taskInit(function() sys.waitUntil("LATER") end)
                sys.run()
            ]] .. rest)
            contains(printed, "waits for topic LATER")
            assert.equal(0, status, printed)
        end
    end)

    it("is told when it starts tasks and never calls sys.run", function()
        local printed, status, name = run [[
            require "sys"
            sys.taskInit(function() sys.wait(5) print("never") end)
        ]]
        assert.equal("the script has ended without sys.run(), so nothing wakes its 1 task:\n"
            .. "    waits in wait at " .. name .. ":2\n", printed)
        assert.equal(3, status)
        printed, status = run "require 'sys' sys.taskInit(function() print('done') end)"
        assert.equal("done\n", printed)
        assert.equal(0, status)
    end)

    it("that fails itself ends with 1 and a traceback of its own functions", function()
        local printed, status, name = run [[
            local function breaks_here() error("the reason") end
            breaks_here()
        ]]
        assert.equal(1, status)
        assert.equal(1, (printed:find(name .. ":1: the reason\nstack trace", 1, true)), printed)
        contains(printed, "breaks_here", name .. ":2: in main chunk")
        assert.is_nil(printed:find("run.lua", 1, true), printed)
        printed, status = run "error({})"
        assert.equal(1, status)
        assert.matches("^table: ", printed)
        local path
        printed, status, name, path = run "this is no Lua"
        assert.equal(1, status)
        local _, message = compile("this is no Lua", "@" .. path)
        assert.is_truthy(message:find(name:sub(-20) .. ":1:", 1, true), message)
        assert.equal(1, (printed:find(message, 1, true)), printed)
    end)

    it("may bring a sys of its own", function()
        local directory = h.directory()
        h.write_file(directory .. "/sys.lua", [[
            local sys = {}
            function sys.taskInit(fn)
                local co = coroutine.create(fn)
                coroutine.resume(co)
                return co
            end
            function sys.run()
                while true do
                    local id, timer = rtos.receive(rtos.INF_TIMEOUT)
                    if id == rtos.MSG_TIMER then coroutine.resume(sys.waiting_task, timer) end
                end
            end
            _G.sys = sys
        ]])
        h.write_file(directory .. "/main.lua", [[
            package.path = arg[1] .. "/?.lua;" .. package.path
            require "sys"
            sys.waiting_task = sys.taskInit(function()
                rtos.timer_start(1, 10)
                print("timer", coroutine.yield())
                os.exit(5)
            end)
            sys.run()
        ]])
        local printed, status = run(('dofile "%s/main.lua"'):format(directory), directory)
        os.remove(directory .. "/sys.lua")
        os.remove(directory .. "/main.lua")
        os.remove(directory)
        assert.equal("timer\t1\n", printed)
        assert.equal(5, status)
    end)
end)

describe("Ctrl-C", function()
    if os.getenv "SC_SUITE" == "tsan" then
        pending "ThreadSanitizer holds a signal back until the program calls libc"
        return
    end

    before_each(h.begin)
    after_each(h.finish)

    -- Runs a script, sends SIGINT `times` times once it says that it is ready. Returns what it
    -- printed, its exit status (a shell's: 130 also for one that the signal has killed), its name.
    local function interrupt(text, times)
        local script, log = h.file('io.stdout:setvbuf("no")\n' .. text), h.file ""
        local command = [[env --default-signal=INT %s tools/run.lua %s >%s 2>&1 & child=$!
            until grep -q ready %s; do sleep 0.02; done
            for i in %s; do sleep 0.1; kill -INT $child; done 2>/dev/null
            (sleep 20; kill -KILL $child 2>/dev/null) >/dev/null & killer=$!
            wait $child; status=$?; kill $killer 2>/dev/null; echo $status]]
        local out = assert(io.popen(command:format(h.interpreter, script, log, log,
            ("1 "):rep(times or 1))))
        local status = tonumber(out:read "*l")
        out:close()
        return h.slurp(log), status, shown(script)
    end

    local function ends(line, text)
        local printed, status, name = interrupt(text)
        assert.equal(130, status, printed)
        if jit and printed:find("no traceback", 1, true) then
            return printed -- a loop that LuaJIT has compiled reaches no hook
        end
        assert.is_truthy(printed:find("interrupted\nstack traceback:\n", 1, true), printed)
        -- LuaJIT leaves a loop that it has compiled before it runs the hook.
        local place = name .. ":" .. (jit and "" or line .. ":")
        assert.is_truthy(printed:find(place, 1, true), printed)
        assert.is_nil(printed:find("run.lua", 1, true), printed)
        return printed
    end

    it("ends a task that loops, with a traceback of where", function()
        ends(4, [[
            require "sys"
            sys.taskInit(function() print "ready"
                while true do end
            end)
            sys.run()]])
    end)

    it("ends a task that loops after it waited, beside others", function()
        ends(6, [[
            require "sys"
            for _ = 1, 3 do sys.taskInit(function() while true do sys.wait(1) end end) end
            sys.taskInit(function()
                for _ = 1, 20 do sys.wait(2) end print "ready"
                while true do end
            end)
            sys.run()]])
    end)

    it("ends a loop that catches errors", function()
        ends(3, [[
            require "sys" local function f()
                for _ = 1, 1e9 do end
            end
            sys.taskInit(function() print "ready"
                while true do pcall(f) xpcall(f, f) end
            end)]])
    end)

    it("ends a loop in coroutines of a task", function()
        ends(3, [[
            require "sys" local function loop()
                while true do end
            end
            sys.taskInit(function()
                for x in coroutine.wrap(function()
                    coroutine.resume(coroutine.create(function() coroutine.yield() end))
                    print(pcall(coroutine.wrap(function() error "x" end)))
                    print(coroutine.resume(coroutine.create(function() error "y" end)))
                    print "ready"
                    loop()
                end) do print(x) end
            end)]])
    end)

    it("ends a loop that switches between coroutines", function()
        local printed, status = interrupt [[
            local co = coroutine.create(function() while true do coroutine.yield() end end)
            local step = coroutine.wrap(function() while true do coroutine.yield() end end)
            print "ready"
            while true do coroutine.resume(co) step() end]]
        assert.equal(130, status, printed)
        assert.is_truthy(printed:find("interrupted", 1, true), printed)
    end)

    it("ends the main chunk", function()
        ends(3, [[
            print "ready"
            while true do end]])
    end)

    it("ends a wait, and says what the tasks wait for", function()
        local printed = ends(5, [[
            require "sys"
            sys.taskInit(function() print "ready"
                sys.wait(1e9) end)
            sys.run()]])
        assert.is_truthy(printed:find("tasks:\n    waits in wait at ", 1, true), printed)
    end)

    it("ends a wait of a task that takes messages itself", function()
        ends(2, [[
            coroutine.resume(coroutine.create(function() print "ready" rtos.receive(-1) end))]])
    end)

    it("ends rtos.sleep", function()
        ends(2, [[
            coroutine.wrap(function() print "ready" rtos.sleep(1e9) end)()]])
    end)

    it("ends a loop that a C function calls", function()
        ends(3, [[
            coroutine.wrap(function() print "ready"; ("x"):gsub("x", function()
                while true do end
            end) end)()]])
    end)

    it("ends a script that has a debug hook", function()
        local printed, status = interrupt [[
            coroutine.wrap(function()
                debug.sethook(function() end, "crl", 3)
                print "ready"
                while true do pcall(type, 1) end
            end)()]]
        assert.equal(130, status, printed)
        assert.is_truthy(printed:find("interrupted", 1, true), printed)
    end)

    it("ends a C function and a debug hook that do not return, after a second", function()
        for _, text in ipairs {
            'print "ready" print((("a"):rep(60):find(("a-"):rep(60) .. "b")))',
            'debug.sethook(function() print "ready" while true do end end, "l")\nprint "x"',
        } do
            local printed, status = interrupt(text)
            assert.equal(130, status, printed)
            assert.is_truthy(printed:find("no traceback", 1, true), printed)
        end
    end)

    it("ends a script whose command it has ended", function()
        local out = assert(io.popen(("%s tools/run.lua %s 2>&1; echo $?"):format(h.interpreter,
            h.file 'while true do os.execute("kill -INT $$") end')))
        local printed = out:read "*a"
        out:close()
        assert.matches("^interrupted\n", printed)
        assert.matches("\n130\n$", printed)
    end)

    it("twice ends it at once", function()
        local printed, status = interrupt(
            'print "ready" print((("a"):rep(60):find(("a-"):rep(60) .. "b")))', 2)
        assert.equal(130, status, printed)
        assert.is_nil(printed:find("no traceback", 1, true), printed)
    end)

    it("leaves what coroutines do as it is", function()
        local text = [[
            local function show(...) io.write(select("#", ...), " ") print(...) end
            local resume, yield, wrap = coroutine.resume, coroutine.yield, coroutine.wrap
            local co = coroutine.create(function(...) show(...) show(yield(1, nil)) return 2 end)
            show(resume(co, "a", nil)) show(resume(co, nil)) show(resume(co))
            show((pcall(resume))) show((pcall(resume, 1))) show((pcall(wrap)))
            local next_one = wrap(function(...) show(...) show(yield(3)) error("e") end)
            show(next_one("b", nil)) show(pcall(function() next_one() end)) show(pcall(next_one))
            show(pcall(wrap(function() error({}, 0) end)) == false)
            show(coroutine.status(co), coroutine.running() == nil)
            local function deep(n) if n > 0 then return wrap(deep)(n - 1) end return "deep" end
            show(deep(40))
            show(resume(coroutine.create(function() return resume(co) end)))
        ]]
        local file = h.file(text)
        local function output(command)
            local out = assert(io.popen(("%s %s %s 2>&1"):format(h.interpreter, command, file)))
            local printed = out:read "*a"
            out:close()
            return printed
        end
        assert.equal(output "", output "tools/run.lua")
    end)
end)
