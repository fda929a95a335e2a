/*
 * The set of file descriptors, on epoll. libslirp names all it wants before each wait; only what
 * differs from the last time costs a system call, and one that is no longer wanted is taken out
 * when it would end a wait. Others stay until they are dropped.
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

#define EVENTS_MAX 256

_Static_assert(POLLIN == EPOLLIN && POLLPRI == EPOLLPRI && POLLOUT == EPOLLOUT &&
                   POLLERR == EPOLLERR && POLLHUP == EPOLLHUP,
               "poll and epoll have the same bits");

static int epoll_fd = -1;

/* The set of this round. */
static struct pollfd *fds;
static int capacity;
static int count;

/* What epoll knows of them, by descriptor. */
struct watched {
    int place;     /* in this round's set, if that has the descriptor there */
    short events;  /* as epoll has them */
    bool is_known; /* to epoll */
};
static struct watched *watched;
static int watched_count;

/* Those that stay. */
static sc_poll_found_fn *tell_owner;

/* The wait of this round. */
static struct epoll_event events_found[EVENTS_MAX];
static int found;

/* ---- those that stay: their events carry the owner's address, which is even ---- */

bool sc_poll_keep(int fd, unsigned events, void *owner)
{
    struct epoll_event event = { .events = events, .data.ptr = owner };

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

void sc_poll_drop(int fd)
{
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void sc_poll_tell(sc_poll_found_fn *function)
{
    tell_owner = function;
}

/* ---- those of one round: their events carry an odd number ---- */

static uint64_t number_of(int fd)
{
    return 2 * (uint64_t)fd + 1;
}

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
    struct epoll_event event = { .events = (unsigned short)events, .data.u64 = number_of(fd) };

    if (epoll_ctl(epoll_fd, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    return !is_known && errno == EEXIST && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0;
}

/* What cannot be told now, for want of memory, is tried again before the next wait. */
void sc_poll_prepare(void)
{
    for (int place = 0; place < count; place++) {
        struct watched *w = get_watched(fds[place].fd);
        fds[place].revents = 0;
        if (!w)
            continue;
        w->place = place;
        if (w->is_known && w->events == fds[place].events)
            continue;
        w->is_known = tell_epoll(fds[place].fd, fds[place].events, w->is_known);
        w->events = fds[place].events;
    }
}

/* False when nobody asked for `fd` in this round: it would end every wait. */
static bool note_event(int fd, short events)
{
    struct watched *w = &watched[fd];

    if (w->place < count && fds[w->place].fd == fd) {
        fds[w->place].revents = events;
        return true;
    }
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    w->is_known = false;
    return false;
}

/* ---- open ---- */

/* The set's first descriptor never waits for memory. */
bool sc_poll_open(int first)
{
    if (epoll_fd < 0)
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        return false;
    if (first < watched_count && watched[first].is_known)
        return true;
    sc_poll_clear();
    sc_poll_add(first, POLLIN);
    sc_poll_prepare();
    return first < watched_count && watched[first].is_known;
}

/* ---- the wait ---- */

/* Linux before 5.11 counts in milliseconds: then rather a little late than over and over. */
static int wait_for_events(const struct timespec *timeout)
{
    int result = epoll_pwait2(epoll_fd, events_found, EVENTS_MAX, timeout, NULL);

    if (result >= 0 || errno != ENOSYS)
        return result;
    long ms = timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
    return epoll_wait(epoll_fd, events_found, EVENTS_MAX, (int)ms);
}

int sc_poll_wait(uint64_t now, uint64_t until)
{
    uint64_t left = until > now ? until - now : 0;
    struct timespec timeout = {
        .tv_sec = (time_t)(left / 1000000),
        .tv_nsec = (long)(left % 1000000) * 1000,
    };

    found = wait_for_events(&timeout);
    return found;
}

int sc_poll_finish(void)
{
    int ready = 0;

    for (int i = 0; i < found; i++) {
        const struct epoll_event *event = &events_found[i];
        if (event->data.u64 & 1)
            ready += note_event((int)(event->data.u64 / 2), (short)event->events);
        else
            tell_owner(event->data.ptr, event->events);
    }
    return found < 0 ? found : ready;
}
