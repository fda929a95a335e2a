/*
 * SHA-256 and SHA-224 by nettle in place of mbedTLS's own (MBEDTLS_SHA256_ALT): mbedtls/sha256.h
 * includes this for the context's type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_SHA256_ALT_H
#define SC_HOST_SHA256_ALT_H

#include <nettle/sha2.h>

typedef struct mbedtls_sha256_context {
    struct sha256_ctx hash;
    int is_sha224;
} mbedtls_sha256_context;

#endif
