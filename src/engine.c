/*
 * The ready list, the timers and the one step that a platform calls.
 *
 * sc_engine_run is the only function that runs tasks, on whichever thread the platform chose. It
 * leaves all work to them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include "socketcore_port.h"

#include "lwip/sys.h"

#include <stddef.h>

/* A task that keeps waking itself must not starve the platform's own work (the script's messages,
 * on a PC the network), nor may tasks that take their time, as TLS handshakes do. Those that are
 * left have their turn in the next run: the list is first come, first served. */
#define RUNS_MAX 64
#define SLICE_MS 2

/* The ready list and the clock are shared, under SYS_ARCH_PROTECT. */
static struct sc_task *ready_first;
static struct sc_task **ready_end = &ready_first;
static uint64_t clock_ms;
static uint32_t clock_last;

/* The engine's thread only. */
static struct sc_timers timers;

/* Nothing happens to a task that is not ready. Under protection. */
static void unlink_ready(struct sc_task *task)
{
    if (!task->link)
        return;
    *task->link = task->next;
    if (task->next)
        task->next->link = task->link;
    else
        ready_end = task->link;
    task->link = NULL;
    task->next = NULL;
}

bool sc_task_make_ready(struct sc_task *task, unsigned wake)
{
    bool is_first = !ready_first;

    task->wake |= wake;
    if (task->link)
        return false;
    task->next = NULL;
    task->link = ready_end;
    *ready_end = task;
    ready_end = &task->next;
    return is_first;
}

void sc_task_wake(struct sc_task *task, unsigned wake)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_first;

    SYS_ARCH_PROTECT(level);
    is_first = sc_task_make_ready(task, wake);
    SYS_ARCH_UNPROTECT(level);
    if (is_first)
        sc_port_wake();
}

void sc_task_wake_at(struct sc_task *task, uint64_t at)
{
    sc_timer_arm(&timers, &task->timer, at);
}

void sc_task_cancel_timer(struct sc_task *task)
{
    sc_timer_cancel(&timers, &task->timer);
}

void sc_task_remove(struct sc_task *task)
{
    SYS_ARCH_DECL_PROTECT(level);

    sc_timer_cancel(&timers, &task->timer);
    SYS_ARCH_PROTECT(level);
    unlink_ready(task);
    task->wake = 0;
    SYS_ARCH_UNPROTECT(level);
}

uint64_t sc_engine_read_clock(void)
{
    uint32_t now = sys_now();

    clock_ms += (uint32_t)(now - clock_last);
    clock_last = now;
    return clock_ms;
}

uint64_t sc_engine_now(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t now;

    SYS_ARCH_PROTECT(level);
    now = sc_engine_read_clock();
    SYS_ARCH_UNPROTECT(level);
    return now;
}

uint64_t sc_engine_recent(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t recent;

    SYS_ARCH_PROTECT(level);
    recent = clock_ms;
    SYS_ARCH_UNPROTECT(level);
    return recent;
}

void sc_engine_start(void)
{
    clock_last = sys_now();
}

void sc_engine_stop(void)
{
    SYS_ARCH_DECL_PROTECT(level);

    while (timers.first)
        sc_timer_cancel(&timers, timers.first);
    SYS_ARCH_PROTECT(level);
    while (ready_first)
        unlink_ready(ready_first);
    SYS_ARCH_UNPROTECT(level);
}

static void fire_timers(void)
{
    if (!timers.first)
        return;
    uint64_t now = sc_engine_now();
    while (timers.first && timers.first->at <= now) {
        struct sc_timer *timer = timers.first;
        sc_timer_cancel(&timers, timer);
        sc_task_wake((struct sc_task *)(void *)((char *)timer - offsetof(struct sc_task, timer)),
                     SC_WAKE_TIMER);
    }
}

bool sc_engine_ready(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_ready;

    SYS_ARCH_PROTECT(level);
    is_ready = ready_first != NULL;
    SYS_ARCH_UNPROTECT(level);
    return is_ready;
}

/* Milliseconds until the first timer is due. */
static uint32_t time_to_timer(void)
{
    if (!timers.first)
        return SC_FOREVER;
    uint64_t now = sc_engine_now();
    uint64_t left = timers.first->at > now ? timers.first->at - now : 0;
    return left < SC_FOREVER ? (uint32_t)left : SC_FOREVER;
}

uint32_t sc_engine_run(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t started = 0;
    unsigned runs = 0;
    bool is_last;

    fire_timers();
    do {
        struct sc_task *task;
        unsigned wake = 0;
        SYS_ARCH_PROTECT(level);
        task = ready_first;
        /* It may be of long ago, which makes the slice a single task, and the next one whole. */
        if (!runs)
            started = clock_ms;
        bool is_enough =
            task && runs && (runs == RUNS_MAX || sc_engine_read_clock() - started >= SLICE_MS);
        if (task && !is_enough) {
            wake = task->wake;
            task->wake = 0;
            unlink_ready(task);
        }
        /* What becomes ready after this wakes the platform again. */
        is_last = !ready_first;
        SYS_ARCH_UNPROTECT(level);
        if (is_enough)
            return 0;
        if (task)
            task->run(task, wake);
        runs++;
    } while (!is_last);
    return time_to_timer();
}
