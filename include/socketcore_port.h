/*
 * What a platform supplies to the core, and what it calls to run it.
 *
 * The core has no thread and no queue of its own. The platform runs the engine on one thread (on
 * firmware a service thread, on a PC whichever thread waits in rtos.receive) and owns the queue
 * that rtos.receive drains.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SOCKETCORE_PORT_H
#define SOCKETCORE_PORT_H

#include "socketcore.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the platform supplies ---- */

/* Puts "socket N has messages" into the queue that rtos.receive drains; whoever takes it out calls
 * sc_push_message (or sc_next_message) with N, again and again until that call returns without a
 * Lua error. A socket stands in the queue once at most, so
 * max_sockets places always suffice. Returns false when the queue is full: the engine offers it
 * again on its next run. Called from the script thread and from the engine; must not block. */
bool sc_port_post(int socket);

/* The engine has work: have sc_engine_run called soon. Called from any thread, also from lwIP's
 * callbacks with the core lock held, and from within sc_engine_run, which is to be called once more
 * then; must not block, allocate, or run the engine itself. */
void sc_port_wake(void);

/* At sc_start: lwIP, the network interfaces and whatever runs the engine. When it fails it may set
 * *reason to one line that says why and what to do, which stays valid until the next call. */
enum sc_error sc_port_start(const char **reason);

/* At sc_stop, after the last connection is gone: no call of the engine is under way or follows
 * until the next sc_port_start. */
void sc_port_stop(void);

/* Keeps the engine off while sc_stop takes everything apart; sc_port_stop undoes it. */
void sc_port_halt(void);

/* One line for the log. Any thread. */
enum sc_log_level { SC_LOG_DEBUG, SC_LOG_INFO, SC_LOG_WARN, SC_LOG_ERROR };
void sc_port_log(enum sc_log_level level, const char *text);

/* The level from which the platform wants lines: SC_LOG_INFO until it sets another. The core makes
 * a line of a socket's every step (SC_LOG_DEBUG) only where they are wanted. */
extern enum sc_log_level sc_log_from;

/* Fills `length` bytes with entropy for TLS. False when there is none. */
bool sc_port_entropy(void *out, size_t length);

/* Seconds since 1970-01-01 UTC, or 0 when the platform has no clock that was set. */
int64_t sc_port_time(void);

/* The certificates of the CAs that the platform trusts, PEM text, for cert.caCert = "system". False
 * when it has none. The bytes stay where they are until the next call. */
bool sc_port_ca_bundle(const void **data, size_t *length);

/* How many allocations of mbedTLS have failed since some start; it may wrap. What fails in TLS
 * while it grows is told as "out of memory": mbedTLS's own error often is another one, such as a
 * bad certificate. A platform that does not count returns 0. Any thread. */
size_t sc_port_failed_allocations(void);

/* Writes a line of TLS secrets to the key log (for Wireshark). False when the platform keeps none,
 * as is usual; with NULL it only says so. */
bool sc_port_key_log(const char *line);

/* ---- the platform calls ---- */

#define SC_FOREVER UINT32_MAX

/* Runs what is ready, on the engine's thread, without lwIP's core lock held. Returns after how many
 * milliseconds it wants to run again even if nothing wakes it, or SC_FOREVER. */
SC_API uint32_t sc_engine_run(void);

/* True when sc_engine_run has something to do now. Any thread. */
SC_API bool sc_engine_ready(void);

#ifdef __cplusplus
}
#endif

#endif
