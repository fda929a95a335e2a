/*
 * Public-key arithmetic by nettle and GMP in place of mbedTLS's own: multiplication on Curve25519
 * and the NIST curves, ECDSA's verification, RSA's public operation. What nettle does not know goes
 * to mbedTLS's code, see replaced.h. The contracts are in mbedtls/ecp.h, ecdsa.h and
 * bignum_internal.h.
 *
 * SPDX-License-Identifier: MIT
 */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include <gmp.h>
#include <mbedtls/ecdsa.h>
#include <mbedtls/ecp.h>
#include <mbedtls/platform_util.h>
#include <nettle/curve25519.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecc.h>
#include <nettle/ecdsa.h>
#include <stdbool.h>
#include <string.h>

/* Then mbedTLS's numbers can be read as GMP's where they are. */
_Static_assert(sizeof(mp_limb_t) == sizeof(mbedtls_mpi_uint) && GMP_NAIL_BITS == 0,
               "GMP and mbedTLS have limbs of one size");

/* mbedTLS's own, from ecp.c and bignum.c. */
int sc_own_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                               const mbedtls_ecp_point *P, mbedtls_f_rng_t *f_rng, void *p_rng,
                               mbedtls_ecp_restart_ctx *rs_ctx);
int sc_own_mpi_exp_mod_unsafe(mbedtls_mpi *X, const mbedtls_mpi *A, const mbedtls_mpi *E,
                              const mbedtls_mpi *N, mbedtls_mpi *prec_RR);
/* Declared inside mbedTLS only. */
int mbedtls_mpi_exp_mod_unsafe(mbedtls_mpi *X, const mbedtls_mpi *A, const mbedtls_mpi *E,
                               const mbedtls_mpi *N, mbedtls_mpi *prec_RR);

/* ---- numbers ---- */

/* A view of a number that is not negative; nothing to free. */
static __mpz_struct view(const mbedtls_mpi *number)
{
    __mpz_struct view = { 0 };

    mpz_roinit_n(&view, (const mp_limb_t *)number->p, (mp_size_t)number->n);
    return view;
}

static int copy_number(mbedtls_mpi *out, mpz_srcptr number)
{
    size_t size = mpz_size(number);
    int ret = mbedtls_mpi_lset(out, 0);

    if (ret == 0 && size)
        ret = mbedtls_mpi_grow(out, size);
    if (ret == 0 && size)
        memcpy(out->p, mpz_limbs_read(number), size * sizeof(mp_limb_t));
    return ret;
}

/* ---- Curve25519 ---- */

static int multiply_x25519(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *P)
{
    uint8_t scalar[CURVE25519_SIZE], in[CURVE25519_SIZE], out[CURVE25519_SIZE];
    int ret = mbedtls_ecp_check_privkey(grp, m);

    if (ret == 0)
        ret = mbedtls_ecp_check_pubkey(grp, P);
    if (ret == 0)
        ret = mbedtls_mpi_write_binary_le(m, scalar, sizeof(scalar));
    if (ret == 0)
        ret = mbedtls_mpi_write_binary_le(&P->X, in, sizeof(in));
    if (ret != 0)
        return ret;
    if (mbedtls_mpi_cmp_mpi(&P->X, &grp->G.X) == 0)
        curve25519_mul_g(out, scalar);
    else
        curve25519_mul(out, scalar, in);
    mbedtls_platform_zeroize(scalar, sizeof(scalar));
    mbedtls_mpi_free(&R->Y);
    ret = mbedtls_mpi_read_binary_le(&R->X, out, sizeof(out));
    mbedtls_platform_zeroize(out, sizeof(out));
    return ret == 0 ? mbedtls_mpi_lset(&R->Z, 1) : ret;
}

/* ---- the NIST curves ---- */

static const struct ecc_curve *nist_curve(const mbedtls_ecp_group *grp)
{
    switch (grp->id) {
    case MBEDTLS_ECP_DP_SECP256R1:
        return nettle_get_secp_256r1();
    case MBEDTLS_ECP_DP_SECP384R1:
        return nettle_get_secp_384r1();
    case MBEDTLS_ECP_DP_SECP521R1:
        return nettle_get_secp_521r1();
    default:
        return NULL;
    }
}

/* Is the point affine and on the curve? */
static bool read_point(struct ecc_point *out, const mbedtls_ecp_point *point)
{
    __mpz_struct x = view(&point->X), y = view(&point->Y);

    return mbedtls_mpi_cmp_int(&point->Z, 1) == 0 && point->X.s > 0 && point->Y.s > 0 &&
           ecc_point_set(out, &x, &y);
}

