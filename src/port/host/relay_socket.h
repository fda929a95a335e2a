/*
 * The host's sockets that the relay's connections go on in: opened, connected, closed, and kept for
 * the next connection when that costs less. Whoever pumps calls.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_RELAY_SOCKET_H
#define SC_HOST_RELAY_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* A TCP socket that never blocks, or -1 and errno. */
int sc_relay_socket_open(sa_family_t family);

/* 0, EINPROGRESS (the socket becomes writable, SO_ERROR tells), or why there is no connection. */
int sc_relay_socket_connect(int fd, const struct sockaddr *address, socklen_t length);

/* Has small writes go out at once. */
void sc_relay_socket_set_nodelay(int fd);

/* Closes `fd`. It may serve again when it is of IPv4, both sides have ended well, and nothing
 * watches it. */
void sc_relay_socket_close(int fd, bool may_serve_again);

/* Closes what was kept. */
void sc_relay_socket_stop(void);

#endif
