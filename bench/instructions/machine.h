/*
 * The device on which instructions are counted: lwIP's sys_* for threads that take turns at fixed
 * points, on one processor, with a clock that stands still while anybody has work. The same program
 * executes the same instructions every time.
 *
 * A thread runs until it waits; then the one of the highest priority goes on. The lowest is the
 * driver: it hands what the peer (peer.h) has sent to lwIP once everybody else waits, as on a
 * device, whose network is slower than its processor.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_MACHINE_H
#define SC_INSTRUCTIONS_MACHINE_H

/* Makes the calling thread the script thread, starts lwIP, the driver and the peer's link. */
void machine_start(void);

/* Returns once every other thread waits and nothing is on its way from the peer. */
void machine_rest(void);

/* Ends the program. */
void machine_abort(const char *message) __attribute__((noreturn));

#endif
