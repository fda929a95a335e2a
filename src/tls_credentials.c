/*
 * Reading certificates, keys and names for tls.c. Runs on the script thread, so that what does not
 * parse is told by sock_conn itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_credentials.h"

#include "socketcore_port.h"
#include "tls_lock.h"
#include "tls_read.h"
#include "tls_sessions.h"

#include "lwip/ip_addr.h"
#include "lwip/mem.h"
#include "lwip/tcpip.h"

#include <mbedtls/sha256.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>

/* So many that no socket uses are kept for the next connection. */
#ifndef SC_TLS_CREDENTIALS_KEPT
#define SC_TLS_CREDENTIALS_KEPT 0
#endif
#define REASON_MAX 200

static char reason_text[REASON_MAX];

/* ---- randomness ---- */

int sc_tls_random(void *unused, unsigned char *out, size_t length)
{
    (void)unused;
    return sc_port_entropy(out, length) ? 0 : MBEDTLS_ERR_SSL_NO_RNG;
}

#if defined(MBEDTLS_PSA_CRYPTO_C)
psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t output_size,
                                             size_t *output_length)
{
    (void)context;
    if (!sc_port_entropy(output, output_size))
        return PSA_ERROR_INSUFFICIENT_ENTROPY;
    *output_length = output_size;
    return PSA_SUCCESS;
}

enum sc_error sc_tls_start(void)
{
    switch (psa_crypto_init()) {
    case PSA_SUCCESS:
        return SC_OK;
    case PSA_ERROR_INSUFFICIENT_MEMORY:
        return SC_ERR_NOMEM;
    default:
        return SC_ERR_SSL_INIT;
    }
}

static void stop_crypto(void)
{
    mbedtls_psa_crypto_free();
}
#else
enum sc_error sc_tls_start(void)
{
    return SC_OK;
}

static void stop_crypto(void)
{
}
#endif

/* ---- those that were read ---- */

/* Most recently used first. Under the lock. */
static struct sc_tls_credentials *known;
static struct sc_tls_lock lock;

static void forget(struct sc_tls_credentials *c)
{
    mbedtls_ssl_config_free(&c->config);
    mbedtls_x509_crt_free(&c->ca);
    mbedtls_x509_crt_free(&c->client_cert);
    mbedtls_pk_free(&c->client_key);
    if (c->name)
        mem_free(c->name);
    if (c->alpn_text)
        mem_free(c->alpn_text);
    mem_free(c);
}

static struct sc_tls_credentials *unlink_credentials(struct sc_tls_credentials *c)
{
    struct sc_tls_credentials **link = &known;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    return c;
}

static size_t count_unused(void)
{
    size_t count = 0;

    for (const struct sc_tls_credentials *c = known; c; c = c->next)
        count += c->users == 0;
    return count;
}

/* The least recently used one; there is one. */
static struct sc_tls_credentials *last_unused(void)
{
    struct sc_tls_credentials *last = NULL;

    for (struct sc_tls_credentials *c = known; c; c = c->next)
        if (c->users == 0)
            last = c;
    return last;
}

static void push(struct sc_tls_credentials *c)
{
    c->next = known;
    known = c;
}

/* One more user of what was read from the same, or NULL. */
static struct sc_tls_credentials *share(const unsigned char *fingerprint)
{
    if (!sc_tls_lock(&lock))
        return NULL;
    struct sc_tls_credentials *found = known;
    while (found && memcmp(found->fingerprint, fingerprint, SC_FINGERPRINT_SIZE) != 0)
        found = found->next;
    if (found) {
        found->users++;
        push(unlink_credentials(found));
    }
    sc_tls_unlock(&lock);
    return found;
}

/* ---- one part at a time ---- */

static enum sc_error refuse(const char **reason, enum sc_error error, const char *text)
{
    *reason = text;
    return error;
}

