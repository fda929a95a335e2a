/*
 * Ctrl-C that ends a script wherever it is. The interpreter's own handler sets its debug hook on
 * the main thread alone, and a script spends its time in coroutines. This one sets the hook on the
 * coroutine that runs, so the wrappers of coroutine.resume and of what coroutine.wrap makes note
 * which one that is. What happens then is up to the function given to rtos.on_interrupt. A part of
 * rtos.so; script thread, and the signal handlers that interrupt it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "interrupt.h"

#include <lauxlib.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a shell shows for a program that SIGINT has ended. */
#define INTERRUPT_STATUS 130

/* Seconds in which the hook has to be reached. It is not from inside a C function that does not
 * return, from inside another hook, or from a loop that LuaJIT has compiled. */
#define HOOK_WITHIN 1

/* Registry key, by its address: the function to call. */
static const char function_key = 'f';

/* The coroutine that runs. */
static lua_State *volatile running;
/* A signal came, and the hook has not been reached since. */
static volatile sig_atomic_t is_pending;

static void call_function(lua_State *L, lua_Debug *activation)
{
    (void)activation;
    alarm(0);
    is_pending = 0;
    lua_sethook(L, NULL, 0, 0);
    lua_pushlightuserdata(L, (void *)&function_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    /* No error of it may reach a pcall of the script. */
    if (lua_pcall(L, 0, 0, 0) != 0)
        exit(INTERRUPT_STATUS);
}

/* As in lua.c: setting a hook is all that a signal handler may do to a state. */
static void set_hook(lua_State *L)
{
    lua_sethook(L, call_function, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* The second signal ends the process: SA_RESETHAND. */
static void on_interrupt(int number)
{
    (void)number;
    is_pending = 1;
    set_hook(running);
    alarm(HOOK_WITHIN);
}

static void on_alarm(int number)
{
    static const char text[] = "interrupted; no traceback, it is inside a C function\n";

    (void)number;
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        _exit(INTERRUPT_STATUS);
    _exit(INTERRUPT_STATUS);
}

/* Without SA_RESTART: io.read and the like return, so that the hook is reached. */
static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

/* Calls the function below the arguments on the stack, which runs `co`. Whatever it does, L is
 * noted as the one that runs before anything else happens. */
static int call_noting(lua_State *L, lua_State *co)
{
    running = co;
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    running = L;
    /* The signal may have come when `co` was about to leave. */
    if (is_pending)
        set_hook(L);
    return status;
}

/* coroutine.resume; upvalue: the one of Lua */
static int noting_resume(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argcheck(L, co, 1, "coroutine expected");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return call_noting(L, co) == 0 ? lua_gettop(L) : lua_error(L);
}

/* What coroutine.wrap returns; upvalues: what Lua's returned, its coroutine. */
static int noting_call(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (call_noting(L, lua_tothread(L, lua_upvalueindex(2))) == 0)
        return lua_gettop(L);
    if (lua_type(L, -1) == LUA_TSTRING) { /* as Lua's does, which was called from no Lua function */
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* coroutine.wrap; upvalue: the one of Lua, whose closures hold their coroutine as an upvalue */
static int noting_wrap(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    if (lua_getupvalue(L, 1, 1) && lua_isthread(L, -1))
        lua_pushcclosure(L, noting_call, 2);
    return 1;
}

static void wrap_function(lua_State *L, const char *name, lua_CFunction wrapper)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, wrapper, 1);
    lua_setfield(L, -2, name);
}

/* LuaJIT has one hook for all coroutines, and compiles its own coroutine functions. */
static void note_coroutines(lua_State *L)
{
    lua_getglobal(L, "jit");
    lua_getglobal(L, "coroutine");
    if (lua_isnil(L, -2) && lua_istable(L, -1)) {
        wrap_function(L, "resume", noting_resume);
        wrap_function(L, "wrap", noting_wrap);
    }
    lua_pop(L, 2);
}

void sc_end_interrupts(void)
{
    if (running)
        handle(SIGINT, SIG_DFL, 0);
    running = NULL;
}

/* rtos.on_interrupt(fn): from here on the first SIGINT calls `fn` in the coroutine that runs, and
 * the second ends the process. To be called once, before the script can keep coroutine.resume.
 * rtos.on_interrupt(nil): SIGINT ends the process again. */
int sc_on_interrupt(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        handle(SIGINT, SIG_DFL, 0);
        return 0;
    }
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushlightuserdata(L, (void *)&function_key);
    lua_insert(L, 1);
    lua_rawset(L, LUA_REGISTRYINDEX);
    if (!running)
        note_coroutines(L);
    running = L;
    handle(SIGALRM, on_alarm, 0);
    handle(SIGINT, on_interrupt, SA_RESETHAND);
    return 0;
}
