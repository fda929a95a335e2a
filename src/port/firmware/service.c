/*
 * The service thread: runs the engine for ever, sleeps while it has nothing to do. Everything here
 * is lwIP's sys_*, so it runs wherever lwIP does.
 *
 * What an integrator does, in this order:
 *
 * 1. Build lwIP 2.2 and mbedTLS 3.6 with lwipopts.h and mbedtls_config.h of this directory, or with
 *    your own (requirements.h, included below, complains about what will not do); mbedTLS's
 *    ssl_tls.c and ssl_tls13_generic.c with port/mbedtls_peer_certs.h.
 * 2. Build src/<all>.c, memory.c and this file. A firmware whose rtos numbers its messages
 *    differently defines SC_MSG_BASE; one that prefers other limits SC_DEFAULT_MAX_SOCKETS and
 *    so on (api.c).
 * 3. Supply sc_port_post, sc_port_log, sc_port_entropy and sc_port_time (socketcore_port.h);
 *    post_example.c shows the first together with rtos.receive, which calls sc_push_message.
 * 4. At boot: tcpip_init, the network interface, DHCP, as ever.
 * 5. On the script thread: lua_open, then luaopen_socketcore (luaL_requiref or package.preload). It
 *    calls sc_start, which makes the thread below the first time.
 * 6. To restart the script: lua_close, which ends in sc_stop; then 5 again. The thread stays.
 *
 * Received data is freed by the script thread. lwIP's own pbufs take that; a driver with custom
 * pbufs (LWIP_SUPPORT_CUSTOM_PBUF) must take it too: its free function is not only called from the
 * tcpip thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "requirements.h"
#include "socketcore_port.h"

#include "lwip/def.h"
#include "lwip/sys.h"

#include <stdbool.h>
#include <stdint.h>

#ifndef SC_SERVICE_STACKSIZE
#define SC_SERVICE_STACKSIZE DEFAULT_THREAD_STACKSIZE
#endif
#ifndef SC_SERVICE_PRIO
#define SC_SERVICE_PRIO DEFAULT_THREAD_PRIO
#endif

/* Makes the service thread, which calls serve(argument); false when it could not. sys_thread_new
 * has no result that is the same everywhere, and lwIP's port for FreeRTOS asserts (sys_arch.c,
 * contrib/ports/freertos). There, define it in lwipopts.h as
 *   (xTaskCreate(serve, "socketcore", SC_SERVICE_STACKSIZE / sizeof(StackType_t), argument,
 *                SC_SERVICE_PRIO, NULL) == pdPASS) */
#ifndef SC_SERVICE_THREAD_NEW
#define SC_SERVICE_THREAD_NEW(serve, argument)                                                     \
    (sys_thread_new("socketcore", serve, argument, SC_SERVICE_STACKSIZE, SC_SERVICE_PRIO), true)
#endif

/* A thread that does not run after this could not be made. */
#ifndef SC_SERVICE_START_MS
#define SC_SERVICE_START_MS 3000
#endif

/* Some sys_arch.c compute ticks in 32 bits; waking once in a while costs nothing. */
#define SLEEP_MAX_MS 60000

/* The script thread's. Made once and kept, because lwIP has no way to end a thread. */
static bool has_semaphores;
static bool is_made;
static sys_sem_t work;   /* the engine has work */
static sys_sem_t halted; /* answers a halt */
static sys_sem_t never;  /* what a thread that came too late waits for */

/* Shared, under SYS_ARCH_PROTECT. */
/* `work` was signalled and the thread has not seen it, so that it never counts above 1; or there is
 * no `work` yet. */
static bool is_signalled = true;
static bool is_halt_wanted = true;
static bool is_halt_answered = true;
static unsigned attempt; /* to make the thread */
static bool has_come_up; /* the thread of this attempt */

void sc_port_wake(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_news;

    SYS_ARCH_PROTECT(level);
    is_news = !is_signalled;
    is_signalled = true;
    SYS_ARCH_UNPROTECT(level);
    if (is_news)
        sys_sem_signal(&work);
}

