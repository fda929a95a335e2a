/*
 * An example of the platform's part, to be adapted: one message queue of the RTOS that carries
 * timers, key presses, network messages ... to the script, with lwIP's mailbox in the place of
 * whatever queue your firmware has (xQueueSend, osMessageQueuePut, ...).
 *
 * A message of socketcore in that queue is only a socket number. The message itself is made when
 * the script takes it, so nothing is copied, and nothing has to be taken back. A socket stands in
 * the queue once at most: with max_sockets places to spare a post is never refused; with fewer it
 * may be, and the engine offers it again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "socketcore_port.h"

#include "lwip/sys.h"

#include <lua.h>

#include <lauxlib.h>

#define QUEUE_LENGTH 32
#define WAIT_MSG_TIMEOUT 1
#define INF_TIMEOUT 0xffffffffU

/* Declared here for the example; give it a header. */
bool example_queue_start(void);
int example_rtos_receive(lua_State *L);

static sys_mbox_t queue;

/* What was taken out of the queue and not pushed yet. It stays when Lua has no memory for the
 * message, and is next then; also for a finalizer that calls rtos.receive while the message is
 * made. NULL when there is nothing. Forget it when the queue is emptied for a new script. */
static void *unpushed;

/* An entry is one word: what it is in the low bits, its number above. NULL is not an entry. */
enum kind { KIND_SOCKET = 1, KIND_TIMER = 2 };

static void *entry_of(enum kind kind, uint32_t number)
{
    return (void *)(((uintptr_t)number << 2) | (uintptr_t)kind);
}

/* At boot, before the script starts. False without memory: then there is nothing to start. (Not
 * within LWIP_ASSERT: with LWIP_NOASSERT that is nothing at all.) */
bool example_queue_start(void)
{
    return sys_mbox_new(&queue, QUEUE_LENGTH) == ERR_OK;
}

/* Must not block: trypost, or a time-out of 0. */
bool sc_port_post(int socket)
{
    return sys_mbox_trypost(&queue, entry_of(KIND_SOCKET, (uint32_t)socket)) == ERR_OK;
}

/* Pushes what a queue entry means to the script; 0 when it means nothing any more. */
static int push_entry(lua_State *L, void *entry)
{
    uint32_t number = (uint32_t)((uintptr_t)entry >> 2);

    switch ((enum kind)((uintptr_t)entry & 3)) {
    case KIND_SOCKET:
        return sc_push_message(L, (int)number);
    case KIND_TIMER:
        lua_pushinteger(L, 0 /* your rtos.MSG_TIMER */);
        lua_pushinteger(L, (lua_Integer)number);
        return 2;
    }
    return 0;
}

static int push_message(lua_State *L, void *entry)
{
    int pushed;

    unpushed = entry;
    pushed = push_entry(L, entry);
    if (unpushed == entry)
        unpushed = NULL;
    return pushed;
}

/* Takes the next entry. False: none came within `timeout` ms since `start`. */
static bool take_entry(bool is_endless, uint32_t start, uint32_t timeout, void **entry)
{
    uint32_t passed;

    *entry = unpushed;
    while (!*entry) {
        passed = sys_now() - start;
        /* sys_arch_mbox_fetch takes 0 for ever. */
        if (is_endless)
            sys_arch_mbox_fetch(&queue, entry, 0);
        else if (passed < timeout)
            sys_arch_mbox_fetch(&queue, entry, timeout - passed);
        else
            return sys_arch_mbox_tryfetch(&queue, entry) != SYS_MBOX_EMPTY;
    }
    return true;
}

/* rtos.receive(timeout_ms). A message of a socket that was closed or destroyed meanwhile has gone:
 * then the wait goes on with the time that is left. */
int example_rtos_receive(lua_State *L)
{
    lua_Number wanted = luaL_checknumber(L, 1);
    bool is_endless = wanted >= INF_TIMEOUT || wanted < 0;
    uint32_t timeout = is_endless ? 0 : (uint32_t)wanted;
    uint32_t start = sys_now();

    for (;;) {
        void *entry;
        int pushed;
        if (!take_entry(is_endless, start, timeout, &entry)) {
            lua_pushinteger(L, WAIT_MSG_TIMEOUT);
            return 1;
        }
        pushed = push_message(L, entry);
        if (pushed)
            return pushed;
    }
}
