/*
 * Threads, semaphores, mailboxes and the clock of machine.h.
 *
 * Below are real threads, because callgrind follows those, but only the one whose turn it is runs:
 * nothing here needs a lock. What passing on the turn costs on the PC is not collected; on a device
 * it is the scheduler's, and the report says how often it happens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "machine.h"

#include "peer.h"

#include "lwip/opt.h"

#include "lwip/sys.h"

#include "lwip/tcpip.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <valgrind/callgrind.h>

#define THREADS_MAX 4
#define NO_DEADLINE UINT64_MAX
/* Nothing here takes long: the clock comes this far only when a message is missing. */
#define CLOCK_MAX_MS 600000
#define DRIVER_PRIO 0
#define SCRIPT_PRIO DEFAULT_THREAD_PRIO

struct machine_thread {
    pthread_cond_t turn;
    int priority;
    bool is_ready;
    bool has_timed_out;
    uint64_t deadline;
    lwip_thread_fn function;
    void *arg;
};

static pthread_mutex_t token = PTHREAD_MUTEX_INITIALIZER;
static struct machine_thread threads[THREADS_MAX];
static unsigned thread_count;
static struct machine_thread *running;
static struct machine_thread *resting;
static uint64_t clock_ms;

void machine_abort(const char *message)
{
    fprintf(stderr, "instructions: %s\n", message);
    abort();
}

/* ---- turns ---- */

static struct machine_thread *next_thread(void)
{
    struct machine_thread *best = NULL;

    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].is_ready && (!best || threads[i].priority > best->priority))
            best = &threads[i];
    return best;
}

static void wait_turn(struct machine_thread *self)
{
    while (running != self)
        pthread_cond_wait(&self->turn, &token);
}

static void switch_thread(struct machine_thread *self)
{
    struct machine_thread *next = next_thread();

    if (next == self)
        return;
    running = next;
    pthread_cond_signal(&next->turn);
    wait_turn(self);
}

/* The driver is always ready, so there is always a next one. */
static void give_turn(void)
{
    struct machine_thread *self = running;

    CALLGRIND_TOGGLE_COLLECT;
    switch_thread(self);
    CALLGRIND_TOGGLE_COLLECT;
}

/* Waits until `*waiter` is made ready. False when the time is over; 0 is for ever. */
static bool wait_ready(struct machine_thread **waiter, u32_t timeout)
{
    struct machine_thread *self = running;

    if (*waiter)
        machine_abort("two threads wait for the same");
    *waiter = self;
    self->is_ready = false;
    self->has_timed_out = false;
    self->deadline = timeout ? clock_ms + timeout : NO_DEADLINE;
    give_turn();
    *waiter = NULL;
    return !self->has_timed_out;
}

/* The same for lwIP's threads and the script's. The report counts the calls: each is a switch to
 * another thread and one back. */
__attribute__((noinline)) static bool wait_event(struct machine_thread **waiter, u32_t timeout)
{
    return wait_ready(waiter, timeout);
}

static void make_ready(struct machine_thread *waiter)
{
    if (waiter)
        waiter->is_ready = true;
}

static void *run_thread(void *arg)
{
    struct machine_thread *self = arg;

    pthread_mutex_lock(&token);
    wait_turn(self);
    self->function(self->arg);
    machine_abort("a thread has ended");
}

static struct machine_thread *add_thread(int priority)
{
    if (thread_count == THREADS_MAX)
        machine_abort("too many threads");
    struct machine_thread *thread = &threads[thread_count++];
    pthread_cond_init(&thread->turn, NULL);
    thread->priority = priority;
    thread->is_ready = true;
    thread->deadline = NO_DEADLINE;
    return thread;
}

sys_thread_t sys_thread_new(const char *name, lwip_thread_fn function, void *arg, int stack_size,
                            int priority)
{
    struct machine_thread *thread = add_thread(priority);
    pthread_t id;

    LWIP_UNUSED_ARG(name);
    LWIP_UNUSED_ARG(stack_size);
    thread->function = function;
    thread->arg = arg;
    if (pthread_create(&id, NULL, run_thread, thread) != 0)
        machine_abort("no thread");
    pthread_detach(id);
    return thread;
}

/* ---- the driver and the clock ---- */

/* Nobody can go on before some time has passed. */
static void pass_time(void)
{
    struct machine_thread *first = NULL;

    for (unsigned i = 0; i < thread_count; i++)
        if (!threads[i].is_ready && (!first || threads[i].deadline < first->deadline))
            first = &threads[i];
    if (!first || first->deadline > CLOCK_MAX_MS)
        machine_abort("everybody waits for ever");
    clock_ms = first->deadline;
    first->has_timed_out = true;
    first->is_ready = true;
}

