/*
 * The functions that the core asks of its platform (socketcore_port.h), and what a process needs
 * around a network stack of its own: start, an end that loses nothing, SIGPIPE. Script thread,
 * unless a function says otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/aead.h"
#include "host.h"
#include "link.h"

#include "lwip/tcpip.h"

#include <mbedtls/build_info.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static bool is_started;
static pid_t our_process;

/* ---- log ---- */

static const char *const level_names[] = {
    [SC_LOG_DEBUG] = "debug",
    [SC_LOG_INFO] = "info",
    [SC_LOG_WARN] = "warn",
    [SC_LOG_ERROR] = "error",
};

/* Any thread. */
void sc_port_log(enum sc_log_level level, const char *text)
{
    if (level >= sc_log_from)
        fprintf(stderr, "socketcore: %s: %s\n", level_names[level], text);
}

void sc_host_log(const char *text)
{
    sc_port_log(SC_LOG_WARN, text);
}

/* ---- the environment ---- */

static bool read_level(const char *name, enum sc_log_level *level)
{
    for (int i = SC_LOG_DEBUG; i <= SC_LOG_ERROR; i++) {
        if (!strcmp(name, level_names[i])) {
            *level = (enum sc_log_level)i;
            return true;
        }
    }
    return false;
}

/* A log that is not as wanted is no reason to refuse the network; another link would be. */
static void set_log_level(void)
{
    const char *wanted = getenv("SOCKETCORE_LOG");
    char text[200];

    sc_log_from = SC_LOG_WARN;
    if (!wanted || !*wanted || read_level(wanted, &sc_log_from))
        return;
    snprintf(text, sizeof(text),
             "SOCKETCORE_LOG=%.80s is not a level; it is debug, info, warn (used now) or error",
             wanted);
    sc_port_log(SC_LOG_WARN, text);
}

/* ---- the process ---- */

/* libslirp's send has no MSG_NOSIGNAL. A handler is not inherited by programs that the script
 * starts, unlike SIG_IGN. What is not slirp's ends the process as it would have. */
static void on_broken_pipe(int number)
{
    if (sc_core_is_mine())
        return;
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_broken_pipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) != 0 || action.sa_handler != SIG_DFL)
        return;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_broken_pipe;
    action.sa_flags = SA_RESTART;
    sigaction(SIGPIPE, &action, NULL);
}

/* Each connection is a descriptor of the host. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- the end ---- */

static bool is_closing(int id)
{
    struct sc_info info;

    return sc_get_info(id, &info) && info.state == SC_STATE_CLOSING;
}

static bool is_all_sent(void)
{
    struct sc_totals totals;

    sc_get_totals(&totals);
    int most = totals.sockets ? (int)sc_get_config()->max_sockets : 0;
    for (int id = 0; id < most; id++) {
        if (is_closing(id))
            return false;
    }
    LOCK_TCPIP_CORE();
    bool is_flushed = sc_net_is_flushed();
    UNLOCK_TCPIP_CORE();
    return is_flushed;
}

/* No data is lost because a script ended: what was accepted is delivered first, as long as a close
 * may take. */
static void deliver_all(void)
{
    sc_pump_stop();
    sc_pump_until(is_all_sent, sc_host_now() + (uint64_t)sc_get_config()->linger_ms * 1000);
}

/* A script that calls os.exit never closes its Lua state. A child that was forked has the sockets,
 * but they are not its to finish. */
static void deliver_at_exit(void)
{
    if (is_started && getpid() == our_process && !sc_pump_is_busy())
        deliver_all();
}

/* ---- what the core calls ---- */

/* What cannot be told any more once it is needed is made now. */
static bool start_crypto(void)
{
#if defined(SC_HAVE_GCRYPT)
    return sc_aead_start_library();
#else
    return true;
#endif
}

enum sc_error sc_port_start(const char **reason)
{
    static bool is_prepared;

    set_log_level();
    if (!is_prepared) {
        raise_descriptor_limit();
        catch_broken_pipe();
        atexit(deliver_at_exit);
        is_prepared = true;
    }
    our_process = getpid();
    if (!sc_pump_open() || !start_crypto()) {
        *reason = "out of memory, or too many open files (see ulimit -n)";
        return SC_ERR_NOMEM;
    }
    LOCK_TCPIP_CORE();
    *reason = sc_net_start();
    UNLOCK_TCPIP_CORE();
    if (*reason)
        return SC_ERR_IF;
    enum sc_error error = sc_pump_start();
    if (error != SC_OK) {
        LOCK_TCPIP_CORE();
        sc_net_stop();
        UNLOCK_TCPIP_CORE();
        *reason = "a thread cannot be made: out of memory, or too many processes (see ulimit -u)";
        return error;
    }
    is_started = true;
    return SC_OK;
}

void sc_port_halt(void)
{
    if (is_started)
        deliver_all();
}

void sc_port_stop(void)
{
    if (!is_started)
        return;
    sc_pump_stop();
    LOCK_TCPIP_CORE();
    sc_net_stop();
    UNLOCK_TCPIP_CORE();
    sc_queue_drop_sockets();
    is_started = false;
}

/* ---- what rtos calls ---- */

uint64_t sc_host_clock(void)
{
    return sc_host_now();
}
