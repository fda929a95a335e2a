/*
 * The relay's host sockets: which of them serve again, and that these are as good as new.
 *
 * SPDX-License-Identifier: MIT
 */
#include "relay_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 40

static int listener;
static struct sockaddr_in address;

static int start(void **state)
{
    socklen_t length = sizeof(address);

    (void)state;
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, MANY) != 0)
        return -1;
    return getsockname(listener, (struct sockaddr *)&address, &length);
}

static int stop(void **state)
{
    (void)state;
    sc_relay_socket_stop();
    return close(listener);
}

static void await(int fd, short events)
{
    struct pollfd wanted = { .fd = fd, .events = events };

    assert_int_equal(poll(&wanted, 1, 5000), 1);
}

/* A connection; *peer is its other end. */
static int open_connection(int *peer)
{
    int fd = sc_relay_socket_open(AF_INET);

    assert_true(fd >= 0);
    int error = sc_relay_socket_connect(fd, (struct sockaddr *)&address, sizeof(address));
    assert_true(error == 0 || error == EINPROGRESS);
    await(fd, POLLOUT);
    *peer = accept(listener, NULL, NULL);
    assert_true(*peer >= 0);
    return fd;
}

static void expect_end(int fd)
{
    char byte;

    await(fd, POLLIN);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void end_both(int fd, int peer)
{
    shutdown(fd, SHUT_WR);
    expect_end(peer);
    close(peer);
    expect_end(fd);
}

static int is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

static void exchange(int from, int to)
{
    char text[] = "hello";

    sc_relay_socket_set_nodelay(from);
    assert_int_equal(send(from, text, sizeof(text), MSG_NOSIGNAL), sizeof(text));
    memset(text, 0, sizeof(text));
    await(to, POLLIN);
    assert_int_equal(recv(to, text, sizeof(text), 0), sizeof(text));
    assert_string_equal(text, "hello");
}

static void test_one_that_is_all_over_serves_again(void **state)
{
    int peer;
    int first = open_connection(&peer);

    (void)state;
    exchange(first, peer);
    end_both(first, peer);
    sc_relay_socket_close(first, true);
    assert_true(is_open(first));
    int second = open_connection(&peer);
    assert_int_equal(second, first);
    exchange(second, peer);
    exchange(peer, second);
    end_both(second, peer);
    sc_relay_socket_close(second, false);
    assert_false(is_open(second));
}

/* What it has sent must still arrive. */
static void test_one_whose_peer_has_not_closed_is_closed(void **state)
{
    char data[4096] = { 0 };
    int peer;
    int fd = open_connection(&peer);

    (void)state;
    assert_int_equal(send(fd, data, sizeof(data), MSG_NOSIGNAL), sizeof(data));
    shutdown(fd, SHUT_WR);
    sc_relay_socket_close(fd, true);
    assert_false(is_open(fd));
    await(peer, POLLIN);
    assert_int_equal(recv(peer, data, sizeof(data), MSG_WAITALL), sizeof(data));
    expect_end(peer);
    close(peer);
}

static void test_one_that_was_refused_is_closed(void **state)
{
    int fd = sc_relay_socket_open(AF_INET);
    struct sockaddr_in nobody = address;

    (void)state;
    nobody.sin_port = 0;
    assert_int_equal(sc_relay_socket_connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)),
                     ECONNREFUSED);
    sc_relay_socket_close(fd, false);
    assert_false(is_open(fd));
}

static void test_few_are_kept_and_none_after_the_stop(void **state)
{
    int fds[MANY];
    int peers[MANY];
    int kept = 0;

    (void)state;
    for (int i = 0; i < MANY; i++)
        fds[i] = open_connection(&peers[i]);
    for (int i = 0; i < MANY; i++) {
        end_both(fds[i], peers[i]);
        sc_relay_socket_close(fds[i], true);
    }
    for (int i = 0; i < MANY; i++)
        kept += is_open(fds[i]);
    assert_in_range(kept, 1, MANY - 1);
    sc_relay_socket_stop();
    for (int i = 0; i < MANY; i++)
        assert_false(is_open(fds[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_is_all_over_serves_again),
        cmocka_unit_test(test_one_whose_peer_has_not_closed_is_closed),
        cmocka_unit_test(test_one_that_was_refused_is_closed),
        cmocka_unit_test(test_few_are_kept_and_none_after_the_stop),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
