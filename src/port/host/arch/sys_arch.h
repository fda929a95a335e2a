/*
 * What lwIP's sys_* types are on a PC (sys_arch.c). A mailbox or semaphore has no lock of its own:
 * the one of SYS_ARCH_PROTECT guards them all, so that an idle connection costs as little as
 * possible.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_ARCH_SYS_ARCH_H
#define SC_HOST_ARCH_SYS_ARCH_H

#include <pthread.h>
#include <stdbool.h>

/* A ring that grows while it is used and never beyond `limit`; limit 0: not valid. */
struct sc_mailbox {
    void **slots;
    unsigned int limit;
    unsigned int capacity;
    unsigned int first;
    unsigned int count;
};

struct sc_semaphore {
    unsigned int count;
    bool valid;
};

typedef struct sc_mailbox sys_mbox_t;
typedef struct sc_semaphore sys_sem_t;
typedef pthread_t sys_thread_t;
typedef struct {
    pthread_mutex_t mutex;
    bool valid;
} sys_mutex_t;

#endif
