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
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <nettle/curve25519.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecc.h>
#include <nettle/ecdsa.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
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

/* ---- memory ---- */

/* GMP ends the process when its allocation function has no memory, and nettle takes its scratch
 * space from the same function. So while an operation below runs, both get their memory from an
 * arena that is allocated before; GMP's other users in this process keep what they had. */
struct arena {
    jmp_buf overflow;
    size_t used;
    max_align_t blocks[];
};

/* The most that an operation takes is 5408 bytes, for P-521; RSA takes two numbers. */
#define ARENA_SIZE 8192
/* A public exponent has 17 bits as a rule; with a long one mpz_powm makes tables. */
#define EXPONENT_MAX_BITS 256

/* Initial-exec: a thread's first look at it must not allocate. */
static _Thread_local struct arena *arena __attribute__((tls_model("initial-exec")));

static void *(*allocate_before)(size_t size);
static void *(*reallocate_before)(void *block, size_t old_size, size_t size);
static void (*free_before)(void *block, size_t size);

static bool is_in_arena(const void *block)
{
    const char *at = block;

    return arena && at >= (char *)arena->blocks && at < (char *)arena->blocks + ARENA_SIZE;
}

static void *allocate(size_t size)
{
    if (!arena)
        return allocate_before(size);
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (size > ARENA_SIZE - arena->used)
        longjmp(arena->overflow, 1);
    void *block = (char *)arena->blocks + arena->used;
    arena->used += size;
    return block;
}

static void *reallocate(void *block, size_t old_size, size_t size)
{
    if (!is_in_arena(block))
        return reallocate_before(block, old_size, size);
    return size <= old_size ? block : memcpy(allocate(size), block, old_size);
}

/* What is in the arena goes with it. */
static void free_block(void *block, size_t size)
{
    if (!is_in_arena(block))
        free_before(block, size);
}

__attribute__((constructor)) static void hook_allocation(void)
{
    mp_get_memory_functions(&allocate_before, &reallocate_before, &free_before);
    mp_set_memory_functions(allocate, reallocate, free_block);
}

static void close_arena(void)
{
    struct arena *closed = arena;

    arena = NULL;
    mbedtls_platform_zeroize(closed->blocks, closed->used); /* there were secrets */
    mbedtls_free(closed);
}

/* An operation on what `context` points at. 0 or a code of mbedTLS. */
typedef int operation(const void *context);

static int run_in_arena(operation *run, const void *context)
{
    int ret;

    arena = mbedtls_calloc(1, sizeof(*arena) + ARENA_SIZE);
    if (!arena)
        return MBEDTLS_ERR_MPI_ALLOC_FAILED;
    if (setjmp(arena->overflow) == 0)
        ret = run(context);
    else
        ret = MBEDTLS_ERR_MPI_ALLOC_FAILED;
    close_arena();
    return ret;
}

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

/* R = m * P */
struct multiplication {
    const struct ecc_curve *curve; /* nettle's; not of Curve25519 */
    mbedtls_ecp_group *grp;
    mbedtls_ecp_point *R;
    const mbedtls_mpi *m;
    const mbedtls_ecp_point *P;
};

static int multiply_x25519(const void *context)
{
    const struct multiplication *x = context;
    uint8_t scalar[CURVE25519_SIZE], in[CURVE25519_SIZE], out[CURVE25519_SIZE];
    int ret = mbedtls_ecp_check_privkey(x->grp, x->m);

    if (ret == 0)
        ret = mbedtls_ecp_check_pubkey(x->grp, x->P);
    if (ret == 0)
        ret = mbedtls_mpi_write_binary_le(x->m, scalar, sizeof(scalar));
    if (ret == 0)
        ret = mbedtls_mpi_write_binary_le(&x->P->X, in, sizeof(in));
    if (ret != 0)
        return ret;
    if (mbedtls_mpi_cmp_mpi(&x->P->X, &x->grp->G.X) == 0)
        curve25519_mul_g(out, scalar);
    else
        curve25519_mul(out, scalar, in);
    mbedtls_platform_zeroize(scalar, sizeof(scalar));
    mbedtls_mpi_free(&x->R->Y);
    ret = mbedtls_mpi_read_binary_le(&x->R->X, out, sizeof(out));
    mbedtls_platform_zeroize(out, sizeof(out));
    return ret == 0 ? mbedtls_mpi_lset(&x->R->Z, 1) : ret;
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

static int multiply_nist(const void *context)
{
    const struct multiplication *x = context;
    struct ecc_scalar scalar;
    __mpz_struct number = view(x->m);
    int ret = MBEDTLS_ERR_ECP_INVALID_KEY;

    ecc_scalar_init(&scalar, x->curve);
    if (x->m->s > 0 && ecc_scalar_set(&scalar, &number))
        ret = multiply_point(x->curve, x->R, &scalar, x->P,
                             mbedtls_ecp_point_cmp(x->P, &x->grp->G) == 0);
    ecc_scalar_clear(&scalar);
    return ret;
}

int mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                                const mbedtls_ecp_point *P, mbedtls_f_rng_t *f_rng, void *p_rng,
                                mbedtls_ecp_restart_ctx *rs_ctx)
{
    const struct multiplication x = {
        .curve = nist_curve(grp), .grp = grp, .R = R, .m = m, .P = P
    };

    if (!f_rng)
        return MBEDTLS_ERR_ECP_BAD_INPUT_DATA;
    if (grp->id == MBEDTLS_ECP_DP_CURVE25519)
        return run_in_arena(multiply_x25519, &x);
    if (x.curve)
        return run_in_arena(multiply_nist, &x);
    return sc_own_ecp_mul_restartable(grp, R, m, P, f_rng, p_rng, rs_ctx);
}

int mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                    const mbedtls_ecp_point *P, mbedtls_f_rng_t *f_rng, void *p_rng)
{
    return mbedtls_ecp_mul_restartable(grp, R, m, P, f_rng, p_rng, NULL);
}

/* ---- ECDSA ---- */

struct verification {
    const struct ecc_curve *curve;
    const unsigned char *hash;
    size_t length;
    const mbedtls_ecp_point *Q;
    const mbedtls_mpi *r;
    const mbedtls_mpi *s;
};

static int verify_nist(const void *context)
{
    const struct verification *v = context;
    struct dsa_signature signature = { .r = { view(v->r) }, .s = { view(v->s) } };
    struct ecc_point key;
    int ret = MBEDTLS_ERR_ECP_INVALID_KEY;

    if (v->r->s < 0 || v->s->s < 0)
        return MBEDTLS_ERR_ECP_VERIFY_FAILED;
    ecc_point_init(&key, v->curve);
    if (read_point(&key, v->Q))
        ret =
            ecdsa_verify(&key, v->length, v->hash, &signature) ? 0 : MBEDTLS_ERR_ECP_VERIFY_FAILED;
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
    const struct verification v = {
        .curve = nist_curve(grp), .hash = buf, .length = blen, .Q = Q, .r = r, .s = s
    };

    if (!mbedtls_ecdsa_can_do(grp->id) || !grp->N.p)
        return MBEDTLS_ERR_ECP_BAD_INPUT_DATA;
    return v.curve ? run_in_arena(verify_nist, &v) : verify_other(grp, buf, blen, Q, r, s);
}

/* ---- RSA, the public operation ---- */

/* X = A ^ E mod N */
struct power {
    mbedtls_mpi *X;
    const mbedtls_mpi *A;
    const mbedtls_mpi *E;
    const mbedtls_mpi *N;
};

static int raise_to_power(const void *context)
{
    const struct power *p = context;
    __mpz_struct base = view(p->A), exponent = view(p->E), modulus = view(p->N);
    mpz_t power;

    mpz_init(power);
    mpz_powm(power, &base, &exponent, &modulus);
    int ret = copy_number(p->X, power);
    mpz_clear(power);
    return ret;
}

int mbedtls_mpi_exp_mod_unsafe(mbedtls_mpi *X, const mbedtls_mpi *A, const mbedtls_mpi *E,
                               const mbedtls_mpi *N, mbedtls_mpi *prec_RR)
{
    /* What mbedTLS refuses or treats specially is left to it. */
    if (A->s < 0 || mbedtls_mpi_cmp_int(E, 0) <= 0 || mbedtls_mpi_cmp_int(N, 1) <= 0 ||
        mbedtls_mpi_get_bit(N, 0) == 0 || mbedtls_mpi_bitlen(N) > MBEDTLS_MPI_MAX_BITS ||
        mbedtls_mpi_bitlen(E) > EXPONENT_MAX_BITS)
        return sc_own_mpi_exp_mod_unsafe(X, A, E, N, prec_RR);
    const struct power p = { .X = X, .A = A, .E = E, .N = N };
    return run_in_arena(raise_to_power, &p);
}
