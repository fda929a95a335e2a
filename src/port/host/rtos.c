/*
 * The Lua module rtos of the host: messages, timers, and what the scheduler scripts of the firmware
 * touch at start. It is a shared object of its own that links to socketcore.so; all work is done
 * there (host_api.h), this file checks, calls and pushes. Script thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host_api.h"
#include "interrupt.h"

#include <lauxlib.h>
#include <lua.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INF_TIMEOUT (-1)
#define WAIT_MSG_TIMEOUT 0
#define MSG_TIMER 1
#define TICKS_PER_SECOND 16384

/* What a supervisor reads as "start me again" (EX_TEMPFAIL of sysexits.h): rtos.restart cannot
 * reboot a PC, so it ends the process with it. */
#define RESTART_STATUS 75

/* Registry keys, by their addresses. */
static const char claim_key = 'c';
static const char hook_chunk_key = 'h';
static const char module_key = 'r';

/* A Lua state has the module; its queue is claimed. */
static bool is_open;

/* A socket whose number was taken out of the queue and whose message was not pushed yet, or -1. It
 * stays when Lua has no memory for the message, and is next then; also for a finalizer that calls
 * rtos.receive while the message is made. */
static int unpushed = -1;

/* ---- Ctrl-C. The interpreter's signal handler only sets a debug hook, which runs, and raises, at
 * the next Lua instruction: so a Lua function has to be called. ---- */

/* The hook that lua.c sets in its handler: it counts to one. A profiler's or a coverage tool's is
 * not meant to end a wait. */
static bool has_signal_hook(lua_State *L)
{
    return lua_gethook(L) && (lua_gethookmask(L) & LUA_MASKCOUNT) && lua_gethookcount(L) == 1;
}

/* The main thread of the state that has the queue: lua.c sets its hook on it. NULL: not known. */
static lua_State *main_thread;

static bool is_interrupted(void *running)
{
    return has_signal_hook(running) || (main_thread && has_signal_hook(main_thread));
}

/* Runs the hook. When this is a coroutine the main thread's hook does not run here: then this wait
 * ends with the same message, and the hook runs once control is back there. */
