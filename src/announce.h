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

#include <stdbool.h>

struct sc_socket;

/* Puts the socket into the platform's queue when it has a message. Either thread. */
void sc_announce(struct sc_socket *socket);

/* The same in two steps, for a caller that has other things to do under SYS_ARCH_PROTECT: under it,
 * whether a post is due, which the caller has to do after it then. */
bool sc_announce_is_due(struct sc_socket *socket);
void sc_announce_post(struct sc_socket *socket);

/* Forgets everything that waits. Only while the engine does not run. */
void sc_announce_stop(void);

#endif
