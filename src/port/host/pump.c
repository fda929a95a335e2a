/*
 * The pump: the loop that runs the engine, lwIP's timers, the link and the poll of the host's file
 * descriptors, all on one thread. That is the script thread while it waits in rtos.receive
 * (sc_host_wait). When the script has been computing for some milliseconds, the stand-in thread
 * takes over until it comes back. Whoever holds pump_mutex pumps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "arch/biased_lock.h"
#include "host.h"
#include "link.h"
#include "pollset.h"

#include "lwip/tcpip.h"
#include "lwip/timeouts.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* How long the script may compute before the stand-in takes over. */
#define TICK_US 5000
/* How often the network is looked at while the queue never runs empty. */
#define IO_INTERVAL_US 250
/* A peer on this machine often answers sooner than a CPU falls asleep and wakes up. When a sleep
 * was this short, the next one is spent looking, up to this long; one that was not worth it ends
 * that. */
#define SPIN_US 100
/* A sleep ends after this at the latest, for a signal that came just before it began. */
#define SLEEP_MAX_US 1000000
/* How many messages go out on one look at the clock. */
#define CALLS_PER_LOOK 8
/* Rounds of engine and frames before anything else has its turn. */
#define ROUNDS_MAX 32

static pthread_mutex_t pump_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Shared without a lock. Each pair of a flag that is set and one that is asked for right after
 * relies on sequential consistency: either the one who sleeps sees the wish, or the one who wishes
 * sees the sleep. */
static atomic_bool has_work;         /* the engine wants to run */
static atomic_bool is_asleep;        /* whoever pumps is in poll, or about to be */
static atomic_bool is_kicked;        /* wake_fd was written to */
static atomic_bool script_is_inside; /* the script thread pumps, or waits to */
static atomic_uint visits;           /* how often the script thread has come and gone */
static atomic_bool is_parked;        /* the stand-in sleeps without a tick */
static atomic_bool is_ending;        /* the stand-in shall end */

/* The pump's, under pump_mutex. */
static uint64_t engine_at = SC_NEVER;
static bool is_spinning;
/* When the network wants to be looked at; read by the script thread before it pumps. */
static _Atomic uint64_t io_at;

/* The script thread's; written while the stand-in does not exist. */
static int wake_fd = -1;
static bool is_running; /* the engine may run */

static pthread_t stand_in_thread;
static pthread_mutex_t tick_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tick_condition;

/* ---- waking ---- */

void sc_pump_kick(void)
{
    static const uint64_t one = 1;

    if (atomic_load(&is_asleep) && !atomic_exchange(&is_kicked, true)) {
        /* It fails only when the counter is full, and then it wakes as well. */
        ssize_t written = write(wake_fd, &one, sizeof(one));
        (void)written;
    }
}

void sc_port_wake(void)
{
    if (!atomic_load_explicit(&has_work, memory_order_relaxed) || atomic_load(&is_asleep)) {
        atomic_store(&has_work, true);
        sc_pump_kick();
    }
}

static void swallow_kick(void)
{
    uint64_t count;
    ssize_t got = read(wake_fd, &count, sizeof(count));

    (void)got;
    atomic_store(&is_kicked, false);
}

/* rtos without sockets needs it as well. */
bool sc_pump_open(void)
{
    if (wake_fd < 0)
        wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake_fd >= 0 && sc_poll_open(wake_fd);
}

/* ---- one round; the caller pumps ---- */

/* Runs the engine and hands frames to lwIP, as often as the one makes work for the other, or until
 * the engine has more to do than it should in one go. */
static void run_ready(uint64_t now)
{
    if (!is_running)
        return;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool is_quiet = true;
        uint32_t wait_ms = SC_FOREVER;
        if (now >= engine_at || atomic_load_explicit(&has_work, memory_order_relaxed)) {
            atomic_exchange(&has_work, false);
            wait_ms = sc_engine_run();
            engine_at = wait_ms == SC_FOREVER ? SC_NEVER : now + (uint64_t)wait_ms * 1000;
            is_quiet = false;
        }
        if (sc_net_has_frames()) {
            LOCK_TCPIP_CORE();
            sc_net_deliver();
            UNLOCK_TCPIP_CORE();
            is_quiet = false;
        }
        if (is_quiet || wait_ms == 0)
            return;
    }
}

static bool must_stay_awake(bool is_script)
{
    return atomic_load(&has_work) || sc_net_has_frames() ||
           (!is_script && (atomic_load(&script_is_inside) || atomic_load(&is_ending)));
}

