/*
 * The host's sys_arch: mailboxes that grow up to their limit, locks that nest, memory that is
 * counted, and the checksum against RFC 1071's own way to compute it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

#include "lwip/sys.h"
#include "lwip/tcpip.h"

/* ---- mailboxes ---- */

static char words[1000];

static void test_a_mailbox_takes_what_its_limit_allows_and_no_more(void **unused)
{
    sys_mbox_t mbox;

    (void)unused;
    assert_int_equal(sys_mbox_new(&mbox, 100), ERR_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(sys_mbox_trypost(&mbox, &words[i]), ERR_OK);
    assert_int_equal(sys_mbox_trypost(&mbox, &words[100]), ERR_MEM);
    void *message;
    assert_int_equal(sys_arch_mbox_tryfetch(&mbox, &message), 0);
    assert_ptr_equal(message, &words[0]);
    assert_int_equal(sys_mbox_trypost(&mbox, &words[100]), ERR_OK);
    assert_int_equal(sys_mbox_trypost(&mbox, &words[101]), ERR_MEM);
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(sys_arch_mbox_tryfetch(&mbox, &message), 0);
        assert_ptr_equal(message, &words[i]);
    }
    assert_int_equal(sys_arch_mbox_tryfetch(&mbox, &message), SYS_MBOX_EMPTY);
    sys_mbox_free(&mbox);
    assert_false(sys_mbox_valid(&mbox));
}

static void test_a_mailbox_keeps_the_order_while_it_wraps_and_grows(void **unused)
{
    enum { LIMIT = 600, TURNS = 2000 };
    sys_mbox_t mbox;
    int posted = 0;
    int fetched = 0;

    (void)unused;
    sys_mbox_new(&mbox, LIMIT);
    for (int turn = 0; turn < TURNS; turn++) {
        for (int i = 0; i < turn % 7; i++)
            posted += sys_mbox_trypost(&mbox, &words[posted % 1000]) == ERR_OK;
        for (int i = 0; i < turn % 5; i++) {
            void *message;
            if (sys_arch_mbox_tryfetch(&mbox, &message) == 0)
                assert_ptr_equal(message, &words[fetched++ % 1000]);
        }
        assert_int_equal(mbox.count, posted - fetched);
        assert_true(mbox.capacity <= LIMIT);
    }
    assert_true(fetched > TURNS);
    sys_mbox_free(&mbox);
}

static void test_an_idle_mailbox_has_no_memory(void **unused)
{
    sys_mbox_t mbox;
    void *message;

    (void)unused;
    sys_mbox_new(&mbox, 4096);
    assert_null(mbox.slots);
    for (int i = 0; i < 1000; i++)
        sys_mbox_trypost(&mbox, &words[i]);
    while (sys_arch_mbox_tryfetch(&mbox, &message) == 0)
        ;
    assert_null(mbox.slots);
    sys_mbox_free(&mbox);
}

static void test_a_fetch_gives_up_after_its_time_out(void **unused)
{
    sys_mbox_t mbox;
    void *message;
    u32_t start = sys_now();

    (void)unused;
    sys_mbox_new(&mbox, 1);
    assert_int_equal(sys_arch_mbox_fetch(&mbox, &message, 20), SYS_ARCH_TIMEOUT);
    assert_true(sys_now() - start >= 19);
    sys_mbox_free(&mbox);
}

/* ---- locks ---- */

static void *try_core(void *is_mine)
{
    *(bool *)is_mine = sc_core_is_mine();
    sc_share_join();
    sc_share_begin();
    LOCK_TCPIP_CORE();
    UNLOCK_TCPIP_CORE();
    sc_share_end();
    return NULL;
}

static void test_the_core_lock_nests_and_knows_its_owner(void **unused)
{
    pthread_t other;
    bool was_its = true;

    (void)unused;
    assert_false(sc_core_is_mine());
    LOCK_TCPIP_CORE();
    LOCK_TCPIP_CORE();
    UNLOCK_TCPIP_CORE();
    assert_true(sc_core_is_mine());
    pthread_create(&other, NULL, try_core, &was_its);
    UNLOCK_TCPIP_CORE();
    pthread_join(other, NULL);
    assert_false(was_its);
    assert_false(sc_core_is_mine());
}

