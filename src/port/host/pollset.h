/*
 * The set of file descriptors that the pump sleeps on. Filled anew before each wait, because
 * libslirp wants it so; whatever makes that cheap belongs in pollset.c. Used by the thread that pumps.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_POLLSET_H
#define SC_HOST_POLLSET_H

#include <stdbool.h>
#include <stdint.h>

/* Empties the set. */
void sc_poll_clear(void);

/* Adds `fd` with POLLIN, POLLOUT ...; returns its place, or -1 without memory. */
int sc_poll_add(int fd, short events);

/* Waits until one is ready or `now` has become `until`. Returns how many are ready, or -1 and
 * errno. */
int sc_poll_wait(uint64_t now, uint64_t until);

/* What the last wait found at `place`. */
short sc_poll_events(int place);

#endif
