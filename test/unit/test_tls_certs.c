/*
 * Certificates that mbedTLS cannot read: what is accepted and what is left out, and that memory
 * that runs out is never taken for a fault of the certificate.
 *
 * SPDX-License-Identifier: MIT
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tls_certs.h"

#include <mbedtls/base64.h>
#include <mbedtls/oid.h>

static const char root_base64[] =
    "MIIBZDCCAQqgAwIBAgIUbHtObSrFGvMKfqojeEV+irsbRNIwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEcm9vdDAg"
    "Fw0yNjExMjUxOTE0NTBaGA8yMTI2MTEwMTE5MTQ1MFowDzENMAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqG"
    "SM49AwEHA0IABJjT0qTupncjnMosL0O0U+W9YsCYqmTHOdC95F8V5Se/NjgE79llEUM3ys0CgsF3bK+Z9jdzxtz+"
    "4N2AOOImGaejQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMB0GA1UdDgQWBBQjzZ6HsNZy0qmH"
    "W80k1hEcn0ldOzAKBggqhkjOPQQDAgNIADBFAiEAvdcq/lMyFnesBMWloXM1eTy+h73xl0Z6nED/RT/5R90CIGBl"
    "zbnXVu98oEeMivTtAFt5R2mlTx/itfePWDEpkz7P";

static const char odd_base64[] =
    "MIIBtjCCAVygAwIBAgIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARyb290MCAXDTI2MTEyNTE5MTQ1MloYDzIx"
    "MjYxMTAxMTkxNDUyWjAdMQwwCgYDVQQDDANvZGQxDTALBgNVBAoMBFRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMB"
    "BwNCAATA+RFaUj5se/A3uuEFnrZSJ3qpQVjYIgvEKqU1EwyDTC6dOX663ICFngEoogoU3om4zGz7mmm9CQk/2XHi"
    "OeQuo4GYMIGVMAwGA1UdEwEB/wQCMAAwEwYDVR0gAQH/BAkwBzAFBgMqAwQwMQYDVR0RBCowKKQRMA8xDTALBgNV"
    "BAMSBDQ3MTGHCAAAAAAAAAAAgglsb2NhbGhvc3QwHgYDVR0jBBcwFaETpBEwDzENMAsGA1UEAxIENDcxMTAdBgNV"
    "HQ4EFgQUlSv7aY4n0jcXqv0S9l8Q+A8GaZkwCgYIKoZIzj0EAwIDSAAwRQIhAP7bAEBrTuiK+n7ivAWSkkOjn0o/"
    "kyTHe9uLl3m1ttPpAiAc5P3/oAN5D8E92ENy/m33KmWfzqxxKwKCZ054R3FDyA==";

static const char rsa_base64[] =
    "MIICpzCCAk2gAwIBAgIBAzAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARyb290MCAXDTI2MTEyNTE5MTQ1MloYDzIx"
    "MjYxMTAxMTkxNDUyWjAdMQwwCgYDVQQDDANyc2ExDTALBgNVBAoMBFRlc3QwggEiMA0GCSqGSIb3DQEBAQUAA4IB"
    "DwAwggEKAoIBAQDttPB8jEbsPcM/c7U8JQwwop5X9N42aDDWiQcEVC/v9jxtqxLikaiagmXi4QAY+BmAoI+uF003"
    "5Irt/n2Io+LJbAEhaKKpmTBkxkwgyUigY3PQZTrd1xpOVw1z7JhEdPnUvr3y6Pc8+DIUDO6ZA5JC5BgdjLeYSio8"
    "00QnAWUECmYYT6o55KntUEHWrTkUDkFOzP/178GYigfYPdPSr/1dq59Skn24+ZLNWan+tGN2vHUspmNzCo8ldj0o"
    "9X3HMPwgBSLD2T5Z/K8qO+aUKdHIhQVIZlDn6y2eMJXtN46BmQD/xO9OSJUrmKw2P/4U9QxRKw2D9uQBFvxrKkbs"
    "plgZAgMBAAGjgb4wgbswDAYDVR0TAQH/BAIwADBEBgNVHREEPTA7gglsb2NhbGhvc3SGEmh0dHBzOi8vbG9jYWxo"
    "b3N0L6QaMBgxCjAIBgNVBAMMAXgxCjAIBgNVBAoMAXkwEwYDVR0lBAwwCgYIKwYBBQUHAwEwEAYDVR0gBAkwBzAF"
    "BgMqAwQwHQYDVR0OBBYEFI4l5CIjuOch5kGD/Ac5TANhvapIMB8GA1UdIwQYMBaAFCPNnoew1nLSqYdbzSTWERyf"
    "SV07MAoGCCqGSM49BAMCA0gAMEUCIQCFh6V4BWHjCorUClRLnWoiKmtIpdXFpB1k0ObQzO+LuAIgED4XAAmAJQ1h"
    "ryI/nN4tpykr8aJvM/MjVg3VP0CxZ40=";

static const char by_ed_base64[] =
    "MIIByzCCAX2gAwIBAgIBBDAFBgMrZXAwDTELMAkGA1UEAwwCZWQwIBcNMjYxMTI1MTkxNDUzWhgPMjEyNjExMDEx"
    "OTE0NTNaMB8xDjAMBgNVBAMMBWJ5LWVkMQ0wCwYDVQQKDARUZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE"
    "wPkRWlI+bHvwN7rhBZ62Uid6qUFY2CILxCqlNRMMg0wunTl+utyAhZ4BKKIKFN6JuMxs+5ppvQkJP9lx4jnkLqOB"
    "vjCBuzAMBgNVHRMBAf8EAjAAMEQGA1UdEQQ9MDuCCWxvY2FsaG9zdIYSaHR0cHM6Ly9sb2NhbGhvc3QvpBowGDEK"
    "MAgGA1UEAwwBeDEKMAgGA1UECgwBeTATBgNVHSUEDDAKBggrBgEFBQcDATAQBgNVHSAECTAHMAUGAyoDBDAdBgNV"
    "HQ4EFgQUlSv7aY4n0jcXqv0S9l8Q+A8GaZkwHwYDVR0jBBgwFoAUeoDAKVGPDwKeKHD1FyI94iGQ/7UwBQYDK2Vw"
    "A0EAxbgJLvctPZtiA3lyAegYg394RQB6gbk0evbj55lTqwv7PLpsXaJbuZvHXabfAhbbRlaDJo6wskyStNkJQulY"
    "Cg==";

/* ---- memory that can run out ---- */

