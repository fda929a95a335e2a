/*
 * The clock of the host port. Any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include "lwip/sys.h"

#include <stdatomic.h>
#include <time.h>

/* What sc_host_now returned last, to whichever thread. */
static _Atomic uint64_t recent;

uint64_t sc_host_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t now = (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
    atomic_store_explicit(&recent, now, memory_order_relaxed);
    return now;
}

uint64_t sc_host_recent(void)
{
    return atomic_load_explicit(&recent, memory_order_relaxed);
}

u32_t sys_now(void)
{
    return (u32_t)(sc_host_now() / 1000);
}

int64_t sc_port_time(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec;
}
