/*
 * lwIP's sys_* layer on POSIX threads: the core lock, SYS_ARCH_PROTECT, mailboxes, memory and
 * randomness. lwIP has no thread of its own here (see pump.c); several may call it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"

#include "lwip/mem.h"
#include "lwip/opt.h"
#include "lwip/sys.h"

#include <errno.h>
#include <mbedtls/build_info.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- the core lock ---- */

/* Who holds the lock, by the address of a thread-local variable; NULL for nobody. Only its own
 * thread ever writes or compares equal to its own address, so relaxed order suffices. */
static _Atomic(const void *) core_owner;
static unsigned core_depth; /* the owner's */
static unsigned core_level; /* what the owner gives back */

bool sc_core_is_mine(void)
{
    return atomic_load_explicit(&core_owner, memory_order_relaxed) == &sc_is_stand_in;
}

void sc_core_lock(void)
{
    if (sc_core_is_mine()) {
        core_depth++;
        return;
    }
    unsigned level = sc_biased_enter(&sc_biased_locks[SC_CORE_LOCK]);
    atomic_store_explicit(&core_owner, &sc_is_stand_in, memory_order_relaxed);
    core_level = level;
    core_depth = 1;
}

void sc_core_unlock(void)
{
    if (--core_depth)
        return;
    atomic_store_explicit(&core_owner, NULL, memory_order_relaxed);
    sc_biased_leave(&sc_biased_locks[SC_CORE_LOCK], core_level);
}

void sc_lwip_abort(const char *message, const char *file, int line)
{
    fprintf(stderr, "socketcore: lwIP: %s (%s:%d)\n", message, file, line);
    abort();
}

void sc_core_assert_locked(void)
{
    if (!sc_core_is_mine())
        sc_lwip_abort("called without the core lock", "LWIP_ASSERT_CORE_LOCKED", 0);
}

/* ---- waiting for a mailbox or a semaphore. Nothing in this project does: the engine's calls are
 * non-blocking. It is here because lwIP's API has it. ---- */

static pthread_mutex_t change_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t something_changed;
static pthread_once_t condition_once = PTHREAD_ONCE_INIT;
static unsigned changes; /* under change_mutex */
static unsigned waiters; /* protected */

static void make_condition(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&something_changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct timespec deadline_after(u32_t timeout_ms)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}

/* Protected, and not while it waits. False when the time is over; NULL waits for ever. */
static bool wait_for_change(sys_prot_t *level, const struct timespec *deadline)
{
    int result = 0;

    pthread_once(&condition_once, make_condition);
    waiters++;
    pthread_mutex_lock(&change_mutex);
    unsigned seen = changes;
    SYS_ARCH_UNPROTECT(*level);
    while (result == 0 && changes == seen) {
        if (deadline)
            result = pthread_cond_timedwait(&something_changed, &change_mutex, deadline);
        else
            result = pthread_cond_wait(&something_changed, &change_mutex);
    }
    pthread_mutex_unlock(&change_mutex);
    SYS_ARCH_PROTECT(*level);
    waiters--;
    return result == 0;
}

/* Protected. */
static void tell_waiters(void)
{
    if (!waiters)
        return;
    pthread_mutex_lock(&change_mutex);
    changes++;
    pthread_cond_broadcast(&something_changed);
    pthread_mutex_unlock(&change_mutex);
}

/* ---- mailboxes ---- */

#define MAILBOX_START 4

err_t sys_mbox_new(sys_mbox_t *mbox, int size)
{
    *mbox = (sys_mbox_t){ .limit = size > 0 ? (unsigned)size : 1 };
    return ERR_OK;
}

void sys_mbox_free(sys_mbox_t *mbox)
{
    free(mbox->slots);
    *mbox = (sys_mbox_t){ 0 };
}

int sys_mbox_valid(sys_mbox_t *mbox)
{
    return mbox->limit != 0;
}

void sys_mbox_set_invalid(sys_mbox_t *mbox)
{
    mbox->limit = 0;
}

static bool grow_mailbox(sys_mbox_t *mbox)
{
    unsigned capacity = mbox->capacity ? 2 * mbox->capacity : MAILBOX_START;

    if (capacity > mbox->limit)
        capacity = mbox->limit;
    if (capacity <= mbox->capacity)
        return false;
    void **slots = malloc(capacity * sizeof(*slots));
    if (!slots)
        return false;
    unsigned until_end = mbox->capacity - mbox->first;
    if (until_end > mbox->count)
        until_end = mbox->count;
    if (mbox->count) {
        memcpy(slots, mbox->slots + mbox->first, until_end * sizeof(*slots));
        memcpy(slots + until_end, mbox->slots, (mbox->count - until_end) * sizeof(*slots));
    }
    free(mbox->slots);
    mbox->slots = slots;
    mbox->capacity = capacity;
    mbox->first = 0;
    return true;
}