/* Lets a halt know that the engine is left alone. True: it may run. `is_woken`: the signal was
 * seen, and what comes from here on, before the engine looks, signals again. */
static bool may_run(bool is_woken)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_wanted;
    bool is_answer_due;

    SYS_ARCH_PROTECT(level);
    if (is_woken)
        is_signalled = false;
    is_wanted = is_halt_wanted;
    is_answer_due = is_wanted && !is_halt_answered;
    is_halt_answered = is_wanted;
    SYS_ARCH_UNPROTECT(level);
    if (is_answer_due)
        sys_sem_signal(&halted);
    return !is_wanted;
}

/* True when `work` was signalled. */
static bool sleep_for(uint32_t ms)
{
    if (ms == 0)
        return false;
    if (ms == SC_FOREVER)
        return sys_arch_sem_wait(&work, 0) != SYS_ARCH_TIMEOUT;
    return sys_arch_sem_wait(&work, ms < SLEEP_MAX_MS ? ms : SLEEP_MAX_MS) != SYS_ARCH_TIMEOUT;
}

/* False for the thread of an attempt that was given up. */
static bool come_up(unsigned number)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_mine;

    SYS_ARCH_PROTECT(level);
    is_mine = number == attempt;
    has_come_up |= is_mine;
    SYS_ARCH_UNPROTECT(level);
    return is_mine;
}

static void serve(void *number)
{
    bool is_woken = false;

    while (!come_up((unsigned)(uintptr_t)number))
        sys_arch_sem_wait(&never, 0);
    for (;;)
        is_woken = sleep_for(may_run(is_woken) ? sc_engine_run() : SC_FOREVER);
}

static void set_halt(bool is_wanted)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    is_halt_wanted = is_wanted;
    is_halt_answered = false;
    SYS_ARCH_UNPROTECT(level);
    sc_port_wake();
}

static bool make_semaphores(void)
{
    sys_sem_t *const semaphores[] = { &work, &halted, &never };
    SYS_ARCH_DECL_PROTECT(level);

    for (size_t i = 0; i < LWIP_ARRAYSIZE(semaphores); i++) {
        if (sys_sem_new(semaphores[i], 0) == ERR_OK)
            continue;
        while (i > 0)
            sys_sem_free(semaphores[--i]);
        return false;
    }
    SYS_ARCH_PROTECT(level);
    is_signalled = false;
    SYS_ARCH_UNPROTECT(level);
    return true;
}

/* True when the thread of this attempt runs after all. */
static bool give_up_attempt(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_late;

    SYS_ARCH_PROTECT(level);
    is_late = has_come_up;
    if (!is_late)
        attempt++;
    SYS_ARCH_UNPROTECT(level);
    return is_late;
}

/* A thread that runs answers the halt that it begins with. */
static bool make_thread(void)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    is_halt_wanted = true;
    is_halt_answered = false;
    SYS_ARCH_UNPROTECT(level);
    if (SC_SERVICE_THREAD_NEW(serve, (void *)(uintptr_t)attempt) &&
        sys_arch_sem_wait(&halted, SC_SERVICE_START_MS) != SYS_ARCH_TIMEOUT)
        return true;
    if (!give_up_attempt())
        return false;
    sys_arch_sem_wait(&halted, 0);
    return true;
}

enum sc_error sc_port_start(const char **reason)
{
    if (!has_semaphores)
        has_semaphores = make_semaphores();
    if (has_semaphores && !is_made)
        is_made = make_thread();
    if (!is_made) {
        *reason = "no memory for the service thread";
        return SC_ERR_NOMEM;
    }
    set_halt(false);
    return SC_OK;
}

void sc_port_halt(void)
{
    if (!is_made)
        return;
    set_halt(true);
    sys_arch_sem_wait(&halted, 0);
}

/* The thread stays halted until the next start. */
void sc_port_stop(void)
{
}
