/*
 * The loop and the commands of the bench's servers, see serve.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
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
    const struct serve_transport *transport;
    void *state;       /* the transport's; of a listener, what its connections are opened with */
    bool wants_output; /* epoll waits for room to write instead of for data */
    char line[64];
    size_t line_length;
    uint64_t left; /* bytes still to read or to send, as the mode has it */
    char *out;     /* kept to be sent: `out_length` bytes, of which `out_sent` are out */
    size_t out_length, out_sent, out_size;
};

static char buffer[256 << 10];
static int epoll_fd;

void serve_die(const char *what)
{
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(const struct endpoint *endpoint)
{
    struct endpoint *e = malloc(sizeof *e);
    if (e == NULL)
        serve_die("malloc");
    *e = *endpoint;
    struct epoll_event event = { .events = e->mode == OUTPUT ? 0 : EPOLLIN, .data.ptr = e };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, e->fd, &event) < 0 && e->mode != OUTPUT)
        serve_die("epoll_ctl");
} // NOLINT(clang-analyzer-unix.Malloc): epoll keeps the pointer

static void want_output(struct endpoint *e, bool wanted)
{
    if (e->wants_output == wanted)
        return;
    struct epoll_event event = { .events = wanted ? EPOLLOUT : EPOLLIN, .data.ptr = e };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, e->fd, &event) < 0)
        serve_die("epoll_ctl");
    e->wants_output = wanted;
}

static void drop(struct endpoint *e)
{
    if (e->transport->close != NULL)
        e->transport->close(e->state);
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
            serve_die("realloc");
    }
    memcpy(e->out + e->out_length, data, length);
    e->out_length += length;
}

/* Sends what it can and keeps the rest. */
static void answer(struct endpoint *e, const char *data, size_t length)
{
    ssize_t sent = e->transport->send(e->fd, e->state, data, length);
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
    do {
        ssize_t got = e->transport->receive(e->fd, e->state, buffer, sizeof buffer);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0 || !take(e, buffer, (size_t)got)) {
            drop(e);
            return;
        }
    } while (e->transport->keeps_input);
}

static void write_to(struct endpoint *e)
{
    const char *data = buffer;
    size_t length = (size_t)smaller(e->left, sizeof buffer);
    if (e->mode != SOURCE) {
        data = e->out + e->out_sent;
        length = e->out_length - e->out_sent;
    }
    ssize_t sent = e->transport->send(e->fd, e->state, data, length);
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

static void accept_one(const struct endpoint *listener)
{
    int on = 1;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct endpoint e = { .mode = COMMAND, .fd = fd, .transport = listener->transport };
    if (e.transport->open != NULL) {
        e.state = e.transport->open(fd, listener->state);
        if (e.state == NULL) {
            close(fd);
            return;
        }
    }
    watch(&e);
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
        accept_one(e);
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
static unsigned open_port(int type, struct endpoint *e)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof name;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    e->fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&name, size) < 0 ||
        getsockname(e->fd, (struct sockaddr *)&name, &size) < 0)
        serve_die("bind");
    if (e->mode == LISTENER && listen(e->fd, 4096) < 0)
        serve_die("listen");
    watch(e);
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

unsigned serve_tcp(const struct serve_transport *transport, void *context)
{
    struct endpoint e = { .mode = LISTENER, .transport = transport, .state = context };
    return open_port(SOCK_STREAM, &e);
}

unsigned serve_udp(void)
{
    struct endpoint e = { .mode = UDP };
    return open_port(SOCK_DGRAM, &e);
}

void serve_start(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    allow_many_files();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        serve_die("epoll_create1");
}

void serve_forever(void)
{
    struct epoll_event events[64];
    struct endpoint output = { .mode = OUTPUT, .fd = STDOUT_FILENO };
    watch(&output);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, sizeof events / sizeof *events, -1);
        if (count < 0 && errno != EINTR)
            serve_die("epoll_wait");
        for (int i = 0; i < count; i++)
            serve(events[i].data.ptr);
    }
}

/* ---- bytes as they are ---- */

static ssize_t receive_plain(int fd, void *state, void *data, size_t length)
{
    (void)state;
    return recv(fd, data, length, MSG_DONTWAIT);
}

static ssize_t send_plain(int fd, void *state, const void *data, size_t length)
{
    (void)state;
    return send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

const struct serve_transport serve_plain = { .receive = receive_plain, .send = send_plain };
