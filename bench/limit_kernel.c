/*
 * The bench's kernel side: blocking sockets in C, no lwIP, no Lua. How fast this machine's loopback
 * and the bench's server are.
 *
 * SPDX-License-Identifier: MIT
 */
#include "limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char data[SEND_SIZE];

static int open_socket(int type, int port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval limit = { .tv_sec = TIMEOUT };
    int on = 1;
    int fd = socket(AF_INET, type, 0);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
        (type == SOCK_STREAM && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) ||
        connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        limit_die("connect");
    return fd;
}

static int open_tcp(void)
{
    return open_socket(SOCK_STREAM, limit_options.tcp_port);
}

/* A blocking send takes all. */
static void send_all(int fd, size_t length)
{
    if (send(fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        limit_die("send");
}

static void receive_all(int fd, size_t length)
{
    if (recv(fd, data, length, MSG_WAITALL) != (ssize_t)length)
        limit_die("recv");
}

static void command(int fd, const char *verb, long bytes)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %ld\n", verb, bytes);
    if (send(fd, line, (size_t)length, MSG_NOSIGNAL) != length)
        limit_die("send");
}

static void do_send(long n)
{
    int fd = open_tcp();
    command(fd, "sink", n * SEND_SIZE);
    limit_begin();
    for (long i = 0; i < n; i++)
        send_all(fd, SEND_SIZE);
    receive_all(fd, 1);
    limit_end();
    close(fd);
}

static void do_receive(long n)
{
    int fd = open_tcp();
    limit_begin();
    command(fd, "source", n * READ_SIZE);
    for (long i = 0; i < n; i++)
        receive_all(fd, READ_SIZE);
    limit_end();
    close(fd);
}

static void do_round_trip(long n)
{
    int fd = open_tcp();
    command(fd, "echo", 0);
    limit_begin();
    for (long i = 0; i < n; i++) {
        send_all(fd, ROUND_TRIP_SIZE);
        receive_all(fd, ROUND_TRIP_SIZE);
    }
    limit_end();
    close(fd);
}

static void do_connect(long n)
{
    limit_begin();
    for (long i = 0; i < n; i++)
        close(open_tcp());
    limit_end();
}

static void do_datagram(long n)
{
    int fd = open_socket(SOCK_DGRAM, limit_options.udp_port);
    limit_begin();
    for (long i = 0; i < n; i++) {
        send_all(fd, DATAGRAM_SIZE);
        receive_all(fd, DATAGRAM_SIZE);
    }
    limit_end();
    close(fd);
}

static void do_idle(long n)
{
    for (long i = 0; i < n; i++)
        open_tcp();
}

/* All are watched, and a few of them exchange something. */
static void do_event(long n)
{
    static int *all;
    static int watcher;
    int count = limit_options.sockets;
    int active = count < EVENT_SOCKETS ? count : EVENT_SOCKETS;
    if (all == NULL) {
        all = calloc((size_t)count, sizeof *all);
        watcher = epoll_create1(0);
        for (int i = 0; i < count; i++) {
            all[i] = open_tcp();
            struct epoll_event event = { .events = EPOLLIN, .data.fd = all[i] };
            epoll_ctl(watcher, EPOLL_CTL_ADD, all[i], &event);
            command(all[i], "echo", 0);
        }
    }
    limit_begin();
    for (int i = 0; i < active; i++)
        send_all(all[i], ROUND_TRIP_SIZE);
    for (long done = 0, sent = active; done < n;) {
        struct epoll_event events[EVENT_SOCKETS];
        int ready = epoll_wait(watcher, events, EVENT_SOCKETS, TIMEOUT * 1000);
        if (ready <= 0)
            limit_die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            receive_all(events[i].data.fd, ROUND_TRIP_SIZE);
            done++;
            if (sent < n) {
                send_all(events[i].data.fd, ROUND_TRIP_SIZE);
                sent++;
            }
        }
    }
    limit_end();
}

int main(int argc, char **argv)
{
    static const struct limit_figure figures[] = {
        { "send", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send },
        { "send8", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send },
        { "receive", LIMIT_RATE, READ_SIZE / 1e6, 0, do_receive },
        { "round_trip", LIMIT_RATE, 1, 0, do_round_trip },
        { "connect", LIMIT_RATE, 1, 8000, do_connect },
        { "datagram", LIMIT_RATE, 1, 0, do_datagram },
        { "idle", LIMIT_MEMORY, 1, 0, do_idle },
        { "event", LIMIT_CPU, 1, 0, do_event },
        { NULL, LIMIT_RATE, 0, 0, NULL },
    };
    return limit_main(argc, argv, figures, NULL);
}
