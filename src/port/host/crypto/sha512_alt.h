/*
 * SHA-512 and SHA-384 by nettle in place of mbedTLS's own (MBEDTLS_SHA512_ALT): mbedtls/sha512.h
 * includes this for the context's type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_SHA512_ALT_H
#define SC_HOST_SHA512_ALT_H

#include <nettle/sha2.h>

typedef struct mbedtls_sha512_context {
    struct sha512_ctx hash;
    int is_sha384;
} mbedtls_sha512_context;

#endif
