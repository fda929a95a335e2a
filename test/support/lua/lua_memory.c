/*
 * A Lua module for specs: lets allocations of the Lua state fail, and runs a script in a second
 * state of the same process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>

__attribute__((visibility("default"))) int luaopen_lua_memory(lua_State *L);

static lua_Alloc allocate;
static void *allocate_data;
static long countdown = -1; /* allocations until one fails, -1: none fails */
static bool is_sticky;      /* all that follow fail too */
static bool has_failed;

static void *allocate_or_fail(void *unused, void *block, size_t old_size, size_t size)
{
    bool grows = size && (!block || size > old_size);

    (void)unused;
    if (grows && countdown >= 0 && countdown-- == 0) {
        has_failed = true;
        if (is_sticky)
            countdown = 0;
        return NULL;
    }
    return allocate(allocate_data, block, old_size, size);
}

/* fail(n, is_sticky, f, ...) -> did one fail?, did f return?, what f returned or raised. Calls f;
 * its allocation number n (from 0 on) fails, with is_sticky all that follow too. */
static int fail(lua_State *L)
{
    long n = (long)luaL_checkinteger(L, 1);
    int status;

    is_sticky = lua_toboolean(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    has_failed = false;
    countdown = n;
    status = lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 0);
    countdown = -1;
    lua_pushboolean(L, has_failed);
    lua_replace(L, 1);
    lua_pushboolean(L, status == 0);
    lua_replace(L, 2);
    return lua_gettop(L);
}

/* run_in_new_state(script) -> true, or false and the error */
static int run_in_new_state(lua_State *L)
{
    const char *script = luaL_checkstring(L, 1);
    lua_State *other = luaL_newstate();
    bool is_good;

    if (!other)
        return luaL_error(L, "no memory for a Lua state");
    luaL_openlibs(other);
    is_good = luaL_loadstring(other, script) == 0 && lua_pcall(other, 0, 0, 0) == 0;
    lua_pushboolean(L, is_good);
    if (is_good)
        lua_pushnil(L);
    else
        lua_pushstring(L, lua_tostring(other, -1));
    lua_close(other);
    return 2;
}

int luaopen_lua_memory(lua_State *L)
{
    allocate = lua_getallocf(L, &allocate_data);
    lua_setallocf(L, allocate_or_fail, NULL);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, fail);
    lua_setfield(L, -2, "fail");
    lua_pushcfunction(L, run_in_new_state);
    lua_setfield(L, -2, "run_in_new_state");
    return 1;
}
