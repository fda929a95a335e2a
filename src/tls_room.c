/*
 * The input buffer behind tls_room.h. Everything here is private to mbedTLS: the fields are those
 * of 3.6.3 and later; before, mbedTLS took no message that came in several records.
 *
 * SPDX-License-Identifier: MIT
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "tls_room.h"

#include <mbedtls/error.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <string.h>

#define RECORD_HEADER 5
/* RFC 5246, 6.2.3. */
#define RECORD_MAX (RECORD_HEADER + 16384 + 2048)
/* The buffer begins with the record counter, then the header of what was collected. */
#define MESSAGE_AT (8 + RECORD_HEADER)

/* A handshake message may have so many bytes. */
#if defined(MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH) && MBEDTLS_VERSION_NUMBER >= 0x03060300
#define CAN_GROW 1
/* mbedTLS reads lists of certificates of up to 65535 bytes (mbedtls_ssl_parse_certificate,
 * ssl_tls.c), as long as TLS 1.2 lets a list of CAs be. */
#define MESSAGE_MAX (0xffff + 256)
#else
#define CAN_GROW 0
#define MESSAGE_MAX MBEDTLS_SSL_IN_CONTENT_LEN
#endif

size_t sc_tls_room(const mbedtls_ssl_context *ssl)
{
#if defined(MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH)
    return ssl->in_buf_len;
#else
    (void)ssl;
    return MBEDTLS_SSL_IN_CONTENT_LEN;
#endif
}

/* Bytes of the message that was collected in part, 0: none. */
static size_t message_length(const mbedtls_ssl_context *ssl)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03060300
    return ssl->badmac_seen_or_in_hsfraglen ? ssl->in_hslen : 0;
#else
    (void)ssl;
    return 0;
#endif
}

/* The record whose header was read, with that header; 0: no header was. */
static size_t record_length(const mbedtls_ssl_context *ssl)
{
    if (ssl->in_left < RECORD_HEADER)
        return 0;
    return RECORD_HEADER + ((size_t)ssl->in_hdr[3] << 8) + ssl->in_hdr[4];
}

/* mbedtls_ssl_fetch_input (ssl_msg.c) refuses a record that does not fit behind what there is, and
 * can be called again. */
static bool is_short_of_room(const mbedtls_ssl_context *ssl, int ret)
{
    return ret == MBEDTLS_ERR_SSL_BAD_INPUT_DATA && ssl->in_buf &&
           (size_t)(ssl->in_hdr - ssl->in_buf) + record_length(ssl) > sc_tls_room(ssl);
}

#if CAN_GROW
/* Declared inside mbedTLS only. */
int mbedtls_ssl_update_handshake_status(mbedtls_ssl_context *ssl);

static unsigned char *moved(const mbedtls_ssl_context *ssl, unsigned char *to,
                            const unsigned char *pointer)
{
    return pointer ? to + (pointer - ssl->in_buf) : NULL;
}

static int resize(mbedtls_ssl_context *ssl, size_t size)
{
    unsigned char *buffer = mbedtls_calloc(1, size);

    if (!buffer)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    memcpy(buffer, ssl->in_buf, size < ssl->in_buf_len ? size : ssl->in_buf_len);
    ssl->in_ctr = moved(ssl, buffer, ssl->in_ctr);
    ssl->in_hdr = moved(ssl, buffer, ssl->in_hdr);
    ssl->in_len = moved(ssl, buffer, ssl->in_len);
    ssl->in_iv = moved(ssl, buffer, ssl->in_iv);
    ssl->in_msg = moved(ssl, buffer, ssl->in_msg);
    ssl->in_offt = moved(ssl, buffer, ssl->in_offt);
    mbedtls_platform_zeroize(ssl->in_buf, ssl->in_buf_len);
    mbedtls_free(ssl->in_buf);
    ssl->in_buf = buffer;
    ssl->in_buf_len = size;
    return 0;
}

/* mbedTLS has collected the message, and refuses it because its length does not fit into the header
 * of one record, where nothing reads it any more. What mbedtls_ssl_read_record would do next, which
 * in TLS 1.3 leaves the transcript to its callers; the next call finds the message there. */
static int take_collected(mbedtls_ssl_context *ssl)
{
    ssl->keep_current_message = 1;
    return ssl->tls_version == MBEDTLS_SSL_VERSION_TLS1_3
               ? 0
               : mbedtls_ssl_update_handshake_status(ssl);
}

int sc_tls_make_room(mbedtls_ssl_context *ssl, int ret)
{
    size_t length = message_length(ssl);

    if (ret == MBEDTLS_ERR_ERROR_CORRUPTION_DETECTED && ssl->in_msglen > 0xffff && !length)
        return take_collected(ssl);
    if (!is_short_of_room(ssl, ret) || !length || length > MESSAGE_MAX)
        return ret;
    /* Its last record may bring more than the end of it. */
    size_t size = MESSAGE_AT + length + RECORD_MAX;
    return size > ssl->in_buf_len ? resize(ssl, size) : ret;
}

void sc_tls_give_back_room(mbedtls_ssl_context *ssl, size_t size)
{
    size_t record_end = (size_t)(ssl->in_hdr - ssl->in_buf) + ssl->in_left;
    size_t message_end = (size_t)(ssl->in_msg - ssl->in_buf) + ssl->in_msglen;

    if (ssl->in_buf_len > size && record_end <= size && message_end <= size && !message_length(ssl))
        resize(ssl, size); /* without memory it stays as it is */
}
#else
void sc_tls_give_back_room(mbedtls_ssl_context *ssl, size_t size)
{
    (void)ssl;
    (void)size;
}

int sc_tls_make_room(mbedtls_ssl_context *ssl, int ret)
{
    (void)ssl;
    return ret;
}
#endif

bool sc_tls_explain_room(char *out, size_t size, const mbedtls_ssl_context *ssl, int ret)
{
    size_t length = message_length(ssl);

    if (!is_short_of_room(ssl, ret))
        return false;
    if (length)
        snprintf(out, size,
                 "tls: a handshake message of %lu bytes is too large: at most %lu are taken here",
                 (unsigned long)length, (unsigned long)MESSAGE_MAX);
    else
        snprintf(
            out, size, "tls: a record of %lu bytes is too large: the input buffer has %lu here",
            (unsigned long)(record_length(ssl) - RECORD_HEADER), (unsigned long)sc_tls_room(ssl));
    return true;
}
