/*
 * Included before mbedTLS's ecp.c and bignum.c: the functions that pk.c has in their place keep
 * their code under another name, for what nettle does not know. mbedTLS has a hook for the
 * agreement (MBEDTLS_ECDH_COMPUTE_SHARED_ALT) but none for the key pair that TLS 1.3 makes through
 * PSA, which is a plain multiplication (psa_crypto_ecp.c).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_REPLACED_H
#define SC_HOST_REPLACED_H

#if defined(SC_HAVE_NETTLE)
#define mbedtls_ecp_mul sc_own_ecp_mul
#define mbedtls_ecp_mul_restartable sc_own_ecp_mul_restartable
#define mbedtls_mpi_exp_mod_unsafe sc_own_mpi_exp_mod_unsafe
#endif

#endif