static void drive(void *unused)
{
    LWIP_UNUSED_ARG(unused);
    for (;;) {
        if (!peer_deliver()) {
            if (resting)
                make_ready(resting);
            else
                pass_time();
        }
        give_turn();
    }
}

void machine_rest(void)
{
    wait_ready(&resting, 0);
}

u32_t sys_now(void)
{
    return (u32_t)clock_ms;
}

/* ---- semaphores ---- */

err_t sys_sem_new(sys_sem_t *sem, u8_t count)
{
    *sem = (sys_sem_t){ .count = count, .is_valid = true };
    return ERR_OK;
}

void sys_sem_free(sys_sem_t *sem)
{
    LWIP_UNUSED_ARG(sem);
}

void sys_sem_signal(sys_sem_t *sem)
{
    sem->count++;
    make_ready(sem->waiter);
}

u32_t sys_arch_sem_wait(sys_sem_t *sem, u32_t timeout)
{
    while (!sem->count)
        if (!wait_event(&sem->waiter, timeout))
            return SYS_ARCH_TIMEOUT;
    sem->count--;
    return 0;
}

/* ---- mutexes: nobody waits while holding one ---- */

err_t sys_mutex_new(sys_mutex_t *mutex)
{
    *mutex = (sys_mutex_t){ .is_valid = true };
    return ERR_OK;
}

void sys_mutex_free(sys_mutex_t *mutex)
{
    LWIP_UNUSED_ARG(mutex);
}

void sys_mutex_lock(sys_mutex_t *mutex)
{
    if (mutex->is_owned)
        machine_abort("a mutex is locked twice");
    mutex->is_owned = true;
}

void sys_mutex_unlock(sys_mutex_t *mutex)
{
    mutex->is_owned = false;
}

/* ---- mailboxes, from a pool as an RTOS has one ---- */

#define MBOXES_MAX 64

static struct machine_mbox mboxes[MBOXES_MAX];

err_t sys_mbox_new(sys_mbox_t *mbox, int size)
{
    if (size < 1 || size > MACHINE_MBOX_MAX)
        machine_abort("a mailbox of a size that is not foreseen");
    for (struct machine_mbox *m = mboxes; m < mboxes + MBOXES_MAX; m++)
        if (!m->size) {
            m->size = (unsigned)size;
            m->first = 0;
            m->count = 0;
            *mbox = m;
            return ERR_OK;
        }
    return ERR_MEM;
}

void sys_mbox_free(sys_mbox_t *mbox)
{
    (*mbox)->size = 0;
}

err_t sys_mbox_trypost(sys_mbox_t *mbox, void *message)
{
    struct machine_mbox *m = *mbox;
    unsigned last = m->first + m->count;

    if (m->count == m->size)
        return ERR_MEM;
    m->slots[last < m->size ? last : last - m->size] = message;
    m->count++;
    make_ready(m->waiter);
    return ERR_OK;
}

void sys_mbox_post(sys_mbox_t *mbox, void *message)
{
    if (sys_mbox_trypost(mbox, message) != ERR_OK)
        machine_abort("a mailbox is full");
}

err_t sys_mbox_trypost_fromisr(sys_mbox_t *mbox, void *message)
{
    return sys_mbox_trypost(mbox, message);
}

u32_t sys_arch_mbox_tryfetch(sys_mbox_t *mbox, void **message)
{
    struct machine_mbox *m = *mbox;

    if (!m->count)
        return SYS_MBOX_EMPTY;
    if (message)
        *message = m->slots[m->first];
    m->first = m->first + 1 < m->size ? m->first + 1 : 0;
    m->count--;
    return 0;
}

u32_t sys_arch_mbox_fetch(sys_mbox_t *mbox, void **message, u32_t timeout)
{
    while (sys_arch_mbox_tryfetch(mbox, message) == SYS_MBOX_EMPTY)
        if (!wait_event(&(*mbox)->waiter, timeout))
            return SYS_ARCH_TIMEOUT;
    return 0;
}

/* ---- protection: where interrupts are masked on a device ---- */

static int protection;

sys_prot_t sys_arch_protect(void)
{
    return protection++;
}

void sys_arch_unprotect(sys_prot_t level)
{
    protection = level;
}

void sys_init(void)
{
}

/* ---- the start ---- */

static void on_tcpip_ready(void *arg)
{
    sys_sem_signal(arg);
}

void machine_start(void)
{
    sys_sem_t ready;

    pthread_mutex_lock(&token);
    running = add_thread(SCRIPT_PRIO);
    sys_thread_new("driver", drive, NULL, 0, DRIVER_PRIO);
    sys_sem_new(&ready, 0);
    tcpip_init(on_tcpip_ready, &ready);
    sys_arch_sem_wait(&ready, 0);
    peer_start();
}