/* Protected. */
static bool push_message(sys_mbox_t *mbox, void *message)
{
    if (mbox->count == mbox->capacity && !grow_mailbox(mbox))
        return false;
    unsigned place = mbox->first + mbox->count;
    if (place >= mbox->capacity)
        place -= mbox->capacity;
    mbox->slots[place] = message;
    mbox->count++;
    tell_waiters();
    return true;
}

/* Protected. An empty mailbox gives its memory back once it has grown. */
static bool shift_message(sys_mbox_t *mbox, void **message)
{
    if (!mbox->count)
        return false;
    *message = mbox->slots[mbox->first];
    if (++mbox->first == mbox->capacity)
        mbox->first = 0;
    mbox->count--;
    if (!mbox->count && mbox->capacity > 16 * MAILBOX_START) {
        free(mbox->slots);
        mbox->slots = NULL;
        mbox->capacity = 0;
        mbox->first = 0;
    }
    tell_waiters();
    return true;
}

err_t sys_mbox_trypost(sys_mbox_t *mbox, void *message)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    bool is_posted = push_message(mbox, message);
    SYS_ARCH_UNPROTECT(level);
    return is_posted ? ERR_OK : ERR_MEM;
}

err_t sys_mbox_trypost_fromisr(sys_mbox_t *mbox, void *message)
{
    return sys_mbox_trypost(mbox, message);
}

void sys_mbox_post(sys_mbox_t *mbox, void *message)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    while (!push_message(mbox, message))
        wait_for_change(&level, NULL);
    SYS_ARCH_UNPROTECT(level);
}

u32_t sys_arch_mbox_tryfetch(sys_mbox_t *mbox, void **message)
{
    SYS_ARCH_DECL_PROTECT(level);
    void *ignored;

    SYS_ARCH_PROTECT(level);
    bool is_fetched = shift_message(mbox, message ? message : &ignored);
    SYS_ARCH_UNPROTECT(level);
    return is_fetched ? 0 : SYS_MBOX_EMPTY;
}

u32_t sys_arch_mbox_fetch(sys_mbox_t *mbox, void **message, u32_t timeout_ms)
{
    SYS_ARCH_DECL_PROTECT(level);
    void *ignored;
    struct timespec deadline = deadline_after(timeout_ms);
    bool is_fetched;

    SYS_ARCH_PROTECT(level);
    for (;;) {
        is_fetched = shift_message(mbox, message ? message : &ignored);
        if (is_fetched || !wait_for_change(&level, timeout_ms ? &deadline : NULL))
            break;
    }
    SYS_ARCH_UNPROTECT(level);
    return is_fetched ? 0 : SYS_ARCH_TIMEOUT;
}

/* ---- semaphores ---- */

err_t sys_sem_new(sys_sem_t *semaphore, u8_t count)
{
    *semaphore = (sys_sem_t){ .count = count, .valid = true };
    return ERR_OK;
}

void sys_sem_free(sys_sem_t *semaphore)
{
    semaphore->valid = false;
}

int sys_sem_valid(sys_sem_t *semaphore)
{
    return semaphore->valid;
}

void sys_sem_set_invalid(sys_sem_t *semaphore)
{
    semaphore->valid = false;
}

void sys_sem_signal(sys_sem_t *semaphore)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    semaphore->count = 1;
    tell_waiters();
    SYS_ARCH_UNPROTECT(level);
}

u32_t sys_arch_sem_wait(sys_sem_t *semaphore, u32_t timeout_ms)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct timespec deadline = deadline_after(timeout_ms);
    bool is_taken;

    SYS_ARCH_PROTECT(level);
    while (!(is_taken = semaphore->count > 0)) {
        if (!wait_for_change(&level, timeout_ms ? &deadline : NULL))
            break;
    }
    if (is_taken)
        semaphore->count--;
    SYS_ARCH_UNPROTECT(level);
    return is_taken ? 0 : SYS_ARCH_TIMEOUT;
}

/* One for each thread instead of one for each connection (LWIP_NETCONN_SEM_PER_THREAD). */
struct sc_semaphore *sc_thread_semaphore(void)
{
    static _Thread_local struct sc_semaphore semaphore SC_FAST_TLS = { .valid = true };
    return &semaphore;
}

/* ---- mutexes and threads, asked for by parts of lwIP that are not in use ---- */

err_t sys_mutex_new(sys_mutex_t *mutex)
{
    mutex->valid = pthread_mutex_init(&mutex->mutex, NULL) == 0;
    return mutex->valid ? ERR_OK : ERR_MEM;
}

void sys_mutex_free(sys_mutex_t *mutex)
{
    pthread_mutex_destroy(&mutex->mutex);
    mutex->valid = false;
}

