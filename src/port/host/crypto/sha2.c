/*
 * mbedtls_sha256_* and mbedtls_sha512_* by nettle, which uses the CPU's SHA instructions where
 * there are any. mbedtls/sha256.h and mbedtls/sha512.h are the contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/sha512.h>
#include <string.h>

/* ---- SHA-256, SHA-224 ---- */

void mbedtls_sha256_init(mbedtls_sha256_context *ctx)
{
    memset(ctx, 0, sizeof(*ctx));
}

void mbedtls_sha256_free(mbedtls_sha256_context *ctx)
{
    if (ctx)
        mbedtls_platform_zeroize(ctx, sizeof(*ctx));
}

void mbedtls_sha256_clone(mbedtls_sha256_context *dst, const mbedtls_sha256_context *src)
{
    *dst = *src;
}

int mbedtls_sha256_starts(mbedtls_sha256_context *ctx, int is224)
{
    if (is224 != 0 && is224 != 1)
        return MBEDTLS_ERR_SHA256_BAD_INPUT_DATA;
    ctx->is_sha224 = is224;
    if (is224)
        sha224_init(&ctx->hash);
    else
        sha256_init(&ctx->hash);
    return 0;
}

int mbedtls_sha256_update(mbedtls_sha256_context *ctx, const unsigned char *input, size_t ilen)
{
    sha256_update(&ctx->hash, ilen, input);
    return 0;
}

int mbedtls_sha256_finish(mbedtls_sha256_context *ctx, unsigned char *output)
{
    if (ctx->is_sha224)
        sha224_digest(&ctx->hash, SHA224_DIGEST_SIZE, output);
    else
        sha256_digest(&ctx->hash, SHA256_DIGEST_SIZE, output);
    mbedtls_sha256_free(ctx);
    return 0;
}

int mbedtls_sha256(const unsigned char *input, size_t ilen, unsigned char *output, int is224)
{
    mbedtls_sha256_context ctx;
    int ret = mbedtls_sha256_starts(&ctx, is224);

    if (ret != 0)
        return ret;
    mbedtls_sha256_update(&ctx, input, ilen);
    return mbedtls_sha256_finish(&ctx, output);
}

/* ---- SHA-512, SHA-384 ---- */

void mbedtls_sha512_init(mbedtls_sha512_context *ctx)
{
    memset(ctx, 0, sizeof(*ctx));
}

void mbedtls_sha512_free(mbedtls_sha512_context *ctx)
{
    if (ctx)
        mbedtls_platform_zeroize(ctx, sizeof(*ctx));
}

void mbedtls_sha512_clone(mbedtls_sha512_context *dst, const mbedtls_sha512_context *src)
{
    *dst = *src;
}

int mbedtls_sha512_starts(mbedtls_sha512_context *ctx, int is384)
{
    if (is384 != 0 && is384 != 1)
        return MBEDTLS_ERR_SHA512_BAD_INPUT_DATA;
    ctx->is_sha384 = is384;
    if (is384)
        sha384_init(&ctx->hash);
    else
        sha512_init(&ctx->hash);
    return 0;
}

int mbedtls_sha512_update(mbedtls_sha512_context *ctx, const unsigned char *input, size_t ilen)
{
    sha512_update(&ctx->hash, ilen, input);
    return 0;
}

int mbedtls_sha512_finish(mbedtls_sha512_context *ctx, unsigned char *output)
{
    if (ctx->is_sha384)
        sha384_digest(&ctx->hash, SHA384_DIGEST_SIZE, output);
    else
        sha512_digest(&ctx->hash, SHA512_DIGEST_SIZE, output);
    mbedtls_sha512_free(ctx);
    return 0;
}

int mbedtls_sha512(const unsigned char *input, size_t ilen, unsigned char *output, int is384)
{
    mbedtls_sha512_context ctx;
    int ret = mbedtls_sha512_starts(&ctx, is384);

    if (ret != 0)
        return ret;
    mbedtls_sha512_update(&ctx, input, ilen);
    return mbedtls_sha512_finish(&ctx, output);
}
