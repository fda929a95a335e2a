/*
 * What an integrator's rtos.receive does with the binding: post_example.c with the core as firmware
 * runs it, in a Lua state whose allocations fail.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "socketcore.h"
#include "socketcore_port.h"

#include "lwip/pbuf.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

void example_queue_start(void);
int example_rtos_receive(lua_State *L);

/* ---- the rest of the platform's part ---- */

void sc_port_log(enum sc_log_level level, const char *text)
{
    (void)level;
    (void)text;
}

bool sc_port_ca_bundle(const void **data, size_t *length)
{
    (void)data;
    (void)length;
    return false;
}

bool sc_port_key_log(const char *line)
{
    (void)line;
    return false;
}

bool sc_port_entropy(void *out, size_t length)
{
    memset(out, 7, length);
    return true;
}

int64_t sc_port_time(void)
{
    return 0;
}

unsigned int sc_port_random(void)
{
    static unsigned int state = 12345;

    return __atomic_add_fetch(&state, 2654435761U, __ATOMIC_RELAXED);
}

int test_lose_packet(struct pbuf *p, struct netif *netif)
{
    (void)p;
    (void)netif;
    return 0;
}

/* ---- a Lua state ---- */

static int countdown = -1; /* allocations until one fails, -1: none fails */

static void *allocate(void *unused, void *block, size_t old_size, size_t size)
{
    (void)unused;
    if (!size) {
        free(block);
        return NULL;
    }
    if ((!block || size > old_size) && countdown >= 0 && countdown-- == 0)
        return NULL;
    return realloc(block, size);
}

static int open_state(void **state)
{
    lua_State *L = lua_newstate(allocate, NULL);

    assert_non_null(L);
    luaL_openlibs(L);
    lua_pushcfunction(L, luaopen_socketcore);
    lua_call(L, 0, 0);
    lua_register(L, "receive", example_rtos_receive);
    *state = L;
    return 0;
}

static int close_state(void **state)
{
    lua_close(*state);
    return 0;
}

static void run(lua_State *L, const char *script)
{
    if (luaL_loadstring(L, script) != 0 || lua_pcall(L, 0, 0, 0) != 0)
        fail_msg("%s", lua_tostring(L, -1));
}

/* The next message; each allocation on the way to it fails once. Returns how many did. */
static int receive_with_failures(lua_State *L)
{
    for (int n = 0;; n++) {
        assert_true(n < 20);
        lua_getglobal(L, "receive");
        lua_pushinteger(L, 5000);
        countdown = n;
        int status = lua_pcall(L, 1, 1, 0);
        bool has_failed = countdown < 0;
        countdown = -1;
        if (status == 0 && lua_istable(L, -1))
            return n;
        /* Later versions of Lua collect garbage and try again. */
        assert_true(has_failed && status != 0);
        lua_pop(L, 1);
    }
}

static int field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    int value = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static void test_a_message_that_lua_has_no_memory_for_is_next(void **state)
{
    lua_State *L = *state;
    int failures = 0;

    for (int id = 0; id < 10; id++) {
        assert_true(sc_close(id));
        failures += receive_with_failures(L);
        assert_int_equal(field(L, "id"), SC_MSG_CLOSE_CNF);
        assert_int_equal(field(L, "socket_index"), id);
        lua_pop(L, 1);
    }
    assert_true(failures > 0 || LUA_VERSION_NUM > 501);
    run(L, "assert(type(receive(0)) == 'number')");
}

static void test_the_reason_of_a_failure_comes_with_it(void **state)
{
    lua_State *L = *state;

    run(L, "id = assert(socketcore.sock_conn(0, '127.0.0.1', 9))");
    receive_with_failures(L);
    assert_int_equal(field(L, "id"), SC_MSG_CONN_CNF);
    assert_int_equal(field(L, "result"), 1);
    lua_getfield(L, -1, "reason");
    assert_non_null(strstr(lua_tostring(L, -1), "refused"));
    lua_pop(L, 2);
    run(L, "assert(socketcore.sock_destroy(id) == 1)");
}

static void test_a_finalizer_may_receive_what_is_made_just_then(void **state)
{
    lua_State *L = *state;

    run(L, "local function on_collect(f)\n"
           "    if newproxy then getmetatable(newproxy(true)).__gc = f\n"
           "    else setmetatable({}, { __gc = f }) end\n"
           "end\n"
           "for id = 0, 9 do\n"
           "    local inner, busy\n"
           "    collectgarbage() collectgarbage 'stop'\n"
           "    for _ = 1, 20 do on_collect(function()\n"
           "        if not busy then\n"
           "            busy = true\n"
           "            local m = receive(0)\n"
           "            if type(m) == 'table' then assert(not inner) inner = m end\n"
           "            busy = false\n"
           "        end\n"
           "    end) end\n"
           "    assert(socketcore.sock_close(id) == 1)\n"
           "    collectgarbage 'restart'\n"
           "    collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000000)\n"
           "    local outer = receive(0)\n"
           "    assert((type(outer) == 'table') ~= (inner ~= nil))\n"
           "    assert((inner or outer).socket_index == id)\n"
           "    assert(type(receive(0)) == 'number')\n"
           "end\n");
}

static void on_tcpip_ready(void *ready)
{
    sys_sem_signal((sys_sem_t *)ready);
}

static int start_lwip(void **state)
{
    sys_sem_t ready;

    (void)state;
    if (sys_sem_new(&ready, 0) != ERR_OK)
        return -1;
    tcpip_init(on_tcpip_ready, &ready);
    sys_arch_sem_wait(&ready, 0);
    sys_sem_free(&ready);
    example_queue_start();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_state, close_state)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_message_that_lua_has_no_memory_for_is_next),
        TEST(test_the_reason_of_a_failure_comes_with_it),
        TEST(test_a_finalizer_may_receive_what_is_made_just_then),
    };

    return cmocka_run_group_tests(tests, start_lwip, NULL);
}
