/*
 * What gcm.c and chachapoly.c share: libgcrypt's ciphers for mbedTLS. libgcrypt picks the fastest
 * code for the CPU when a key is set.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_AEAD_H
#define SC_HOST_AEAD_H

#include <stdbool.h>
#include <stddef.h>

struct gcry_cipher_handle;

#define SC_AEAD_TAG_SIZE 16

/* Starts libgcrypt, which ends the process when it has no descriptor for its start, and has each
 * cipher test itself. False without memory or a descriptor; then it may be called again. */
bool sc_aead_start_library(void);

/* Opens a cipher (GCRY_CIPHER_*, GCRY_CIPHER_MODE_*) with a key. 0 or a code of mbedTLS. */
int sc_aead_open(struct gcry_cipher_handle **out, int algorithm, int mode, const unsigned char *key,
                 size_t length);

void sc_aead_close(struct gcry_cipher_handle **cipher);

/* Starts a message. */
int sc_aead_start(struct gcry_cipher_handle *cipher, const unsigned char *nonce, size_t length);

int sc_aead_add(struct gcry_cipher_handle *cipher, const unsigned char *data, size_t length);

/* Output may be input, or lie below it. */
int sc_aead_crypt(struct gcry_cipher_handle *cipher, bool is_decryption, const unsigned char *input,
                  size_t length, unsigned char *output);

int sc_aead_tag(struct gcry_cipher_handle *cipher, unsigned char tag[SC_AEAD_TAG_SIZE]);

#endif
