/*
 * What the reading of DNS answers takes, and what it refuses: whole answers, failures, foreign
 * ones, ones that are cut at every byte and ones with every byte changed. Nothing may be read
 * outside of the answer (the copies end where the sanitizer looks).
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

#include "dns_all.h"

#define ID 0x1234
#define TYPE_A 1
#define TYPE_AAAA 28

/* Two addresses behind a CNAME, with names in full, as pointers and as both. */
static const unsigned char answer[] = {
    0x12, 0x34, 0x81, 0x80, 0,   1,   0,   3,   0,   0,  0, 0,                    /* header */
    3,    'w',  'W',  'w',  4,   't', 'e', 's', 't', 0,  0, 1,  0, 1,             /* question */
    0xc0, 12,   0,    5,    0,   1,   0,   0,   0,   60, 0, 4,  1, 'c', 0xc0, 16, /* CNAME c.test */
    1,    'c',  0xc0, 16,   0,   1,   0,   1,   0,   0,  0, 60, 0, 4,   192,  0,  2, 1, /* A */
    1,    'c',  4,    't',  'e', 's', 't', 0,   0,   1,  0, 1,  0, 0,   0,    60, 0, 4,
    192,  0,    2,    2,
};

static ip_addr_t found[8];
static int found_count;
static uint32_t found_ttl;

static void note(void *context, const ip_addr_t *address, uint32_t ttl)
{
    found_ttl = ttl;
    assert_ptr_equal(context, found);
    assert_true(found_count < 8);
    found[found_count++] = *address;
}

/* Reads a copy that ends with its last byte. */
static enum sc_dns_verdict judge(const unsigned char *data, size_t length, uint16_t type,
                                 const char *host)
{
    unsigned char *copy = malloc(length ? length : 1);

    memcpy(copy, data, length);
    found_count = 0;
    enum sc_dns_verdict verdict = sc_dns_all_judge(copy, length, ID, type, host);
    if (verdict != SC_DNS_FOREIGN && verdict != SC_DNS_FAILED) {
        unsigned count = sc_dns_all_read(copy, length, type, note, found);
        assert_int_equal(count, found_count);
    }
    free(copy);
    return verdict;
}

static bool parse(const unsigned char *data, size_t length, uint16_t type, const char *host)
{
    return judge(data, length, type, host) == SC_DNS_ANSWERED;
}

static void all_addresses_are_found(void **state)
{
    (void)state;
    assert_true(parse(answer, sizeof(answer), TYPE_A, "www.test"));
    assert_int_equal(found_count, 2);
    assert_int_equal(ip4_addr4(ip_2_ip4(&found[0])), 1);
    assert_int_equal(ip4_addr4(ip_2_ip4(&found[1])), 2);
    assert_true(parse(answer, sizeof(answer), TYPE_A, "WWW.TEST."));
}

static void an_ipv6_address_is_found(void **state)
{
    unsigned char message[] = {
        0x12, 0x34, 0x81, 0x80, 0,  1, 0,  1, 0, 0, 0, 0, 1, 'x', 0,  0,
        28,   0,    1,    0xc0, 12, 0, 28, 0, 1, 0, 0, 0, 9, 0,   16, 0xfe,
        0xc0, 0,    0,    0,    0,  0, 0,  0, 0, 0, 0, 0, 0, 0,   2,
    };

    (void)state;
    assert_true(parse(message, sizeof(message), TYPE_AAAA, "x"));
    assert_int_equal(found_count, 1);
    assert_true(IP_IS_V6(&found[0]));
    assert_int_equal(ip_2_ip6(&found[0])->addr[0], PP_HTONL(0xfec00000));
    assert_int_equal(ip_2_ip6(&found[0])->addr[3], PP_HTONL(2));
}

static void a_foreign_answer_is_refused(void **state)
{
    unsigned char message[sizeof(answer)];

    (void)state;
    assert_false(parse(answer, sizeof(answer), TYPE_A, "www.tesT2"));
    assert_false(parse(answer, sizeof(answer), TYPE_A, "www"));
    assert_false(parse(answer, sizeof(answer), TYPE_A, ""));
    assert_false(parse(answer, sizeof(answer), TYPE_AAAA, "www.test"));
    memcpy(message, answer, sizeof(answer));
    message[1] ^= 1; /* the id */
    assert_false(parse(message, sizeof(message), TYPE_A, "www.test"));
    message[1] ^= 1;
    message[2] &= 0x7f; /* a query */
    assert_false(parse(message, sizeof(message), TYPE_A, "www.test"));
    assert_int_equal(found_count, 0);
}

