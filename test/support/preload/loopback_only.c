/*
 * Preloaded into everything that the tests start where they run in the machine's own network: no
 * program, the modules under test included, reaches anything but this machine. An attempt fails
 * with ENETUNREACH, and a line about it goes to the file that SC_OFF_MACHINE names, which fails the
 * spec.
 *
 * Names are a way out, too: only localhost and addresses are looked up, and no name server is
 * asked, not even one of this machine, which would ask others.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME_SERVER_PORT 53

/* The function that ours stands before. Function pointers come out of dlsym as objects. */
#define NEXT(function)                                                                             \
    static __typeof__(&(function)) next;                                                           \
    if (!next)                                                                                     \
    *(void **)&next = dlsym(RTLD_NEXT, #function)

static void report(const char *what)
{
    const char *name = getenv("SC_OFF_MACHINE");
    int saved = errno;
    int file = name ? open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (file >= 0) {
        dprintf(file, "%s: %s\n", program_invocation_short_name, what);
        close(file);
    }
    errno = saved;
}

static bool is_here_ip4(uint32_t address)
{
    return address == INADDR_ANY || address >> 24 == IN_LOOPBACKNET;
}

static bool is_here_ip6(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        uint32_t ip4;

        memcpy(&ip4, &address->s6_addr[12], sizeof(ip4));
        return is_here_ip4(ntohl(ip4));
    }
    return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address);
}

/* May something be sent to this address? NULL is where the socket is connected already. Who only
 * asks connects to port 0, which sends nothing and is not reported. */
static bool may_reach(const struct sockaddr *address, socklen_t length, bool is_question)
{
    char text[INET6_ADDRSTRLEN] = "an address that is not of the Internet";
    char line[sizeof(text) + 16];
    in_port_t port = 0;
    bool is_here = false;

    if (!address || length < sizeof(address->sa_family))
        return true;
    switch (address->sa_family) {
    case AF_UNSPEC:
    case AF_UNIX:
    case AF_NETLINK:
        return true;
    case AF_INET:
        if (length >= sizeof(struct sockaddr_in)) {
            struct sockaddr_in ip4;

            memcpy(&ip4, address, sizeof(ip4));
            inet_ntop(AF_INET, &ip4.sin_addr, text, sizeof(text));
            port = ntohs(ip4.sin_port);
            is_here = is_here_ip4(ntohl(ip4.sin_addr.s_addr));
        }
        break;
    case AF_INET6:
        if (length >= offsetof(struct sockaddr_in6, sin6_scope_id)) {
            struct sockaddr_in6 ip6 = { 0 };

            memcpy(&ip6, address, length < sizeof(ip6) ? length : sizeof(ip6));
            inet_ntop(AF_INET6, &ip6.sin6_addr, text, sizeof(text));
            port = ntohs(ip6.sin6_port);
            is_here = is_here_ip6(&ip6.sin6_addr);
        }
        break;
    }
    if (is_here && port != NAME_SERVER_PORT)
        return true;
    if (!is_question || port != 0) {
        snprintf(line, sizeof(line), "%s port %d", text, port);
        report(line);
    }
    errno = ENETUNREACH;
    return false;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    NEXT(connect);
    return may_reach(address, length, true) ? next(fd, address, length) : -1;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address,
               socklen_t length)
{
    NEXT(sendto);
    return may_reach(address, length, false) ? next(fd, data, size, flags, address, length) : -1;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    NEXT(sendmsg);
    return may_reach(message->msg_name, message->msg_namelen, false) ? next(fd, message, flags)
                                                                     : -1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    NEXT(sendmmsg);
    for (unsigned i = 0; i < count; i++) {
        if (!may_reach(messages[i].msg_hdr.msg_name, messages[i].msg_hdr.msg_namelen, false))
            return -1;
    }
    return next(fd, messages, count, flags);
}

/* ---- names ---- */

static bool may_look_up(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (!name || strcmp(name, "localhost") == 0 || strcmp(name, "ip6-localhost") == 0 ||
        inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return true;
    report(name);
    return false;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    NEXT(getaddrinfo);
    return may_look_up(node) ? next(node, service, hints, result) : EAI_NONAME;
}

struct hostent *gethostbyname(const char *name)
{
    NEXT(gethostbyname);
    if (may_look_up(name))
        return next(name);
    h_errno = HOST_NOT_FOUND;
    return NULL;
}

struct hostent *gethostbyname2(const char *name, int family)
{
    NEXT(gethostbyname2);
    if (may_look_up(name))
        return next(name, family);
    h_errno = HOST_NOT_FOUND;
    return NULL;
}
