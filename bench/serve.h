/*
 * What the bench's two servers have in common: one thread, one epoll loop, on 127.0.0.1 only. What
 * becomes of a connection is said by its client's first line:
 *
 *   sink N      reads N bytes, then answers "k"
 *   source N    sends N bytes
 *   return N    reads N bytes, then sends them back
 *   echo        sends back whatever comes
 *
 * It is closed once the client has closed, also when no line came. Every UDP datagram is sent back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How bytes get to and from a connection: as they are, or through TLS. The functions are those of
 * a socket that never blocks: -1 with EAGAIN in errno, 0 at the end. */
struct serve_transport {
    /* What else a connection has; `context` is serve_tcp's. NULL ends the connection. */
    void *(*open)(int fd, void *context);
    ssize_t (*receive)(int fd, void *state, void *data, size_t length);
    ssize_t (*send)(int fd, void *state, const void *data, size_t length);
    void (*close)(void *state); /* the descriptor is closed afterwards */
    bool keeps_input;           /* `receive` may have more without the descriptor being readable */
};

extern const struct serve_transport serve_plain;

/* Says why and ends the program. */
_Noreturn void serve_die(const char *what);

/* Starts; before the next two. */
void serve_start(void);

/* Listens at a free port, which is returned. */
unsigned serve_tcp(const struct serve_transport *transport, void *context);
unsigned serve_udp(void);

/* Serves until the reader of the standard output goes away or the process that started this one
 * does. */
_Noreturn void serve_forever(void);

#endif
