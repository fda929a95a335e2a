/*
 * What rtos.so calls in socketcore.so: one wait for messages and timers, and the script's timers.
 * All of it is called from the script thread, and none of it knows Lua.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_API_H
#define SC_HOST_API_H

#include "socketcore.h"

#define SC_TIMER_ID_MAX 0x7fffffffu
#define SC_TIMER_MS_MAX 126322567u

/* Takes the queue for one Lua state. NULL, or one line that says why it cannot be had.
 * sc_host_release gives it back and forgets all timers. While nobody has it no timer can be
 * started. */
SC_API const char *sc_host_claim(void);
SC_API void sc_host_release(void);

enum sc_host_event {
    SC_HOST_TIMEOUT,
    SC_HOST_SOCKET,      /* *id is a socket: sc_push_message */
    SC_HOST_TIMER,       /* *id is a timer, which is gone now */
    SC_HOST_INTERRUPTED, /* `is_interrupted` returned true */
};

#define SC_HOST_FOREVER UINT64_MAX

struct sc_host_wait {
    uint64_t timeout_us; /* SC_HOST_FOREVER: none */
    uint64_t until;      /* 0 at first: its end, once there was something to wait for */
    bool takes_messages; /* false: sleep only */
    /* Asked before every sleep and after a signal: should the wait end for it? */
    bool (*is_interrupted)(void *context);
    void *context;
};

/* Runs the network while it waits for the next message. To go on with the same wait, call it again
 * with the same `wait`. */
SC_API enum sc_host_event sc_host_wait(struct sc_host_wait *wait, int *id);

/* Microseconds since some start. */
SC_API uint64_t sc_host_clock(void);

/* Starts timer `id`, anew if it runs or has run out without being taken. False: no memory. */
SC_API bool sc_host_timer_start(uint32_t id, uint32_t ms);
SC_API void sc_host_timer_stop(uint32_t id);

/* True when nothing can ever end a wait any more: no timer, no message, no socket. */
SC_API bool sc_host_is_idle(void);

/* As if the machine had `limit` bytes for lwIP and mbedTLS; 0: no limit. */
SC_API void sc_host_limit_memory(size_t limit);

/* Bytes that lwIP and mbedTLS have allocated. */
SC_API size_t sc_host_memory(void);

/* A line for the log that names no socket (sc_port_log for the other module). */
SC_API void sc_host_log(const char *text);

#endif
