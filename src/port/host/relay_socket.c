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

/* So many are kept. */
#define SPARES_MAX 16

/* Of IPv4 only: one of IPv6 that once went to an IPv4-mapped address reaches no other any more. */
static int spares[SPARES_MAX];
static unsigned spare_count;

static int make_socket(sa_family_t family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int sc_relay_socket_open(sa_family_t family)
{
    if (family == AF_INET && spare_count)
        return spares[--spare_count];
    int fd = make_socket(family);
    if (fd < 0 && spare_count) {
        sc_relay_socket_stop();
        fd = make_socket(family);
    }
    return fd;
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

static bool keep(int fd)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

    if (spare_count == SPARES_MAX || !is_closed(fd) || connect(fd, &nowhere, sizeof(nowhere)) != 0)
        return false;
    spares[spare_count++] = fd;
    return true;
}

void sc_relay_socket_close(int fd, bool may_serve_again)
{
    if (!may_serve_again || !keep(fd))
        close(fd);
}

void sc_relay_socket_stop(void)
{
    while (spare_count)
        close(spares[--spare_count]);
}
