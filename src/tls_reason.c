/*
 * The tables behind tls_reason.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_reason.h"

#include "tls_certs.h"
#include "tls_room.h"

#include "lwip/def.h"

#include <mbedtls/asn1.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned char code;
    const char *name;
} alerts[] = {
    { 0, "close_notify" },
    { 10, "unexpected_message" },
    { 20, "bad_record_mac" },
    { 21, "decryption_failed" },
    { 22, "record_overflow" },
    { 30, "decompression_failure" },
    { 40, "handshake_failure" },
    { 41, "no_certificate" },
    { 42, "bad_certificate" },
    { 43, "unsupported_certificate" },
    { 44, "certificate_revoked" },
    { 45, "certificate_expired" },
    { 46, "certificate_unknown" },
    { 47, "illegal_parameter" },
    { 48, "unknown_ca" },
    { 49, "access_denied" },
    { 50, "decode_error" },
    { 51, "decrypt_error" },
    { 60, "export_restriction" },
    { 70, "protocol_version" },
    { 71, "insufficient_security" },
    { 80, "internal_error" },
    { 86, "inappropriate_fallback" },
    { 90, "user_canceled" },
    { 100, "no_renegotiation" },
    { 109, "missing_extension" },
    { 110, "unsupported_extension" },
    { 112, "unrecognized_name" },
    { 113, "bad_certificate_status_response" },
    { 115, "unknown_psk_identity" },
    { 116, "certificate_required" },
    { 120, "no_application_protocol" },
};

static const struct {
    uint32_t flag;
    const char *words;
} faults[] = {
    { MBEDTLS_X509_BADCERT_EXPIRED, "expired" },
    { MBEDTLS_X509_BADCERT_FUTURE, "not yet valid" },
    { MBEDTLS_X509_BADCERT_REVOKED, "revoked" },
    { MBEDTLS_X509_BADCERT_KEY_USAGE, "wrong key usage" },
    { MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "wrong extended key usage" },
    { MBEDTLS_X509_BADCERT_NS_CERT_TYPE, "wrong certificate type" },
    { MBEDTLS_X509_BADCERT_BAD_MD, "weak key or hash: signed with a hash that is not accepted" },
    { MBEDTLS_X509_BADCERT_BAD_PK,
      "weak key or hash: signed with a kind of key that is not accepted" },
    { MBEDTLS_X509_BADCERT_BAD_KEY, "weak key or hash: a key that is too short" },
    { MBEDTLS_X509_BADCERT_MISSING, "missing" },
    { MBEDTLS_X509_BADCERT_SKIP_VERIFY, "not verified" },
    { MBEDTLS_X509_BADCERT_OTHER, "name constraints, which cannot be checked here" },
};

/* Measured with EC keys: the two record buffers and this for the handshake itself. */
#define HANDSHAKE_KB ((MBEDTLS_SSL_IN_CONTENT_LEN + MBEDTLS_SSL_OUT_CONTENT_LEN) / 1024 + 16)

/* Errors of mbedTLS with words of our own; all others have mbedTLS's. */
static const struct {
    int ret;
    enum sc_error error;
    const char *words;
} errors[] = {
    { MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, SC_ERR_SSL_HANDSHAKE,
      "protocol version: the server speaks neither TLS 1.2 nor 1.3" },
    { MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, SC_ERR_SSL_HANDSHAKE,
      "handshake failure: no common cipher suite, group or signature algorithm, or wrong proof" },
    { MBEDTLS_ERR_SSL_INVALID_RECORD, SC_ERR_SSL_HANDSHAKE,
      "what the server sends is not TLS, or was damaged" },
    { MBEDTLS_ERR_SSL_INVALID_MAC, SC_ERR_SSL_HANDSHAKE, "a record was damaged or forged" },
    { MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, SC_ERR_SSL_HANDSHAKE,
      "the server sent a message out of turn" },
    { MBEDTLS_ERR_SSL_DECODE_ERROR, SC_ERR_SSL_HANDSHAKE, "the server sent a malformed message" },
    { MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, SC_ERR_SSL_HANDSHAKE,
      "the server sent an illegal parameter" },
    { MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL, SC_ERR_SSL_HANDSHAKE,
      "a message of the server is too large" },
    { MBEDTLS_ERR_SSL_BAD_INPUT_DATA, SC_ERR_SSL_HANDSHAKE,
      "a message of the server is too large" },
    { MBEDTLS_ERR_X509_INVALID_EXTENSIONS + MBEDTLS_ERR_ASN1_UNEXPECTED_TAG, SC_ERR_SSL_INVALID,
      "certificate verify failed: an extension that is malformed, or critical and not known" },
    { MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, SC_ERR_SSL_HANDSHAKE,
      "the server asked for a client certificate" },
    { MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, SC_ERR_SSL_HANDSHAKE,
      "the server has none of the protocols in cert.alpn" },
    { MBEDTLS_ERR_SSL_CONN_EOF, SC_ERR_CLSD, "closed by the peer during the handshake" },
    { MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, SC_ERR_CLSD, "closed by the peer during the handshake" },
};

