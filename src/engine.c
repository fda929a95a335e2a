/*
 * The ready list, the timers and the one step that a platform calls.
 *
 * sc_engine_run is the only function that runs tasks, on whichever thread the platform chose. It
 * leaves the queue towards the script to announce.c and all network work to the tasks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "engine.h"

#include "announce.h"
#include "socketcore_port.h"

#include "lwip/sys.h"

#include <stddef.h>

/* A task that keeps waking itself must not starve the platform's own work (the script's messages,
 * on a PC the network). */
#define ROUNDS_MAX 8
/* Nor may several that take their time, as TLS handshakes do. */
#define SLICE_MS 2

/* The ready list and the clock are shared, under SYS_ARCH_PROTECT. */
static struct sc_task *ready_first;
static struct sc_task **ready_end = &ready_first;
static size_t ready_count;
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
    ready_count--;
}

void sc_task_wake(struct sc_task *task, unsigned wake)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_new;

    SYS_ARCH_PROTECT(level);
    is_new = !task->link;
    task->wake |= wake;
    if (is_new) {
        task->next = NULL;
        task->link = ready_end;
        *ready_end = task;
        ready_end = &task->next;
        ready_count++;
    }
    SYS_ARCH_UNPROTECT(level);
    if (is_new)
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

uint64_t sc_engine_now(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t now;

    SYS_ARCH_PROTECT(level);
    uint32_t now32 = sys_now();
    clock_ms += (uint32_t)(now32 - clock_last);
    clock_last = now32;
    now = clock_ms;
    SYS_ARCH_UNPROTECT(level);
    return now;
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

static bool is_slice_over(uint32_t started)
{
    return (uint32_t)(sys_now() - started) >= SLICE_MS;
}

/* Runs as many as were ready at the start: what becomes ready meanwhile has its turn in the next
 * round. */
static void run_round(uint32_t started)
{
    SYS_ARCH_DECL_PROTECT(level);
    size_t left;

    SYS_ARCH_PROTECT(level);
    left = ready_count;
    SYS_ARCH_UNPROTECT(level);
    for (; left && !is_slice_over(started); left--) {
        SYS_ARCH_PROTECT(level);
        struct sc_task *task = ready_first;
        unsigned wake = 0;
        if (task) {
            unlink_ready(task);
            wake = task->wake;
            task->wake = 0;
        }
        SYS_ARCH_UNPROTECT(level);
        if (!task)
            return;
        task->run(task, wake);
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

uint32_t sc_engine_run(void)
{
    uint32_t wait = sc_announce_refused();
    uint32_t started = sys_now();

    for (int round = 0; round < ROUNDS_MAX && !is_slice_over(started); round++) {
        fire_timers();
        if (!sc_engine_ready())
            break;
        run_round(started);
    }
    if (sc_engine_ready())
        return 0;
    if (timers.first) {
        uint64_t now = sc_engine_now();
        uint64_t left = timers.first->at > now ? timers.first->at - now : 0;
        if (left < wait)
            wait = (uint32_t)left;
    }
    return wait;
}
