/*
 * mbedTLS 3.6 for a TLS client on a small target: TLS 1.2, ECDHE with AES-GCM, AES-CBC or ChaCha20,
 * RSA and ECDSA certificates, PEM and DER. A connection takes about 40 KB while it is up and some
 * 15 KB more during the handshake; the receive buffer is most of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_FIRMWARE_MBEDTLS_CONFIG_H
#define SC_FIRMWARE_MBEDTLS_CONFIG_H

/* ---- platform ---- */

/* Memory comes through calloc and free of your C library, or of what you give to
 * mbedtls_platform_set_calloc_free before sc_start. */
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
/* No MBEDTLS_HAVE_TIME: many targets have no clock until the network has told them the time, and
 * certificates would all fail. The dates of certificates are looked at in the core, by
 * sc_port_time. */
/* No generator of mbedTLS's own: all random numbers come from sc_port_entropy. */
/* The smaller of the two tables: 6 KB of flash for a little speed. */
#define MBEDTLS_AES_ROM_TABLES
#define MBEDTLS_AES_FEWER_TABLES

/* ---- TLS ---- */

#define MBEDTLS_SSL_TLS_C
#define MBEDTLS_SSL_CLI_C
/* TLS 1.3 (MBEDTLS_SSL_PROTO_TLS1_3, MBEDTLS_PSA_CRYPTO_C, MBEDTLS_HKDF_C, ...) costs 60 KB of
 * flash more. */
#define MBEDTLS_SSL_PROTO_TLS1_2
#define MBEDTLS_SSL_SERVER_NAME_INDICATION
#define MBEDTLS_SSL_SESSION_TICKETS
#define MBEDTLS_SSL_EXTENDED_MASTER_SECRET
#define MBEDTLS_SSL_ENCRYPT_THEN_MAC
#define MBEDTLS_SSL_MAX_FRAGMENT_LENGTH
#define MBEDTLS_KEY_EXCHANGE_ECDHE_RSA_ENABLED
#define MBEDTLS_KEY_EXCHANGE_ECDHE_ECDSA_ENABLED
/* A server may send records of 16 KB whatever it was asked for; what we send we cut ourselves. */
#define MBEDTLS_SSL_IN_CONTENT_LEN 16384
#define MBEDTLS_SSL_OUT_CONTENT_LEN 4096

/* ---- certificates and keys ---- */

#define MBEDTLS_X509_USE_C
#define MBEDTLS_X509_CRT_PARSE_C
#define MBEDTLS_ASN1_PARSE_C
#define MBEDTLS_ASN1_WRITE_C
#define MBEDTLS_OID_C
#define MBEDTLS_BASE64_C
#define MBEDTLS_PEM_PARSE_C
#define MBEDTLS_PK_C
#define MBEDTLS_PK_PARSE_C
#define MBEDTLS_PK_PARSE_EC_EXTENDED
#define MBEDTLS_PKCS1_V15
/* Keys with a password. */
#define MBEDTLS_PKCS5_C
#define MBEDTLS_CIPHER_MODE_CBC
#define MBEDTLS_CIPHER_PADDING_PKCS7
#define MBEDTLS_MD5_C
#define MBEDTLS_DES_C

/* ---- ciphers, hashes, public keys ---- */

#define MBEDTLS_AES_C
#define MBEDTLS_GCM_C
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C
#define MBEDTLS_CIPHER_C
#define MBEDTLS_MD_C
#define MBEDTLS_SHA1_C
#define MBEDTLS_SHA224_C
#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA384_C
#define MBEDTLS_SHA512_C
#define MBEDTLS_BIGNUM_C
#define MBEDTLS_RSA_C
#define MBEDTLS_ECP_C
#define MBEDTLS_ECP_NIST_OPTIM
#define MBEDTLS_ECDH_C
#define MBEDTLS_ECDSA_C
#define MBEDTLS_ECP_DP_SECP256R1_ENABLED
#define MBEDTLS_ECP_DP_SECP384R1_ENABLED
#define MBEDTLS_ECP_DP_CURVE25519_ENABLED
/* Less memory for a little time in the handshake. */
#define MBEDTLS_ECP_WINDOW_SIZE 2
#define MBEDTLS_MPI_WINDOW_SIZE 2
/* Numbers as long as an RSA key of 4096 bits needs. */
#define MBEDTLS_MPI_MAX_SIZE 512

#endif