/* The answer with these two bytes of flags. */
static enum sc_dns_verdict judge_flags(unsigned char high, unsigned char low)
{
    unsigned char message[sizeof(answer)];

    memcpy(message, answer, sizeof(answer));
    message[2] = high;
    message[3] = low;
    return judge(message, sizeof(message), TYPE_A, "www.test");
}

static void what_the_server_says_of_itself_counts(void **state)
{
    (void)state;
    assert_int_equal(judge_flags(0x81, 0x80), SC_DNS_ANSWERED);
    assert_int_equal(judge_flags(0x83, 0x80), SC_DNS_CUT);
    assert_int_equal(judge_flags(0x81, 0x83), SC_DNS_DENIED);
    for (unsigned char result = 0; result < 16; result++)
        if (result != 0 && result != 3)
            assert_int_equal(judge_flags(0x81, 0x80 | result), SC_DNS_FAILED);
}

static void a_server_that_cannot_read_the_question_fails(void **state)
{
    static const unsigned char message[] = { 0x12, 0x34, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0 };

    (void)state;
    assert_int_equal(judge(message, sizeof(message), TYPE_A, "www.test"), SC_DNS_FAILED);
}

static void an_empty_answer_is_one_of_a_server_that_knows(void **state)
{
    unsigned char message[26];

    (void)state;
    memcpy(message, answer, sizeof(message));
    message[7] = 0;
    assert_int_equal(judge(message, sizeof(message), TYPE_A, "www.test"), SC_DNS_ANSWERED);
    assert_int_equal(found_count, 0);
    message[3] = 0; /* it asks nobody */
    assert_int_equal(judge(message, sizeof(message), TYPE_A, "www.test"), SC_DNS_FAILED);
    message[2] |= 4; /* and does not have to */
    assert_int_equal(judge(message, sizeof(message), TYPE_A, "www.test"), SC_DNS_ANSWERED);
}

static void the_shortest_time_on_the_way_to_an_address_counts(void **state)
{
    unsigned char message[sizeof(answer)];

    (void)state;
    assert_true(parse(answer, sizeof(answer), TYPE_A, "www.test"));
    assert_int_equal(found_ttl, 60);
    memcpy(message, answer, sizeof(answer));
    message[35] = 9; /* of the CNAME */
    assert_true(parse(message, sizeof(message), TYPE_A, "www.test"));
    assert_int_equal(found_ttl, 9);
    message[32] = 0x80; /* negative is none */
    assert_true(parse(message, sizeof(message), TYPE_A, "www.test"));
    assert_int_equal(found_ttl, 0);
}

static void a_cut_answer_gives_what_is_whole(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(answer); length++) {
        bool is_answer = parse(answer, length, TYPE_A, "www.test");
        assert_int_equal(is_answer, length >= 26);
        assert_true(found_count <= (length >= 60 ? 1 : 0));
    }
}

static void a_changed_byte_does_no_harm(void **state)
{
    unsigned char message[sizeof(answer)];

    (void)state;
    for (size_t at = 0; at < sizeof(answer); at++)
        for (int value = 0; value < 256; value++) {
            memcpy(message, answer, sizeof(answer));
            message[at] = (unsigned char)value;
            parse(message, sizeof(message), TYPE_A, "www.test");
            assert_true(found_count <= 3); /* so many records are there */
        }
}

static void names_that_are_none_are_refused(void **state)
{
    char label[66] = { 0 };
    char name[300] = { 0 };

    (void)state;
    memset(label, 'a', 64);
    for (size_t i = 0; i < 299; i++)
        name[i] = i % 10 == 9 ? '.' : 'a';
    assert_false(parse(answer, sizeof(answer), TYPE_A, label));
    assert_false(parse(answer, sizeof(answer), TYPE_A, name));
    assert_false(parse(answer, sizeof(answer), TYPE_A, "www..test"));
    assert_false(parse(answer, sizeof(answer), TYPE_A, "."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_addresses_are_found),
        cmocka_unit_test(an_ipv6_address_is_found),
        cmocka_unit_test(a_foreign_answer_is_refused),
        cmocka_unit_test(what_the_server_says_of_itself_counts),
        cmocka_unit_test(a_server_that_cannot_read_the_question_fails),
        cmocka_unit_test(an_empty_answer_is_one_of_a_server_that_knows),
        cmocka_unit_test(the_shortest_time_on_the_way_to_an_address_counts),
        cmocka_unit_test(a_cut_answer_gives_what_is_whole),
        cmocka_unit_test(a_changed_byte_does_no_harm),
        cmocka_unit_test(names_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
