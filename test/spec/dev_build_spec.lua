-- ./dev build: which options it takes, what it keeps of them, and that it says so. It works on a
-- small project with the real dev and tools.
-- SPDX-License-Identifier: MIT
local commands = require "test.support.commands"
local quoted, shell, must, write = commands.quoted, commands.shell, commands.must, commands.write

local root = os.getenv "SC_ROOT"

-- A project that needs no compiler and is built at once.
local SMALL_PROJECT = [[
cmake_minimum_required(VERSION 3.25)
project(small LANGUAGES NONE)
set(CMAKE_BUILD_TYPE "" CACHE STRING "")
set(LWIP_DIR "" CACHE PATH "")
set(MBEDTLS_DIR "" CACHE PATH "")
set(SC_DEFAULT_RECV_IND_MAX 2048 CACHE STRING "")
if(SC_DEFAULT_RECV_IND_MAX LESS 1)
    message(FATAL_ERROR "SC_DEFAULT_RECV_IND_MAX is too small")
endif()
foreach(module rtos socketcore)
    add_custom_command(OUTPUT ${module}.so
        COMMAND ${CMAKE_COMMAND} -E echo VALUE=${SC_DEFAULT_RECV_IND_MAX}
        COMMAND ${CMAKE_COMMAND} -E touch ${module}.so)
    add_custom_target(${module} DEPENDS ${module}.so)
endforeach()
]]

describe("./dev build", function()
    if os.getenv "SC_SUITE" ~= "release" then
        return
    end

    local place, project

    local function dev(arguments)
        return shell("XDG_CACHE_HOME=" .. quoted(place .. "/cache") .. " "
            .. quoted(project .. "/dev") .. " " .. arguments)
    end

    -- The value that the modules are compiled with.
    local function value()
        return must("grep -ho 'VALUE=[0-9]*' " .. quoted(project .. "/build/release/build.ninja")
            .. " | sort -u")
    end

    local function says(text, arguments, expected_status)
        local output, status = dev(arguments)
        assert.equal(expected_status or 0, status, output)
        assert.truthy(output:find(text, 1, true), output)
    end

    setup(function()
        place = must "mktemp -d"
        project = place .. "/a project"
        must("mkdir " .. quoted(project))
        must("cp -R " .. quoted(root .. "/dev") .. " " .. quoted(root .. "/tools") .. " "
            .. quoted(root .. "/CMakePresets.json") .. " " .. quoted(project))
        for tree, marker in pairs { ["lwip-2.2"] = "src/core/tcp_in.c",
            ["mbedtls-3.6"] = "library/ssl_msg.c" } do
            local file = place .. "/cache/socketcore/" .. tree .. "/" .. marker
            must("mkdir -p " .. quoted((file:gsub("/[^/]*$", ""))))
            write(file, "")
        end
        write(project .. "/CMakeLists.txt", SMALL_PROJECT)
        write(project .. "/script.lua", "")
        says("built: build/release", "build")
    end)

    teardown(function()
        must("rm -rf " .. quoted(place))
    end)

    it("refuses an option that nothing uses, names the one that is meant, and keeps neither",
        function()
        for wrong, right in pairs { SC_DEFAULT_RECV_IND_MX = "SC_DEFAULT_RECV_IND_MAX",
            RECV_IND_MAX = "SC_DEFAULT_RECV_IND_MAX", LWIPDIR = "LWIP_DIR",
            CMAKE_BULD_TYPE = "CMAKE_BUILD_TYPE" } do
            says(("there is no build option %s. Did you mean %s?"):format(wrong, right),
                ("build -DSC_DEFAULT_RECV_IND_MAX=7 -D%s=9"):format(wrong), 1)
        end
        says("there is no build option QQQQ.\n", "build -DQQQQ=9", 1)
        assert.equal("built: build/release/socketcore.so and build/release/rtos.so",
            (dev "build":match "[^\n]*$"))
        assert.equal("VALUE=2048", value())
    end)

    it("does not keep a value that is refused", function()
        says("SC_DEFAULT_RECV_IND_MAX is too small", "build -DSC_DEFAULT_RECV_IND_MAX=0", 1)
        says("built: build/release", "build")
        assert.equal("VALUE=2048", value())
    end)

    it("keeps an option for later commands, which say so, until --defaults", function()
        local line = "built with SC_DEFAULT_RECV_IND_MAX=%d (./dev build --defaults resets)"
        says(line:format(1024), "build -DSC_DEFAULT_RECV_IND_MAX=1024")
        assert.equal("VALUE=1024", value())
        says(line:format(512), "build -DSC_DEFAULT_RECV_IND_MAX=512")
        assert.equal("VALUE=512", value())
        for _, command in ipairs { "build", "run " .. quoted(project .. "/script.lua"),
            "env" } do
            local output = dev(command)
            assert.truthy(output:find(line:format(512), 1, true), command .. ": " .. output)
        end
        assert.equal("VALUE=512", value())
        local output, status = dev "build --defaults"
        assert.equal(0, status, output)
        assert.falsy(output:find("built with", 1, true), output)
        assert.equal("VALUE=2048", value())
    end)

    it("keeps a source tree that was named, and says so", function()
        must("cp -R " .. quoted(place .. "/cache/socketcore/lwip-2.2") .. " "
            .. quoted(place .. "/own lwip"))
        local line = ("built with LWIP_DIR=%s/own lwip "):format(place)
        says(line, "build -DLWIP_DIR=" .. quoted(place .. "/own lwip"))
        says(line, "build")
        assert.falsy(dev "build --defaults":find("built with", 1, true))
    end)

    it("says that the disk is full when it is", function()
        if os.getenv "SOCKETCORE_NETNS" ~= "1" then
            return pending "needs a network namespace, in which file systems can be mounted"
        end
        local directory = quoted(project .. "/build")
        must("rm -rf " .. directory .. " && mkdir " .. directory)
        must("mount -t tmpfs -o size=16k tmpfs " .. directory)
        local output, status = dev "build"
        must("umount " .. directory)
        assert.equal(1, status, output)
        assert.truthy(output:find("dev: the disk is full", 1, true), output)
    end)
end)