static void test_protection_nests(void **unused)
{
    (void)unused;
    sys_prot_t outer;
    sys_prot_t inner;
    sys_prot_t again;
    SYS_ARCH_PROTECT(outer);
    SYS_ARCH_PROTECT(inner);
    SYS_ARCH_UNPROTECT(inner);
    SYS_ARCH_UNPROTECT(outer);
    SYS_ARCH_PROTECT(again);
    assert_int_equal(again, outer);
    SYS_ARCH_UNPROTECT(again);
}

/* Nothing but the locks keeps these from tearing. */
static struct {
    size_t protected_count;
    size_t core_count;
} guarded;

static void count_both(void)
{
    SYS_ARCH_DECL_PROTECT(level);

    LOCK_TCPIP_CORE();
    guarded.core_count++;
    SYS_ARCH_PROTECT(level);
    guarded.protected_count++;
    SYS_ARCH_UNPROTECT(level);
    UNLOCK_TCPIP_CORE();
    SYS_ARCH_PROTECT(level);
    guarded.protected_count++;
    SYS_ARCH_UNPROTECT(level);
}

enum { VISITS = 300, COUNTS_PER_VISIT = 50 };

/* Comes and goes as the stand-in does. */
static void *visit(void *is_over)
{
    sc_share_join();
    for (int i = 0; i < VISITS; i++) {
        sc_share_begin();
        for (int j = 0; j < COUNTS_PER_VISIT; j++)
            count_both();
        sc_share_end();
        if (i % 3 == 0)
            sched_yield();
    }
    atomic_store((atomic_bool *)is_over, true);
    return NULL;
}

static void test_two_threads_take_turns_whoever_comes_and_goes(void **unused)
{
    pthread_t visitor;
    atomic_bool is_over = false;
    size_t counts = VISITS * COUNTS_PER_VISIT;

    (void)unused;
    guarded.core_count = 0;
    guarded.protected_count = 0;
    pthread_create(&visitor, NULL, visit, &is_over);
    for (; !atomic_load(&is_over); counts++)
        count_both();
    pthread_join(visitor, NULL);
    assert_int_equal(guarded.core_count, counts);
    assert_int_equal(guarded.protected_count, 2 * counts);
}

/* ---- memory ---- */

static void test_memory_is_counted_and_comes_back(void **unused)
{
    size_t before = sc_host_memory();

    (void)unused;
    void *a = sc_lwip_malloc(1000);
    void *b = sc_lwip_calloc(10, 100);
    assert_int_equal(sc_host_memory(), before + 2000);
    sc_lwip_free(a);
    sc_lwip_free(b);
    sc_lwip_free(NULL);
    assert_int_equal(sc_host_memory(), before);
}

/* ---- checksum ---- */

static uint16_t sum_slowly(const unsigned char *data, size_t length)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < length; i++)
        sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void test_the_checksum_is_the_one_of_rfc_1071_at_any_length_and_address(void **unused)
{
    static unsigned char data[2100];
    uint32_t state = 1;

    (void)unused;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)((state = state * 1664525 + 1013904223) >> 24);
    memset(data + 500, 0xff, 300);
    for (size_t length = 0; length < 2000; length += length < 140 ? 1 : 61) {
        for (size_t offset = 0; offset < 9; offset++) {
            uint16_t expected = lwip_htons(sum_slowly(data + offset, length));
            uint16_t got = sc_checksum(data + offset, (int)length);
            /* Both are zero in one's complement. */
            if (expected == 0xffff)
                expected = 0;
            assert_int_equal(got == 0xffff ? 0 : got, expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mailbox_takes_what_its_limit_allows_and_no_more),
        cmocka_unit_test(test_a_mailbox_keeps_the_order_while_it_wraps_and_grows),
        cmocka_unit_test(test_an_idle_mailbox_has_no_memory),
        cmocka_unit_test(test_a_fetch_gives_up_after_its_time_out),
        cmocka_unit_test(test_the_core_lock_nests_and_knows_its_owner),
        cmocka_unit_test(test_protection_nests),
        cmocka_unit_test(test_two_threads_take_turns_whoever_comes_and_goes),
        cmocka_unit_test(test_memory_is_counted_and_comes_back),
        cmocka_unit_test(test_the_checksum_is_the_one_of_rfc_1071_at_any_length_and_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
