/*
 * lwIP's sys_* types on the machine of machine.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_ARCH_SYS_ARCH_H
#define SC_INSTRUCTIONS_ARCH_SYS_ARCH_H

#include <stdbool.h>

struct machine_thread;

typedef struct machine_sem {
    struct machine_thread *waiter; /* one at most: nothing here has two */
    unsigned count;
    bool is_valid;
} sys_sem_t;

#define MACHINE_MBOX_MAX 32
typedef struct machine_mbox {
    struct machine_thread *waiter;
    unsigned size;
    unsigned first;
    unsigned count;
    void *slots[MACHINE_MBOX_MAX];
} * sys_mbox_t;

typedef struct machine_mutex {
    bool is_owned;
    bool is_valid;
} sys_mutex_t;

typedef struct machine_thread *sys_thread_t;

#define sys_sem_valid(sem) ((sem)->is_valid)
#define sys_sem_set_invalid(sem) ((sem)->is_valid = false)
#define sys_mbox_valid(mbox) (*(mbox) != NULL)
#define sys_mbox_set_invalid(mbox) (*(mbox) = NULL)
#define sys_mutex_valid(mutex) ((mutex)->is_valid)
#define sys_mutex_set_invalid(mutex) ((mutex)->is_valid = false)

#endif