static long allocations; /* since the last reset */
static long blocks;      /* that exist */
static long first_failure, last_failure;

void *sc_mbedtls_calloc(size_t count, size_t size)
{
    allocations++;
    if (allocations >= first_failure && allocations <= last_failure)
        return NULL;
    blocks++;
    return calloc(count, size);
}

void sc_lwip_free(void *memory)
{
    blocks -= memory != NULL;
    free(memory);
}

static void fail_from_to(long first, long last)
{
    allocations = 0;
    first_failure = first;
    last_failure = last;
}

/* ---- certificates ---- */

struct der {
    unsigned char bytes[1200];
    size_t length;
};

/* root: a CA with P-256. odd: signed by it, with names and extensions that mbedTLS cannot read or
 * does not know (a directory name of digits, an address and its mask, an authority key without its
 * number, a critical policy). rsa: signed by it, with RSA 2048 and names of many kinds. by_ed: an
 * Ed25519 CA has signed it. */
static struct der root, odd, rsa, by_ed;

static void decode(struct der *der, const char *text)
{
    assert_int_equal(mbedtls_base64_decode(der->bytes, sizeof(der->bytes), &der->length,
                                           (const unsigned char *)text, strlen(text)),
                     0);
}

static mbedtls_x509_crt list;

static int set_up(void **unused)
{
    (void)unused;
    decode(&root, root_base64);
    decode(&odd, odd_base64);
    decode(&rsa, rsa_base64);
    decode(&by_ed, by_ed_base64);
    mbedtls_x509_crt_init(&list);
    fail_from_to(0, 0);
    blocks = 0;
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    mbedtls_x509_crt_free(&list);
    return blocks == 0 ? 0 : -1;
}

static size_t count_list(void)
{
    size_t count = 0;

    for (const mbedtls_x509_crt *crt = &list; crt && crt->version; crt = crt->next)
        count++;
    return count;
}

/* ---- a connection that reads them ---- */

static int told_depth;
static size_t told_count;
static char told_words[100];

static int on_certificate(void *context, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    (void)context;
    told_depth = depth;
    told_count++;
    sc_tls_explain_cert(told_words, sizeof(told_words), crt->raw.p, crt->raw.len, -(int)*flags);
    return 0;
}

static mbedtls_ssl_config config;
static mbedtls_ssl_context ssl;

static mbedtls_ssl_context *connection(int authmode)
{
    memset(&config, 0, sizeof(config));
    memset(&ssl, 0, sizeof(ssl));
    config.endpoint = MBEDTLS_SSL_IS_CLIENT;
    config.authmode = (uint8_t)authmode;
    ssl.conf = &config;
    ssl.f_vrfy = on_certificate;
    told_count = 0;
    told_words[0] = '\0';
    return &ssl;
}

static int read_peer(mbedtls_ssl_context *from, struct der *der)
{
    return sc_tls_read_peer_cert(from, &list, der->bytes, der->length, true);
}

