-- CMakeLists.txt, for those who configure it themselves, use it in a project of theirs or install
-- what it builds.
-- SPDX-License-Identifier: MIT
local commands = require "test.support.commands"
local quoted, shell, must, write = commands.quoted, commands.shell, commands.must, commands.write

local root, build = os.getenv "SC_ROOT", os.getenv "SC_BUILD"

describe("CMakeLists.txt", function()
    if os.getenv "SC_SUITE" ~= "release" then
        return
    end

    local place

    -- The sources of lwIP and mbedTLS that the modules under test were built from.
    local function trees()
        local lines = must("grep -E '^(LWIP|MBEDTLS)_DIR:' " .. quoted(build .. "/CMakeCache.txt"))
        return (lines:gsub("([^\n]+)\n?", function(line) return quoted("-D" .. line) .. " " end))
    end

    setup(function()
        place = must "mktemp -d"
    end)
    teardown(function()
        must("rm -rf " .. quoted(place))
    end)

    describe("an option of config", function()
        local function configure(arguments)
            return shell(("cmake -G Ninja -S %s -B %s -DSOCKETCORE_TESTS=OFF %s %s"):format(
                quoted(root), quoted(place .. "/options"), trees(), arguments))
        end

        local function names()
            require "socketcore"
            local list = {}
            for name in pairs(socketcore.config()) do
                list[#list + 1] = "SC_DEFAULT_" .. name:upper()
            end
            return list
        end

        it("reaches the compiler, each of them", function()
            local arguments = ""
            for i, name in ipairs(names()) do
                arguments = arguments .. (" -D%s=%d"):format(name, 2000 + i)
            end
            local output, status = configure(arguments)
            assert.equal(0, status, output)
            assert.falsy(output:find("not used", 1, true), output)
            local file = assert(io.open(place .. "/options/build.ninja"))
            local text = file:read "*a"
            file:close()
            local command = text:match "\nbuild [^\n]*src/api%.c%.o:[^\n]*\n(.-)\n\n"
            for i, name in ipairs(names()) do
                assert.truthy((command .. " "):find(("-D%s=%d "):format(name, 2000 + i), 1, true),
                    name)
            end
        end)

        it("is refused where it is out of range or no number", function()
            local good = "" -- the value before is in the cache
            for _, name in ipairs(names()) do
                for _, bad in ipairs(name:find "MAX_SOCKETS" and { "65536", "much" }
                    or { "2147483648" }) do
                    local output, status = configure(("%s -D%s=%s"):format(good, name, bad))
                    assert.equal(1, status, output)
                    local text = ("%s=%s must be a whole number"):format(name, bad)
                    assert.truthy(output:gsub("%s+", " "):find(text, 1, true), output)
                    good = ("-D%s=2000"):format(name)
                end
            end
        end)
    end)

    it("is part of another project, to which it brings its modules and nothing else", function()
        write(place .. "/CMakeLists.txt", ([[
            cmake_minimum_required(VERSION 3.25)
            project(firmware LANGUAGES C)
            foreach(name lwip mbedtls lua bench peer)
                add_custom_target(${name})
            endforeach()
            add_subdirectory("%s" part)
        ]]):format(root))
        must(("cmake -G Ninja -S %s -B %s %s"):format(quoted(place), quoted(place .. "/whole"),
            trees()))
        local targets = must("cmake --build " .. quoted(place .. "/whole") .. " --target help")
        for _, name in ipairs { "socketcore", "rtos" } do
            assert.truthy(targets:find("\n" .. name .. ": ", 1, true), name)
        end
        for _, name in ipairs { "test", "states", "test_timer", "ssl_server2", "instructions" } do
            assert.falsy(targets:find("\n" .. name .. ": ", 1, true), name)
        end
    end)

    describe("cmake --install", function()
        local function lua(text)
            return shell(("LUA_PATH='%s/share/lua/5.1/?.lua;;' LUA_CPATH='%s/lib/lua/5.1/?.so;;' "
                .. "lua5.1 -e %s"):format(place, place, quoted(text)))
        end

        setup(function()
            must(("cmake --install %s --prefix %s"):format(quoted(build), quoted(place)))
            must(("test -f %s/lib/lua/5.1/rtos.so"):format(place))
        end)

        it("leaves other packages' modules as they are", function()
            assert.equal("table", (lua 'print(type(require "socket.http"))'))
            for _, name in ipairs { "sys", "log", "link" } do
                assert.equal("false", (lua(("print(pcall(require, '%s'))"):format(name))
                    :match "^%w+"))
            end
        end)

        it("brings modules and Lua files that work together", function()
            assert.equal("table table", (lua(([[
                package.path = "%s/share/socketcore/lua/?.lua;" .. package.path
                require "rtos"
                require "socketcore"
                require "socket"
                print(type(socketcore), type(socket))
            ]]):format(place)):gsub("\t", " ")))
        end)
    end)

    it("has its debugging information beside the modules, not in them", function()
        for _, name in ipairs { "socketcore.so", "rtos.so" } do
            local file = quoted(build .. "/" .. name)
            assert.falsy(must("readelf -SW " .. file):find(".debug_info", 1, true))
            assert.truthy(must("readelf -SW " .. file):find(".gnu_debuglink", 1, true))
            assert.truthy(must("readelf -SW " .. quoted(build .. "/" .. name .. ".debug"))
                :find(".debug_info", 1, true))
        end
    end)
end)
