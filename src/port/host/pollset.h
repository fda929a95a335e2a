/*
 * The set of file descriptors that the pump sleeps on. Some stay in it (sc_poll_keep); the others
 * are named anew before each wait, because libslirp wants it so: sc_poll_clear, sc_poll_add for
 * each, sc_poll_prepare, sc_poll_wait, sc_poll_finish, sc_poll_events. Used by the thread that
 * pumps; all but the wait under lwIP's core lock, because the other thread may open and close
 * descriptors meanwhile (sc_poll_forget).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_POLLSET_H
#define SC_HOST_POLLSET_H

#include <stdbool.h>
#include <stdint.h>

/* Before anything else. `first` is the descriptor that every set begins with: for it there is
 * always room. False without memory or a descriptor; then it may be called again. */
bool sc_poll_open(int first);

/* Adds `fd` for good, with EPOLLIN, EPOLLET ...; `owner` says whose it is. False without memory. */
bool sc_poll_keep(int fd, unsigned events, void *owner);

/* Takes it out, before it is closed: a child that was forked may have it as well. */
void sc_poll_drop(int fd);

/* What sc_poll_finish calls for each that was kept and has events. It may drop none. */
typedef void sc_poll_found_fn(void *owner, unsigned events);
void sc_poll_tell(sc_poll_found_fn *function);

/* Empties the set, but for those that were kept. */
void sc_poll_clear(void);

/* Adds `fd` with POLLIN, POLLOUT ...; returns its place, or -1 without memory. */
int sc_poll_add(int fd, short events);

/* `fd` was opened or is about to be closed: what was known about that number is no longer so. */
void sc_poll_forget(int fd);

/* The set is complete. */
void sc_poll_prepare(void);

/* Waits until one is ready or `now` has become `until`. Negative and errno when the wait failed. */
int sc_poll_wait(uint64_t now, uint64_t until);

/* Tells the owners, and returns how many of the others are ready, or a negative number when the
 * wait failed. */
int sc_poll_finish(void);

/* What the last wait found at `place`. */
short sc_poll_events(int place);

#endif
