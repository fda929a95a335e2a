/*
 * Asks mbedTLS's ciphers, hashes and public-key arithmetic a few thousand questions and prints the
 * answers, a line each. Linked once with the crypto engine and once with mbedTLS's own code it must
 * print the same, see engine.cmake. With the argument "portable" libgcrypt uses none of the CPU's
 * special instructions; nettle is told by NETTLE_FAT_OVERRIDE.
 *
 * SPDX-License-Identifier: MIT
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <inttypes.h>
#include <mbedtls/chachapoly.h>
#include <mbedtls/ecdh.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/gcm.h>
#include <mbedtls/rsa.h>
#include <mbedtls/sha256.h>
#include <mbedtls/sha512.h>
#include <psa/crypto.h>
#if defined(SC_HAVE_GCRYPT)
#include <gcrypt.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 70000
#define ROOM 64 /* for odd addresses */

/* What the project's configuration of mbedTLS wants from outside. */

void *sc_mbedtls_calloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void sc_lwip_free(void *memory)
{
    free(memory);
}

/* ---- questions are made of these numbers, the same in every run ---- */

static uint64_t state;

static void seed(uint64_t number)
{
    state = number * 0x9e3779b97f4a7c15 + 1;
}

static unsigned pick(unsigned below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % below;
}

static int fill(void *unused, unsigned char *out, size_t length)
{
    (void)unused;
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)pick(256);
    return 0;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t output_size,
                                             size_t *output_length)
{
    (void)context;
    *output_length = output_size;
    return fill(NULL, output, output_size);
}

/* ---- answers ---- */

static void answer(const char *what, int ret, const unsigned char *data, size_t length)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < length; i++)
        sum = (sum ^ data[i]) * 0x100000001b3;
    printf("%s: %d %016" PRIx64 "\n", what, ret, sum);
}

static void answer_number(const char *what, int ret, const mbedtls_mpi *number)
{
    unsigned char bytes[600] = { 0 };

    if (ret == 0 && mbedtls_mpi_write_binary(number, bytes, sizeof(bytes)) != 0)
        ret = 1;
    answer(what, ret, bytes, sizeof(bytes));
}

static unsigned char message[MESSAGE_MAX + ROOM], result[MESSAGE_MAX + ROOM];
static unsigned char key[32], nonce[64], extra[64], tag[16];

static const unsigned extra_lengths[] = { 0, 5, 13, 16, 17, 33 };

static size_t case_length(unsigned number)
{
    static const size_t large[] = { 1023, 1024, 4096, 11200, 16383, 16384, 16385, 65537 };

    return number < 300 ? number : large[number - 300];
}

#define CASES 308

static void new_case(unsigned number)
{
    seed(number);
    fill(NULL, key, sizeof(key));
    fill(NULL, nonce, sizeof(nonce));
    fill(NULL, extra, sizeof(extra));
    fill(NULL, message, sizeof(message));
    memset(result, 0, sizeof(result));
    memset(tag, 0, sizeof(tag));
}

/* ---- AES-GCM ---- */

static void gcm_at_once(mbedtls_gcm_context *gcm, unsigned number, size_t length,
                        size_t nonce_length)
{
    unsigned extra_length = extra_lengths[number % 6];
    size_t tag_length = number % 3 ? 16 : 4 + number % 13;
    unsigned char *in = message + pick(ROOM), *out = result + pick(ROOM);

    int ret = mbedtls_gcm_crypt_and_tag(gcm, MBEDTLS_GCM_ENCRYPT, length, nonce, nonce_length,
                                        extra, extra_length, in, out, tag_length, tag);
    answer("gcm encrypt", ret, out, length);
    answer("gcm tag", ret, tag, sizeof(tag));
    ret = mbedtls_gcm_auth_decrypt(gcm, length, nonce, nonce_length, extra, extra_length, tag,
                                   tag_length, out, out);
    answer("gcm decrypt in place", ret, out, length);
    tag[pick((unsigned)tag_length)] ^= (unsigned char)(1 << pick(8));
    ret = mbedtls_gcm_auth_decrypt(gcm, length, nonce, nonce_length, extra, extra_length, tag,
                                   tag_length, in, out);
    answer("gcm decrypt, wrong tag", ret, out, length);
}

