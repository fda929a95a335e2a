/*
 * A relay before a real TLS server that cuts the server's flight after some bytes. One process and
 * one poll loop serve as many cuts at once as there are descriptors. It prints "port=P control=C"
 * once it is ready and ends with the process that started it.
 *
 * The name that a client sends (SNI) says what happens to its connection: "fin-120-4433.cut" lets
 * 120 bytes of the server at port 4433 through and then shuts down, "rst-..." resets, "hold-..."
 * is silent from then on, "all-0-4433.cut" lets everything through. One line on the control port,
 * whatever it says, is answered by "cuts=N first=F all=A": how many connections came to their cut
 * since the last question, and of the last one that was not cut the server's bytes before the
 * client's second flight, and all of them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_RELAYS 4000

enum mode { PASS, FIN, RST, HOLD };

struct relay {
    int client; /* -1: free */
    int server; /* -1: not yet, or no more */
    enum mode mode;
    size_t cut, passed;
    bool was_cut;
    unsigned char hello[2048]; /* until the name is in it */
    size_t hello_length;
};

static struct relay relays[MAX_RELAYS];
static size_t relay_count; /* highest in use + 1 */
static size_t cuts, first_flight, all_bytes;

static void end_relay(struct relay *r)
{
    close(r->client);
    if (r->server >= 0)
        close(r->server);
    r->client = r->server = -1;
}

static void cut(struct relay *r)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    cuts++;
    r->was_cut = true;
    close(r->server);
    r->server = -1;
    if (r->mode == FIN)
        shutdown(r->client, SHUT_WR);
    if (r->mode != RST)
        return;
    setsockopt(r->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    end_relay(r);
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Finds ".cut" in the ClientHello and reads the name before it. */
static bool read_name(struct relay *r, int *port)
{
    const unsigned char *end = memmem(r->hello, r->hello_length, ".cut", 4);
    char name[64] = "";

    if (end == NULL)
        return false;
    const unsigned char *start = end;
    while (start > r->hello && end - start < 40 &&
           ((start[-1] >= 'a' && start[-1] <= 'z') || (start[-1] >= '0' && start[-1] <= '9') ||
            start[-1] == '-'))
        start--;
    memcpy(name, start, (size_t)(end - start));
    r->mode = has_prefix(name, "fin") ? FIN
                                      : (has_prefix(name, "rst")    ? RST
                                         : has_prefix(name, "hold") ? HOLD
                                                                    : PASS);
    return sscanf(name, "%*[a-z]-%zu-%d", &r->cut, port) == 2;
}

static bool send_all(int fd, const unsigned char *data, size_t length)
{
    return send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static void take_hello(struct relay *r, const unsigned char *data, size_t length)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int port, on = 1;

    if (r->hello_length + length > sizeof r->hello) {
        end_relay(r);
        return;
    }
    memcpy(r->hello + r->hello_length, data, length);
    r->hello_length += length;
    if (!read_name(r, &port))
        return;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->server < 0 || connect(r->server, (struct sockaddr *)&address, sizeof address) != 0 ||
        !send_all(r->server, r->hello, r->hello_length)) {
        perror("tls_cut: the server");
        end_relay(r);
        return;
    }
    setsockopt(r->server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (r->mode != PASS && r->cut == 0)
        cut(r);
}

static void on_client(struct relay *r)
{
    unsigned char data[4096];
    ssize_t got = recv(r->client, data, sizeof data, 0);

    if (got <= 0) {
        end_relay(r);
    } else if (r->server >= 0) {
        if (r->mode == PASS && first_flight == 0)
            first_flight = r->passed;
        send_all(r->server, data, (size_t)got);
    } else if (!r->was_cut) {
        take_hello(r, data, (size_t)got);
    }
}

static void on_server(struct relay *r)
{
    unsigned char data[4096];
    size_t left = r->mode == PASS ? sizeof data : r->cut - r->passed;
    ssize_t got = recv(r->server, data, left < sizeof data ? left : sizeof data, 0);

    if (got <= 0) {
        end_relay(r);
        return;
    }
    send_all(r->client, data, (size_t)got);
    r->passed += (size_t)got;
    if (r->mode == PASS)
        all_bytes = r->passed;
    else if (r->passed == r->cut)
        cut(r);
}

static void on_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    size_t i = 0;

    if (fd < 0)
        return;
    while (i < relay_count && relays[i].client >= 0)
        i++;
    if (i == MAX_RELAYS) {
        close(fd);
        return;
    }
    if (i == relay_count)
        relay_count++;
    memset(&relays[i], 0, sizeof relays[i]);
    relays[i].client = fd;
    relays[i].server = -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int listen_anywhere(int *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 1000) != 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("tls_cut");
        exit(1);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

/* One connection at a time is asked on. Returns it, or -1 when it has ended. */
static int answer(int fd)
{
    char text[200];

    if (recv(fd, text, sizeof text, 0) <= 0) {
        close(fd);
        return -1;
    }
    int length =
        snprintf(text, sizeof text, "cuts=%zu first=%zu all=%zu\n", cuts, first_flight, all_bytes);
    cuts = first_flight = all_bytes = 0;
    send_all(fd, (unsigned char *)text, (size_t)length);
    return fd;
}

static void serve_once(int listener, int control, int *asking)
{
    static struct pollfd fds[3 + 2 * MAX_RELAYS];
    size_t count = relay_count;

    fds[0] = (struct pollfd){ listener, POLLIN, 0 };
    fds[1] = (struct pollfd){ control, POLLIN, 0 };
    fds[2] = (struct pollfd){ *asking, POLLIN, 0 };
    for (size_t i = 0; i < count; i++) {
        fds[3 + 2 * i] = (struct pollfd){ relays[i].client, POLLIN, 0 };
        fds[4 + 2 * i] = (struct pollfd){ relays[i].server, POLLIN, 0 };
    }
    if (poll(fds, 3 + 2 * count, -1) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (fds[4 + 2 * i].revents && relays[i].server >= 0)
            on_server(&relays[i]);
        if (fds[3 + 2 * i].revents && relays[i].client >= 0)
            on_client(&relays[i]);
    }
    if (fds[0].revents)
        on_accept(listener);
    if (fds[2].revents)
        *asking = answer(*asking);
    else if (fds[1].revents && *asking < 0)
        *asking = accept4(control, NULL, NULL, SOCK_CLOEXEC);
}

int main(void)
{
    struct rlimit files;
    int port, control_port, asking = -1;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int listener = listen_anywhere(&port);
    int control = listen_anywhere(&control_port);
    printf("port=%d control=%d\n", port, control_port);
    fflush(stdout);
    for (;;)
        serve_once(listener, control, &asking);
}