/* ---- the tests ---- */

static void verifies_what_has_odd_names(void **unused)
{
    struct der before = odd;
    mbedtls_x509_crt trusted;
    uint32_t flags;

    (void)unused;
    mbedtls_x509_crt_init(&trusted);
    assert_int_not_equal(mbedtls_x509_crt_parse_der(&list, odd.bytes, odd.length), 0);
    assert_int_equal(sc_tls_read_cert(&trusted, root.bytes, root.length, true), 0);
    assert_int_equal(sc_tls_read_cert(&list, odd.bytes, odd.length, true), 0);
    assert_memory_equal(odd.bytes, before.bytes, odd.length);
    assert_memory_equal(list.raw.p, before.bytes, odd.length);
    assert_int_equal(
        mbedtls_x509_crt_verify(&list, &trusted, NULL, "localhost", &flags, NULL, NULL), 0);
    mbedtls_x509_crt_free(&list);

    /* Without a copy the signature is of the caller's bytes. */
    assert_int_equal(sc_tls_read_cert(&list, odd.bytes, odd.length, false), 0);
    assert_ptr_equal(list.raw.p, odd.bytes);
    assert_int_equal(
        mbedtls_x509_crt_verify(&list, &trusted, NULL, "localhost", &flags, NULL, NULL), 0);
    odd.bytes[odd.length - 1] ^= 1;
    assert_int_not_equal(
        mbedtls_x509_crt_verify(&list, &trusted, NULL, "localhost", &flags, NULL, NULL), 0);
    mbedtls_x509_crt_free(&trusted);
}

static void reads_names_and_dates_with_the_key(void **unused)
{
    char text[60];

    (void)unused;
    assert_int_equal(sc_tls_read_cert_key(&list, by_ed.bytes, by_ed.length, true), 0);
    assert_true(mbedtls_x509_dn_gets(text, sizeof(text), &list.subject) > 0);
    assert_string_equal(text, "CN=by-ed, O=Test");
    assert_true(mbedtls_x509_dn_gets(text, sizeof(text), &list.issuer) > 0);
    assert_string_equal(text, "CN=ed");
    assert_true(list.valid_to.year > 2100);
    assert_int_equal(mbedtls_pk_get_bitlen(&list.pk), 256);
    assert_int_equal(list.pk_raw.p[0], 0x30);
    assert_in_range(list.pk_raw.len, 80, 100);
}

static void never_verifies_what_was_read_for_its_key(void **unused)
{
    mbedtls_x509_crt trusted;
    uint32_t flags;

    (void)unused;
    mbedtls_x509_crt_init(&trusted);
    assert_int_equal(sc_tls_read_cert(&trusted, root.bytes, root.length, true), 0);
    assert_int_equal(sc_tls_read_cert_key(&list, rsa.bytes, rsa.length, true), 0);
    assert_int_not_equal(mbedtls_x509_crt_verify(&list, &trusted, NULL, NULL, &flags, NULL, NULL),
                         0);
    mbedtls_x509_crt_free(&list);
    assert_int_equal(sc_tls_read_cert_key(&list, root.bytes, root.length, true), 0);
    assert_int_not_equal(mbedtls_x509_crt_verify(&list, &trusted, NULL, NULL, &flags, NULL, NULL),
                         0);
    mbedtls_x509_crt_free(&trusted);
}

static void reads_only_the_first_key_when_nothing_is_verified(void **unused)
{
    (void)unused;
    assert_int_equal(read_peer(connection(MBEDTLS_SSL_VERIFY_NONE), &by_ed), 0);
    assert_int_equal(read_peer(&ssl, &root), 0);
    assert_int_equal(read_peer(&ssl, &odd), 0);
    assert_int_equal(count_list(), 1);
    assert_int_equal(told_count, 0);
}

static void leaves_out_what_cannot_be_read_and_tells_of_it(void **unused)
{
    (void)unused;
    assert_int_equal(read_peer(connection(MBEDTLS_SSL_VERIFY_REQUIRED), &rsa), 0);
    assert_int_equal(read_peer(&ssl, &by_ed), 0);
    assert_int_equal(told_count, 1);
    assert_int_equal(told_depth, SC_TLS_DEPTH_UNREAD);
    assert_string_equal(told_words, "signature algorithm Ed25519 is not supported");
    assert_int_equal(read_peer(&ssl, &root), 0);
    assert_int_equal(count_list(), 2);
}

