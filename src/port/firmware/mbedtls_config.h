/*
 * mbedTLS 3.6 for a TLS client on a small target: TLS 1.2, ECDHE with AES-GCM, AES-CBC or ChaCha20,
 * RSA and ECDSA certificates, PEM and DER. Measured on a Cortex-M4 (emulated), a connection takes
 * 25.6 to 32.8 KB at the most, during the handshake, and 23.6 to 30.1 KB while it is up, depending
 * on the server's certificates. The receive buffer is most of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_FIRMWARE_MBEDTLS_CONFIG_H
#define SC_FIRMWARE_MBEDTLS_CONFIG_H

/* ---- platform ---- */

/* memory.c: calloc and free of your C library, and a count of what they could not give. */
#include <stddef.h>
void *sc_firmware_calloc(size_t count, size_t size);
#define MBEDTLS_PLATFORM_C
#define MBEDTLS_PLATFORM_MEMORY
#define MBEDTLS_PLATFORM_CALLOC_MACRO sc_firmware_calloc
#define MBEDTLS_PLATFORM_FREE_MACRO free
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
#define MBEDTLS_SSL_PROTO_TLS1_2
/* TLS 1.3 costs 60 KB of flash more: define SC_FIRMWARE_TLS13, and compile mbedTLS's
 * ssl_tls12_client.c with -include src/port/host/mbedtls_tls12_pss.h. Without that file TLS 1.2
 * fails with most servers that have an RSA certificate: TLS 1.3 needs RSA-PSS, a client that offers
 * it is answered with it in TLS 1.2 too, and mbedTLS 3.6.6 refuses that. */
#if defined(SC_FIRMWARE_TLS13)
#define MBEDTLS_SSL_PROTO_TLS1_3
#define MBEDTLS_SSL_TLS1_3_COMPATIBILITY_MODE
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ENABLED
/* Sessions that are resumed. */
#define MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL_ENABLED
#define MBEDTLS_SSL_KEEP_PEER_CERTIFICATE
/* TLS 1.3 is built on PSA in mbedTLS; its random numbers come from sc_port_entropy as well. */
#define MBEDTLS_PSA_CRYPTO_C
#define MBEDTLS_PSA_CRYPTO_EXTERNAL_RNG
#define MBEDTLS_HKDF_C
/* RSA-PSS, which is the only signature with RSA in TLS 1.3. */
#define MBEDTLS_PKCS1_V21
#define MBEDTLS_X509_RSASSA_PSS_SUPPORT
#endif
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
/* Makes tls_record_max (socketcore.config) save memory: with 2048, and a server that agrees to it,
 * a connection takes 16 KB less while it is up. During the handshake the buffers have their full
 * size.
 */
#define MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH

/* ---- certificates and keys ---- */

/* Servers also send certificates that nothing needs and mbedTLS cannot read: see
 * ../mbedtls_peer_certs.h. */

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
