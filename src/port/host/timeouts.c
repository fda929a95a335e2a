/*
 * lwIP's timers (LWIP_TIMERS_CUSTOM): the cyclic ones that lwIP itself needs, in a table. lwIP's
 * own timeouts.c allocates a block for each turn of a timer, and asserts when memory is out. Core
 * lock held.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lwip/timeouts.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"

#include <stdbool.h>

/* More than lwIP has; checked at the start. */
#define TIMERS_MAX 16
/* The first of lwip_cyclic_timers, which runs only while there are connections. */
#define TCP_TIMER 0

static u32_t due_at[TIMERS_MAX];
static bool tcp_is_running;

static void start_timer(int i, u32_t now)
{
    due_at[i] = now + lwip_cyclic_timers[i].interval_ms;
}

/* lwIP calls tcp_timer_needed when a connection comes up, but core/timeouts.c defines that as an
 * empty function here. */
static void switch_tcp_timer(u32_t now)
{
    bool is_needed = tcp_active_pcbs || tcp_tw_pcbs;

    if (is_needed && !tcp_is_running)
        start_timer(TCP_TIMER, now);
    tcp_is_running = is_needed;
}

static bool is_running(int i)
{
    return i != TCP_TIMER || tcp_is_running;
}

/* Milliseconds, below zero when it is late. */
static s32_t time_left(int i, u32_t now)
{
    return (s32_t)(due_at[i] - now);
}

void sys_timeouts_init(void)
{
    u32_t now = sys_now();

    LWIP_ASSERT("TIMERS_MAX is too small", lwip_num_cyclic_timers <= TIMERS_MAX);
    for (int i = 0; i < lwip_num_cyclic_timers; i++)
        start_timer(i, now);
}

u32_t sys_timeouts_sleeptime(void)
{
    u32_t now = sys_now();
    u32_t least = SYS_TIMEOUTS_SLEEPTIME_INFINITE;

    switch_tcp_timer(now);
    for (int i = 0; i < lwip_num_cyclic_timers; i++) {
        if (!is_running(i))
            continue;
        if (time_left(i, now) <= 0)
            return 0;
        least = LWIP_MIN(least, (u32_t)time_left(i, now));
    }
    return least;
}

void sys_check_timeouts(void)
{
    u32_t now = sys_now();

    switch_tcp_timer(now);
    for (int i = 0; i < lwip_num_cyclic_timers; i++) {
        if (!is_running(i) || time_left(i, now) > 0)
            continue;
        /* In step with what was planned, unless that is a whole turn late. */
        due_at[i] += lwip_cyclic_timers[i].interval_ms;
        if (time_left(i, now) < 0)
            start_timer(i, now);
        lwip_cyclic_timers[i].handler();
    }
}
