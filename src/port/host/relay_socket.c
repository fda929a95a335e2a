/*
 * The host's sockets of the relay. To make one and to close it is a sixth of what a short
 * connection costs, so those whose connection is all over are kept.
 *
 * SPDX-License-Identifier: MIT
 */
#include "relay_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* So many are kept, of each family. */
#define SPARES_MAX 16

static struct spares {
    int fds[SPARES_MAX];
    unsigned count;
} spares[2]; /* IPv4, IPv6 */

static struct spares *spares_of(sa_family_t family)
{
    return &spares[family == AF_INET6];
}

int sc_relay_socket_open(sa_family_t family)
{
    struct spares *kept = spares_of(family);

    if (kept->count)
        return kept->fds[--kept->count];
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int sc_relay_socket_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    if (connect(fd, address, length) == 0)
        return 0;
    /* To a server on this machine the handshake is over by now, which only a second call tells. */
    if (errno == EINPROGRESS && connect(fd, address, length) == 0)
        return 0;
    return errno == EALREADY ? EINPROGRESS : errno;
}

void sc_relay_socket_set_nodelay(int fd)
{
    static const int yes = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

/* Only of a connection that the kernel has nothing to do for any more: what is not acknowledged yet
 * would be thrown away with it. */
static bool is_closed(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
           info.tcpi_state == TCP_CLOSE;
}

static bool keep(int fd, struct spares *kept)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

    if (kept->count == SPARES_MAX || !is_closed(fd) || connect(fd, &nowhere, sizeof(nowhere)) != 0)
        return false;
    kept->fds[kept->count++] = fd;
    return true;
}

void sc_relay_socket_close(int fd, sa_family_t family, bool is_through)
{
    if (!is_through || !keep(fd, spares_of(family)))
        close(fd);
}

void sc_relay_socket_stop(void)
{
    for (struct spares *kept = spares; kept != spares + 2; kept++) {
        while (kept->count)
            close(kept->fds[--kept->count]);
    }
}
