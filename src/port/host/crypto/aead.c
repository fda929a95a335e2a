/*
 * libgcrypt's authenticated ciphers, used by gcm.c and chachapoly.c in place of mbedTLS's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "aead.h"

#include <gcrypt.h>
#include <mbedtls/error.h>
#include <string.h>

/* mbedTLS has one code for "the cipher's engine failed", whatever the cipher. */
static int code_of(gcry_error_t error)
{
    return error ? MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED : 0;
}

/* Another user of libgcrypt in this process may have done it, in its own way. */
static bool is_ready(void)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return true;
    if (!gcry_check_version(NULL))
        return false;
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return true;
}

int sc_aead_open(struct gcry_cipher_handle **out, int algorithm, int mode, const unsigned char *key,
                 size_t length)
{
    gcry_cipher_hd_t cipher;

    if (!is_ready() || gcry_cipher_open(&cipher, algorithm, mode, 0) != 0)
        return MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    if (gcry_cipher_setkey(cipher, key, length) != 0) {
        gcry_cipher_close(cipher);
        return MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    }
    sc_aead_close(out);
    *out = cipher;
    return 0;
}

void sc_aead_close(struct gcry_cipher_handle **cipher)
{
    gcry_cipher_close(*cipher);
    *cipher = NULL;
}

int sc_aead_start(struct gcry_cipher_handle *cipher, const unsigned char *nonce, size_t length)
{
    return code_of(gcry_cipher_setiv(cipher, nonce, length));
}

int sc_aead_add(struct gcry_cipher_handle *cipher, const unsigned char *data, size_t length)
{
    return length ? code_of(gcry_cipher_authenticate(cipher, data, length)) : 0;
}

int sc_aead_crypt(struct gcry_cipher_handle *cipher, bool is_decryption, const unsigned char *input,
                  size_t length, unsigned char *output)
{
    if (!length)
        return 0;
    /* libgcrypt does it in place or in two places, nothing between. */
    if (output < input && (size_t)(input - output) < length) {
        memmove(output, input, length);
        input = output;
    }
    const void *in = input == output ? NULL : input;
    size_t in_length = in ? length : 0;
    return code_of(is_decryption ? gcry_cipher_decrypt(cipher, output, length, in, in_length)
                                 : gcry_cipher_encrypt(cipher, output, length, in, in_length));
}

int sc_aead_tag(struct gcry_cipher_handle *cipher, unsigned char tag[SC_AEAD_TAG_SIZE])
{
    return code_of(gcry_cipher_gettag(cipher, tag, SC_AEAD_TAG_SIZE));
}
