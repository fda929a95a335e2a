-- ./dev run: what it hands to the script and takes from it, and that it builds what has changed
-- although it only looks at times when nothing has. It works on a small project of its own with the
-- real dev and tools, so that nobody's build is disturbed.
-- SPDX-License-Identifier: MIT

local CMAKE_LISTS = [[
cmake_minimum_required(VERSION 3.25)
project(small LANGUAGES C)
set(LWIP_DIR "" CACHE PATH "")
set(MBEDTLS_DIR "" CACHE PATH "")
set(CMAKE_C_VISIBILITY_PRESET hidden)
find_path(LUA_INCLUDE_DIR lua.h PATH_SUFFIXES lua5.1 NO_CACHE REQUIRED)
file(GLOB sources CONFIGURE_DEPENDS src/*.c src/*/*/*.c)
add_library(rtos SHARED ${sources} "${LWIP_DIR}/src/core/tcp_in.c")
add_library(socketcore SHARED src/socketcore.c)
target_include_directories(rtos PRIVATE "${LUA_INCLUDE_DIR}" src/port/host)
set_target_properties(rtos socketcore PROPERTIES PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
]]

local MODULE = [[
#include "answer.h"
#include <lua.h>
extern const char *tree;
__attribute__((visibility("default"))) int luaopen_rtos(lua_State *L)
{
    lua_pushstring(L, ANSWER);
    lua_setglobal(L, "answer");
    lua_pushstring(L, tree);
    lua_setglobal(L, "tree");
    return 0;
}
]]

local SOCKETCORE = [[
__attribute__((visibility("default"))) int luaopen_socketcore(void *L)
{
    return L == 0;
}
]]

local root = os.getenv "SC_ROOT"
local is_wanted = os.getenv "SC_SUITE" == "release" -- dev runs that build only

local commands = require "test.support.commands"
local quoted, shell, must, write = commands.quoted, commands.shell, commands.must, commands.write

describe("./dev run", function()
    if not is_wanted then
        return
    end

    local place, project, cache

    local function dev(arguments, environment)
        return shell("cd " .. quoted(place .. "/a directory") .. " && XDG_CACHE_HOME="
            .. quoted(place .. "/cache") .. " " .. (environment or "") .. " "
            .. quoted(project .. "/dev") .. " " .. arguments)
    end

    local function make_tree(directory, marker, content)
        must("mkdir -p " .. quoted(directory .. "/" .. marker:match "^(.*)/"))
        must("mkdir -p " .. quoted(directory .. "/include"))
        write(directory .. "/" .. marker, content)
    end

    local function make_lwip(directory, name)
        make_tree(directory, "src/core/tcp_in.c", 'const char *tree = "' .. name .. '";\n')
    end

    -- What the modules say, after a run that may have built them.
    local function answer()
        local output, status = dev "run tell.lua"
        assert.equal(0, status, output)
        return output:match "[^\n]*$"
    end

    -- True when a run thinks that there may be something to build.
    local function builds()
        local look = "stat -c %i:%y " .. quoted(project .. "/build/release.built")
        local before = must(look)
        answer()
        return must(look) ~= before
    end

    setup(function()
        place = must "mktemp -d"
        project, cache = place .. "/a project", place .. "/cache/socketcore"
        must("mkdir -p " .. quoted(project .. "/src/port/host") .. " "
            .. quoted(project .. "/include") .. " " .. quoted(place .. "/a directory"))
        must("cp -R " .. quoted(root .. "/dev") .. " " .. quoted(root .. "/tools") .. " "
            .. quoted(root .. "/CMakePresets.json") .. " " .. quoted(project))
        make_lwip(cache .. "/lwip-2.2", "Debian's")
        make_tree(cache .. "/mbedtls-3.6", "library/ssl_msg.c", "")
        write(project .. "/CMakeLists.txt", CMAKE_LISTS)
        write(project .. "/src/rtos.c", MODULE)
        write(project .. "/src/socketcore.c", SOCKETCORE)
        write(project .. "/src/port/host/answer.h", '#define ANSWER "first"\n')
        write(place .. "/a directory/tell.lua", "print(answer, tree)\n")
        write(place .. "/a directory/it's a script.lua", [[
            print(arg[0], #arg, table.concat(arg, "|"), require("beside"))
            os.exit(42)
        ]])
        write(place .. "/a directory/beside.lua", 'return "beside it"\n')
        assert.equal("first\tDebian's", answer())
    end)

    teardown(function()
        if place then
            must("rm -rf " .. quoted(place))
        end
    end)

    it("hands over the arguments, passes on the exit status, finds modules beside the script",
        function()
            local expected = ("%s\t4\ta b||*|it's\tbeside it"):format "it's a script.lua"
            local output, status = dev [[run "it's a script.lua" "a b" "" "*" "it's"]]
            assert.equal(expected, output)
            assert.equal(42, status)
        end)

    it("runs a script by a path with spaces from elsewhere", function()
        local script = place .. "/a directory/it's a script.lua"
        local output, status = shell("cd / && XDG_CACHE_HOME=" .. quoted(place .. "/cache") .. " "
            .. quoted(project .. "/dev") .. " run " .. quoted(script))
        assert.equal(script .. "\t0\t\tbeside it", output)
        assert.equal(42, status)
    end)

    it("works through a symbolic link", function()
        must("ln -s " .. quoted(project .. "/dev") .. " " .. quoted(place .. "/link to dev"))
        local output = shell("cd " .. quoted(place .. "/a directory") .. " && XDG_CACHE_HOME="
            .. quoted(place .. "/cache") .. " '../link to dev' run tell.lua")
        assert.equal("first\tDebian's", output)
    end)

    it("says what is wrong with a script that is not there", function()
        local output, status = dev "run nothing.lua"
        assert.truthy(output:find('there is no script "nothing.lua"', 1, true))
        assert.equal(1, status)
    end)

    it("builds nothing when nothing has changed", function()
        assert.is_false(builds())
        assert.is_false(builds())
    end)

    it("notices a changed source and a changed header", function()
        write(project .. "/src/port/host/answer.h", '#define ANSWER "second"\n')
        assert.equal("second\tDebian's", answer())
        assert.is_false(builds())
        write(project .. "/src/rtos.c", (MODULE:gsub("pushstring%(L, ANSWER%)",
            'pushstring(L, ANSWER "!")')))
        assert.equal("second!\tDebian's", answer())
        assert.is_false(builds())
    end)

    it("notices a new source and one that is gone", function()
        must("mkdir -p " .. quoted(project .. "/src/port/new"))
        write(project .. "/src/port/new/loose.c", "#error a new source\n")
        local output, status = dev "run tell.lua"
        assert.truthy(output:find("a new source", 1, true))
        assert.equal(1, status)
        -- Not only once.
        output, status = dev "run tell.lua"
        assert.truthy(output:find("a new source", 1, true))
        assert.equal(1, status)
        must("rm " .. quoted(project .. "/src/port/new/loose.c"))
        assert.equal("second!\tDebian's", answer())
        assert.is_false(builds())
    end)

    it("notices a changed CMakeLists.txt", function()
        write(project .. "/CMakeLists.txt", CMAKE_LISTS
            .. 'target_compile_definitions(rtos PRIVATE ANSWER="third")\n')
        write(project .. "/src/port/host/answer.h", "")
        assert.equal("third!\tDebian's", answer())
        assert.is_false(builds())
    end)

    it("notices a module that is gone", function()
        must("rm " .. quoted(project .. "/build/release/rtos.so"))
        assert.equal("third!\tDebian's", answer())
        assert.is_false(builds())
    end)

    it("notices that the cache has other sources", function()
        make_lwip(cache .. "/fetched", "Debian's next")
        must("rm -r " .. quoted(cache .. "/lwip-2.2"))
        must("mv " .. quoted(cache .. "/fetched") .. " " .. quoted(cache .. "/lwip-2.2"))
        assert.equal("third!\tDebian's next", answer())
        assert.is_false(builds())
    end)

    it("notices a change in a tree of the user's own", function()
        make_lwip(place .. "/my tree", "mine")
        local output, status = dev("build", "LWIP_DIR=" .. quoted(place .. "/my tree"))
        assert.equal(0, status, output)
        assert.equal("third!\tmine", answer())
        assert.is_false(builds())
        make_lwip(place .. "/my tree", "mine, changed")
        assert.equal("third!\tmine, changed", answer())
        assert.is_false(builds())
    end)
end)