/* What sc_tls_read_certs and sc_tls_read_key have returned. */
static enum sc_error refuse_part(const char **reason, const char *part, enum sc_error error,
                                 const char *why)
{
    if (error == SC_ERR_NOMEM)
        return refuse(reason, error, "tls: out of memory");
    snprintf(reason_text, sizeof(reason_text), "tls: cert.%s: %s", part, why);
    return refuse(reason, error, reason_text);
}

/* One line for each bundle, as it is read again for each server. */
static void log_left_out(const struct sc_left_out *left_out, const struct sc_bytes *bundle)
{
    static unsigned char logged[SC_FINGERPRINT_SIZE]; /* script thread */
    unsigned char hash[SC_FINGERPRINT_SIZE];
    char text[280];

    if (!left_out->count || mbedtls_sha256(bundle->data, bundle->length, hash, 0) != 0 ||
        memcmp(hash, logged, sizeof(hash)) == 0)
        return;
    memcpy(logged, hash, sizeof(hash));
    snprintf(text, sizeof(text),
             "tls: caCert \"system\": %u of %u certificates cannot be read and are left out: %s",
             (unsigned)left_out->count, (unsigned)left_out->of, left_out->which);
    sc_port_log(SC_LOG_WARN, text);
}

static enum sc_error read_certs(mbedtls_x509_crt *certs, enum sc_cert_use use,
                                const struct sc_bytes *bytes, const char *part, const char **reason)
{
    struct sc_left_out left_out;
    char why[SC_TLS_WHY_MAX];
    enum sc_error error = sc_tls_read_certs(certs, use, bytes, &left_out, why);

    if (error != SC_OK)
        return refuse_part(reason, part, error, why);
    log_left_out(&left_out, bytes);
    return SC_OK;
}

static enum sc_error read_key(struct sc_tls_credentials *c, const struct sc_cert *cert,
                              const char **reason)
{
    char why[SC_TLS_WHY_MAX];
    enum sc_error error =
        sc_tls_read_key(&c->client_key, &cert->client_key, &cert->client_password, why);

    if (error != SC_OK)
        return refuse_part(reason, "clientKey", error, why);
    if (mbedtls_pk_check_pair(&c->client_cert.pk, &c->client_key, sc_tls_random, NULL) != 0)
        return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.clientKey does not belong to clientCert");
    return SC_OK;
}

static bool is_present(const struct sc_bytes *bytes)
{
    return bytes->data != NULL;
}

static enum sc_error read_client(struct sc_tls_credentials *c, const struct sc_cert *cert,
                                 const char **reason)
{
    bool has_cert = is_present(&cert->client_cert);

    if (has_cert != is_present(&cert->client_key))
        return refuse(reason, SC_ERR_SSL_INIT,
                      has_cert ? "tls: cert.clientCert needs clientKey too"
                               : "tls: cert.clientKey needs clientCert too");
    if (!has_cert)
        return SC_OK;
    enum sc_error error =
        read_certs(&c->client_cert, SC_CERT_OWN, &cert->client_cert, "clientCert", reason);
    if (error == SC_OK)
        error = read_key(c, cert, reason);
    if (error == SC_OK &&
        mbedtls_ssl_conf_own_cert(&c->config, &c->client_cert, &c->client_key) != 0)
        error = refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    return error;
}

static bool is_ip_literal(const char *name)
{
    ip_addr_t address;

    LOCK_TCPIP_CORE();
    bool is_literal = ipaddr_aton(name, &address);
    UNLOCK_TCPIP_CORE();
    return is_literal;
}

/* Bytes of a host's name without the dot of the root ("example.com."): neither SNI (RFC 6066, 3)
 * nor a certificate has it. */
static size_t name_length(const char *name)
{
    size_t length = strlen(name);

    return length && name[length - 1] == '.' ? length - 1 : length;
}

static bool has_empty_label(const char *name)
{
    return name[0] == '.' || strstr(name, "..") != NULL;
}

