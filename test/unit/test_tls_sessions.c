/*
 * src/tls_sessions.c: no key stays in memory that was freed, whatever fails; a string is taken
 * whole or not at all. mbedTLS's serialisation and the allocator are stand-ins.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "socketcore_port.h"
#include "tls_credentials.h"
#include "tls_sessions.h"

#include "lwip/opt.h"

static const char key[] = "a key that must not stay";

/* ---- stand-ins ---- */

#define BLOCK_HEADER 16

static size_t blocks_in_use;
static size_t keys_left;   /* blocks that were freed with the key in them */
static size_t refuse_from; /* the allocation that fails and all after it, 0: none */

static bool has_key(const unsigned char *data, size_t size)
{
    for (size_t at = 0; at + sizeof(key) <= size; at++)
        if (memcmp(data + at, key, sizeof(key)) == 0)
            return true;
    return false;
}

void *sc_lwip_malloc(size_t size)
{
    if (refuse_from && --refuse_from == 0) {
        refuse_from = 1;
        return NULL;
    }
    unsigned char *block = malloc(BLOCK_HEADER + size);
    assert_non_null(block);
    memcpy(block, &size, sizeof(size));
    blocks_in_use++;
    return block + BLOCK_HEADER;
}

void sc_lwip_free(void *memory)
{
    size_t size;

    if (!memory)
        return;
    unsigned char *block = (unsigned char *)memory - BLOCK_HEADER;
    memcpy(&size, block, sizeof(size));
    keys_left += has_key(memory, size);
    blocks_in_use--;
    free(block);
}

static int64_t now;

int64_t sc_port_time(void)
{
    return now;
}

static bool does_save_fail;

int mbedtls_ssl_session_save(const mbedtls_ssl_session *session, unsigned char *buf, size_t buf_len,
                             size_t *olen)
{
    (void)session;
    *olen = sizeof(key);
    if (buf_len < sizeof(key))
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    memcpy(buf, key, sizeof(key));
    return does_save_fail ? MBEDTLS_ERR_SSL_INTERNAL_ERROR : 0;
}

static int load_result;

int mbedtls_ssl_session_load(mbedtls_ssl_session *session, const unsigned char *buf, size_t len)
{
    (void)session;
    (void)buf;
    (void)len;
    return load_result;
}

int mbedtls_ssl_set_session(mbedtls_ssl_context *ssl, const mbedtls_ssl_session *session)
{
    (void)ssl;
    (void)session;
    return 0;
}

/* ---- tests ---- */

static const struct sc_tls_validity always = { INT64_MIN, INT64_MAX };
static mbedtls_ssl_session session;
static mbedtls_ssl_context ssl;

static const unsigned char *fingerprint(unsigned char number)
{
    static unsigned char print[SC_FINGERPRINT_SIZE];

    print[0] = number;
    return print;
}

static bool offers(unsigned char number)
{
    struct sc_tls_validity validity;

    return sc_tls_offer_session(fingerprint(number), &ssl, &validity);
}

static int reset(void **unused)
{
    (void)unused;
    sc_tls_drop_sessions();
    refuse_from = 0;
    does_save_fail = false;
    load_result = 0;
    now = 0;
    assert_int_equal(blocks_in_use, 0);
    assert_int_equal(keys_left, 0);
    return 0;
}

static void test_a_session_that_cannot_be_saved_leaves_no_key(void **unused)
{
    (void)unused;
    does_save_fail = true;
    sc_tls_keep_session(fingerprint(1), &always, &session);
    assert_false(sc_tls_has_session(fingerprint(1)));
}

static void test_sessions_that_are_dropped_replaced_or_crowded_out_leave_no_key(void **unused)
{
    (void)unused;
    for (unsigned char i = 0; i < 100; i++)
        sc_tls_keep_session(fingerprint(i), &always, &session);
    sc_tls_keep_session(fingerprint(99), &always, &session);
    sc_tls_drop_session(fingerprint(98));
    load_result = MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    assert_false(offers(97));
    assert_false(sc_tls_has_session(fingerprint(97)));
    sc_tls_drop_sessions();
}

static void test_a_session_is_offered_while_its_certificates_are_valid(void **unused)
{
    static const struct sc_tls_validity validity = { 1000, 2000 };

    (void)unused;
    for (now = 1000; now <= 2000; now += 500) {
        sc_tls_keep_session(fingerprint(1), &validity, &session);
        assert_true(offers(1));
    }
    now = 2001;
    assert_false(offers(1));
    assert_false(sc_tls_has_session(fingerprint(1)));
    sc_tls_keep_session(fingerprint(1), &validity, &session);
    now = 999;
    assert_false(offers(1));
    sc_tls_keep_session(fingerprint(1), &validity, &session);
    now = 0; /* no clock */
    assert_true(offers(1));
}

static void test_a_session_that_there_is_no_memory_to_read_stays(void **unused)
{
    (void)unused;
    sc_tls_keep_session(fingerprint(1), &always, &session);
    load_result = MBEDTLS_ERR_SSL_ALLOC_FAILED;
    assert_false(offers(1));
    load_result = 0;
    assert_true(offers(1));
}

static void test_a_string_without_memory_for_it_changes_nothing(void **unused)
{
    unsigned char text[1000];
    size_t length;

    (void)unused;
    for (unsigned char i = 0; i < 4; i++)
        sc_tls_keep_session(fingerprint(i), &always, &session);
    length = sc_tls_save_sessions(text, sizeof(text));
    assert_in_range(length, 1, sizeof(text));
    sc_tls_drop_sessions();
    for (size_t n = 1; n <= 4; n++) {
        refuse_from = n;
        assert_int_equal(sc_tls_load_sessions(text, length), SC_ERR_NOMEM);
        assert_int_equal(blocks_in_use, 0);
    }
    refuse_from = 0;
    load_result = MBEDTLS_ERR_SSL_ALLOC_FAILED;
    assert_int_equal(sc_tls_load_sessions(text, length), SC_ERR_NOMEM);
    load_result = MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    assert_int_equal(sc_tls_load_sessions(text, length), SC_ERR_INVAL);
    load_result = 0;
    assert_int_equal(sc_tls_load_sessions(text, length - 1), SC_ERR_INVAL);
    assert_int_equal(blocks_in_use, 0);
    assert_int_equal(sc_tls_load_sessions(text, length), SC_OK);
    for (unsigned char i = 0; i < 4; i++)
        assert_true(offers(i));
    sc_tls_drop_sessions();
    assert_int_equal(keys_left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_session_that_cannot_be_saved_leaves_no_key, reset,
                                        reset),
        cmocka_unit_test_setup_teardown(
            test_sessions_that_are_dropped_replaced_or_crowded_out_leave_no_key, reset, reset),
        cmocka_unit_test_setup_teardown(test_a_session_is_offered_while_its_certificates_are_valid,
                                        reset, reset),
        cmocka_unit_test_setup_teardown(test_a_session_that_there_is_no_memory_to_read_stays, reset,
                                        reset),
        cmocka_unit_test_setup_teardown(test_a_string_without_memory_for_it_changes_nothing, reset,
                                        reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
