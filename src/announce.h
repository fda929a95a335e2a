/*
 * Which message a socket has for the script, and the queue towards it.
 *
 * A message is not made when something happens but when the script takes it: recv_len is what is
 * there then, and nothing has to be taken back after a close or a destroy. A socket stands in the
 * platform's queue once at most, and goes to its end again while it has more.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_ANNOUNCE_H
#define SC_ANNOUNCE_H

#include <stdint.h>

struct sc_socket;

/* Puts the socket into the platform's queue when it has a message. Either thread. */
void sc_announce(struct sc_socket *socket);

/* Offers again what the platform's queue refused. Returns after how many milliseconds to try the
 * next time. Engine. */
uint32_t sc_announce_refused(void);

/* Forgets everything that waits. Only while the engine does not run. */
void sc_announce_stop(void);

#endif