/* The server's name without the brackets of an IPv6 literal. */
static enum sc_error read_name(struct sc_tls_credentials *c, const char *name, const char **reason)
{
    size_t length = name_length(name);
    bool is_bracketed = length > 2 && name[0] == '[' && name[length - 1] == ']';

    if (is_bracketed) {
        name++;
        length -= 2;
    }
    if (length > MBEDTLS_SSL_MAX_HOST_NAME_LEN)
        return refuse(reason, SC_ERR_SSL_INIT, "tls: hostName is longer than 255 bytes");
    c->name = mem_malloc((mem_size_t)(length + 1));
    if (!c->name)
        return refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    memcpy(c->name, name, length);
    c->name[length] = '\0';
    c->is_literal = is_ip_literal(c->name);
    return SC_OK;
}

static enum sc_error read_alpn(struct sc_tls_credentials *c, const struct sc_cert *cert,
                               const char **reason)
{
    size_t size = 0;

    for (size_t i = 0; i < cert->alpn_count; i++)
        size += strlen(cert->alpn[i]) + 1;
    if (!cert->alpn_count)
        return SC_OK;
    if (cert->alpn_count > SC_ALPN_MAX)
        return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.alpn has more than 8 names");
    c->alpn_text = mem_malloc((mem_size_t)size);
    if (!c->alpn_text)
        return refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    char *at = c->alpn_text;
    for (size_t i = 0; i < cert->alpn_count; i++) {
        size_t length = strlen(cert->alpn[i]) + 1;
        memcpy(at, cert->alpn[i], length);
        c->alpn[i] = at;
        at += length;
    }
#if defined(MBEDTLS_SSL_ALPN)
    if (mbedtls_ssl_conf_alpn_protocols(&c->config, c->alpn) != 0)
        return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.alpn: a name must have 1 to 255 bytes");
    return SC_OK;
#else
    return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.alpn: this build has no ALPN");
#endif
}

static enum sc_error read_psk(struct sc_tls_credentials *c, const struct sc_cert *cert,
                              const char **reason)
{
    if (is_present(&cert->psk) != is_present(&cert->psk_identity))
        return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.psk and pskIdentity need each other");
    if (!is_present(&cert->psk))
        return SC_OK;
    c->has_psk = true;
#if defined(MBEDTLS_SSL_HANDSHAKE_WITH_PSK_ENABLED)
    if (mbedtls_ssl_conf_psk(&c->config, cert->psk.data, cert->psk.length, cert->psk_identity.data,
                             cert->psk_identity.length) != 0)
        return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.psk or pskIdentity is empty or too long");
    return SC_OK;
#else
    (void)c;
    return refuse(reason, SC_ERR_SSL_INIT, "tls: cert.psk: this build has no pre-shared keys");
#endif
}

/* The pin as 32 bytes or 64 hexadecimal digits. */
static enum sc_error read_pin(struct sc_tls_credentials *c, const struct sc_bytes *pin,
                              const char **reason)
{
    const char *text = pin->data;

    if (!is_present(pin))
        return SC_OK;
    c->has_pin = true;
    if (pin->length == SC_FINGERPRINT_SIZE) {
        memcpy(c->pin, pin->data, SC_FINGERPRINT_SIZE);
        return SC_OK;
    }
    for (size_t i = 0; i < SC_FINGERPRINT_SIZE && pin->length == 2 * SC_FINGERPRINT_SIZE; i++) {
        unsigned byte;
        if (strspn(text + 2 * i, "0123456789abcdefABCDEF") < 2 ||
            sscanf(text + 2 * i, "%2x", &byte) != 1)
            break;
        c->pin[i] = (unsigned char)byte;
        if (i == SC_FINGERPRINT_SIZE - 1)
            return SC_OK;
    }
    return refuse(reason, SC_ERR_SSL_INIT,
                  "tls: cert.pin must be a SHA-256: 32 bytes or 64 hexadecimal digits");
}

/* ---- all of them ---- */

