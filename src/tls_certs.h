/*
 * Certificates as far as a client needs them, on top of mbedTLS's parser: what mbedTLS refuses
 * although it is never looked at is accepted, a certificate that only its owner and the other side
 * must understand is read for its key alone, and what cannot be read is put into words.
 *
 * Uses nothing but mbedTLS, which calls sc_tls_read_peer_cert itself (port/mbedtls_peer_certs.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_CERTS_H
#define SC_TLS_CERTS_H

#include <stdbool.h>
#include <stddef.h>

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

/* Does an error of mbedTLS's name memory, alone or under another error? */
bool sc_tls_is_out_of_memory(int ret);

/* The readers append one certificate to `list` and return 0, or an error of mbedTLS and leave the
 * list as it was; MBEDTLS_ERR_X509_ALLOC_FAILED is the only one for want of memory. */

/* Reads all of it, so that it can be part of a chain that is verified. `der` is written to and has
 * its old bytes back on return. Unless `copies`, it must live as long as the list. */
int sc_tls_read_cert(mbedtls_x509_crt *list, unsigned char *der, size_t length, bool copies);

/* Reads the key, and names and dates where possible. Such a certificate never verifies: it has no
 * signature. */
int sc_tls_read_cert_key(mbedtls_x509_crt *list, const unsigned char *der, size_t length,
                         bool copies);

/* Keeps the bytes of what has the form of a certificate, to be sent. */
int sc_tls_keep_cert(mbedtls_x509_crt *list, const unsigned char *der, size_t length);

/* What mbedTLS calls for each certificate of a server, in place of its own function. `ssl` is NULL
 * for the one in a stored session. Without verification only the first one's key is read, and
 * the others are not kept. With it, what cannot be read is left out unless it is the first one, and
 * the verification callback is told of it: with the depth SC_TLS_DEPTH_UNREAD, the bytes in
 * crt->raw, and in *flags the error of mbedTLS as a positive number. */
#define SC_TLS_DEPTH_UNREAD_FIRST (-1)
#define SC_TLS_DEPTH_UNREAD (-2)
int sc_tls_read_peer_cert(mbedtls_ssl_context *ssl, mbedtls_x509_crt *list,
                          const unsigned char *der, size_t length, bool copies);

/* Says in a few words why a certificate or a private key could not be read, with mbedTLS's `ret`:
 * "signature algorithm Ed25519 is not supported". */
void sc_tls_explain_cert(char *out, size_t size, const unsigned char *der, size_t length, int ret);
void sc_tls_explain_key(char *out, size_t size, const unsigned char *der, size_t length, int ret);

/* The subject as "CN=...", or false when it cannot be had. */
bool sc_tls_get_cert_subject(char *out, size_t size, const unsigned char *der, size_t length);

#endif
