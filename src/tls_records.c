/*
 * What tls_records.h says.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_records.h"

#include "socketcore_port.h"

#include "lwip/mem.h"

#if defined(MBEDTLS_SSL_MAX_FRAGMENT_LENGTH)

/* The type, length, version and random of a ServerHello are in front of the session id; behind that
 * are the suite, the compression and the length of the extensions. */
#define BEFORE_SESSION_ID 38
#define AFTER_SESSION_ID 5
#define EXTENSION_HEADER 4

static size_t get16(const unsigned char *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* Looks into the ServerHello that `ssl` has just read: mbedTLS compares the server's answer with
 * what was asked for, and does not remember whether there was one (ssl_parse_server_hello,
 * ssl_tls12_client.c). */
static bool has_agreed(const mbedtls_ssl_context *ssl)
{
    const unsigned char *hello = ssl->MBEDTLS_PRIVATE(in_msg);
    size_t length = ssl->MBEDTLS_PRIVATE(in_hslen);
    size_t at = BEFORE_SESSION_ID;

    if (at < length)
        at += 1u + hello[at] + AFTER_SESSION_ID;
    while (at + EXTENSION_HEADER <= length) {
        if (get16(hello + at) == MBEDTLS_TLS_EXT_MAX_FRAGMENT_LENGTH)
            return true;
        at += EXTENSION_HEADER + get16(hello + at + 2);
    }
    return false;
}

bool sc_tls_has_small_records(const mbedtls_ssl_context *ssl)
{
    return ssl->MBEDTLS_PRIVATE(conf)->MBEDTLS_PRIVATE(mfl_code) != MBEDTLS_SSL_MAX_FRAG_LEN_NONE;
}

int sc_tls_settle_records(mbedtls_ssl_context *ssl, mbedtls_ssl_config **own)
{
    mbedtls_ssl_config *config;

    if (!sc_tls_has_small_records(ssl) || has_agreed(ssl))
        return 0;
    config = mem_malloc(sizeof(*config));
    if (!config)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    *config = *ssl->MBEDTLS_PRIVATE(conf);
    config->MBEDTLS_PRIVATE(mfl_code) = MBEDTLS_SSL_MAX_FRAG_LEN_NONE;
    ssl->MBEDTLS_PRIVATE(conf) = config;
    *own = config;
    sc_port_log(SC_LOG_INFO, "tls: the server does not know tls_record_max: its records may have "
                             "16 KB, and the buffers stay as large");
    return 0;
}

#else

bool sc_tls_has_small_records(const mbedtls_ssl_context *ssl)
{
    (void)ssl;
    return false;
}

int sc_tls_settle_records(mbedtls_ssl_context *ssl, mbedtls_ssl_config **own)
{
    (void)ssl;
    (void)own;
    return 0;
}

#endif
