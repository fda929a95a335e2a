/*
 * The engine: tasks with wake bits on a ready list, and their timers.
 *
 * A task is whatever wants to be run when something happened to it: a socket, a connection that
 * lingers. Waking sets bits and never allocates, so an event costs the same with 10 sockets or
 * 4,000, merges with others of its kind and cannot overflow anything. The engine knows nothing
 * about sockets, and not who runs it: socketcore_port.h says what a platform calls.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_ENGINE_H
#define SC_ENGINE_H

#include "timer.h"

/* What happened. Bits merge until the task runs. */
enum sc_wake {
    SC_WAKE_NET = 1 << 0,   /* the transport: data, acknowledgement, error */
    SC_WAKE_DNS = 1 << 1,   /* a name lookup has something to do */
    SC_WAKE_TIMER = 1 << 2, /* sc_task_wake_at was due */
    SC_WAKE_OPEN = 1 << 3,  /* the script: sc_open */
    SC_WAKE_SEND = 1 << 4,  /* the script: the outbox has more */
    SC_WAKE_READ = 1 << 5,  /* the script: the inbox has less */
    SC_WAKE_OPTION = 1 << 6,
    SC_WAKE_CLOSE = 1 << 7,
};

struct sc_task {
    void (*run)(struct sc_task *task, unsigned wake); /* on the engine's thread */
    unsigned wake;                                    /* shared, under SYS_ARCH_PROTECT */
    struct sc_task *next;                             /* on the ready list; shared */
    struct sc_task **link;                            /* what points here, NULL when not on it */
    struct sc_timer timer;                            /* the engine's thread only */
};

/* Has `task` run with these bits. Any thread, also lwIP's callbacks. */
void sc_task_wake(struct sc_task *task, unsigned wake);

/* The same for a caller that has other things to do under SYS_ARCH_PROTECT, which it holds. True:
 * sc_port_wake is to be called afterwards. */
bool sc_task_make_ready(struct sc_task *task, unsigned wake);

/* Wakes `task` with SC_WAKE_TIMER at `at` (sc_engine_now), instead of any earlier wish. */
void sc_task_wake_at(struct sc_task *task, uint64_t at);
void sc_task_cancel_timer(struct sc_task *task);

/* Forgets `task`: off the ready list, no timer. Nothing may wake it during or after the call. */
void sc_task_remove(struct sc_task *task);

/* Milliseconds since the start, without the wrap of sys_now(). Any thread. */
uint64_t sc_engine_now(void);
/* The same under SYS_ARCH_PROTECT. */
uint64_t sc_engine_read_clock(void);
/* When the clock was last read: not before this run began, if anything waits for a time. For tasks
 * that compare with a deadline or set one. */
uint64_t sc_engine_recent(void);

/* True from sc_engine_start to sc_engine_stop. */
void sc_engine_start(void);
void sc_engine_stop(void);

#endif
