/*
 * What the files of the host port have in common: the clock, the locks, the queue towards the
 * script, the pump. rtos.c, which is a module of its own, sees host_api.h only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_H
#define SC_HOST_H

#include "host_api.h"
#include "socketcore_port.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- clock.c: microseconds of CLOCK_MONOTONIC ---- */

#define SC_NEVER UINT64_MAX

uint64_t sc_host_now(void);

/* What it returned last, without the price of a look at it. */
uint64_t sc_host_recent(void);

/* ---- sys_arch.c ---- */

/* True when the calling thread holds lwIP's core lock. Async-signal-safe. */
bool sc_core_is_mine(void);

/* Does what the calling thread allocates for lwIP from now on count as the device's, see
 * rtos.memory? Returns what held before. */
bool sc_host_count_memory(bool counts);

/* One more for sc_port_failed_allocations, of what TLS needs and has not from mbedTLS's calloc. */
void sc_host_note_failed_allocation(void);

/* ---- queue.c: sockets with messages, and the script's timers ---- */

enum sc_item { SC_ITEM_NONE, SC_ITEM_SOCKET, SC_ITEM_TIMER };

/* Takes what has been due longest: a socket that was posted or a timer that ran out, whichever was
 * first. `now` may lag behind: with sockets in the queue it does not matter. Script thread. */
enum sc_item sc_queue_take(uint64_t now, int *id);

/* When sc_queue_take will return something, as far as it is known now. Script thread. */
uint64_t sc_queue_due(void);

bool sc_queue_is_empty(void);

/* Forgets the sockets that were posted. Script thread, with the engine halted. */
void sc_queue_drop_sockets(void);

/* ---- pump.c: who runs the engine, lwIP's timers and the link ---- */

/* Makes the descriptors that a wait needs, once in the life of the process. False without memory or
 * a descriptor; then it may be called again. Script thread. */
bool sc_pump_open(void);

/* Starts and ends the stand-in thread, and with it the engine. Script thread. */
enum sc_error sc_pump_start(void);
void sc_pump_stop(void);

/* Keeps the network going until nothing is left that `is_done` waits for, or `deadline` is over.
 * The stand-in must be stopped. */
void sc_pump_until(bool (*is_done)(void), uint64_t deadline);

/* True when the script thread is inside the pump: a signal handler called exit. */
bool sc_pump_is_busy(void);

/* Ends a sleep of whoever pumps. Any thread; a system call only when somebody does sleep. */
void sc_pump_kick(void);

/* ---- names.c ---- */

/* Loads the hosts file and the name servers into lwIP when they have changed. Core lock held. */
void sc_names_refresh(uint64_t now);

#endif