static void gcm_in_pieces(mbedtls_gcm_context *gcm, unsigned number, size_t length, int mode)
{
    size_t extra_length = extra_lengths[number % 6], done = 0, got = 0, all_got = 0;
    unsigned char *in = message + pick(ROOM), *out = result + pick(ROOM);
    int ret = mbedtls_gcm_starts(gcm, mode, nonce, 12);

    while (ret == 0 && done < extra_length) {
        size_t piece = 1 + pick((unsigned)(extra_length - done));
        ret = mbedtls_gcm_update_ad(gcm, extra + done, piece);
        done += piece;
    }
    for (done = 0; ret == 0 && done < length;) {
        size_t piece = pick(2) ? 1 + pick((unsigned)(length - done)) : 1 + pick(40);
        if (piece > length - done)
            piece = length - done;
        ret = mbedtls_gcm_update(gcm, in + done, piece, out + all_got, length - all_got, &got);
        all_got += got;
        done += piece;
    }
    if (ret == 0)
        ret = mbedtls_gcm_finish(gcm, out + all_got, length - all_got, &got, tag, sizeof(tag));
    answer("gcm in pieces", ret, out, length);
    answer("gcm tag", ret, tag, sizeof(tag));
}

static void gcm_refusals(mbedtls_gcm_context *gcm)
{
    size_t got;

    answer("gcm key of 64 bits", mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, 64), NULL, 0);
    mbedtls_gcm_setkey(gcm, MBEDTLS_CIPHER_ID_AES, key, 128);
    answer("gcm without nonce", mbedtls_gcm_starts(gcm, MBEDTLS_GCM_ENCRYPT, nonce, 0), NULL, 0);
    mbedtls_gcm_starts(gcm, MBEDTLS_GCM_ENCRYPT, nonce, 12);
    answer("gcm small output", mbedtls_gcm_update(gcm, message, 32, result, 31, &got), NULL, 0);
    answer("gcm output above input", mbedtls_gcm_update(gcm, message, 32, message + 8, 32, &got),
           NULL, 0);
    memset(message, 7, 200);
    int ret = mbedtls_gcm_update(gcm, message + 8, 100, message, 100, &got);
    answer("gcm output below input", ret, message, 100);
    answer("gcm tag of 3", mbedtls_gcm_finish(gcm, NULL, 0, &got, tag, 3), NULL, 0);
}

static void ask_gcm(void)
{
    mbedtls_gcm_context gcm;

    for (unsigned number = 0; number < CASES; number++) {
        static const size_t nonce_lengths[] = { 12, 12, 12, 1, 16, 60 };
        size_t length = case_length(number);
        new_case(number);
        mbedtls_gcm_init(&gcm);
        int ret = mbedtls_gcm_setkey(&gcm, MBEDTLS_CIPHER_ID_AES, key, 128 + 64 * (number % 3));
        answer("gcm key", ret, NULL, 0);
        gcm_at_once(&gcm, number, length, nonce_lengths[number / 3 % 6]);
        gcm_in_pieces(&gcm, number, length, MBEDTLS_GCM_ENCRYPT);
        gcm_in_pieces(&gcm, number, length, MBEDTLS_GCM_DECRYPT);
        mbedtls_gcm_free(&gcm);
    }
    mbedtls_gcm_init(&gcm);
    gcm_refusals(&gcm);
    mbedtls_gcm_free(&gcm);
}

/* ---- ChaCha20-Poly1305 ---- */