static void run_hook(lua_State *L)
{
    if (!has_signal_hook(L)) {
        luaL_error(L, "interrupted!");
        return;
    }
    lua_pushlightuserdata(L, (void *)&hook_chunk_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_call(L, 0, 0);
}

/* ---- arguments ---- */

/* A timer's id; 5.0 is one. */
static uint32_t check_timer_id(lua_State *L, int argument)
{
    lua_Number value = luaL_checknumber(L, argument);

    luaL_argcheck(L, value >= 0 && value <= SC_TIMER_ID_MAX, argument, "out of range");
    luaL_argcheck(L, value == (uint32_t)value, argument, "not a whole number");
    return (uint32_t)value;
}

/* The longest wait, in ms; it does not end before the process does. */
#define WAIT_MS_MAX 1e15

/* Milliseconds, more than `above`; a fraction counts as a whole one, and what is longer than
 * WAIT_MS_MAX is that. */
static uint64_t whole_ms(lua_State *L, int argument, lua_Number value, lua_Number above)
{
    luaL_argcheck(L, value > above, argument, "out of range");
    if (value > WAIT_MS_MAX)
        value = WAIT_MS_MAX;
    uint64_t whole = value > 0 ? (uint64_t)value : 0;
    return whole < value ? whole + 1 : whole;
}

/* ---- messages ---- */

/* Pushes the message of `socket`. Returns how many values: 0 when it was destroyed meanwhile. */
static int push_message(lua_State *L, int socket)
{
    unpushed = socket;
    int pushed = sc_push_message(L, socket);
    if (unpushed == socket)
        unpushed = -1;
    return pushed;
}

/* rtos.receive(timeout_ms) */
static int receive(lua_State *L)
{
    struct sc_host_wait wait = { .timeout_us = SC_HOST_FOREVER,
                                 .takes_messages = true,
                                 .is_interrupted = is_interrupted,
                                 .context = L };

    lua_Number timeout_ms = luaL_checknumber(L, 1);
    if (timeout_ms != INF_TIMEOUT)
        wait.timeout_us = whole_ms(L, 1, timeout_ms, -1) * 1000;
    if (!is_open)
        wait.timeout_us = 0; /* lua_close is under way: nothing ends a wait any more */
    for (;;) {
        int id = unpushed;
        switch (id < 0 ? sc_host_wait(&wait, &id) : SC_HOST_SOCKET) {
        case SC_HOST_SOCKET:
            if (push_message(L, id))
                return 1;
            break;
        case SC_HOST_TIMER:
            lua_pushinteger(L, MSG_TIMER);
            lua_pushinteger(L, id);
            return 2;
        case SC_HOST_INTERRUPTED:
            run_hook(L);
            break;
        case SC_HOST_TIMEOUT:
            lua_pushinteger(L, WAIT_MSG_TIMEOUT);
            return 1;
        }
    }
}

/* rtos.sleep(ms) */
static int sleep_ms(lua_State *L)
{
    struct sc_host_wait wait = { .is_interrupted = is_interrupted, .context = L };

    wait.timeout_us = 1 + whole_ms(L, 1, luaL_checknumber(L, 1), -1) * 1000;
    while (sc_host_wait(&wait, NULL) == SC_HOST_INTERRUPTED)
        run_hook(L);
    return 0;
}

/* rtos.timer_start(id, ms) -> 1; 0 for a time that no timer can have: below 0, 0, NaN, or longer
 * than SC_TIMER_MS_MAX. Schedulers look at the result, and an error would end the task that called
 * them. */
static int timer_start(lua_State *L)
{
    uint32_t id = check_timer_id(L, 1);
    lua_Number ms = luaL_checknumber(L, 2);
    bool is_started =
        ms > 0 && ms <= SC_TIMER_MS_MAX && sc_host_timer_start(id, (uint32_t)whole_ms(L, 2, ms, 0));

    lua_pushinteger(L, is_started);
    return 1;
}

/* rtos.timer_stop(id) */
static int timer_stop(lua_State *L)
{
    sc_host_timer_stop(check_timer_id(L, 1));
    lua_pushinteger(L, 1);
    return 1;
}

/* rtos.idle() -> true when no wait can ever end any more. Beyond the firmware. */
static int idle(lua_State *L)
{
    lua_pushboolean(L, unpushed < 0 && sc_host_is_idle());
    return 1;
}

/* rtos.memory([limit]) -> bytes that lwIP and mbedTLS have allocated. With a limit in bytes, as if
 * the machine had no more for them; 0: no limit. Beyond the firmware. */
static int memory(lua_State *L)
{
    if (!lua_isnoneornil(L, 1)) {
        lua_Number limit = luaL_checknumber(L, 1);
        luaL_argcheck(L, limit >= 0 && limit <= (lua_Number)INT32_MAX, 1, "0 to 2147483647 bytes");
        sc_host_limit_memory((size_t)limit);
    }
    lua_pushnumber(L, (lua_Number)sc_host_memory());
    return 1;
}

/* ---- the device ---- */

/* rtos.tick(): 16384 a second since the module was loaded */
static int tick(lua_State *L)
{
    uint64_t start = (uint64_t)lua_tonumber(L, lua_upvalueindex(1));

    lua_pushinteger(L, (lua_Integer)((sc_host_clock() - start) * TICKS_PER_SECOND / 1000000));
    return 1;
}

static int get_version(lua_State *L)
{
    lua_pushliteral(L, "socketcore " SC_VERSION " host");
    return 1;
}

static int get_build_time(lua_State *L)
{
#ifdef SC_BUILD_TIME
    lua_pushliteral(L, SC_BUILD_TIME);
#else
    lua_pushliteral(L, __DATE__ " " __TIME__);
#endif
    return 1;
}

/* POWERON_KEY: somebody started it. */
static int poweron_reason(lua_State *L)
{
    lua_pushinteger(L, 0);
    return 1;
}

/* Text that the firmware shows in its version answer; nobody asks for it here. */
static int set_lua_info(lua_State *L)
{
    luaL_checkstring(L, 1);
    return 0;
}

/* rtos.restart(): ends the process with status 75, for whatever started it to start it again. */
static int restart(lua_State *L)
{
    (void)L;
    sc_host_log("rtos.restart: the process ends with status 75");
    exit(RESTART_STATUS);
}

/* rtos.poweroff() */
static int poweroff(lua_State *L)
{
    (void)L;
    exit(EXIT_SUCCESS);
}

/* For hardware that is not there: GSM power, key pads, alarms, the watchdog. */
static int do_nothing(lua_State *L)
{
    (void)L;
    return 0;
}

/* rtos.get_env_usage(): per cent of the message queue in use; this one grows. */
static int get_env_usage(lua_State *L)
{
    lua_pushinteger(L, 0);
    return 1;
}

/* rtos.make_dir(path) */
static int make_dir(lua_State *L)
{
    lua_pushboolean(L, mkdir(luaL_checkstring(L, 1), 0777) == 0);
    return 1;
}

/* rtos.remove_dir(path) */
static int remove_dir(lua_State *L)
{
    lua_pushboolean(L, rmdir(luaL_checkstring(L, 1)) == 0);
    return 1;
}

/* ---- the module ---- */

struct constant {
    const char *name;
    int value;
};

/* Only the sockets' and the timer's ever arrive. The others exist, each with a number of its own,
 * so that scripts for hardware load. */
static const struct constant constants[] = {
    { "INF_TIMEOUT", INF_TIMEOUT },
    { "WAIT_MSG_TIMEOUT", WAIT_MSG_TIMEOUT },
    { "MSG_TIMER", MSG_TIMER },
    { "MSG_UART_RXDATA", 2 },
    { "MSG_UART_TX_DONE", 3 },
    { "MSG_KEYPAD", 4 },
    { "MSG_INT", 5 },
    { "MSG_PMD", 6 },
    { "MSG_ALARM", 7 },
    { "MSG_AUDIO", 8 },
    { "MSG_RECORD", 9 },
    { "MSG_TTS", 10 },
    { "MSG_TTSPLY_STATUS", 11 },
    { "MSG_TTSPLY_ERROR", 12 },
    { "MSG_MIC", 13 },
    { "MSG_MIC_STREAM", 14 },
    { "MSG_PDP_ACT_CNF", 15 },
    { "MSG_PDP_DEACT_CNF", 16 },
    { "MSG_PDP_DEACT_IND", 17 },
    { "MSG_CSFB_CNF", 18 },
    { "MSG_SIM_INSERT_IND", 19 },
    { "MSG_LCD", 20 },
    { "MSG_CAMERA", 21 },
    { "MSG_ZBAR", 22 },
    { "MSG_BLUETOOTH", 23 },
    { "MSG_WIFI", 24 },
    { "MSG_GPS", 25 },
    { "MSG_DTMF_DETECT", 26 },
    { "MSG_SPI", 27 },
    { "MSG_USB", 28 },
    { "MSG_SDCARD", 29 },
    { "MSG_FOTA", 30 },
    { "MSG_STREAM_RECORD", 31 },
    { "MSG_HEADSET", 32 },
    { "MSG_RTMP", 33 },
    { "MSG_SOCK_CONN_CNF", SC_MSG_CONN_CNF },
    { "MSG_SOCK_SEND_CNF", SC_MSG_SEND_CNF },
    { "MSG_SOCK_RECV_IND", SC_MSG_RECV_IND },
    { "MSG_SOCK_CLOSE_IND", SC_MSG_CLOSE_IND },
    { "MSG_SOCK_CLOSE_CNF", SC_MSG_CLOSE_CNF },
    { "MOD_KEYPAD", 1 },
    { "MOD_ALARM", 2 },
    { "POWERON_KEY", 0 },
    { "POWERON_CHARGER", 1 },
    { "POWERON_ALARM", 2 },
    { "POWERON_RESTART", 3 },
    { "POWERON_EXCEPTION", 4 },
    { "POWERON_HOST", 5 },
    { "POWERON_WATCHDOG", 6 },
};

/* Where the numbers of unknown_constant begin. */
#define FIRST_UNKNOWN 1000

/* Is this the name of a constant of hardware? A socket's message that is not in the table above is
 * misspelt. */
static bool is_hardware_constant(const char *name)
{
    static const char *const prefixes[] = { "MSG_", "MOD_", "POWERON_" };
    size_t length = strlen(name);

    if (!strncmp(name, "MSG_SOCK", 8))
        return false;
    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != length)
        return false;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t prefix_length = strlen(prefixes[i]);
        if (!strncmp(name, prefixes[i], prefix_length))
            return length > prefix_length;
    }
    return false;
}