/* Fills the poll set and brings *until forward to when something has to be done. */
static int watch(uint64_t now, uint64_t *until)
{
    sc_poll_clear();
    int wake_place = sc_poll_add(wake_fd, POLLIN);
    if (is_running) {
        sc_names_refresh(now);
        uint64_t sleep_ms = sys_timeouts_sleeptime();
        if (sleep_ms != SYS_TIMEOUTS_SLEEPTIME_INFINITE && now + sleep_ms * 1000 < *until)
            *until = now + sleep_ms * 1000;
        sc_net_watch(now, until);
        if (engine_at < *until)
            *until = engine_at;
    }
    sc_poll_prepare();
    return wake_place;
}

/* Takes in what the wait has found. */
static void dispatch(uint64_t now, int wake_place)
{
    int ready = sc_poll_finish();

    if (sc_poll_events(wake_place)) {
        swallow_kick();
        ready--;
    }
    if (is_running) {
        sc_net_dispatch(now, ready);
        sys_check_timeouts();
    }
}

/* True when something came before `until`. Whoever else wants this CPU, the peer perhaps, has it.
 */
static bool spin(uint64_t until, bool is_script)
{
    do {
        sched_yield();
        if (sc_poll_wait(0, 0) > 0 || must_stay_awake(is_script))
            return true;
    } while (sc_host_now() < until);
    return false;
}

/* `until` is in the future. */
static void sleep_until(uint64_t now, uint64_t until, bool is_script)
{
    if (is_spinning && is_script) {
        is_spinning = spin(until < now + SPIN_US ? until : now + SPIN_US, is_script);
        if (is_spinning)
            return;
        now = sc_host_now();
    }
    atomic_store(&is_asleep, true);
    bool is_short = sc_poll_wait(now, must_stay_awake(is_script) ? now : until) > 0;
    atomic_store(&is_asleep, false);
    is_spinning = is_short && is_script && sc_host_now() < now + SPIN_US;
}

/* Sleeps until `until` at the latest, and takes in what the network has then. `until` <= `now` only
 * has a look. */
static void take_input(uint64_t now, uint64_t until, bool is_script)
{
    uint64_t started = now;
    bool is_look = until <= now;

    if (until > now + SLEEP_MAX_US)
        until = now + SLEEP_MAX_US;
    LOCK_TCPIP_CORE();
    int wake_place = watch(now, &until);
    UNLOCK_TCPIP_CORE();
    if (until > now)
        sleep_until(now, until, is_script);
    else
        sc_poll_wait(now, now);
    now = sc_host_now();
    LOCK_TCPIP_CORE();
    dispatch(now, wake_place);
    UNLOCK_TCPIP_CORE();
    now = sc_host_now();
    /* A look that is dear (many descriptors) is rarer, so that it never takes most of the time. */
    uint64_t pause = IO_INTERVAL_US;
    if (is_look && pause < 8 * (now - started))
        pause = 8 * (now - started);
    atomic_store_explicit(&io_at, now + pause, memory_order_relaxed);
}

/* ---- the stand-in ---- */

static struct timespec tick_end(void)
{
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += TICK_US * 1000L;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    return end;
}

/* Sleeps while the script thread waits in rtos.receive: then nobody needs a stand-in. tick_mutex
 * is held. */
static void park(void)
{
    atomic_store(&is_parked, true);
    while (atomic_load(&is_parked) && atomic_load(&script_is_inside) && !atomic_load(&is_ending))
        pthread_cond_wait(&tick_condition, &tick_mutex);
    atomic_store(&is_parked, false);
}

static void unpark(void)
{
    pthread_mutex_lock(&tick_mutex);
    atomic_store(&is_parked, false);
    pthread_cond_signal(&tick_condition);
    pthread_mutex_unlock(&tick_mutex);
}

static void pump_for_script(void)
{
    pthread_mutex_lock(&pump_mutex);
    sc_share_begin();
    while (!atomic_load(&script_is_inside) && !atomic_load(&is_ending)) {
        run_ready(sc_host_now());
        take_input(sc_host_now(), SC_NEVER, false);
    }
    sc_share_end();
    pthread_mutex_unlock(&pump_mutex);
}

/* One look per tick at where the script thread is. It stays out of the way of a script that comes
 * and goes, without a system call on the script's side. */
static void *run_stand_in(void *unused)
{
    (void)unused;
    sc_share_join();
    pthread_mutex_lock(&tick_mutex);
    while (!atomic_load(&is_ending)) {
        unsigned seen = atomic_load(&visits);
        struct timespec end = tick_end();
        int result = 0;
        while (result == 0 && !atomic_load(&is_ending))
            result = pthread_cond_timedwait(&tick_condition, &tick_mutex, &end);
        if (atomic_load(&visits) != seen)
            continue;
        if (atomic_load(&script_is_inside)) {
            park();
            continue;
        }
        pthread_mutex_unlock(&tick_mutex);
        pump_for_script();
        pthread_mutex_lock(&tick_mutex);
    }
    pthread_mutex_unlock(&tick_mutex);
    return NULL;
}

