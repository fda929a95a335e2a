/*
 * The clock of the host port. Any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include "lwip/sys.h"

#include <time.h>

uint64_t sc_host_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
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