static void hash_bytes(mbedtls_sha256_context *hash, const void *data, size_t length)
{
    unsigned char size[4] = { (unsigned char)(length >> 24), (unsigned char)(length >> 16),
                              (unsigned char)(length >> 8), (unsigned char)length };

    mbedtls_sha256_update(hash, size, sizeof(size));
    mbedtls_sha256_update(hash, data ? data : "", length);
}

/* Of all that credentials are read from, the text of the CAs too where the script names the
 * system's: so a session is resumed only by a connection that would verify and prove the same. */
static void take_fingerprint(const struct sc_open_args *args, const struct sc_cert *cert,
                             const struct sc_bytes *ca, unsigned char *fingerprint)
{
    size_t record_max = sc_get_config()->tls_record_max;
    unsigned char rest[] = { (unsigned char)args->insist,      (unsigned char)cert->no_resume,
                             (unsigned char)(args->port >> 8), (unsigned char)args->port,
                             (unsigned char)(record_max >> 8), (unsigned char)record_max,
                             cert->host_name != NULL };
    const char *host_name = cert->host_name ? cert->host_name : "";
    const struct sc_bytes parts[] = {
        cert->ca_cert,         *ca,       cert->client_cert,  cert->client_key,
        cert->client_password, cert->psk, cert->psk_identity, cert->pin,
    };
    mbedtls_sha256_context hash;

    mbedtls_sha256_init(&hash);
    mbedtls_sha256_starts(&hash, 0);
    hash_bytes(&hash, args->host, name_length(args->host));
    hash_bytes(&hash, rest, sizeof(rest));
    hash_bytes(&hash, host_name, name_length(host_name));
    for (size_t i = 0; i < LWIP_ARRAYSIZE(parts); i++) {
        unsigned char has_part = is_present(&parts[i]);
        hash_bytes(&hash, &has_part, 1);
        hash_bytes(&hash, parts[i].data, parts[i].length);
    }
    for (size_t i = 0; i < cert->alpn_count; i++)
        hash_bytes(&hash, cert->alpn[i], strlen(cert->alpn[i]));
    mbedtls_sha256_finish(&hash, fingerprint);
    mbedtls_sha256_free(&hash);
}

static bool wants_system_ca(const struct sc_cert *cert)
{
    return cert->ca_cert.length == 6 && memcmp(cert->ca_cert.data, "system", 6) == 0;
}

/* The CA's bytes, or the platform's bundle of them. */
static enum sc_error find_ca(const struct sc_cert *cert, struct sc_bytes *ca, const char **reason)
{
    *ca = cert->ca_cert;
    if (!wants_system_ca(cert))
        return SC_OK;
    if (sc_port_ca_bundle(&ca->data, &ca->length))
        return SC_OK;
    return refuse(reason, SC_ERR_SSL_INIT,
                  "tls: cert.caCert \"system\": this platform has no CA "
                  "bundle (on Debian: package ca-certificates)");
}

/* The name must match when it is a DNS name, unless insist says otherwise; see CONTRACT, `insist`
 * in the README. */
