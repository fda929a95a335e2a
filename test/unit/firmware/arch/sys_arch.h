/*
 * lwIP's sys_* types on pthreads, as an RTOS would have them: a mailbox has exactly the size that
 * was asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TEST_ARCH_SYS_ARCH_H
#define SC_TEST_ARCH_SYS_ARCH_H

#include <pthread.h>

typedef struct test_sem {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned count;
} * sys_sem_t;

typedef struct test_mbox {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned size;
    unsigned first;
    unsigned count;
    void *slots[];
} * sys_mbox_t;

typedef pthread_mutex_t *sys_mutex_t;
typedef pthread_t sys_thread_t;

/* For tests: after how many semaphores none can be made, -1: never; and what becomes of threads. */
enum test_thread { TEST_THREAD_FINE, TEST_THREAD_MISSING, TEST_THREAD_LATE };
void test_fail_semaphores(int made);
void test_fail_heap(int made);
void test_fail_threads(enum test_thread fault);

#define sys_sem_valid(sem) (*(sem) != NULL)
#define sys_sem_set_invalid(sem) (*(sem) = NULL)
#define sys_mbox_valid(mbox) (*(mbox) != NULL)
#define sys_mbox_set_invalid(mbox) (*(mbox) = NULL)
#define sys_mutex_valid(mutex) (*(mutex) != NULL)
#define sys_mutex_set_invalid(mutex) (*(mutex) = NULL)

#endif
