/*
 * Runs Lua scripts one after the other, each in a Lua state of its own, in one process:
 * `states LIBLUA FILE...` opens the shared library LIBLUA (liblua5.1.so.0, ...), so that it fits
 * whichever Lua the modules were built for. Prints what went wrong and ends with status 1 then.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct lua_State lua_State;

/* The few functions that are the same in each version; the others are macros of one of these. */
static struct {
    lua_State *(*newstate)(void);
    void (*openlibs)(lua_State *);
    int (*loadfile)(lua_State *, const char *);                /* 5.1 */
    int (*loadfilex)(lua_State *, const char *, const char *); /* later */
    int (*pcall)(lua_State *, int, int, int);                  /* 5.1 */
    int (*pcallk)(lua_State *, int, int, int, long, void *);   /* later */
    const char *(*tolstring)(lua_State *, int, size_t *);
    void (*close)(lua_State *);
} lua;

static void find(void *library, const char *name, void **function)
{
    *function = dlsym(library, name);
}

static void open_lua(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        fprintf(stderr, "states: %s\n", dlerror());
        exit(77);
    }
    find(library, "luaL_newstate", (void **)&lua.newstate);
    find(library, "luaL_openlibs", (void **)&lua.openlibs);
    find(library, "luaL_loadfile", (void **)&lua.loadfile);
    find(library, "luaL_loadfilex", (void **)&lua.loadfilex);
    find(library, "lua_pcall", (void **)&lua.pcall);
    find(library, "lua_pcallk", (void **)&lua.pcallk);
    find(library, "lua_tolstring", (void **)&lua.tolstring);
    find(library, "lua_close", (void **)&lua.close);
}

static int run_file(lua_State *L, const char *path)
{
    int failed = lua.loadfile ? lua.loadfile(L, path) : lua.loadfilex(L, path, NULL);
    if (failed)
        return failed;
    return lua.pcall ? lua.pcall(L, 0, 0, 0) : lua.pcallk(L, 0, 0, 0, 0, NULL);
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s LIBLUA FILE...\n", argv[0]);
        return 2;
    }
    open_lua(argv[1]);
    for (int i = 2; i < argc; i++) {
        lua_State *L = lua.newstate();
        lua.openlibs(L);
        if (run_file(L, argv[i])) {
            fprintf(stderr, "states: %s\n", lua.tolstring(L, -1, NULL));
            status = 1;
        }
        lua.close(L);
    }
    return status;
}
