/*
 * lwIP's sys_* on pthreads, for the test of the firmware configuration: bounded mailboxes, real
 * threads, a core lock that knows its owner. Posting to a full mailbox fails or blocks, as it does
 * on a device.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lwip/opt.h"

#include "lwip/sys.h"

#include "lwip/stats.h"
#include "lwip/tcpip.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- time ---- */

static void deadline_in(struct timespec *at, u32_t ms)
{
    clock_gettime(CLOCK_MONOTONIC, at);
    at->tv_sec += ms / 1000;
    at->tv_nsec += (long)(ms % 1000) * 1000000L;
    if (at->tv_nsec >= 1000000000L) {
        at->tv_sec++;
        at->tv_nsec -= 1000000000L;
    }
}

u32_t sys_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    /* Near the wrap of 32 bits, so that every run crosses it. */
    static time_t start;
    if (!__atomic_load_n(&start, __ATOMIC_RELAXED))
        __atomic_store_n(&start, now.tv_sec, __ATOMIC_RELAXED);
    return (u32_t)((unsigned long)(now.tv_sec - __atomic_load_n(&start, __ATOMIC_RELAXED)) *
                       1000UL +
                   (unsigned long)now.tv_nsec / 1000000UL) -
           4000U;
}

static void new_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Waits for a change; false when `at` has come, never without one. */
static int wait_change(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at)
{
    return at ? pthread_cond_timedwait(cond, mutex, at) == 0 : pthread_cond_wait(cond, mutex) == 0;
}

/* ---- protection ---- */

static pthread_mutex_t protection;

sys_prot_t sys_arch_protect(void)
{
    pthread_mutex_lock(&protection);
    return 0;
}

void sys_arch_unprotect(sys_prot_t level)
{
    LWIP_UNUSED_ARG(level);
    pthread_mutex_unlock(&protection);
}

void sys_init(void)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&protection, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* ---- the core lock ---- */

static pthread_mutex_t core = PTHREAD_MUTEX_INITIALIZER;
static pthread_t core_owner;
static int core_is_owned;
static int is_up; /* lwip_init runs before there are two threads */

void test_mark_tcpip_thread(void)
{
    __atomic_store_n(&is_up, 1, __ATOMIC_RELEASE);
}

void test_lock_core(void)
{
    pthread_mutex_lock(&core);
    core_owner = pthread_self();
    __atomic_store_n(&core_is_owned, 1, __ATOMIC_RELEASE);
}

void test_unlock_core(void)
{
    __atomic_store_n(&core_is_owned, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&core);
}

void test_assert_core_locked(void)
{
    if (!__atomic_load_n(&is_up, __ATOMIC_ACQUIRE))
        return;
    if (!__atomic_load_n(&core_is_owned, __ATOMIC_ACQUIRE) ||
        !pthread_equal(core_owner, pthread_self()))
        test_lwip_abort("the core lock is not held", "", 0);
}

void test_lwip_abort(const char *message, const char *file, int line)
{
    fprintf(stderr, "lwIP: %s (%s:%d)\n", message, file, line);
    abort();
}

/* ---- memory ---- */

#ifdef SC_TEST_HEAP
static size_t blocks;

/* How many there are; for the test. */
size_t test_blocks(void);
size_t test_blocks(void)
{
    return __atomic_load_n(&blocks, __ATOMIC_RELAXED);
}

static int blocks_left = -1;

void test_fail_heap(int made)
{
    __atomic_store_n(&blocks_left, made, __ATOMIC_RELAXED);
}

static bool may_make_block(void)
{
    int left = __atomic_load_n(&blocks_left, __ATOMIC_RELAXED);

    if (left > 0)
        test_fail_heap(left - 1);
    return left != 0;
}

void *test_heap_malloc(size_t size)
{
    void *memory = may_make_block() ? malloc(size) : NULL;

    if (memory)
        __atomic_add_fetch(&blocks, 1, __ATOMIC_RELAXED);
    return memory;
}

void *test_heap_calloc(size_t count, size_t size)
{
    void *memory = may_make_block() ? calloc(count, size) : NULL;

    if (memory)
        __atomic_add_fetch(&blocks, 1, __ATOMIC_RELAXED);
    return memory;
}

void test_heap_free(void *memory)
{
    if (memory)
        __atomic_sub_fetch(&blocks, 1, __ATOMIC_RELAXED);
    free(memory);
}
#endif

/* ---- semaphores ---- */

static int semaphores_left = -1;

void test_fail_semaphores(int made)
{
    __atomic_store_n(&semaphores_left, made, __ATOMIC_RELAXED);
}

err_t sys_sem_new(sys_sem_t *sem, u8_t count)
{
    int left = __atomic_load_n(&semaphores_left, __ATOMIC_RELAXED);
    struct test_sem *s = left ? calloc(1, sizeof(*s)) : NULL;

    if (!s)
        return ERR_MEM;
    if (left > 0)
        test_fail_semaphores(left - 1);
    pthread_mutex_init(&s->mutex, NULL);
    new_cond(&s->changed);
    s->count = count;
    *sem = s;
    return ERR_OK;
}

void sys_sem_free(sys_sem_t *sem)
{
    pthread_cond_destroy(&(*sem)->changed);
    pthread_mutex_destroy(&(*sem)->mutex);
    free(*sem);
}

