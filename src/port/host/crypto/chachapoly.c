/*
 * mbedtls_chachapoly_* by libgcrypt. mbedtls/chachapoly.h is the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "aead.h"

#include <gcrypt.h>
#include <mbedtls/chachapoly.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/platform_util.h>
#include <string.h>

#define KEY_SIZE 32
#define NONCE_SIZE 12

/* Calls in another order than starts, update_aad, update, finish are refused. */
enum { IDLE, IN_AAD, IN_MESSAGE, FINISHED };

void mbedtls_chachapoly_init(mbedtls_chachapoly_context *ctx)
{
    memset(ctx, 0, sizeof(*ctx));
}

void mbedtls_chachapoly_free(mbedtls_chachapoly_context *ctx)
{
    if (!ctx)
        return;
    sc_aead_close(&ctx->cipher);
    mbedtls_chachapoly_init(ctx);
}

int mbedtls_chachapoly_setkey(mbedtls_chachapoly_context *ctx, const unsigned char key[KEY_SIZE])
{
    return sc_aead_open(&ctx->cipher, GCRY_CIPHER_CHACHA20, GCRY_CIPHER_MODE_POLY1305, key,
                        KEY_SIZE);
}

int mbedtls_chachapoly_starts(mbedtls_chachapoly_context *ctx,
                              const unsigned char nonce[NONCE_SIZE], mbedtls_chachapoly_mode_t mode)
{
    int ret = sc_aead_start(ctx->cipher, nonce, NONCE_SIZE);

    if (ret != 0)
        return ret;
    ctx->mode = mode;
    ctx->state = IN_AAD;
    return 0;
}

int mbedtls_chachapoly_update_aad(mbedtls_chachapoly_context *ctx, const unsigned char *aad,
                                  size_t aad_len)
{
    if (ctx->state != IN_AAD)
        return MBEDTLS_ERR_CHACHAPOLY_BAD_STATE;
    return sc_aead_add(ctx->cipher, aad, aad_len);
}

int mbedtls_chachapoly_update(mbedtls_chachapoly_context *ctx, size_t len,
                              const unsigned char *input, unsigned char *output)
{
    if (ctx->state != IN_AAD && ctx->state != IN_MESSAGE)
        return MBEDTLS_ERR_CHACHAPOLY_BAD_STATE;
    ctx->state = IN_MESSAGE;
    return sc_aead_crypt(ctx->cipher, ctx->mode == MBEDTLS_CHACHAPOLY_DECRYPT, input, len, output);
}

int mbedtls_chachapoly_finish(mbedtls_chachapoly_context *ctx, unsigned char mac[SC_AEAD_TAG_SIZE])
{
    if (ctx->state == IDLE)
        return MBEDTLS_ERR_CHACHAPOLY_BAD_STATE;
    ctx->state = FINISHED;
    return sc_aead_tag(ctx->cipher, mac);
}

static int crypt_and_tag(mbedtls_chachapoly_context *ctx, mbedtls_chachapoly_mode_t mode,
                         size_t length, const unsigned char *nonce, const unsigned char *aad,
                         size_t aad_len, const unsigned char *input, unsigned char *output,
                         unsigned char *tag)
{
    int ret = mbedtls_chachapoly_starts(ctx, nonce, mode);

    if (ret == 0)
        ret = mbedtls_chachapoly_update_aad(ctx, aad, aad_len);
    if (ret == 0)
        ret = mbedtls_chachapoly_update(ctx, length, input, output);
    if (ret == 0)
        ret = mbedtls_chachapoly_finish(ctx, tag);
    return ret;
}

int mbedtls_chachapoly_encrypt_and_tag(mbedtls_chachapoly_context *ctx, size_t length,
                                       const unsigned char nonce[NONCE_SIZE],
                                       const unsigned char *aad, size_t aad_len,
                                       const unsigned char *input, unsigned char *output,
                                       unsigned char tag[SC_AEAD_TAG_SIZE])
{
    return crypt_and_tag(ctx, MBEDTLS_CHACHAPOLY_ENCRYPT, length, nonce, aad, aad_len, input,
                         output, tag);
}

int mbedtls_chachapoly_auth_decrypt(mbedtls_chachapoly_context *ctx, size_t length,
                                    const unsigned char nonce[NONCE_SIZE], const unsigned char *aad,
                                    size_t aad_len, const unsigned char tag[SC_AEAD_TAG_SIZE],
                                    const unsigned char *input, unsigned char *output)
{
    unsigned char expected[SC_AEAD_TAG_SIZE];
    int ret = crypt_and_tag(ctx, MBEDTLS_CHACHAPOLY_DECRYPT, length, nonce, aad, aad_len, input,
                            output, expected);

    if (ret != 0)
        return ret;
    if (mbedtls_ct_memcmp(tag, expected, sizeof(expected)) == 0)
        return 0;
    mbedtls_platform_zeroize(output, length);
    return MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED;
}
