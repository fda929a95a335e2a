/*
 * Reads the certificates and the key of a cert table, PEM or DER, and says what they are when they
 * cannot be used.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_READ_H
#define SC_TLS_READ_H

#include "socketcore.h"

#include <mbedtls/x509_crt.h>

#define SC_TLS_WHY_MAX 150

enum sc_cert_use {
    SC_CERT_TRUSTED, /* the server is verified by them: each must be readable */
    SC_CERT_SYSTEM,  /* the same, but what cannot be read is left out */
    SC_CERT_OWN,     /* they are sent: only the first one's key is of use here */
};

/* The certificates that were left out. */
struct sc_left_out {
    size_t count, of;
    char which[160]; /* subject or number, and why, as far as there is room */
};

/* Appends certificates to `list`. SC_OK; SC_ERR_NOMEM; or SC_ERR_SSL_INIT and in `why`
 * (SC_TLS_WHY_MAX bytes) what is wrong with which of them. */
enum sc_error sc_tls_read_certs(mbedtls_x509_crt *list, enum sc_cert_use use,
                                const struct sc_bytes *bytes, struct sc_left_out *left_out,
                                char *why);

/* The same for a private key. An empty password is none. */
enum sc_error sc_tls_read_key(mbedtls_pk_context *key, const struct sc_bytes *bytes,
                              const struct sc_bytes *password, char *why);

#endif
