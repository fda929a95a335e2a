/*
 * Included before mbedTLS's ssl_tls12_client.c. mbedTLS 3.6.6 offers RSA-PSS to servers of both
 * versions, and verifies it, but since the repair of CVE-2026-25834 ssl_parse_signature_algorithm
 * asks mbedtls_ssl_sig_alg_is_supported, which knows PSS in TLS 1.3 only. RFC 8446, 4.2.3: who
 * offers it must take it in TLS 1.2 too. What was not offered is still refused, by the check that
 * follows.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_MBEDTLS_TLS12_PSS_H
#define SC_HOST_MBEDTLS_TLS12_PSS_H

#include "ssl_misc.h"

#if defined(MBEDTLS_SSL_HANDSHAKE_WITH_CERT_ENABLED) && defined(MBEDTLS_X509_RSASSA_PSS_SUPPORT)
static inline int sc_ssl_sig_alg_is_supported(const mbedtls_ssl_context *ssl, uint16_t sig_alg)
{
    switch (sig_alg) {
    case MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256:
    case MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384:
    case MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512:
        return 1;
    default:
        return mbedtls_ssl_sig_alg_is_supported(ssl, sig_alg);
    }
}
#define mbedtls_ssl_sig_alg_is_supported sc_ssl_sig_alg_is_supported
#endif

#endif
