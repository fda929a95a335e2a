/*
 * A Lua interpreter for the sanitizer builds: `lua FILE [args]`, nothing else. It does what
 * Debian's does for the tests, Ctrl-C included, and ends with lua_close so that leaks show.
 *
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static lua_State *interrupted_state;

static void raise_interrupted(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

/* As in lua.c: setting a hook is all that a signal handler may do to a state. */
static void on_interrupt(int number)
{
    signal(number, SIG_DFL);
    lua_sethook(interrupted_state, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT,
                1);
}

static int add_traceback(lua_State *L)
{
    if (!lua_isstring(L, 1))
        return 1;
    lua_getglobal(L, "debug");
    lua_getfield(L, -1, "traceback");
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 2);
    lua_call(L, 2, 1);
    return 1;
}

static void set_arg(lua_State *L, int argc, char **argv)
{
    lua_newtable(L);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setglobal(L, "arg");
}

static int run_file(lua_State *L, int argc, char **argv)
{
    lua_pushcfunction(L, add_traceback);
    if (luaL_loadfile(L, argv[1]) != 0)
        return 1;
    for (int i = 2; i < argc; i++)
        lua_pushstring(L, argv[i]);
    return lua_pcall(L, argc - 2, 0, 1);
}

int main(int argc, char **argv)
{
    lua_State *L;
    int failed;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE [args]\n", argv[0]);
        return EXIT_FAILURE;
    }
    L = luaL_newstate();
    if (L == NULL)
        return EXIT_FAILURE;
    luaL_openlibs(L);
    set_arg(L, argc, argv);
    interrupted_state = L;
    signal(SIGINT, on_interrupt);
    failed = run_file(L, argc, argv);
    if (failed) {
        const char *message = lua_tostring(L, -1);
        fprintf(stderr, "%s: %s\n", argv[0], message != NULL ? message : "(error object)");
    }
    lua_close(L);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
