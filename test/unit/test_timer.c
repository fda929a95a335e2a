/*
 * The pairing heap of src/timer.c against a plain array that is searched from end to end.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "timer.h"

#define TIMERS 10000

static struct sc_timer timers[TIMERS];

/* The same numbers in every run: a failure can be looked at. */
static uint32_t next_random(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static int reset(void **unused)
{
    (void)unused;
    memset(timers, 0, sizeof(timers));
    return 0;
}

static struct sc_timer *take_first(struct sc_timers *heap)
{
    struct sc_timer *first = heap->first;

    if (first)
        sc_timer_cancel(heap, first);
    return first;
}

static void test_timers_come_in_the_order_of_their_time(void **unused)
{
    struct sc_timers heap = { 0 };
    uint64_t last = 0;

    (void)unused;
    for (int i = 0; i < TIMERS; i++)
        sc_timer_arm(&heap, &timers[i], next_random());
    for (int i = 0; i < TIMERS; i++) {
        struct sc_timer *timer = take_first(&heap);
        assert_non_null(timer);
        assert_true(timer->at >= last);
        assert_false(sc_timer_is_armed(timer));
        last = timer->at;
    }
    assert_null(heap.first);
}

static void test_of_two_with_the_same_time_the_one_armed_first_comes_first(void **unused)
{
    struct sc_timers heap = { 0 };

    (void)unused;
    for (int i = 0; i < TIMERS; i++)
        sc_timer_arm(&heap, &timers[i], 7);
    for (int i = 0; i < TIMERS; i++)
        assert_ptr_equal(take_first(&heap), &timers[i]);
}

static void test_arming_anew_moves_a_timer_behind_its_equals(void **unused)
{
    struct sc_timers heap = { 0 };

    (void)unused;
    sc_timer_arm(&heap, &timers[0], 5);
    sc_timer_arm(&heap, &timers[1], 5);
    sc_timer_arm(&heap, &timers[0], 5);
    assert_ptr_equal(take_first(&heap), &timers[1]);
    assert_ptr_equal(take_first(&heap), &timers[0]);
    assert_null(heap.first);
}

static void test_cancelling_one_that_is_not_armed_changes_nothing(void **unused)
{
    struct sc_timers heap = { 0 };

    (void)unused;
    sc_timer_cancel(&heap, &timers[0]);
    assert_null(heap.first);
    sc_timer_arm(&heap, &timers[0], 1);
    sc_timer_cancel(&heap, &timers[1]);
    assert_ptr_equal(heap.first, &timers[0]);
}

/* What the heap should have first: the model. */
static struct sc_timer *find_first(int count)
{
    struct sc_timer *first = NULL;

    for (int i = 0; i < count; i++) {
        struct sc_timer *timer = &timers[i];
        if (sc_timer_is_armed(timer) && (!first || timer->at < first->at ||
                                         (timer->at == first->at && timer->order < first->order)))
            first = timer;
    }
    return first;
}

static void test_it_agrees_with_a_search_after_every_one_of_many_changes(void **unused)
{
    enum { FEW = 40, CHANGES = 50000 };
    struct sc_timers heap = { 0 };

    (void)unused;
    for (int i = 0; i < CHANGES; i++) {
        struct sc_timer *timer = &timers[next_random() % FEW];
        switch (next_random() % 4) {
        case 0:
            sc_timer_cancel(&heap, timer);
            break;
        case 1:
            take_first(&heap);
            break;
        default:
            sc_timer_arm(&heap, timer, next_random() % 16);
            break;
        }
        assert_ptr_equal(heap.first, find_first(FEW));
    }
}

static void test_ten_thousand_survive_random_cancelling(void **unused)
{
    struct sc_timers heap = { 0 };
    int armed = TIMERS;

    (void)unused;
    for (int i = 0; i < TIMERS; i++)
        sc_timer_arm(&heap, &timers[i], next_random() % 1000);
    for (int i = 0; i < TIMERS; i++) {
        struct sc_timer *timer = &timers[next_random() % TIMERS];
        armed -= sc_timer_is_armed(timer);
        sc_timer_cancel(&heap, timer);
    }
    uint64_t last = 0;
    int taken = 0;
    for (struct sc_timer *timer; (timer = take_first(&heap)); taken++) {
        assert_true(timer->at >= last);
        last = timer->at;
    }
    assert_int_equal(taken, armed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_timers_come_in_the_order_of_their_time, reset),
        cmocka_unit_test_setup(test_of_two_with_the_same_time_the_one_armed_first_comes_first,
                               reset),
        cmocka_unit_test_setup(test_arming_anew_moves_a_timer_behind_its_equals, reset),
        cmocka_unit_test_setup(test_cancelling_one_that_is_not_armed_changes_nothing, reset),
        cmocka_unit_test_setup(test_it_agrees_with_a_search_after_every_one_of_many_changes, reset),
        cmocka_unit_test_setup(test_ten_thousand_survive_random_cancelling, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