static void chacha_at_once(mbedtls_chachapoly_context *chacha, unsigned number, size_t length)
{
    size_t extra_length = extra_lengths[number % 6];
    unsigned char *in = message + pick(ROOM), *out = result + pick(ROOM);

    int ret = mbedtls_chachapoly_encrypt_and_tag(chacha, length, nonce, extra, extra_length, in,
                                                 out, tag);
    answer("chachapoly encrypt", ret, out, length);
    answer("chachapoly tag", ret, tag, sizeof(tag));
    ret =
        mbedtls_chachapoly_auth_decrypt(chacha, length, nonce, extra, extra_length, tag, out, out);
    answer("chachapoly decrypt in place", ret, out, length);
    tag[pick(16)] ^= (unsigned char)(1 << pick(8));
    ret = mbedtls_chachapoly_auth_decrypt(chacha, length, nonce, extra, extra_length, tag, in, out);
    answer("chachapoly decrypt, wrong tag", ret, out, length);
}

static void chacha_in_pieces(mbedtls_chachapoly_context *chacha, unsigned number, size_t length,
                             mbedtls_chachapoly_mode_t mode)
{
    size_t extra_length = extra_lengths[number % 6], done = 0;
    unsigned char *in = message + pick(ROOM), *out = result + pick(ROOM);
    int ret = mbedtls_chachapoly_starts(chacha, nonce, mode);

    while (ret == 0 && done < extra_length) {
        size_t piece = 1 + pick((unsigned)(extra_length - done));
        ret = mbedtls_chachapoly_update_aad(chacha, extra + done, piece);
        done += piece;
    }
    for (done = 0; ret == 0 && done < length;) {
        size_t piece = pick(2) ? 1 + pick((unsigned)(length - done)) : 1 + pick(80);
        if (piece > length - done)
            piece = length - done;
        ret = mbedtls_chachapoly_update(chacha, piece, in + done, out + done);
        done += piece;
    }
    if (ret == 0)
        ret = mbedtls_chachapoly_finish(chacha, tag);
    answer("chachapoly in pieces", ret, out, length);
    answer("chachapoly tag", ret, tag, sizeof(tag));
}

static void chacha_refusals(mbedtls_chachapoly_context *chacha)
{
    mbedtls_chachapoly_setkey(chacha, key);
    answer("chachapoly aad first", mbedtls_chachapoly_update_aad(chacha, extra, 5), NULL, 0);
    answer("chachapoly update first", mbedtls_chachapoly_update(chacha, 5, message, result), NULL,
           0);
    answer("chachapoly finish first", mbedtls_chachapoly_finish(chacha, tag), NULL, 0);
    mbedtls_chachapoly_starts(chacha, nonce, MBEDTLS_CHACHAPOLY_ENCRYPT);
    mbedtls_chachapoly_update(chacha, 5, message, result);
    answer("chachapoly aad late", mbedtls_chachapoly_update_aad(chacha, extra, 5), NULL, 0);
    mbedtls_chachapoly_finish(chacha, tag);
    answer("chachapoly update late", mbedtls_chachapoly_update(chacha, 5, message, result), NULL,
           0);
}

static void ask_chachapoly(void)
{
    mbedtls_chachapoly_context chacha;

    for (unsigned number = 0; number < CASES; number++) {
        size_t length = case_length(number);
        new_case(number);
        mbedtls_chachapoly_init(&chacha);
        answer("chachapoly key", mbedtls_chachapoly_setkey(&chacha, key), NULL, 0);
        chacha_at_once(&chacha, number, length);
        chacha_in_pieces(&chacha, number, length, MBEDTLS_CHACHAPOLY_ENCRYPT);
        chacha_in_pieces(&chacha, number, length, MBEDTLS_CHACHAPOLY_DECRYPT);
        mbedtls_chachapoly_free(&chacha);
    }
    mbedtls_chachapoly_init(&chacha);
    chacha_refusals(&chacha);
    mbedtls_chachapoly_free(&chacha);
}

/* ---- hashes ---- */