static void refuses_a_first_one_that_cannot_be_verified(void **unused)
{
    (void)unused;
    assert_int_equal(read_peer(connection(MBEDTLS_SSL_VERIFY_REQUIRED), &by_ed),
                     MBEDTLS_ERR_SSL_BAD_CERTIFICATE);
    assert_int_equal(told_depth, SC_TLS_DEPTH_UNREAD_FIRST);
    assert_int_equal(count_list(), 0);
}

static void is_mbedtls_own_parser_for_a_server(void **unused)
{
    (void)unused;
    connection(MBEDTLS_SSL_VERIFY_NONE);
    config.endpoint = MBEDTLS_SSL_IS_SERVER;
    assert_int_equal(read_peer(&ssl, &by_ed),
                     MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG + MBEDTLS_ERR_OID_NOT_FOUND);
    assert_int_equal(read_peer(&ssl, &rsa), 0);
    assert_int_equal(read_peer(&ssl, &root), 0);
    assert_int_equal(count_list(), 2);
}

/* With each bit pattern in each place, and cut short anywhere: as a certificate that nothing needs
 * it never ends the handshake. */
static void never_fails_for_damaged_ones(void **unused)
{
    const struct der *whole[] = { &root, &odd, &rsa, &by_ed };

    (void)unused;
    assert_int_equal(read_peer(connection(MBEDTLS_SSL_VERIFY_REQUIRED), &rsa), 0);
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        for (size_t at = 0; at < whole[i]->length; at++) {
            static const unsigned char patterns[] = { 0x01, 0x02, 0x10, 0x80, 0xff };
            for (size_t k = 0; k <= sizeof(patterns); k++) {
                /* Of its own size, so that a sanitizer sees reads beyond it. */
                size_t length = k ? whole[i]->length : at;
                unsigned char *bytes = malloc(length ? length : 1);
                memcpy(bytes, whole[i]->bytes, length);
                if (k)
                    bytes[at] ^= patterns[k - 1];
                told_words[0] = '\0';
                size_t before = told_count;
                assert_int_equal(sc_tls_read_peer_cert(&ssl, &list, bytes, length, true), 0);
                assert_true(told_count == before || told_words[0]);
                sc_tls_explain_key(told_words, sizeof(told_words), bytes, length, -1);
                mbedtls_x509_crt_free(list.next);
                sc_lwip_free(list.next);
                list.next = NULL;
                free(bytes);
            }
        }
}

/* One allocation after the other fails, alone and with all that follow. */
static void check_failures(int (*read)(struct der *), struct der *der, size_t expected)
{
    for (int is_lasting = 0; is_lasting < 2; is_lasting++)
        for (long n = 1;; n++) {
            struct der copy = *der;
            fail_from_to(n, is_lasting ? 1000000 : n);
            int ret = read(&copy);
            bool has_failed = allocations >= n;
            fail_from_to(0, 0);
            assert_memory_equal(copy.bytes, der->bytes, der->length);
            assert_int_equal(told_count, 0);
            if (ret == 0) {
                /* Where one fails alone the second attempt may do without. */
                assert_int_equal(count_list(), expected);
                mbedtls_x509_crt_free(&list);
                mbedtls_x509_crt_init(&list);
                if (!has_failed)
                    break;
            } else {
                assert_int_equal(ret, MBEDTLS_ERR_X509_ALLOC_FAILED);
                assert_int_equal(count_list(), 0);
                assert_int_equal(blocks, 0);
            }
        }
}

static int read_whole(struct der *der)
{
    return sc_tls_read_cert(&list, der->bytes, der->length, true);
}

static int read_key(struct der *der)
{
    return sc_tls_read_cert_key(&list, der->bytes, der->length, true);
}

static int read_unverified(struct der *der)
{
    return read_peer(connection(MBEDTLS_SSL_VERIFY_NONE), der);
}

static int read_verified(struct der *der)
{
    return read_peer(connection(MBEDTLS_SSL_VERIFY_REQUIRED), der);
}

static void takes_want_of_memory_for_nothing_else(void **unused)
{
    (void)unused;
    connection(MBEDTLS_SSL_VERIFY_NONE);
    struct der *readable[] = { &root, &odd, &rsa };
    for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
        check_failures(read_whole, readable[i], 1);
        check_failures(read_key, readable[i], 1);
        check_failures(read_unverified, readable[i], 1);
        check_failures(read_verified, readable[i], 1);
    }
    check_failures(read_key, &by_ed, 1);
    check_failures(read_unverified, &by_ed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verifies_what_has_odd_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_names_and_dates_with_the_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_verifies_what_was_read_for_its_key, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(reads_only_the_first_key_when_nothing_is_verified, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(leaves_out_what_cannot_be_read_and_tells_of_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_first_one_that_cannot_be_verified, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(is_mbedtls_own_parser_for_a_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(never_fails_for_damaged_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_want_of_memory_for_nothing_else, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