/* With all signals blocked, so that they interrupt the script thread. */
static int create_stand_in(void)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&stand_in_thread, NULL, run_stand_in, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void make_condition(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&tick_condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum sc_error sc_pump_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_condition);
    atomic_store(&is_ending, false);
    is_running = true;
    engine_at = 0;
    sc_share_prepare();
    if (create_stand_in() != 0) {
        is_running = false;
        return SC_ERR_NOMEM;
    }
    return SC_OK;
}

void sc_pump_stop(void)
{
    if (!is_running)
        return;
    pthread_mutex_lock(&tick_mutex);
    atomic_store(&is_ending, true);
    pthread_cond_signal(&tick_condition);
    pthread_mutex_unlock(&tick_mutex);
    sc_pump_kick();
    pthread_join(stand_in_thread, NULL);
    is_running = false;
}

/* ---- the script thread ---- */

static void enter_pump(void)
{
    atomic_store(&script_is_inside, true);
    if (pthread_mutex_trylock(&pump_mutex) != 0) {
        sc_pump_kick();
        pthread_mutex_lock(&pump_mutex);
    }
}

static void leave_pump(void)
{
    pthread_mutex_unlock(&pump_mutex);
    atomic_fetch_add_explicit(&visits, 1, memory_order_relaxed);
    atomic_store(&script_is_inside, false);
    if (atomic_load(&is_parked))
        unpark();
}

static enum sc_host_event take_event(uint64_t now, int *id)
{
    switch (sc_queue_take(now, id)) {
    case SC_ITEM_SOCKET:
        return SC_HOST_SOCKET;
    case SC_ITEM_TIMER:
        return SC_HOST_TIMER;
    case SC_ITEM_NONE:
        break;
    }
    return SC_HOST_TIMEOUT;
}

static uint64_t end_of(uint64_t now, uint64_t timeout_us)
{
    return timeout_us == SC_HOST_FOREVER ? SC_NEVER : now + timeout_us;
}

static enum sc_host_event pump_until_event(const struct sc_host_wait *wait, uint64_t now, int *id)
{
    for (;;) {
        run_ready(now);
        if (sc_host_recent() >= atomic_load_explicit(&io_at, memory_order_relaxed))
            take_input(sc_host_now(), 0, true);
        if (wait->takes_messages) {
            enum sc_host_event event = take_event(sc_host_recent(), id);
            if (event != SC_HOST_TIMEOUT)
                return event;
        }
        if (wait->is_interrupted(wait->context))
            return SC_HOST_INTERRUPTED;
        now = sc_host_now();
        /* A timer that ran out meanwhile comes before the timeout. */
        if (now >= wait->until)
            return wait->takes_messages ? take_event(now, id) : SC_HOST_TIMEOUT;
        uint64_t until = wait->until;
        if (wait->takes_messages && sc_queue_due() < until)
            until = sc_queue_due();
        take_input(now, until, true);
        now = sc_host_recent();
    }
}

/* The time for what may be a little late: looked at only now and then. A script that reads or sends
 * has it looked at anyway. */
static uint64_t rough_now(void)
{
    static unsigned calls;

    return ++calls % CALLS_PER_LOOK ? sc_host_recent() : sc_host_now();
}

enum sc_host_event sc_host_wait(struct sc_host_wait *wait, int *id)
{
    /* What stands in the queue goes out without a look at the network, until one is due. */
    if (wait->takes_messages) {
        uint64_t now = rough_now();
        if (now < atomic_load_explicit(&io_at, memory_order_relaxed)) {
            enum sc_host_event event = take_event(now, id);
            if (event != SC_HOST_TIMEOUT)
                return event;
        }
    }
    uint64_t now = sc_host_now();
    if (!wait->until)
        wait->until = end_of(now, wait->timeout_us);
    enter_pump();
    enum sc_host_event event = pump_until_event(wait, now, id);
    leave_pump();
    return event;
}

bool sc_pump_is_busy(void)
{
    return atomic_load(&script_is_inside) || sc_core_is_mine();
}

void sc_pump_until(bool (*is_done)(void), uint64_t deadline)
{
    pthread_mutex_lock(&pump_mutex);
    is_running = true;
    for (;;) {
        uint64_t now = sc_host_now();
        run_ready(now);
        if (is_done() || now >= deadline)
            break;
        uint64_t until = now + TICK_US;
        take_input(now, until < deadline ? until : deadline, true);
    }
    is_running = false;
    pthread_mutex_unlock(&pump_mutex);
}