static const char *alert_name(unsigned char code)
{
    for (size_t i = 0; i < LWIP_ARRAYSIZE(alerts); i++)
        if (alerts[i].code == code)
            return alerts[i].name;
    return "of an unknown kind";
}

/* ---- certificates ---- */

static void append(char *out, size_t size, const char *text, size_t length)
{
    size_t used = strlen(out);

    if (used + length + 3 >= size)
        return;
    if (used) {
        memcpy(out + used, ", ", 2);
        used += 2;
    }
    for (size_t i = 0; i < length; i++)
        out[used + i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    out[used + length] = '\0';
}

static void append_ip(char *out, size_t size, const mbedtls_x509_buf *ip)
{
    char text[40] = "";

    if (ip->len == 4)
        snprintf(text, sizeof(text), "%u.%u.%u.%u", ip->p[0], ip->p[1], ip->p[2], ip->p[3]);
    else
        for (size_t i = 0; i + 1 < ip->len && i < 16; i += 2)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%x", i ? ":" : "",
                     ip->p[i] << 8 | ip->p[i + 1]);
    append(out, size, text, strlen(text));
}

/* The names that the certificate is for: the alternative ones, else the common name. */
static void collect_names(char *out, size_t size, const mbedtls_x509_crt *crt)
{
    out[0] = '\0';
    for (const mbedtls_x509_sequence *name = &crt->subject_alt_names; name && name->buf.p;
         name = name->next) {
        mbedtls_x509_subject_alternative_name san;
        if (mbedtls_x509_parse_subject_alt_name(&name->buf, &san) != 0)
            continue;
        if (san.type == MBEDTLS_X509_SAN_DNS_NAME)
            append(out, size, (const char *)san.san.unstructured_name.p,
                   san.san.unstructured_name.len);
        else if (san.type == MBEDTLS_X509_SAN_IP_ADDRESS)
            append_ip(out, size, &san.san.unstructured_name);
        mbedtls_x509_free_subject_alt_name(&san);
    }
    for (const mbedtls_x509_name *part = &crt->subject; part && !out[0]; part = part->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &part->oid) == 0)
            append(out, size, (const char *)part->val.p, part->val.len);
    if (!out[0])
        append(out, size, "none", 4);
}

static bool has_issuer(const mbedtls_x509_crt *crt, const mbedtls_x509_crt *trusted)
{
    for (; trusted; trusted = trusted->next)
        if (trusted->subject_raw.len == crt->issuer_raw.len &&
            memcmp(trusted->subject_raw.p, crt->issuer_raw.p, crt->issuer_raw.len) == 0)
            return true;
    return false;
}

bool sc_tls_has_name_constraints(const mbedtls_x509_crt *crt)
{
    static const unsigned char oid[] = { 0x06, 0x03, 0x55, 0x1d, 0x1e };

    for (size_t at = 0; at + sizeof(oid) <= crt->v3_ext.len; at++)
        if (memcmp(crt->v3_ext.p + at, oid, sizeof(oid)) == 0)
            return true;
    return false;
}

void sc_tls_note_certificate(struct sc_tls_verdict *v, const mbedtls_x509_crt *crt, int depth,
                             uint32_t flags, const mbedtls_x509_crt *trusted)
{
    if (flags && !v->flags)
        v->depth = depth;
    v->flags |= flags;
    if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) && has_issuer(crt, trusted))
        v->is_bad_signature = true;
    if (depth == 0)
        collect_names(v->names, sizeof(v->names), crt);
}

