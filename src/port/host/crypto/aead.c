/*
 * libgcrypt's authenticated ciphers, used by gcm.c and chachapoly.c in place of mbedTLS's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "aead.h"

#include <errno.h>
#include <gcrypt.h>
#include <mbedtls/cipher.h>
#include <mbedtls/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Far more than a cipher's self-test takes. */
#define SELF_TEST_MEMORY (32 * 1024)

/* mbedTLS has one code for "the cipher's engine failed", whatever the cipher. */
static int code_of(gcry_error_t error)
{
    if (gcry_err_code(error) == GPG_ERR_ENOMEM)
        return MBEDTLS_ERR_CIPHER_ALLOC_FAILED;
    return error ? MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED : 0;
}

/* ---- start ---- */

/* libgcrypt reads this file when it starts, and ends the process when it cannot be opened for
 * another reason than that it does not exist or may not be read (fips.c). */
static bool can_read_fips_flag(void)
{
    FILE *file = fopen("/proc/sys/crypto/fips_enabled", "re");

    if (file)
        fclose(file);
    return file || errno == ENOENT || errno == EACCES;
}

/* A cipher tests itself when it gets its first key. Without memory for that it is out of order for
 * as long as the process lives. */
static bool has_memory_for_tests(void)
{
    void *volatile memory = malloc(SELF_TEST_MEMORY);

    free(memory);
    return memory != NULL;
}

/* False without memory. A cipher that libgcrypt does not want to have (in FIPS mode) is told when a
 * connection asks for it. */
static bool test_cipher(int algorithm, int mode)
{
    static const unsigned char key[32];
    gcry_cipher_hd_t cipher;
    gcry_error_t error = gcry_cipher_open(&cipher, algorithm, mode, 0);

    if (!error) {
        gcry_cipher_setkey(cipher, key, sizeof(key));
        gcry_cipher_close(cipher);
    }
    return gcry_err_code(error) != GPG_ERR_ENOMEM;
}

/* Another user of libgcrypt in this process may have started it, in its own way. */
static bool start_library(void)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return true;
    if (!can_read_fips_flag() || !gcry_check_version(NULL))
        return false;
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return true;
}

bool sc_aead_start_library(void)
{
    static bool is_ready;

    if (!is_ready)
        is_ready = has_memory_for_tests() && start_library() &&
                   test_cipher(GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM) &&
                   test_cipher(GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305);
    return is_ready;
}

/* ---- ciphers ---- */

int sc_aead_open(struct gcry_cipher_handle **out, int algorithm, int mode, const unsigned char *key,
                 size_t length)
{
    gcry_cipher_hd_t cipher;

    if (!sc_aead_start_library())
        return MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
    gcry_error_t error = gcry_cipher_open(&cipher, algorithm, mode, 0);
    if (error)
        return code_of(error);
    error = gcry_cipher_setkey(cipher, key, length);
    if (error) {
        gcry_cipher_close(cipher);
        return code_of(error);
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
