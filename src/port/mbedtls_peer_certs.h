/*
 * Included before mbedTLS's ssl_tls.c and ssl_tls13_generic.c (gcc and clang: -include). mbedTLS
 * ends the handshake at a certificate of the server that it cannot read, also at one that nothing
 * needs, and even where nothing is verified. With this the core reads them (tls_certs.h): a
 * connection without caCert needs the key of the first one only, one with caCert a chain that
 * verifies without the rest.
 *
 * Needs src/ of this project in the include path, and the core in the link. Without it all works
 * but for those certificates.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_PORT_MBEDTLS_PEER_CERTS_H
#define SC_PORT_MBEDTLS_PEER_CERTS_H

/* Before the macros, which would rename what it declares. */
#include "ssl_misc.h"

/* For programs that are made of mbedTLS alone. */
#if !defined(SC_PLAIN_MBEDTLS) && defined(MBEDTLS_SSL_HANDSHAKE_WITH_CERT_ENABLED)
#include "../tls_certs.h"

/* The functions that read a stored session have no connection at hand; in the others their own
 * `ssl` hides this one. */
static mbedtls_ssl_context *const ssl = NULL;

#define mbedtls_x509_crt_parse_der(chain, der, length)                                             \
    sc_tls_read_peer_cert(ssl, chain, der, length, true)
#define mbedtls_x509_crt_parse_der_nocopy(chain, der, length)                                      \
    sc_tls_read_peer_cert(ssl, chain, der, length, false)
#endif

#endif