void sc_tls_note_unread(struct sc_tls_verdict *v, const mbedtls_x509_buf *der, int ret,
                        bool is_leaf)
{
    if (v->unread[0])
        return;
    v->is_leaf_unread = is_leaf;
    sc_tls_explain_cert(v->unread, sizeof(v->unread), der->p, der->len, ret);
}

static void explain_verdict(char *out, size_t size, const struct sc_tls_verdict *v,
                            const char *wanted_name)
{
    char words[160] = "";

    for (size_t i = 0; i < LWIP_ARRAYSIZE(faults); i++)
        if (v->flags & faults[i].flag)
            append(words, sizeof(words), faults[i].words, strlen(faults[i].words));
    if (v->flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) {
        const char *text = v->is_bad_signature ? "bad signature, or an issuer that may not sign it"
                                               : "not signed by a trusted CA";
        append(words, sizeof(words), text, strlen(text));
    }
    if (v->flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) {
        snprintf(out, size,
                 "tls: certificate verify failed: %s%sname mismatch: %.60s is not among %s", words,
                 words[0] ? ", " : "", wanted_name, v->names);
        return;
    }
    if (!words[0])
        append(words, sizeof(words), "not acceptable", 14);
    snprintf(out, size, "tls: certificate verify failed: %s%s", words,
             v->depth ? " (a certificate above the server's)" : "");
    /* Perhaps it was the one that led to a trusted CA. */
    if ((v->flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) && v->unread[0])
        snprintf(out + strlen(out), size - strlen(out),
                 " (one that the server sent with it was left out: %s)", v->unread);
}

/* ---- all errors ---- */

#define LATE_FAULTS                                                                                \
    ((uint32_t)(MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE |              \
                MBEDTLS_X509_BADCERT_BAD_KEY))

enum sc_error sc_tls_explain(char *out, size_t size, int ret, const mbedtls_ssl_context *ssl,
                             const struct sc_tls_verdict *verdict, const char *wanted_name)
{
    if (sc_tls_is_out_of_memory(ret)) {
        if (ssl->MBEDTLS_PRIVATE(state) >= MBEDTLS_SSL_HANDSHAKE_OVER)
            snprintf(out, size, "tls: out of memory");
        else
            snprintf(out, size, "tls: out of memory: a handshake takes about %d KB", HANDSHAKE_KB);
        return SC_ERR_NOMEM;
    }
    if (ret == MBEDTLS_ERR_SSL_BAD_CERTIFICATE && verdict->is_leaf_unread) {
        snprintf(out, size, "tls: the server's certificate cannot be read: %s", verdict->unread);
        return SC_ERR_SSL_INVALID;
    }
    if (ret == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || ret == MBEDTLS_ERR_SSL_BAD_CERTIFICATE) {
        struct sc_tls_verdict all = *verdict;
        /* What the server's own certificate may be used for is checked after the callback. */
        uint32_t late = mbedtls_ssl_get_verify_result(ssl);
        if (late != 0xFFFFFFFF)
            all.flags |= late & LATE_FAULTS;
        if (all.flags || ret == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
            explain_verdict(out, size, &all, wanted_name);
            return SC_ERR_SSL_INVALID;
        }
    }
    if (sc_tls_explain_room(out, size, ssl, ret))
        return SC_ERR_SSL_HANDSHAKE;
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        snprintf(out, size, "tls: the server sent the alert %s",
                 alert_name(ssl->MBEDTLS_PRIVATE(in_msg)[1]));
        return SC_ERR_SSL_HANDSHAKE;
    }
    for (size_t i = 0; i < LWIP_ARRAYSIZE(errors); i++)
        if (errors[i].ret == ret) {
            snprintf(out, size, "tls: %s", errors[i].words);
            return errors[i].error;
        }
    char words[100] = "the handshake failed";
#if defined(MBEDTLS_ERROR_C)
    mbedtls_strerror(ret, words, sizeof(words));
#endif
    snprintf(out, size, "tls: %s (-0x%04x)", words, (unsigned)-ret);
    return SC_ERR_SSL_HANDSHAKE;
}
