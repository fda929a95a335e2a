/*
 * AES-GCM by libgcrypt in place of mbedTLS's own (MBEDTLS_GCM_ALT): mbedtls/gcm.h includes this for
 * the context's type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_GCM_ALT_H
#define SC_HOST_GCM_ALT_H

#include <stdint.h>

struct gcry_cipher_handle;

typedef struct mbedtls_gcm_context {
    struct gcry_cipher_handle *cipher;
    uint64_t length; /* of the message so far */
    int mode;
} mbedtls_gcm_context;

#endif