/* Whole, and in two pieces whose first is cloned. */
static void ask_sha256(size_t length, int is_224)
{
    mbedtls_sha256_context first, second;
    size_t cut = length ? pick((unsigned)length) : 0;

    int ret = mbedtls_sha256(message, length, result, is_224);
    answer("sha256", ret, result, is_224 ? 28 : 32);
    mbedtls_sha256_init(&first);
    mbedtls_sha256_init(&second);
    ret = mbedtls_sha256_starts(&first, is_224);
    mbedtls_sha256_update(&first, message, cut);
    mbedtls_sha256_clone(&second, &first);
    mbedtls_sha256_update(&first, message + cut, length - cut);
    mbedtls_sha256_finish(&first, result);
    answer("sha256 in pieces", ret, result, is_224 ? 28 : 32);
    mbedtls_sha256_finish(&second, result);
    answer("sha256 of a clone", ret, result, is_224 ? 28 : 32);
    mbedtls_sha256_free(&first);
    mbedtls_sha256_free(&second);
}

static void ask_sha512(size_t length, int is_384)
{
    mbedtls_sha512_context first, second;
    size_t cut = length ? pick((unsigned)length) : 0;

    int ret = mbedtls_sha512(message, length, result, is_384);
    answer("sha512", ret, result, is_384 ? 48 : 64);
    mbedtls_sha512_init(&first);
    mbedtls_sha512_init(&second);
    ret = mbedtls_sha512_starts(&first, is_384);
    mbedtls_sha512_update(&first, message, cut);
    mbedtls_sha512_clone(&second, &first);
    mbedtls_sha512_update(&first, message + cut, length - cut);
    mbedtls_sha512_finish(&first, result);
    answer("sha512 in pieces", ret, result, is_384 ? 48 : 64);
    mbedtls_sha512_finish(&second, result);
    answer("sha512 of a clone", ret, result, is_384 ? 48 : 64);
    mbedtls_sha512_free(&first);
    mbedtls_sha512_free(&second);
}

static void ask_hashes(void)
{
    for (unsigned number = 0; number < CASES; number++) {
        new_case(number);
        ask_sha256(case_length(number), number % 2);
        ask_sha512(case_length(number), number % 2);
    }
    answer("sha256 of kind 2", mbedtls_sha256(message, 5, result, 2), NULL, 0);
    answer("sha512 of kind 2", mbedtls_sha512(message, 5, result, 2), NULL, 0);
}

/* ---- elliptic curves ---- */

static void answer_point(const char *what, int ret, const mbedtls_ecp_point *point)
{
    answer_number(what, ret, &point->X);
    answer_number(what, ret, &point->Y);
    answer_number(what, ret, &point->Z);
}

static void multiply(const char *what, mbedtls_ecp_group *group, const mbedtls_mpi *number,
                     const mbedtls_ecp_point *point)
{
    mbedtls_ecp_point product;

    mbedtls_ecp_point_init(&product);
    int ret = mbedtls_ecp_mul(group, &product, number, point, fill, NULL);
    answer_point(what, ret, &product);
    mbedtls_ecp_point_free(&product);
}

/* The smallest and the largest numbers, and those just outside. */
static void multiply_at_the_edges(mbedtls_ecp_group *group, const mbedtls_ecp_point *point)
{
    mbedtls_mpi number;

    mbedtls_mpi_init(&number);
    for (int i = -1; i <= 17; i++) {
        mbedtls_mpi_lset(&number, i);
        multiply("small number", group, &number, point);
        mbedtls_mpi_sub_int(&number, &group->N, i);
        multiply("large number", group, &number, point);
    }
    mbedtls_mpi_free(&number);
}

