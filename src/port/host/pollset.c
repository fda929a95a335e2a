/*
 * The set of file descriptors: ppoll while they are few, epoll when they are many. libslirp names
 * all it wants before each wait; with epoll only what differs from the last time costs a system
 * call, and one that is no longer wanted is taken out when it would end a sleep.
 *
 * SPDX-License-Identifier: MIT
 */
#include "pollset.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

/* From here on the kernel's walk over all of them costs more than keeping epoll informed. */
#define EPOLL_FROM 64
#define EVENTS_MAX 256

_Static_assert(POLLIN == EPOLLIN && POLLPRI == EPOLLPRI && POLLOUT == EPOLLOUT &&
                   POLLERR == EPOLLERR && POLLHUP == EPOLLHUP,
               "poll and epoll have the same bits");

/* The set of this round. */
static struct pollfd *fds;
static int capacity;
static int count;

/* What epoll knows, by descriptor. */
struct watched {
    int place;     /* in this round's set, if that has the descriptor there */
    short events;  /* as epoll has them */
    bool is_known; /* to epoll */
};
static struct watched *watched;
static int watched_count;
static int epoll_fd = -1;

/* The wait of this round. */
static struct epoll_event events_found[EVENTS_MAX];
static int found;
static bool uses_epoll;
static bool was_sleep;

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

short sc_poll_events(int place)
{
    return place >= 0 && place < count ? fds[place].revents : 0;
}

void sc_poll_forget(int fd)
{
    if (fd >= 0 && fd < watched_count)
        watched[fd].is_known = false;
}

/* ---- epoll ---- */

static struct watched *get_watched(int fd)
{
    if (fd >= watched_count) {
        int larger = 2 * fd + 64;
        struct watched *grown = realloc(watched, (size_t)larger * sizeof(*grown));
        if (!grown)
            return NULL;
        memset(grown + watched_count, 0, (size_t)(larger - watched_count) * sizeof(*grown));
        watched = grown;
        watched_count = larger;
    }
    return &watched[fd];
}

static bool tell_epoll(int fd, short events, bool is_known)
{
    struct epoll_event event = { .events = (unsigned short)events, .data.fd = fd };

    if (epoll_ctl(epoll_fd, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    return !is_known && errno == EEXIST && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
}

/* Brings epoll up to date. False: not possible, poll has to do. */
static bool inform_epoll(void)
{
    if (epoll_fd < 0)
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return false;
    for (int place = 0; place < count; place++) {
        struct watched *w = get_watched(fds[place].fd);
        if (!w)
            return false;
        w->place = place;
        if (w->is_known && w->events == fds[place].events)
            continue;
        if (!tell_epoll(fds[place].fd, fds[place].events, w->is_known))
            return false;
        w->events = fds[place].events;
        w->is_known = true;
    }
    return true;
}

/* False when nobody asked for `fd` in this round. It stays with epoll as long as nobody wants to
 * sleep: it may be asked for again soon. */
static bool note_event(int fd, short events)
{
    struct watched *w = &watched[fd];

    if (w->place < count && fds[w->place].fd == fd) {
        fds[w->place].revents = events;
        return true;
    }
    if (was_sleep) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        w->is_known = false;
    }
    return false;
}

/* ---- both ---- */

void sc_poll_prepare(void)
{
    uses_epoll = count >= EPOLL_FROM && inform_epoll();
}

int sc_poll_wait(uint64_t now, uint64_t until)
{
    uint64_t left = until > now ? until - now : 0;
    struct timespec timeout = {
        .tv_sec = (time_t)(left / 1000000),
        .tv_nsec = (long)(left % 1000000) * 1000,
    };

    was_sleep = left > 0;
    if (uses_epoll)
        found = epoll_pwait2(epoll_fd, events_found, EVENTS_MAX, &timeout, NULL);
    else
        found = ppoll(fds, (nfds_t)count, &timeout, NULL);
    return found;
}

int sc_poll_finish(void)
{
    int ready = 0;

    if (!uses_epoll) {
        for (int i = 0; found <= 0 && i < count; i++)
            fds[i].revents = 0;
        return found;
    }
    for (int i = 0; i < found; i++)
        ready += note_event(events_found[i].data.fd, (short)events_found[i].events);
    return found < 0 ? found : ready;
}
