/*
 * Locks between two threads of which one comes seldom: the script thread, which does all the work
 * as a rule, and the stand-in, which pumps while the script computes (pump.c). As long as the
 * stand-in is away, taking such a lock is a store and a load, without an atomic
 * read-modify-write and without a fence: that is what makes a message cheap. Before it comes, the
 * stand-in says so and has the kernel put a barrier into every thread of the process (membarrier);
 * from there on both take a mutex.
 *
 * "The script thread" is whatever thread is not the stand-in: the Lua state may move from thread to
 * thread, as long as only one uses it at a time. Taking a lock that one has already is allowed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_BIASED_LOCK_H
#define SC_HOST_BIASED_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* How the script thread has the lock; and how sc_biased_enter took it, NONE when the thread had it
 * before. */
enum { SC_BIASED_NONE, SC_BIASED_ALONE, SC_BIASED_WITH_MUTEX };

struct sc_biased_lock {
    atomic_uint script;    /* how the script thread has it */
    bool stand_in;         /* the stand-in's own: it has the lock */
    pthread_mutex_t mutex; /* for as long as sc_is_shared */
};

enum { SC_PROTECT_LOCK, SC_CORE_LOCK, SC_BIASED_LOCKS };

#define SC_HIDDEN __attribute__((visibility("hidden")))

/* Also where the compiler sees all files at once, and would rather make a function of them. */
#define SC_INLINED static inline __attribute__((always_inline))

/* Without a call of __tls_get_addr. A C library that loads no such module at run time (musl) gets
 * the slower kind. */
#ifdef __GLIBC__
#define SC_FAST_TLS __attribute__((tls_model("initial-exec")))
#else
#define SC_FAST_TLS
#endif

SC_HIDDEN extern struct sc_biased_lock sc_biased_locks[SC_BIASED_LOCKS];
SC_HIDDEN extern atomic_bool sc_is_shared;
SC_HIDDEN extern _Thread_local bool sc_is_stand_in SC_FAST_TLS;

/* The script thread's call before it starts a stand-in. */
SC_HIDDEN void sc_share_prepare(void);

/* The stand-in's calls: once at its start; before it touches what the locks guard, which waits for
 * the script thread to leave what it is in; and when it is done. */
SC_HIDDEN void sc_share_join(void);
SC_HIDDEN void sc_share_begin(void);
SC_HIDDEN void sc_share_end(void);

/* The rare cases of the two functions below. */
SC_HIDDEN unsigned sc_biased_enter_slowly(struct sc_biased_lock *lock);
SC_HIDDEN void sc_biased_leave_slowly(struct sc_biased_lock *lock, unsigned level);

/* Takes the lock; what it returns belongs into sc_biased_leave. */
SC_INLINED unsigned sc_biased_enter(struct sc_biased_lock *lock)
{
    if (__builtin_expect(sc_is_stand_in, 0))
        return sc_biased_enter_slowly(lock);
    if (atomic_load_explicit(&lock->script, memory_order_relaxed) != SC_BIASED_NONE)
        return SC_BIASED_NONE;
    atomic_store_explicit(&lock->script, SC_BIASED_ALONE, memory_order_relaxed);
    /* In this order for the compiler; for the processor membarrier sees to it. */
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load_explicit(&sc_is_shared, memory_order_acquire), 0))
        return sc_biased_enter_slowly(lock);
    return SC_BIASED_ALONE;
}

SC_INLINED void sc_biased_leave(struct sc_biased_lock *lock, unsigned level)
{
    if (__builtin_expect(level == SC_BIASED_ALONE, 1)) {
        atomic_store_explicit(&lock->script, SC_BIASED_NONE, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst);
        if (__builtin_expect(!atomic_load_explicit(&sc_is_shared, memory_order_relaxed), 1))
            return;
    }
    if (level != SC_BIASED_NONE)
        sc_biased_leave_slowly(lock, level);
}

#endif