void sys_sem_signal(sys_sem_t *sem)
{
    struct test_sem *s = *sem;

    pthread_mutex_lock(&s->mutex);
    s->count++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

u32_t sys_arch_sem_wait(sys_sem_t *sem, u32_t timeout)
{
    struct test_sem *s = *sem;
    struct timespec at;
    u32_t result = 0;

    if (timeout)
        deadline_in(&at, timeout);
    pthread_mutex_lock(&s->mutex);
    while (!s->count && wait_change(&s->changed, &s->mutex, timeout ? &at : NULL)) {
    }
    if (s->count)
        s->count--;
    else
        result = SYS_ARCH_TIMEOUT;
    pthread_mutex_unlock(&s->mutex);
    return result;
}

/* ---- mutexes ---- */

err_t sys_mutex_new(sys_mutex_t *mutex)
{
    *mutex = malloc(sizeof(**mutex));
    if (!*mutex)
        return ERR_MEM;
    pthread_mutex_init(*mutex, NULL);
    return ERR_OK;
}

void sys_mutex_free(sys_mutex_t *mutex)
{
    pthread_mutex_destroy(*mutex);
    free(*mutex);
}

void sys_mutex_lock(sys_mutex_t *mutex)
{
    pthread_mutex_lock(*mutex);
}

void sys_mutex_unlock(sys_mutex_t *mutex)
{
    pthread_mutex_unlock(*mutex);
}

/* ---- mailboxes ---- */

err_t sys_mbox_new(sys_mbox_t *mbox, int size)
{
    struct test_mbox *m;

    LWIP_ASSERT("a mailbox without a size", size > 0);
    m = calloc(1, sizeof(*m) + (size_t)size * sizeof(m->slots[0]));
    if (!m)
        return ERR_MEM;
    pthread_mutex_init(&m->mutex, NULL);
    new_cond(&m->changed);
    m->size = (unsigned)size;
    *mbox = m;
    return ERR_OK;
}

void sys_mbox_free(sys_mbox_t *mbox)
{
    LWIP_ASSERT("a mailbox is freed with messages in it", (*mbox)->count == 0);
    pthread_cond_destroy(&(*mbox)->changed);
    pthread_mutex_destroy(&(*mbox)->mutex);
    free(*mbox);
}

static void put(struct test_mbox *m, void *message)
{
    m->slots[(m->first + m->count) % m->size] = message;
    m->count++;
    pthread_cond_broadcast(&m->changed);
}

static void take(struct test_mbox *m, void **message)
{
    void *taken = m->slots[m->first];

    m->first = (m->first + 1) % m->size;
    m->count--;
    pthread_cond_broadcast(&m->changed);
    if (message)
        *message = taken;
}

void sys_mbox_post(sys_mbox_t *mbox, void *message)
{
    struct test_mbox *m = *mbox;

    pthread_mutex_lock(&m->mutex);
    while (m->count == m->size)
        wait_change(&m->changed, &m->mutex, NULL);
    put(m, message);
    pthread_mutex_unlock(&m->mutex);
}

err_t sys_mbox_trypost(sys_mbox_t *mbox, void *message)
{
    struct test_mbox *m = *mbox;
    err_t err = ERR_MEM;

    pthread_mutex_lock(&m->mutex);
    if (m->count < m->size) {
        put(m, message);
        err = ERR_OK;
    }
    pthread_mutex_unlock(&m->mutex);
    return err;
}

err_t sys_mbox_trypost_fromisr(sys_mbox_t *mbox, void *message)
{
    return sys_mbox_trypost(mbox, message);
}

u32_t sys_arch_mbox_fetch(sys_mbox_t *mbox, void **message, u32_t timeout)
{
    struct test_mbox *m = *mbox;
    struct timespec at;
    u32_t result = 0;

    if (timeout)
        deadline_in(&at, timeout);
    pthread_mutex_lock(&m->mutex);
    while (!m->count && wait_change(&m->changed, &m->mutex, timeout ? &at : NULL)) {
    }
    if (m->count)
        take(m, message);
    else
        result = SYS_ARCH_TIMEOUT;
    pthread_mutex_unlock(&m->mutex);
    return result;
}

u32_t sys_arch_mbox_tryfetch(sys_mbox_t *mbox, void **message)
{
    struct test_mbox *m = *mbox;
    u32_t result = SYS_MBOX_EMPTY;

    pthread_mutex_lock(&m->mutex);
    if (m->count) {
        take(m, message);
        result = 0;
    }
    pthread_mutex_unlock(&m->mutex);
    return result;
}

/* ---- threads ---- */

struct thread_start {
    lwip_thread_fn function;
    void *arg;
    bool is_late;
};

static enum test_thread thread_fault;

void test_fail_threads(enum test_thread fault)
{
    thread_fault = fault;
}

static void *run_thread(void *arg)
{
    struct thread_start start = *(struct thread_start *)arg;

    free(arg);
    if (start.is_late)
        nanosleep(&(struct timespec){ .tv_nsec = 400000000 }, NULL);
    start.function(start.arg);
    return NULL;
}

sys_thread_t sys_thread_new(const char *name, lwip_thread_fn function, void *arg, int stack_size,
                            int priority)
{
    struct thread_start *start = malloc(sizeof(*start));
    pthread_t thread;

    LWIP_UNUSED_ARG(name);
    LWIP_UNUSED_ARG(stack_size);
    LWIP_UNUSED_ARG(priority);
    if (!start || thread_fault == TEST_THREAD_MISSING) {
        free(start);
        return pthread_self();
    }
    start->function = function;
    start->arg = arg;
    start->is_late = thread_fault == TEST_THREAD_LATE;
    if (pthread_create(&thread, NULL, run_thread, start) != 0)
        test_lwip_abort("no thread", __FILE__, __LINE__);
    pthread_detach(thread);
    return thread;
}
