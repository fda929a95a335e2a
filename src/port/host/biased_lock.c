/*
 * The rare side of the locks in arch/biased_lock.h: the stand-in's coming and going, and both
 * threads while it is there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "arch/biased_lock.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sc_biased_lock sc_biased_locks[SC_BIASED_LOCKS] = {
    [SC_PROTECT_LOCK] = { .mutex = PTHREAD_MUTEX_INITIALIZER },
    [SC_CORE_LOCK] = { .mutex = PTHREAD_MUTEX_INITIALIZER },
};

/* True while the stand-in is about; always, unless the kernel has membarrier for us. */
atomic_bool sc_is_shared = true;

_Thread_local bool sc_is_stand_in SC_FAST_TLS;

/* The script thread's, and once there is a stand-in, its own. */
static bool has_barrier;

/* What the stand-in waits for: the script thread has left a lock that it took alone. */
static pthread_mutex_t leave_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t script_left = PTHREAD_COND_INITIALIZER;
static atomic_bool is_awaited;

static bool call_membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

static void register_barrier(void)
{
    if (!has_barrier)
        has_barrier = call_membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    sc_share_end();
}

/* Registering takes 2 us in a process with one thread and 10 ms in one with more. */
void sc_share_prepare(void)
{
    if (__libc_single_threaded)
        register_barrier();
}

void sc_share_join(void)
{
    sc_is_stand_in = true;
    register_barrier();
}

static void await_script(struct sc_biased_lock *lock)
{
    pthread_mutex_lock(&leave_mutex);
    atomic_store(&is_awaited, true);
    while (atomic_load(&lock->script) == SC_BIASED_ALONE)
        pthread_cond_wait(&script_left, &leave_mutex);
    atomic_store(&is_awaited, false);
    pthread_mutex_unlock(&leave_mutex);
}

/* After the barrier the script thread either has seen the flag, or is seen inside. */
void sc_share_begin(void)
{
    if (!has_barrier)
        return;
    atomic_store(&sc_is_shared, true);
    /* It was granted when it was registered, so that only memory may be out. */
    while (!call_membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
        sched_yield();
    for (int i = 0; i < SC_BIASED_LOCKS; i++)
        await_script(&sc_biased_locks[i]);
}

void sc_share_end(void)
{
    if (has_barrier)
        atomic_store_explicit(&sc_is_shared, false, memory_order_release);
}

/* Either the stand-in sees that the script thread has left, or is seen waiting. */
static void leave_alone(struct sc_biased_lock *lock)
{
    atomic_store(&lock->script, SC_BIASED_NONE);
    if (!atomic_load(&is_awaited))
        return;
    pthread_mutex_lock(&leave_mutex);
    pthread_cond_signal(&script_left);
    pthread_mutex_unlock(&leave_mutex);
}

static unsigned enter_stand_in(struct sc_biased_lock *lock)
{
    if (lock->stand_in)
        return SC_BIASED_NONE;
    pthread_mutex_lock(&lock->mutex);
    lock->stand_in = true;
    return SC_BIASED_WITH_MUTEX;
}

unsigned sc_biased_enter_slowly(struct sc_biased_lock *lock)
{
    if (sc_is_stand_in)
        return enter_stand_in(lock);
    leave_alone(lock);
    pthread_mutex_lock(&lock->mutex);
    atomic_store_explicit(&lock->script, SC_BIASED_WITH_MUTEX, memory_order_relaxed);
    return SC_BIASED_WITH_MUTEX;
}

void sc_biased_leave_slowly(struct sc_biased_lock *lock, unsigned level)
{
    if (level == SC_BIASED_ALONE) {
        leave_alone(lock);
        return;
    }
    if (sc_is_stand_in)
        lock->stand_in = false;
    else
        atomic_store_explicit(&lock->script, SC_BIASED_NONE, memory_order_release);
    pthread_mutex_unlock(&lock->mutex);
}