static void multiply_at_random(mbedtls_ecp_group *group)
{
    mbedtls_mpi mine, theirs, secret;
    mbedtls_ecp_point my_point, their_point;

    mbedtls_mpi_init(&mine);
    mbedtls_mpi_init(&theirs);
    mbedtls_mpi_init(&secret);
    mbedtls_ecp_point_init(&my_point);
    mbedtls_ecp_point_init(&their_point);
    for (unsigned number = 0; number < 8; number++) {
        seed(1000 + number);
        int ret = mbedtls_ecdh_gen_public(group, &mine, &my_point, fill, NULL);
        answer_point("key", ret, &my_point);
        seed(2000 + number);
        ret = mbedtls_ecdh_gen_public(group, &theirs, &their_point, fill, NULL);
        answer_point("peer's key", ret, &their_point);
        ret = mbedtls_ecdh_compute_shared(group, &secret, &their_point, &mine, fill, NULL);
        answer_number("secret", ret, &secret);
        ret = mbedtls_ecdh_compute_shared(group, &secret, &my_point, &theirs, fill, NULL);
        answer_number("the same secret", ret, &secret);
    }
    if (mbedtls_ecp_get_type(group) == MBEDTLS_ECP_TYPE_SHORT_WEIERSTRASS) {
        multiply_at_the_edges(group, &group->G);
        multiply_at_the_edges(group, &my_point);
        mbedtls_mpi_add_int(&my_point.Y, &my_point.Y, 1);
        multiply("not on the curve", group, &mine, &my_point);
        mbedtls_mpi_lset(&their_point.Z, 2);
        multiply("not affine", group, &mine, &their_point);
        mbedtls_ecp_set_zero(&their_point);
        multiply("infinity", group, &mine, &their_point);
    }
    mbedtls_ecp_point_free(&their_point);
    mbedtls_ecp_point_free(&my_point);
    mbedtls_mpi_free(&secret);
    mbedtls_mpi_free(&theirs);
    mbedtls_mpi_free(&mine);
}

/* Points of small order, which agree on nothing, and coordinates that are not reduced. */
static void ask_x25519(mbedtls_ecp_group *group)
{
    mbedtls_mpi number;
    mbedtls_ecp_point point;
    unsigned char u[32];

    mbedtls_mpi_init(&number);
    mbedtls_ecp_point_init(&point);
    seed(3);
    mbedtls_ecp_gen_privkey(group, &number, fill, NULL);
    for (unsigned i = 0; i < 24; i++) {
        memset(u, i < 8 ? 0 : 0xff, sizeof(u));
        u[0] = (unsigned char)(i < 8 ? i : 0xe8 + i - 8);
        if (i >= 8)
            u[31] = 0x7f;
        int ret = mbedtls_ecp_point_read_binary(group, &point, u, sizeof(u));
        answer_point("u", ret, &point);
        multiply("small or not reduced", group, &number, &point);
    }
    mbedtls_mpi_set_bit(&number, 0, 1);
    multiply("not a key", group, &number, &group->G);
    mbedtls_ecp_point_free(&point);
    mbedtls_mpi_free(&number);
}

static void verify(const char *what, mbedtls_ecp_group *group, const mbedtls_ecp_point *public_key,
                   size_t hash_length, const mbedtls_mpi *r, const mbedtls_mpi *s)
{
    answer(what, mbedtls_ecdsa_verify(group, message, hash_length, public_key, r, s), NULL, 0);
}

static void ask_ecdsa(mbedtls_ecp_group *group, unsigned number)
{
    static const size_t hash_lengths[] = { 20, 28, 32, 48, 64 };
    size_t hash_length = hash_lengths[number % 5];
    mbedtls_mpi secret, r, s, other;
    mbedtls_ecp_point public_key;

    mbedtls_mpi_init(&secret);
    mbedtls_mpi_init(&r);
    mbedtls_mpi_init(&s);
    mbedtls_mpi_init(&other);
    mbedtls_ecp_point_init(&public_key);
    new_case(number);
    mbedtls_ecdh_gen_public(group, &secret, &public_key, fill, NULL);
    int ret = mbedtls_ecdsa_sign_det_ext(group, &r, &s, &secret, message, hash_length,
                                         MBEDTLS_MD_SHA256, fill, NULL);
    answer_number("r", ret, &r);
    answer_number("s", ret, &s);
    verify("signature", group, &public_key, hash_length, &r, &s);
    verify("wrong key", group, &group->G, hash_length, &r, &s);
    verify("r and s exchanged", group, &public_key, hash_length, &s, &r);
    mbedtls_mpi_sub_mpi(&other, &group->N, &s);
    verify("the other s", group, &public_key, hash_length, &r, &other);
    for (int i = -1; i <= 1; i++) {
        mbedtls_mpi_lset(&other, i);
        verify("small r", group, &public_key, hash_length, &other, &s);
        verify("small s", group, &public_key, hash_length, &r, &other);
        mbedtls_mpi_add_int(&other, &group->N, i);
        verify("large r", group, &public_key, hash_length, &other, &s);
        verify("large s", group, &public_key, hash_length, &r, &other);
    }
    message[0] ^= 1;
    verify("wrong hash", group, &public_key, hash_length, &r, &s);
    message[0] ^= 1;
    mbedtls_mpi_add_int(&public_key.X, &public_key.X, 1);
    verify("key not on the curve", group, &public_key, hash_length, &r, &s);
    mbedtls_ecp_point_free(&public_key);
    mbedtls_mpi_free(&other);
    mbedtls_mpi_free(&s);
    mbedtls_mpi_free(&r);
    mbedtls_mpi_free(&secret);
}

