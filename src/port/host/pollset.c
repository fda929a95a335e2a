/*
 * The set of file descriptors, with ppoll.
 *
 * SPDX-License-Identifier: MIT
 */
#include "pollset.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

static struct pollfd *fds;
static int capacity;
static int count;

void sc_poll_clear(void)
{
    count = 0;
}

int sc_poll_add(int fd, short events)
{
    if (count == capacity) {
        int larger = capacity ? 2 * capacity : 16;
        struct pollfd *grown = realloc(fds, (size_t)larger * sizeof(*grown));
        if (!grown)
            return -1;
        fds = grown;
        capacity = larger;
    }
    fds[count] = (struct pollfd){ .fd = fd, .events = events };
    return count++;
}

int sc_poll_wait(uint64_t now, uint64_t until)
{
    uint64_t left = until > now ? until - now : 0;
    struct timespec timeout = {
        .tv_sec = (time_t)(left / 1000000),
        .tv_nsec = (long)(left % 1000000) * 1000,
    };

    int ready = ppoll(fds, (nfds_t)count, &timeout, NULL);
    if (ready <= 0) {
        for (int i = 0; i < count; i++)
            fds[i].revents = 0;
    }
    return ready;
}

short sc_poll_events(int place)
{
    return place >= 0 && place < count ? fds[place].revents : 0;
}