void sys_mutex_lock(sys_mutex_t *mutex)
{
    pthread_mutex_lock(&mutex->mutex);
}

void sys_mutex_unlock(sys_mutex_t *mutex)
{
    pthread_mutex_unlock(&mutex->mutex);
}

int sys_mutex_valid(sys_mutex_t *mutex)
{
    return mutex->valid;
}

void sys_mutex_set_invalid(sys_mutex_t *mutex)
{
    mutex->valid = false;
}

sys_thread_t sys_thread_new(const char *name, lwip_thread_fn function, void *argument,
                            int stack_size, int priority)
{
    (void)function;
    (void)argument;
    (void)stack_size;
    (void)priority;
    sc_lwip_abort("there is no thread to be started here", name, 0);
    return pthread_self();
}

void sys_init(void)
{
}

/* ---- memory: malloc, counted to the byte (malloc_usable_size differs from call to call) ---- */

union memory_header {
    size_t size; /* 0 for what does not count */
    max_align_t alignment;
};

/* What each of the two threads (arch/biased_lock.h) has allocated less what it has freed: either
 * may be below zero, and wraps. One writer each, so no read-modify-write has to be atomic. */
static atomic_size_t memory_used[2];
/* By thread: what it allocates does not count. */
static bool is_uncounted[2];
static atomic_size_t memory_limit; /* 0: none */

static void add_memory(size_t size)
{
    atomic_size_t *used = &memory_used[sc_is_stand_in];
    size_t before = atomic_load_explicit(used, memory_order_relaxed);

    atomic_store_explicit(used, before + size, memory_order_relaxed);
}

size_t sc_host_memory(void)
{
    return atomic_load_explicit(&memory_used[0], memory_order_relaxed) +
           atomic_load_explicit(&memory_used[1], memory_order_relaxed);
}

bool sc_host_count_memory(bool counts)
{
    bool counted = !is_uncounted[sc_is_stand_in];

    is_uncounted[sc_is_stand_in] = !counts;
    return counted;
}

/* Two threads at once may go over the limit by what one of them asks for. */
static inline bool has_room(size_t size)
{
    size_t limit = atomic_load_explicit(&memory_limit, memory_order_relaxed);

    if (!limit || is_uncounted[sc_is_stand_in])
        return true;
    size_t used = sc_host_memory();
    return used < limit && size <= limit - used;
}

static void *count_memory(union memory_header *header, size_t size)
{
    if (!header)
        return NULL;
    if (is_uncounted[sc_is_stand_in])
        size = 0;
    header->size = size;
    add_memory(size);
    return header + 1;
}

void *sc_lwip_malloc(size_t size)
{
    if (size > SIZE_MAX - sizeof(union memory_header) || !has_room(size))
        return NULL;
    return count_memory(malloc(sizeof(union memory_header) + size), size);
}

void *sc_lwip_calloc(size_t count, size_t size)
{
    if (size && count > (SIZE_MAX - sizeof(union memory_header)) / size)
        return NULL;
    if (!has_room(count * size))
        return NULL;
    return count_memory(calloc(1, sizeof(union memory_header) + count * size), count * size);
}

void sc_lwip_free(void *memory)
{
    if (!memory)
        return;
    union memory_header *header = (union memory_header *)memory - 1;
    add_memory(-header->size);
    free(header);
}

/* By thread, as memory_used. */
static atomic_size_t failed_allocations[2];

void sc_host_note_failed_allocation(void)
{
    atomic_size_t *failed = &failed_allocations[sc_is_stand_in];

    atomic_store_explicit(failed, atomic_load_explicit(failed, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

size_t sc_port_failed_allocations(void)
{
    return atomic_load_explicit(&failed_allocations[0], memory_order_relaxed) +
           atomic_load_explicit(&failed_allocations[1], memory_order_relaxed);
}

void *sc_mbedtls_calloc(size_t count, size_t size)
{
    void *memory = sc_lwip_calloc(count, size);

    if (!memory)
        sc_host_note_failed_allocation();
    return memory;
}

void sc_host_limit_memory(size_t limit)
{
    atomic_store_explicit(&memory_limit, limit, memory_order_relaxed);
}

/* ---- randomness ---- */

bool sc_port_entropy(void *out, size_t length)
{
    unsigned char *bytes = out;

    while (length) {
        ssize_t got = getrandom(bytes, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
    }
    return true;
}

/* Ports, sequence numbers and DNS ids. A buffer, because each connection wants several. Under the
 * core lock, as all that asks for it. */
unsigned int sc_random(void)
{
    static unsigned int numbers[64];
    static unsigned int left;

    if (!left) {
        if (!sc_port_entropy(numbers, sizeof(numbers)))
            sc_lwip_abort("no random numbers from the system", __FILE__, __LINE__);
        left = sizeof(numbers) / sizeof(numbers[0]);
    }
    return numbers[--left];
}