static void decide_checks(struct sc_tls_credentials *c, enum sc_insist insist)
{
    bool is_checked = insist == SC_INSIST_NEVER || (insist == SC_INSIST_DEFAULT && !c->is_literal);

    c->name_check = c->has_ca && is_checked ? SC_NAME_CHECKED : SC_NAME_IGNORED;
    mbedtls_ssl_conf_authmode(&c->config,
                              c->has_ca ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    if (c->has_ca)
        mbedtls_ssl_conf_ca_chain(&c->config, &c->ca, NULL);
}

static enum sc_error read_parts(struct sc_tls_credentials *c, const struct sc_open_args *args,
                                const struct sc_cert *cert, const struct sc_bytes *ca,
                                const char **reason)
{
    enum sc_error error;

    if (cert->host_name && has_empty_label(cert->host_name)) {
        snprintf(
            reason_text, sizeof(reason_text),
            "tls: cert.hostName \"%.80s\" is not a host name: a part between its dots is empty",
            cert->host_name);
        return refuse(reason, SC_ERR_SSL_INIT, reason_text);
    }
    error = read_name(c, cert->host_name ? cert->host_name : args->host, reason);
    c->has_ca = is_present(ca);
    if (error == SC_OK && c->has_ca)
        error = read_certs(&c->ca, wants_system_ca(cert) ? SC_CERT_SYSTEM : SC_CERT_TRUSTED, ca,
                           "caCert", reason);
    if (error == SC_OK)
        error = read_client(c, cert, reason);
    if (error == SC_OK)
        error = read_alpn(c, cert, reason);
    if (error == SC_OK)
        error = read_psk(c, cert, reason);
    if (error == SC_OK)
        error = read_pin(c, &cert->pin, reason);
    if (error != SC_OK)
        return error;
    /* In a resumed handshake no identity is sent, and mosquitto 2.0, which takes it for the user's
     * name, refuses who has none (net.c, psk_server_callback). */
    c->may_resume = !cert->no_resume && !is_present(&cert->psk);
    decide_checks(c, args->insist);
    return SC_OK;
}

#if defined(MBEDTLS_SSL_PROTO_TLS1_2) && defined(MBEDTLS_SSL_PROTO_TLS1_3)
/* mbedTLS 3.6.6 offers RSA-PSS before PKCS#1 and takes PSS in TLS 1.3 only (ssl_tls12_client.c,
 * ssl_parse_signature_algorithm): a TLS 1.2 server with an RSA key that goes by the client's order,
 * as OpenSSL does, would be refused. TLS 1.3 has no other RSA signature in the handshake. */
static const uint16_t signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,       MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,    MBEDTLS_TLS1_3_SIG_NONE,
};
#endif

/* Asks for the largest size of RFC 6066, 4 that is not above `size`, or for the smallest; mbedTLS
 * shrinks its buffers to what was agreed on. With TLS 1.2 only: in TLS 1.3 mbedTLS 3.6 takes the
 * server's agreement for an error (ssl_tls13_parse_encrypted_extensions, ssl_tls13_client.c). */
static bool set_record_max(mbedtls_ssl_config *config, size_t size)
{
    unsigned char code = MBEDTLS_SSL_MAX_FRAG_LEN_512;

    if (!size || size >= MBEDTLS_SSL_IN_CONTENT_LEN)
        return true;
    while (code < MBEDTLS_SSL_MAX_FRAG_LEN_4096 && size >= (size_t)512 << code)
        code++;
    mbedtls_ssl_conf_max_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    return mbedtls_ssl_conf_max_frag_len(config, code) == 0;
}

#if defined(SC_TLS_HAS_AES)
#define SUITES_MAX 160

static bool has_in_name(int suite, const char *word)
{
    return strstr(mbedtls_ssl_get_ciphersuite_name(suite), word) != NULL;
}

/* mbedTLS's order, but for ChaCha20 and the GCM suites that follow it, which change places. */
static const int *aes_first(void)
{
    static int suites[SUITES_MAX + 1]; /* made once; script thread */
    int held[SUITES_MAX];
    size_t length = 0, held_count = 0;

    if (suites[0])
        return suites;
    for (const int *id = mbedtls_ssl_list_ciphersuites(); *id && length + held_count < SUITES_MAX;
         id++) {
        if (has_in_name(*id, "CHACHA20")) {
            held[held_count++] = *id;
            continue;
        }
        if (!has_in_name(*id, "GCM")) {
            memcpy(suites + length, held, held_count * sizeof(*held));
            length += held_count;
            held_count = 0;
        }
        suites[length++] = *id;
    }
    memcpy(suites + length, held, held_count * sizeof(*held));
    return suites;
}
#endif

