/*
 * ChaCha20-Poly1305 by libgcrypt in place of mbedTLS's own (MBEDTLS_CHACHAPOLY_ALT):
 * mbedtls/chachapoly.h includes this for the context's type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_CHACHAPOLY_ALT_H
#define SC_HOST_CHACHAPOLY_ALT_H

struct gcry_cipher_handle;

typedef struct mbedtls_chachapoly_context {
    struct gcry_cipher_handle *cipher;
    int mode;
    int state;
} mbedtls_chachapoly_context;

#endif
