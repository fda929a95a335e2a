/*
 * Room for handshake messages that are larger than a record. mbedTLS collects the records of one in
 * its input buffer, which has room for one record (ssl_msg.c,
 * mbedtls_ssl_prepare_handshake_record). Where that buffer can change its size
 * (MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH) it grows for such a message.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_ROOM_H
#define SC_TLS_ROOM_H

#include <mbedtls/ssl.h>
#include <stdbool.h>
#include <stddef.h>

/* To be given each result of mbedtls_ssl_handshake_step and mbedtls_ssl_read. When the call failed
 * for room and there is room now, returns 0: the call can be made again and goes on. Else returns
 * `ret`, or MBEDTLS_ERR_SSL_ALLOC_FAILED. */
int sc_tls_make_room(mbedtls_ssl_context *ssl, int ret);

/* Bytes of the input buffer. */
size_t sc_tls_room(const mbedtls_ssl_context *ssl);

/* Makes the input buffer `size` bytes again where it has grown and its content allows it; of itself
 * mbedTLS does so in TLS 1.2 only. */
void sc_tls_give_back_room(mbedtls_ssl_context *ssl, size_t size);

/* Did the call that returned `ret` fail for room? Then writes a line that says what was too large.
 */
bool sc_tls_explain_room(char *out, size_t size, const mbedtls_ssl_context *ssl, int ret);

#endif