static bool set_defaults(mbedtls_ssl_config *config)
{
    if (mbedtls_ssl_config_defaults(config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return false;
    if (!set_record_max(config, sc_get_config()->tls_record_max))
        return false;
    mbedtls_ssl_conf_rng(config, sc_tls_random, NULL);
#if defined(SC_TLS_HAS_AES)
    if (SC_TLS_HAS_AES())
        mbedtls_ssl_conf_ciphersuites(config, aes_first());
#endif
#if defined(MBEDTLS_SSL_PROTO_TLS1_2) && defined(MBEDTLS_SSL_PROTO_TLS1_3)
    mbedtls_ssl_conf_sig_algs(config, signatures);
#endif
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
#endif
#if defined(MBEDTLS_SSL_SESSION_TICKETS) && defined(MBEDTLS_SSL_PROTO_TLS1_3)
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
    return true;
}

static enum sc_error read_new(const struct sc_open_args *args, const struct sc_cert *cert,
                              const struct sc_bytes *ca, struct sc_tls_credentials **out,
                              const char **reason)
{
    struct sc_tls_credentials *c = mem_calloc(1, sizeof(*c));

    if (!c)
        return refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    mbedtls_ssl_config_init(&c->config);
    mbedtls_x509_crt_init(&c->ca);
    mbedtls_x509_crt_init(&c->client_cert);
    mbedtls_pk_init(&c->client_key);
    enum sc_error error = set_defaults(&c->config)
                              ? read_parts(c, args, cert, ca, reason)
                              : refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    if (error != SC_OK) {
        forget(c);
        return error;
    }
    *out = c;
    return SC_OK;
}

static enum sc_error share_or_read(const struct sc_open_args *args, struct sc_tls_credentials **out,
                                   const char **reason)
{
    static const struct sc_cert none;
    const struct sc_cert *cert = args->cert ? args->cert : &none;
    unsigned char fingerprint[SC_FINGERPRINT_SIZE];
    struct sc_bytes ca;
    enum sc_error error = find_ca(cert, &ca, reason);

    if (error != SC_OK)
        return error;
    take_fingerprint(args, cert, &ca, fingerprint);
    *out = share(fingerprint);
    if (*out)
        return SC_OK;
    error = read_new(args, cert, &ca, out, reason);
    if (error != SC_OK)
        return error;
    memcpy((*out)->fingerprint, fingerprint, sizeof(fingerprint));
    (*out)->users = 1;
    if (!sc_tls_lock(&lock)) {
        forget(*out);
        return refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    }
    push(*out);
    sc_tls_unlock(&lock);
    return SC_OK;
}

enum sc_error sc_tls_read_credentials(const struct sc_open_args *args,
                                      struct sc_tls_credentials **out, const char **reason)
{
    size_t failed_before = sc_port_failed_allocations();
    enum sc_error error = share_or_read(args, out, reason);

    /* mbedTLS hides it: what it had no memory to read does not parse. */
    if (error != SC_OK && sc_port_failed_allocations() != failed_before)
        return refuse(reason, SC_ERR_NOMEM, "tls: out of memory");
    return error;
}

/* One user less. Returns what nobody needs any more, or NULL. */
static struct sc_tls_credentials *release(struct sc_tls_credentials *c, bool is_kept)
{
    if (--c->users)
        return NULL;
    if (!is_kept)
        return unlink_credentials(c);
    return count_unused() > SC_TLS_CREDENTIALS_KEPT ? unlink_credentials(last_unused()) : NULL;
}

void sc_tls_free_credentials(struct sc_tls_credentials *c)
{
    if (!c)
        return;
    bool is_kept =
        SC_TLS_CREDENTIALS_KEPT > 0 && c->may_resume && sc_tls_has_session(c->fingerprint);
    sc_tls_lock(&lock); /* it exists: reading them took it */
    struct sc_tls_credentials *useless = release(c, is_kept);
    sc_tls_unlock(&lock);
    if (useless)
        forget(useless);
}

void sc_tls_stop(void)
{
    while (known)
        forget(unlink_credentials(known));
    sc_tls_lock_free(&lock);
    stop_crypto();
}
