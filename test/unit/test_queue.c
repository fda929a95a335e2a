/*
 * The queue that rtos.receive drains: sockets and timers in the order of their time, also when
 * whoever takes looks at the clock seldom.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host.h"

#include "lwip/sys.h"

/* ---- a clock that the test sets ---- */

static uint64_t clock_us = 1000000;

uint64_t sc_host_now(void)
{
    return clock_us;
}

uint64_t sc_host_recent(void)
{
    return clock_us;
}

u32_t sys_now(void)
{
    return (u32_t)(clock_us / 1000);
}

int64_t sc_port_time(void)
{
    return 0;
}

static void pass_ms(uint64_t ms)
{
    clock_us += ms * 1000;
}

/* ---- what comes out ---- */

static void assert_socket(uint64_t now, int socket)
{
    int id = -1;

    assert_int_equal(sc_queue_take(now, &id), SC_ITEM_SOCKET);
    assert_int_equal(id, socket);
}

static void assert_timer(uint64_t now, int timer)
{
    int id = -1;

    assert_int_equal(sc_queue_take(now, &id), SC_ITEM_TIMER);
    assert_int_equal(id, timer);
}

static void assert_nothing(uint64_t now)
{
    int id = -1;

    assert_int_equal(sc_queue_take(now, &id), SC_ITEM_NONE);
}

static int claim_the_queue(void **unused)
{
    (void)unused;
    return sc_host_claim() ? -1 : 0;
}

static int empty_the_queue(void **unused)
{
    (void)unused;
    sc_queue_drop_sockets();
    sc_host_release();
    return 0;
}

static void test_sockets_come_in_the_order_of_their_posts(void **unused)
{
    enum { POSTS = 100, KEPT = 7 };

    (void)unused;
    for (int i = 0; i < POSTS; i++) {
        assert_true(sc_port_post(i));
        if (i >= KEPT)
            assert_socket(clock_us, i - KEPT);
    }
    for (int i = POSTS - KEPT; i < POSTS; i++)
        assert_socket(clock_us, i);
    assert_nothing(clock_us);
    assert_true(sc_queue_is_empty());
}

static void test_a_timer_comes_when_its_time_has_come(void **unused)
{
    (void)unused;
    assert_true(sc_host_timer_start(5, 10));
    pass_ms(10);
    assert_nothing(clock_us);
    assert_int_equal(sc_queue_due(), clock_us + 1);
    clock_us++;
    assert_timer(clock_us, 5);
    assert_nothing(clock_us);
    assert_int_equal(sc_queue_due(), SC_NEVER);
}

static void test_sockets_and_timers_come_in_the_order_of_their_times(void **unused)
{
    (void)unused;
    sc_host_timer_start(1, 10);
    sc_host_timer_start(2, 30);
    sc_port_post(100);
    pass_ms(20);
    sc_port_post(101);
    pass_ms(20);
    sc_port_post(102);
    assert_socket(clock_us, 100);
    assert_timer(clock_us, 1);
    assert_socket(clock_us, 101);
    assert_timer(clock_us, 2);
    assert_socket(clock_us, 102);
    assert_nothing(clock_us);
}

static void test_the_order_is_the_same_for_one_who_knows_an_old_time_only(void **unused)
{
    uint64_t old = clock_us;

    (void)unused;
    sc_host_timer_start(1, 10);
    sc_host_timer_start(2, 30);
    sc_port_post(100);
    pass_ms(20);
    sc_port_post(101);
    pass_ms(20);
    assert_socket(old, 100);
    assert_timer(old, 1);
    assert_socket(old, 101);
    /* Nothing says that this one has run out. */
    assert_nothing(old);
    assert_timer(clock_us, 2);
}

static void test_a_timer_that_was_stopped_never_comes(void **unused)
{
    (void)unused;
    sc_host_timer_start(1, 10);
    sc_host_timer_start(2, 10);
    pass_ms(20);
    sc_port_post(100);
    sc_host_timer_stop(1);
    assert_timer(clock_us, 2);
    assert_socket(clock_us, 100);
    assert_nothing(clock_us);
}

static void test_a_queue_that_was_given_back_takes_no_timer(void **unused)
{
    (void)unused;
    assert_true(sc_host_timer_start(1, 10));
    sc_host_release();
    assert_false(sc_host_timer_start(2, 10));
    pass_ms(20);
    assert_nothing(clock_us);
    assert_null(sc_host_claim());
    assert_non_null(sc_host_claim());
    assert_nothing(clock_us);
    assert_true(sc_queue_is_empty());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sockets_come_in_the_order_of_their_posts,
                                        claim_the_queue, empty_the_queue),
        cmocka_unit_test_setup_teardown(test_a_timer_comes_when_its_time_has_come, claim_the_queue,
                                        empty_the_queue),
        cmocka_unit_test_setup_teardown(test_sockets_and_timers_come_in_the_order_of_their_times,
                                        claim_the_queue, empty_the_queue),
        cmocka_unit_test_setup_teardown(
            test_the_order_is_the_same_for_one_who_knows_an_old_time_only, claim_the_queue,
            empty_the_queue),
        cmocka_unit_test_setup_teardown(test_a_timer_that_was_stopped_never_comes, claim_the_queue,
                                        empty_the_queue),
        cmocka_unit_test_setup_teardown(test_a_queue_that_was_given_back_takes_no_timer,
                                        claim_the_queue, empty_the_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
