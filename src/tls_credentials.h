/*
 * What a TLS connection is to prove and to check, read when the socket is opened: certificates and
 * keys parsed, the names decided. Never changed afterwards, so the engine reads it without a lock.
 * Connections that were opened with the same share it, and so does the next one as long as there is
 * a session that it can resume: then nothing is parsed again.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_CREDENTIALS_H
#define SC_TLS_CREDENTIALS_H

#include "socketcore.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#define SC_FINGERPRINT_SIZE 32
#define SC_ALPN_MAX 8

/* What becomes of the name in the server's certificate. */
enum sc_name_check { SC_NAME_IGNORED, SC_NAME_CHECKED };

struct sc_tls_credentials {
    struct sc_tls_credentials *next; /* the list's, as are the next two: under its mutex */
    unsigned users;                  /* sockets; 0 for one that is kept */
    /* Of all that it was read from; also what the session cache goes by. */
    unsigned char fingerprint[SC_FINGERPRINT_SIZE];
    mbedtls_ssl_config config;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt client_cert;
    mbedtls_pk_context client_key;
    char *name;      /* the server's: for SNI and for the check; without the dot of the root */
    bool is_literal; /* `name` is an IP address: no SNI */
    bool has_ca;     /* the server is verified */
    bool may_resume;
    bool has_pin;
    bool has_psk;
    enum sc_name_check name_check;
    unsigned char pin[SC_FINGERPRINT_SIZE]; /* SHA-256 of the server's public key */
    const char *alpn[SC_ALPN_MAX + 1];      /* into `alpn_text`, NULL at the end */
    char *alpn_text;
};

/* Reads args->cert. SC_OK and *out, which the caller frees once; else no credentials, and *reason
 * is a constant text or one that stays valid until the next call. Script thread. */
enum sc_error sc_tls_read_credentials(const struct sc_open_args *args,
                                      struct sc_tls_credentials **out, const char **reason);

/* NULL is none. Any thread. */
void sc_tls_free_credentials(struct sc_tls_credentials *credentials);

/* Random numbers for mbedTLS, from the platform. */
int sc_tls_random(void *unused, unsigned char *out, size_t length);

/* Once at start and end of the core. */
enum sc_error sc_tls_start(void);
void sc_tls_stop(void);

#endif
