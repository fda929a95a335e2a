/*
 * Words for what goes wrong in TLS: mbedTLS's codes, the alerts by their names, and what is wrong
 * with a certificate.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_REASON_H
#define SC_TLS_REASON_H

#include "socketcore.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#define SC_TLS_REASON_MAX 256

/* What the verification of the server's chain found, collected certificate by certificate. */
struct sc_tls_verdict {
    uint32_t flags;        /* MBEDTLS_X509_BADCERT_* of the whole chain */
    int depth;             /* of the certificate with the first fault; 0 is the server's own */
    bool is_bad_signature; /* its issuer is trusted, but has not signed it */
    char names[128];       /* of the server's certificate */
    char unread[80];       /* why the first certificate that could not be read was not */
    bool is_leaf_unread;   /* that one is the server's own */
};

/* Does the certificate limit the names of those below it? mbedTLS does not look at that, so such a
 * chain cannot be trusted. */
bool sc_tls_has_name_constraints(const mbedtls_x509_crt *crt);

/* One certificate of the chain, from the CA down. */
void sc_tls_note_certificate(struct sc_tls_verdict *verdict, const mbedtls_x509_crt *crt, int depth,
                             uint32_t flags, const mbedtls_x509_crt *trusted);

/* A certificate that could not be read: its bytes, and mbedTLS's error. */
void sc_tls_note_unread(struct sc_tls_verdict *verdict, const mbedtls_x509_buf *der, int ret,
                        bool is_leaf);

/* Writes one line for the error `ret` of mbedTLS and returns the script's number for it.
 * `wanted_name` is the name that the server's certificate was compared with. */
enum sc_error sc_tls_explain(char *out, size_t size, int ret, const mbedtls_ssl_context *ssl,
                             const struct sc_tls_verdict *verdict, const char *wanted_name);

#endif