static void ask_curves(void)
{
    static const mbedtls_ecp_group_id ids[] = {
        MBEDTLS_ECP_DP_SECP256R1,  MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1,
        MBEDTLS_ECP_DP_SECP256K1,  MBEDTLS_ECP_DP_BP256R1,   MBEDTLS_ECP_DP_BP384R1,
        MBEDTLS_ECP_DP_CURVE25519,
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        mbedtls_ecp_group group;
        mbedtls_ecp_group_init(&group);
        answer("group", mbedtls_ecp_group_load(&group, ids[i]), NULL, 0);
        multiply_at_random(&group);
        if (mbedtls_ecdsa_can_do(ids[i]))
            for (unsigned number = 0; number < 5; number++)
                ask_ecdsa(&group, number);
        else
            ask_x25519(&group);
        mbedtls_ecp_group_free(&group);
    }
}

/* ---- RSA ---- */

static void ask_rsa(unsigned bits)
{
    mbedtls_rsa_context rsa;
    unsigned char signature[512];
    size_t size = bits / 8;

    mbedtls_rsa_init(&rsa);
    new_case(bits);
    answer("rsa key", mbedtls_rsa_gen_key(&rsa, fill, NULL, bits, 65537), NULL, 0);
    for (unsigned i = 0; i < 20; i++) {
        message[0] = 0;
        int ret = mbedtls_rsa_public(&rsa, message + i * (i % 2), result);
        answer("rsa public", ret, result, ret == 0 ? size : 0);
        fill(NULL, message + 1, size);
    }
    memset(message, 0xff, size);
    answer("rsa too large", mbedtls_rsa_public(&rsa, message, result), NULL, 0);
    memset(message, 0, size);
    int ret = mbedtls_rsa_public(&rsa, message, result);
    answer("rsa of 0", ret, result, size);
    ret = mbedtls_rsa_pkcs1_sign(&rsa, fill, NULL, MBEDTLS_MD_SHA256, 32, key, signature);
    answer("rsa signature", ret, signature, size);
    ret = mbedtls_rsa_pkcs1_verify(&rsa, MBEDTLS_MD_SHA256, 32, key, signature);
    answer("rsa verify", ret, NULL, 0);
    signature[size / 2] ^= 1;
    ret = mbedtls_rsa_pkcs1_verify(&rsa, MBEDTLS_MD_SHA256, 32, key, signature);
    answer("rsa verify, wrong", ret, NULL, 0);
    mbedtls_rsa_free(&rsa);
}

int main(int argc, char **argv)
{
#if defined(SC_HAVE_GCRYPT)
    if (argc > 1 && strcmp(argv[1], "portable") == 0)
        gcry_control(GCRYCTL_DISABLE_HWF, "all", NULL);
#else
    (void)argc;
    (void)argv;
#endif
    ask_gcm();
    ask_chachapoly();
    ask_hashes();
    ask_curves();
    ask_rsa(1024);
    ask_rsa(2048);
    return 0;
}
