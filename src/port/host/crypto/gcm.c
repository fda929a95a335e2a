/*
 * mbedtls_gcm_* by libgcrypt, for AES, which is the only block cipher that is configured with GCM.
 * mbedtls/gcm.h is the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "aead.h"

#include <gcrypt.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/gcm.h>
#include <mbedtls/platform_util.h>
#include <string.h>

/* NIST SP 800-38D: bytes of one message. */
#define LENGTH_MAX ((1ULL << 36) - 32)

void mbedtls_gcm_init(mbedtls_gcm_context *ctx)
{
    memset(ctx, 0, sizeof(*ctx));
}

void mbedtls_gcm_free(mbedtls_gcm_context *ctx)
{
    if (!ctx)
        return;
    sc_aead_close(&ctx->cipher);
    mbedtls_gcm_init(ctx);
}

int mbedtls_gcm_setkey(mbedtls_gcm_context *ctx, mbedtls_cipher_id_t cipher,
                       const unsigned char *key, unsigned int keybits)
{
    if (cipher != MBEDTLS_CIPHER_ID_AES)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    switch (keybits) {
    case 128:
        return sc_aead_open(&ctx->cipher, GCRY_CIPHER_AES128, GCRY_CIPHER_MODE_GCM, key, 16);
    case 192:
        return sc_aead_open(&ctx->cipher, GCRY_CIPHER_AES192, GCRY_CIPHER_MODE_GCM, key, 24);
    case 256:
        return sc_aead_open(&ctx->cipher, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, key, 32);
    default:
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    }
}

int mbedtls_gcm_starts(mbedtls_gcm_context *ctx, int mode, const unsigned char *iv, size_t iv_len)
{
    if (iv_len == 0)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    ctx->mode = mode;
    ctx->length = 0;
    return sc_aead_start(ctx->cipher, iv, iv_len);
}

int mbedtls_gcm_update_ad(mbedtls_gcm_context *ctx, const unsigned char *add, size_t add_len)
{
    return sc_aead_add(ctx->cipher, add, add_len);
}

int mbedtls_gcm_update(mbedtls_gcm_context *ctx, const unsigned char *input, size_t input_length,
                       unsigned char *output, size_t output_size, size_t *output_length)
{
    if (output_size < input_length)
        return MBEDTLS_ERR_GCM_BUFFER_TOO_SMALL;
    *output_length = input_length;
    if (input_length == 0)
        return 0;
    if (output > input && (size_t)(output - input) < input_length)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    if (input_length > LENGTH_MAX - ctx->length)
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    ctx->length += input_length;
    return sc_aead_crypt(ctx->cipher, ctx->mode == MBEDTLS_GCM_DECRYPT, input, input_length,
                         output);
}

int mbedtls_gcm_finish(mbedtls_gcm_context *ctx, unsigned char *output, size_t output_size,
                       size_t *output_length, unsigned char *tag, size_t tag_len)
{
    unsigned char whole[SC_AEAD_TAG_SIZE];

    (void)output;
    (void)output_size;
    *output_length = 0;
    if (tag_len < 4 || tag_len > sizeof(whole))
        return MBEDTLS_ERR_GCM_BAD_INPUT;
    int ret = sc_aead_tag(ctx->cipher, whole);
    if (ret == 0)
        memcpy(tag, whole, tag_len);
    return ret;
}

int mbedtls_gcm_crypt_and_tag(mbedtls_gcm_context *ctx, int mode, size_t length,
                              const unsigned char *iv, size_t iv_len, const unsigned char *add,
                              size_t add_len, const unsigned char *input, unsigned char *output,
                              size_t tag_len, unsigned char *tag)
{
    size_t unused;
    int ret = mbedtls_gcm_starts(ctx, mode, iv, iv_len);

    if (ret == 0)
        ret = mbedtls_gcm_update_ad(ctx, add, add_len);
    if (ret == 0)
        ret = mbedtls_gcm_update(ctx, input, length, output, length, &unused);
    if (ret == 0)
        ret = mbedtls_gcm_finish(ctx, NULL, 0, &unused, tag, tag_len);
    return ret;
}

int mbedtls_gcm_auth_decrypt(mbedtls_gcm_context *ctx, size_t length, const unsigned char *iv,
                             size_t iv_len, const unsigned char *add, size_t add_len,
                             const unsigned char *tag, size_t tag_len, const unsigned char *input,
                             unsigned char *output)
{
    unsigned char expected[SC_AEAD_TAG_SIZE];
    int ret = mbedtls_gcm_crypt_and_tag(ctx, MBEDTLS_GCM_DECRYPT, length, iv, iv_len, add, add_len,
                                        input, output, tag_len, expected);

    if (ret != 0)
        return ret;
    if (mbedtls_ct_memcmp(tag, expected, tag_len) == 0)
        return 0;
    mbedtls_platform_zeroize(output, length);
    return MBEDTLS_ERR_GCM_AUTH_FAILED;
}
