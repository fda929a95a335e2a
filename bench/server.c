/*
 * The other end of the bench and of the demo: one thread, one epoll loop, on 127.0.0.1 only. It
 * prints "tcp=PORT udp=PORT" once it listens, and ends when the reader of its output goes away or
 * the process that started it does.
 *
 * A TCP client's first line says what becomes of the connection:
 *
 *   sink N      reads N bytes, then answers "k"
 *   source N    sends N bytes
 *   return N    reads N bytes, then sends them back
 *   echo        sends back whatever comes
 *
 * It closes once the client has closed, also when no line came. Every UDP datagram is sent back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETURN_MAX (64u << 20) /* bytes that "return" keeps */

enum mode { LISTENER, UDP, OUTPUT, COMMAND, SINK, SOURCE, RETURN, ECHO };

struct endpoint {
    enum mode mode;
    int fd;
    bool wants_output; /* epoll waits for room to write instead of for data */
    char line[64];
    size_t line_length;
    uint64_t left; /* bytes still to read or to send, as the mode has it */
    char *out;     /* kept to be sent: `out_length` bytes, of which `out_sent` are out */
    size_t out_length, out_sent, out_size;
};

static char buffer[256 << 10];
static int epoll_fd;

static void die(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(enum mode mode, int fd)
{
    struct endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        die("calloc");
    e->mode = mode;
    e->fd = fd;
    struct epoll_event event = { .events = mode == OUTPUT ? 0 : EPOLLIN, .data.ptr = e };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 && mode != OUTPUT)
        die("epoll_ctl");
} // NOLINT(clang-analyzer-unix.Malloc): epoll keeps the pointer

static void want_output(struct endpoint *e, bool wanted)
{
    if (e->wants_output == wanted)
        return;
    struct epoll_event event = { .events = wanted ? EPOLLOUT : EPOLLIN, .data.ptr = e };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, e->fd, &event) < 0)
        die("epoll_ctl");
    e->wants_output = wanted;
}

static void drop(struct endpoint *e)
{
    close(e->fd);
    free(e->out);
    free(e);
}

static void keep(struct endpoint *e, const char *data, size_t length)
{
    if (e->out_length + length > e->out_size) {
        e->out_size = 2 * (e->out_length + length);
        e->out = realloc(e->out, e->out_size);
        if (e->out == NULL)
            die("realloc");
    }
    memcpy(e->out + e->out_length, data, length);
    e->out_length += length;
}

/* Sends what it can and keeps the rest. */
static void answer(struct endpoint *e, const char *data, size_t length)
{
    ssize_t sent = send(e->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done == length)
        return;
    keep(e, data + done, length - done);
    want_output(e, true);
}

/* The command line is complete. False when it is none. */
static bool obey(struct endpoint *e)
{
    unsigned long long count = 0;
    char verb[sizeof e->line];
    e->line[e->line_length] = '\0';
    if (sscanf(e->line, "%63s %llu", verb, &count) < 1)
        return false;
    e->left = count;
    if (strcmp(verb, "sink") == 0) {
        e->mode = SINK;
    } else if (strcmp(verb, "return") == 0 && count <= RETURN_MAX) {
        e->mode = RETURN;
    } else if (strcmp(verb, "echo") == 0) {
        e->mode = ECHO;
    } else if (strcmp(verb, "source") == 0) {
        e->mode = SOURCE;
        want_output(e, true);
    } else {
        return false;
    }
    return true;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool take(struct endpoint *e, const char *data, size_t length)
{
    uint64_t had = e->left;
    switch (e->mode) {
    case COMMAND:
        while (length > 0 && e->line_length < sizeof e->line - 1) {
            length--;
            if (*data++ == '\n')
                return obey(e) && (length == 0 || take(e, data, length));
            e->line[e->line_length++] = data[-1];
        }
        return length == 0;
    case SINK:
        e->left -= smaller(e->left, length);
        if (had > 0 && e->left == 0)
            answer(e, "k", 1);
        return true;
    case RETURN:
        length = (size_t)smaller(e->left, length);
        keep(e, data, length);
        e->left -= length;
        if (had > 0 && e->left == 0)
            want_output(e, true);
        return true;
    case ECHO:
        answer(e, data, length);
        return true;
    default:
        return true;
    }
}

static void read_from(struct endpoint *e)
{
    ssize_t got = recv(e->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || !take(e, buffer, (size_t)got))
        drop(e);
}

static void write_to(struct endpoint *e)
{
    const char *data = buffer;
    size_t length = (size_t)smaller(e->left, sizeof buffer);
    if (e->mode != SOURCE) {
        data = e->out + e->out_sent;
        length = e->out_length - e->out_sent;
    }
    ssize_t sent = send(e->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            drop(e);
        return;
    }
    if ((size_t)sent == length && (e->mode != SOURCE || (size_t)sent == e->left))
        want_output(e, false);
    if (e->mode == SOURCE) {
        e->left -= (uint64_t)sent;
    } else if ((size_t)sent == length) {
        e->out_length = e->out_sent = 0;
    } else {
        e->out_sent += (size_t)sent;
    }
}

static void accept_one(int listener)
{
    int on = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(COMMAND, fd);
}

static void echo_datagram(int fd)
{
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t got =
        recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (got >= 0)
        sendto(fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, size);
}

static void serve(struct endpoint *e)
{
    switch (e->mode) {
    case LISTENER:
        accept_one(e->fd);
        break;
    case UDP:
        echo_datagram(e->fd);
        break;
    case OUTPUT:
        exit(0); /* nobody reads it any more */
    default:
        if (e->wants_output)
            write_to(e);
        else
            read_from(e);
    }
}

/* Returns the port. */
static unsigned open_port(enum mode mode, int type)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof name;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &size) < 0)
        die("bind");
    if (mode == LISTENER && listen(fd, 4096) < 0)
        die("listen");
    watch(mode, fd);
    return ntohs(name.sin_port);
}

static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(void)
{
    struct epoll_event events[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    allow_many_files();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    unsigned tcp = open_port(LISTENER, SOCK_STREAM);
    unsigned udp = open_port(UDP, SOCK_DGRAM);
    watch(OUTPUT, STDOUT_FILENO);
    printf("tcp=%u udp=%u\n", tcp, udp);
    if (fflush(stdout) != 0)
        die("stdout");
    for (;;) {
        int count = epoll_wait(epoll_fd, events, sizeof events / sizeof *events, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++)
            serve(events[i].data.ptr);
    }
}
