/*
 * The option tls_record_max on the way through the handshake. A server may take no notice of the
 * size that it is asked for (RFC 6066), and mbedTLS shrinks its buffers all the same.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_RECORDS_H
#define SC_TLS_RECORDS_H

#include <mbedtls/ssl.h>
#include <stdbool.h>

/* To be called after the step that has read the ServerHello. When the server has not agreed, `ssl`
 * goes on with a copy of its configuration that asks for nothing, and its buffers stay as large as
 * records may be; *own is that copy, to be freed (mem_free) after `ssl`. 0 or a code of mbedTLS. */
int sc_tls_settle_records(mbedtls_ssl_context *ssl, mbedtls_ssl_config **own);

/* Were the buffers shrunk to what the server has agreed to? */
bool sc_tls_has_small_records(const mbedtls_ssl_context *ssl);

#endif