static int write_point(mbedtls_ecp_point *out, const struct ecc_point *point)
{
    mpz_t x, y;

    mpz_inits(x, y, NULL);
    ecc_point_get(point, x, y);
    int ret = copy_number(&out->X, x);
    if (ret == 0)
        ret = copy_number(&out->Y, y);
    if (ret == 0)
        ret = mbedtls_mpi_lset(&out->Z, 1);
    mpz_clears(x, y, NULL);
    return ret;
}

static int multiply_point(const struct ecc_curve *curve, mbedtls_ecp_point *R,
                          const struct ecc_scalar *scalar, const mbedtls_ecp_point *P,
                          bool is_generator)
{
    struct ecc_point in, out;
    int ret = MBEDTLS_ERR_ECP_INVALID_KEY;

    ecc_point_init(&in, curve);
    ecc_point_init(&out, curve);
    if (read_point(&in, P)) {
        if (is_generator)
            ecc_point_mul_g(&out, scalar);
        else
            ecc_point_mul(&out, scalar, &in);
        ret = write_point(R, &out);
    }
    ecc_point_clear(&out);
    ecc_point_clear(&in);
    return ret;
}

static int multiply_nist(const struct ecc_curve *curve, const mbedtls_ecp_group *grp,
                         mbedtls_ecp_point *R, const mbedtls_mpi *m, const mbedtls_ecp_point *P)
{
    struct ecc_scalar scalar;
    __mpz_struct number = view(m);
    int ret = MBEDTLS_ERR_ECP_INVALID_KEY;

    ecc_scalar_init(&scalar, curve);
    if (m->s > 0 && ecc_scalar_set(&scalar, &number))
        ret = multiply_point(curve, R, &scalar, P, mbedtls_ecp_point_cmp(P, &grp->G) == 0);
    mbedtls_platform_zeroize(scalar.p, (size_t)ecc_size(curve) * sizeof(mp_limb_t));
    ecc_scalar_clear(&scalar);
    return ret;
}

int mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                                const mbedtls_ecp_point *P, mbedtls_f_rng_t *f_rng, void *p_rng,
                                mbedtls_ecp_restart_ctx *rs_ctx)
{
    const struct ecc_curve *curve = nist_curve(grp);

    if (!f_rng)
        return MBEDTLS_ERR_ECP_BAD_INPUT_DATA;
    if (grp->id == MBEDTLS_ECP_DP_CURVE25519)
        return multiply_x25519(grp, R, m, P);
    if (curve)
        return multiply_nist(curve, grp, R, m, P);
    return sc_own_ecp_mul_restartable(grp, R, m, P, f_rng, p_rng, rs_ctx);
}

int mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                    const mbedtls_ecp_point *P, mbedtls_f_rng_t *f_rng, void *p_rng)
{
    return mbedtls_ecp_mul_restartable(grp, R, m, P, f_rng, p_rng, NULL);
}

/* ---- ECDSA ---- */

static int verify_nist(const struct ecc_curve *curve, const unsigned char *hash, size_t length,
                       const mbedtls_ecp_point *Q, const mbedtls_mpi *r, const mbedtls_mpi *s)
{
    struct dsa_signature signature = { .r = { view(r) }, .s = { view(s) } };
    struct ecc_point key;
    int ret = MBEDTLS_ERR_ECP_INVALID_KEY;

    if (r->s < 0 || s->s < 0)
        return MBEDTLS_ERR_ECP_VERIFY_FAILED;
    ecc_point_init(&key, curve);
    if (read_point(&key, Q))
        ret = ecdsa_verify(&key, length, hash, &signature) ? 0 : MBEDTLS_ERR_ECP_VERIFY_FAILED;
    ecc_point_clear(&key);
    return ret;
}

/* The leftmost bits of the hash, as many as the group's order has (SEC 1, 4.1.4, step 3). */
static int read_hash(const mbedtls_ecp_group *grp, const unsigned char *hash, size_t length,
                     mbedtls_mpi *out)
{
    size_t order_size = (grp->nbits + 7) / 8;
    size_t used = length < order_size ? length : order_size;
    int ret = mbedtls_mpi_read_binary(out, hash, used);

    if (ret == 0 && used * 8 > grp->nbits)
        ret = mbedtls_mpi_shift_r(out, used * 8 - grp->nbits);
    return ret;
}