/* __index of the module: firmware has more messages than the table above, and a script that
 * registers a handler for one of them has to load. Each gets a number of its own. */
static int unknown_constant(lua_State *L)
{
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";

    if (!is_hardware_constant(name))
        return 0;
    lua_pushfstring(L, "rtos.%s: unknown, it gets a number that no message has", name);
    lua_Integer number = lua_tointeger(L, lua_upvalueindex(1));
    lua_pushinteger(L, number + 1);
    lua_replace(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_pushinteger(L, number);
    lua_rawset(L, 1);
    sc_host_log(lua_tostring(L, 3));
    lua_pushinteger(L, number);
    return 1;
}

static const luaL_Reg functions[] = {
    { "receive", receive },
    { "timer_start", timer_start },
    { "timer_stop", timer_stop },
    { "sleep", sleep_ms },
    { "idle", idle },
    { "on_interrupt", sc_on_interrupt },
    { "memory", memory },
    { "get_version", get_version },
    { "get_build_time", get_build_time },
    { "poweron_reason", poweron_reason },
    { "set_lua_info", set_lua_info },
    { "restart", restart },
    { "poweroff", poweroff },
    { "poweron", do_nothing },
    { "init_module", do_nothing },
    { "set_alarm", do_nothing },
    { "set_trace", do_nothing },
    { "openSoftDog", do_nothing },
    { "eatSoftDog", do_nothing },
    { "closeSoftDog", do_nothing },
    { "get_env_usage", get_env_usage },
    { "make_dir", make_dir },
    { "remove_dir", remove_dir },
};

/* Gives the queue back when lua_close calls it, once it is in the registry and its value is true.
 */
static int release(lua_State *L)
{
    bool *is_claimed = lua_touserdata(L, 1);

    if (*is_claimed) {
        *is_claimed = false;
        is_open = false;
        unpushed = -1;
        main_thread = NULL;
        sc_end_interrupts();
        sc_host_release();
    }
    return 0;
}

static bool *push_claim(lua_State *L)
{
    bool *is_claimed = lua_newuserdata(L, sizeof(*is_claimed));

    *is_claimed = false;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return is_claimed;
}

/* Where the interpreter's own state is: signals set their hook there. */
static void note_main_thread(lua_State *L)
{
#if LUA_VERSION_NUM >= 502
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    main_thread = lua_tothread(L, -1);
#else
    /* Lua 5.1 tells only the main thread that it is the one; require is seldom called elsewhere. */
    if (lua_pushthread(L))
        main_thread = L;
#endif
    lua_pop(L, 1);
}

static void make_hook_chunk(lua_State *L)
{
    static const char chunk[] = "return";

    lua_pushlightuserdata(L, (void *)&hook_chunk_key);
    if (luaL_loadbuffer(L, chunk, sizeof(chunk) - 1, "=rtos") != 0)
        lua_error(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void push_module(lua_State *L)
{
    lua_newtable(L);
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        lua_pushinteger(L, constants[i].value);
        lua_setfield(L, -2, constants[i].name);
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        lua_pushcfunction(L, functions[i].func);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_getfield(L, -1, "receive");
    lua_setfield(L, -2, "recv");
    lua_pushnumber(L, (lua_Number)sc_host_clock());
    lua_pushcclosure(L, tick, 1);
    lua_setfield(L, -2, "tick");
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, FIRST_UNKNOWN);
    lua_pushcclosure(L, unknown_constant, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Lets a failed require be tried again: Lua 5.1 would answer it with "loop or previous error". */
static void allow_require(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        lua_setfield(L, -2, "rtos");
    }
    lua_pop(L, 1);
}

static bool push_known_module(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&module_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (lua_istable(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* Makes a place in the registry, so that store_reserved takes no memory. */
static void reserve(lua_State *L, const void *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_pushboolean(L, false);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void store_reserved(lua_State *L, const void *key, int value)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_pushvalue(L, value);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void set_global(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_setglobal(L, "rtos");
}

/* Claims the queue until the Lua state is closed. Nothing here can fail once it is claimed. */
static void claim_queue(lua_State *L, int claim, int module, bool *is_claimed)
{
    const char *problem = sc_host_claim();

    if (problem) {
        lua_pushnil(L);
        lua_setglobal(L, "rtos");
        luaL_error(L, "rtos does not start: %s", problem);
    }
    is_open = true;
    *is_claimed = true;
    note_main_thread(L);
    store_reserved(L, &claim_key, claim);
    store_reserved(L, &module_key, module);
}

SC_API int luaopen_rtos(lua_State *L);

/* The same table again for a state that forgot it (package.loaded.rtos = nil). When it fails,
 * nothing has changed. */
int luaopen_rtos(lua_State *L)
{
    if (!push_known_module(L)) {
        allow_require(L);
        if (is_open)
            luaL_error(L, "rtos is in use by another Lua state of this process");
        reserve(L, &module_key);
        reserve(L, &claim_key);
        make_hook_chunk(L);
        bool *is_claimed = push_claim(L);
        int claim = lua_gettop(L);
        push_module(L);
        set_global(L);
        /* A finalizer, or the globals' metatable, may have opened the module meanwhile. */
        if (!push_known_module(L)) {
            claim_queue(L, claim, claim + 1, is_claimed);
            return 1;
        }
    }
    set_global(L);
    return 1;
}
