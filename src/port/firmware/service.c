/*
 * The service thread: runs the engine for ever, sleeps while it has nothing to do. Everything here
 * is lwIP's sys_*, so it runs wherever lwIP does.
 *
 * What an integrator does, in this order:
 *
 * 1. Build lwIP 2.2 and mbedTLS 3.6 with lwipopts.h and mbedtls_config.h of this directory, or with
 *    your own (requirements.h, included below, complains about what will not do).
 * 2. Build src/<all>.c and this file. A firmware whose rtos numbers its messages differently
 *    defines SC_MSG_BASE; one that prefers other limits SC_DEFAULT_MAX_SOCKETS and so on (api.c).
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

#include "lwip/sys.h"

#include <stdbool.h>

#ifndef SC_SERVICE_STACKSIZE
#define SC_SERVICE_STACKSIZE DEFAULT_THREAD_STACKSIZE
#endif
#ifndef SC_SERVICE_PRIO
#define SC_SERVICE_PRIO DEFAULT_THREAD_PRIO
#endif

/* Some sys_arch.c compute ticks in 32 bits; waking once in a while costs nothing. */
#define SLEEP_MAX_MS 60000

/* The script thread's. Made once and kept, because lwIP has no way to end a thread. */
static bool is_made;
static sys_sem_t work;   /* the engine has work */
static sys_sem_t halted; /* answers a halt */

/* Shared, under SYS_ARCH_PROTECT. */
/* `work` was signalled and the thread has not seen it, so that it never counts above 1; or there is
 * no `work` yet. */
static bool is_signalled = true;
static bool is_halt_wanted = true;
static bool is_halt_answered = true;

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

static void serve(void *unused)
{
    bool is_woken = false;

    LWIP_UNUSED_ARG(unused);
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

static enum sc_error make_thread(void)
{
    SYS_ARCH_DECL_PROTECT(level);

    if (sys_sem_new(&work, 0) != ERR_OK)
        return SC_ERR_NOMEM;
    if (sys_sem_new(&halted, 0) != ERR_OK) {
        sys_sem_free(&work);
        return SC_ERR_NOMEM;
    }
    SYS_ARCH_PROTECT(level);
    is_signalled = false;
    SYS_ARCH_UNPROTECT(level);
    is_made = true;
    sys_thread_new("socketcore", serve, NULL, SC_SERVICE_STACKSIZE, SC_SERVICE_PRIO);
    return SC_OK;
}

enum sc_error sc_port_start(void)
{
    if (!is_made) {
        enum sc_error error = make_thread();
        if (error != SC_OK)
            return error;
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