/* out = a / s mod the group's order, s_inverse given. */
static int divide(const mbedtls_ecp_group *grp, const mbedtls_mpi *a, const mbedtls_mpi *s_inverse,
                  mbedtls_mpi *out)
{
    int ret = mbedtls_mpi_mul_mpi(out, a, s_inverse);

    return ret == 0 ? mbedtls_mpi_mod_mpi(out, out, &grp->N) : ret;
}

static bool is_in_order(const mbedtls_ecp_group *grp, const mbedtls_mpi *number)
{
    return mbedtls_mpi_cmp_int(number, 1) >= 0 && mbedtls_mpi_cmp_mpi(number, &grp->N) < 0;
}

/* SEC 1, 4.1.4, for the curves that nettle does not know. */
static int verify_other(mbedtls_ecp_group *grp, const unsigned char *hash, size_t length,
                        const mbedtls_ecp_point *Q, const mbedtls_mpi *r, const mbedtls_mpi *s)
{
    mbedtls_mpi e, inverse, u1, u2;
    mbedtls_ecp_point R;

    if (!is_in_order(grp, r) || !is_in_order(grp, s))
        return MBEDTLS_ERR_ECP_VERIFY_FAILED;
    mbedtls_mpi_init(&e);
    mbedtls_mpi_init(&inverse);
    mbedtls_mpi_init(&u1);
    mbedtls_mpi_init(&u2);
    mbedtls_ecp_point_init(&R);
    int ret = read_hash(grp, hash, length, &e);
    if (ret == 0)
        ret = mbedtls_mpi_inv_mod(&inverse, s, &grp->N);
    if (ret == 0)
        ret = divide(grp, &e, &inverse, &u1);
    if (ret == 0)
        ret = divide(grp, r, &inverse, &u2);
    if (ret == 0)
        ret = mbedtls_ecp_muladd(grp, &R, &u1, &grp->G, &u2, Q);
    if (ret == 0 && mbedtls_ecp_is_zero(&R))
        ret = MBEDTLS_ERR_ECP_VERIFY_FAILED;
    if (ret == 0)
        ret = mbedtls_mpi_mod_mpi(&R.X, &R.X, &grp->N);
    if (ret == 0 && mbedtls_mpi_cmp_mpi(&R.X, r) != 0)
        ret = MBEDTLS_ERR_ECP_VERIFY_FAILED;
    mbedtls_ecp_point_free(&R);
    mbedtls_mpi_free(&u2);
    mbedtls_mpi_free(&u1);
    mbedtls_mpi_free(&inverse);
    mbedtls_mpi_free(&e);
    return ret;
}

int mbedtls_ecdsa_verify(mbedtls_ecp_group *grp, const unsigned char *buf, size_t blen,
                         const mbedtls_ecp_point *Q, const mbedtls_mpi *r, const mbedtls_mpi *s)
{
    const struct ecc_curve *curve = nist_curve(grp);

    if (!mbedtls_ecdsa_can_do(grp->id) || !grp->N.p)
        return MBEDTLS_ERR_ECP_BAD_INPUT_DATA;
    return curve ? verify_nist(curve, buf, blen, Q, r, s) : verify_other(grp, buf, blen, Q, r, s);
}

/* ---- RSA, the public operation ---- */

int mbedtls_mpi_exp_mod_unsafe(mbedtls_mpi *X, const mbedtls_mpi *A, const mbedtls_mpi *E,
                               const mbedtls_mpi *N, mbedtls_mpi *prec_RR)
{
    __mpz_struct base = view(A), exponent = view(E), modulus = view(N);
    mpz_t power;

    /* What mbedTLS refuses or treats specially is left to it. */
    if (A->s < 0 || mbedtls_mpi_cmp_int(E, 0) <= 0 || mbedtls_mpi_cmp_int(N, 1) <= 0 ||
        mbedtls_mpi_get_bit(N, 0) == 0 || mbedtls_mpi_bitlen(N) > MBEDTLS_MPI_MAX_BITS ||
        mbedtls_mpi_bitlen(E) > MBEDTLS_MPI_MAX_BITS)
        return sc_own_mpi_exp_mod_unsafe(X, A, E, N, prec_RR);
    mpz_init(power);
    mpz_powm(power, &base, &exponent, &modulus);
    int ret = copy_number(X, power);
    mpz_clear(power);
    return ret;
}
