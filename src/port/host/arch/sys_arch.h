/*
 * What lwIP's sys_* types are on a PC (sys_arch.c). A mailbox or semaphore has no lock of its own:
 * the one of SYS_ARCH_PROTECT guards them all, so that an idle connection costs as little as
 * possible.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_ARCH_SYS_ARCH_H
#define SC_HOST_ARCH_SYS_ARCH_H

#include "arch/cc.h"
#include "biased_lock.h"

/* ---- SYS_ARCH_PROTECT, which may nest ---- */

static inline sys_prot_t sc_protect(void)
{
    return sc_biased_enter(&sc_biased_locks[SC_PROTECT_LOCK]);
}

static inline void sc_unprotect(sys_prot_t level)
{
    sc_biased_leave(&sc_biased_locks[SC_PROTECT_LOCK], level);
}

#define SYS_ARCH_DECL_PROTECT(level) sys_prot_t level
#define SYS_ARCH_PROTECT(level) ((level) = sc_protect())
#define SYS_ARCH_UNPROTECT(level) sc_unprotect(level)

/* ---- what the types of sys.h are ---- */

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
