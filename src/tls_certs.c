/*
 * The readers and words of tls_certs.h, and the walk through DER that both need.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_certs.h"

#include <mbedtls/asn1.h>
#include <mbedtls/dhm.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/platform.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SEQUENCE (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)
#define TAGGED(number) (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_ASN1_CONSTRUCTED | (number))

/* ---- DER ---- */

struct element {
    unsigned char tag;
    unsigned char *start; /* of the tag */
    unsigned char *data;
    size_t length; /* of the data */
};

static unsigned char *end_of(const struct element *e)
{
    return e->data + e->length;
}

/* Takes the element at *p, which must end at or before `end`. False: *e and *p are as before. */
static bool take(unsigned char **p, const unsigned char *end, struct element *e)
{
    size_t length;

    if (*p >= end)
        return false;
    unsigned char *at = *p + 1;
    if (mbedtls_asn1_get_len(&at, end, &length) != 0)
        return false;
    *e = (struct element){ .tag = **p, .start = *p, .data = at, .length = length };
    *p = at + length;
    return true;
}

static bool take_tag(unsigned char **p, const unsigned char *end, unsigned char tag,
                     struct element *e)
{
    return *p < end && **p == tag && take(p, end, e);
}

static mbedtls_asn1_buf buf_of(const struct element *e)
{
    return (mbedtls_asn1_buf){ .tag = e->tag, .len = e->length, .p = e->data };
}

/* The elements of a certificate. */
struct parts {
    struct element whole, tbs, algorithm, issuer, validity, subject, key;
    struct element extensions; /* length 0: none */
};

static bool split(const unsigned char *der, size_t length, struct parts *parts)
{
    unsigned char *p = (unsigned char *)(size_t)der, *end = p + length;
    struct element skipped;

    memset(parts, 0, sizeof(*parts));
    if (!take_tag(&p, end, SEQUENCE, &parts->whole))
        return false;
    p = parts->whole.data;
    if (!take_tag(&p, end_of(&parts->whole), SEQUENCE, &parts->tbs))
        return false;
    p = parts->tbs.data;
    end = end_of(&parts->tbs);
    take_tag(&p, end, TAGGED(0), &skipped); /* the version */
    if (!take_tag(&p, end, MBEDTLS_ASN1_INTEGER, &skipped) ||
        !take_tag(&p, end, SEQUENCE, &parts->algorithm) ||
        !take_tag(&p, end, SEQUENCE, &parts->issuer) ||
        !take_tag(&p, end, SEQUENCE, &parts->validity) ||
        !take_tag(&p, end, SEQUENCE, &parts->subject) || !take_tag(&p, end, SEQUENCE, &parts->key))
        return false;
    while (take(&p, end, &skipped))
        if (skipped.tag == TAGGED(3)) {
            p = skipped.data;
            take_tag(&p, end_of(&skipped), SEQUENCE, &parts->extensions);
            break;
        }
    return true;
}

struct extension {
    struct element oid, value;
    bool is_critical;
};

static bool take_extension(unsigned char **p, const unsigned char *end, struct extension *e)
{
    struct element whole, flag;

    if (!take_tag(p, end, SEQUENCE, &whole))
        return false;
    unsigned char *at = whole.data;
    if (!take_tag(&at, end_of(&whole), MBEDTLS_ASN1_OID, &e->oid))
        return false;
    e->is_critical =
        take_tag(&at, end_of(&whole), MBEDTLS_ASN1_BOOLEAN, &flag) && flag.length && flag.data[0];
    return take_tag(&at, end_of(&whole), MBEDTLS_ASN1_OCTET_STRING, &e->value);
}

/* The last byte of an OID below id-ce (2.5.29), where an extension's kind is; 0: another OID. */
static unsigned char kind_of(const unsigned char *oid, size_t length)
{
    return length == 3 && oid[0] == 0x55 && oid[1] == 0x1d ? oid[2] : 0;
}

#define EXT_SUBJECT_ALT_NAME 17
#define EXT_CRL_POINTS 31
#define EXT_POLICIES 32
#define EXT_POLICY_MAPPINGS 33
#define EXT_AUTHORITY_KEY 35
#define EXT_INHIBIT_ANY_POLICY 54

/* ---- reading ---- */

/* mbedTLS adds an error of a lower layer (7 bits) to its own (the others). */
#define LOW_ERROR 0x7f

bool sc_tls_is_out_of_memory(int ret)
{
    static const int high[] = {
        MBEDTLS_ERR_SSL_ALLOC_FAILED,    MBEDTLS_ERR_X509_ALLOC_FAILED, MBEDTLS_ERR_PK_ALLOC_FAILED,
        MBEDTLS_ERR_PEM_ALLOC_FAILED,    MBEDTLS_ERR_ECP_ALLOC_FAILED,  MBEDTLS_ERR_MD_ALLOC_FAILED,
        MBEDTLS_ERR_CIPHER_ALLOC_FAILED, MBEDTLS_ERR_DHM_ALLOC_FAILED,
    };
    int low = -ret & LOW_ERROR;

    if (ret >= 0)
        return false;
    for (size_t i = 0; i < COUNT(high); i++)
        if (-ret - low == -high[i])
            return true;
    return low == -MBEDTLS_ERR_MPI_ALLOC_FAILED || low == -MBEDTLS_ERR_ASN1_ALLOC_FAILED ||
           ret == PSA_ERROR_INSUFFICIENT_MEMORY;
}

/* rsa.c (mbedtls_rsa_parse_pubkey) hides that memory ran out behind this code. */
static bool is_doubtful(int ret)
{
    return ret == MBEDTLS_ERR_PK_INVALID_PUBKEY;
}

/* Is there memory for what reading a certificate of this length takes? */
static bool has_room(size_t length)
{
    void *room = mbedtls_calloc(4, length + 256);

    mbedtls_free(room);
    return room != NULL;
}

/* Critical extensions that ask for nothing here: policies, as no particular one is wanted (RFC
 * 5280, 6.1.1), and where CRLs are to be had. */
static bool is_harmless(const unsigned char *oid, size_t length)
{
    switch (kind_of(oid, length)) {
    case EXT_CRL_POINTS:
    case EXT_POLICIES:
    case EXT_POLICY_MAPPINGS:
    case EXT_INHIBIT_ANY_POLICY:
        return true;
    default:
        return false;
    }
}

/* mbedTLS asks about extensions that it does not know, and about policies. */
static int on_extension(void *unused, const mbedtls_x509_crt *crt, const mbedtls_x509_buf *oid,
                        int is_critical, const unsigned char *p, const unsigned char *end)
{
    (void)unused;
    (void)crt;
    (void)p;
    (void)end;
    return !is_critical || is_harmless(oid->p, oid->len) ? 0 : MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE;
}

static int parse(mbedtls_x509_crt *list, const unsigned char *der, size_t length, bool copies)
{
    int ret = mbedtls_x509_crt_parse_der_with_ext_cb(list, der, length, copies, on_extension, NULL);

    if (is_doubtful(ret))
        ret = has_room(length) ? mbedtls_x509_crt_parse_der_with_ext_cb(list, der, length, copies,
                                                                        on_extension, NULL)
                               : MBEDTLS_ERR_X509_ALLOC_FAILED;
    return sc_tls_is_out_of_memory(ret) ? MBEDTLS_ERR_X509_ALLOC_FAILED : ret;
}

/* Names that nothing is compared with, but which mbedTLS reads all the same. */
static bool is_idle_name(const struct element *name)
{
    switch (name->tag & 0x0f) {
    case MBEDTLS_X509_SAN_OTHER_NAME:
    case MBEDTLS_X509_SAN_X400_ADDRESS_NAME:
    case MBEDTLS_X509_SAN_DIRECTORY_NAME:
    case MBEDTLS_X509_SAN_EDI_PARTY_NAME:
        return true;
    case MBEDTLS_X509_SAN_IP_ADDRESS:
        return name->length != 4 && name->length != 16;
    default:
        return false;
    }
}

/* Turns idle names of subjectAltName into names of a kind that mbedTLS passes over, and
 * authorityKeyIdentifier into an extension that it does not know; a second call turns them back.
 * False: there are none. */
static bool toggle_idle(unsigned char *der, size_t length)
{
    struct parts parts;
    struct extension ext;
    bool is_changed = false;

    if (!split(der, length, &parts))
        return false;
    unsigned char *p = parts.extensions.data;
    while (take_extension(&p, end_of(&parts.extensions), &ext)) {
        unsigned char kind = kind_of(ext.oid.data, ext.oid.length);
        struct element names, name;
        unsigned char *at = ext.value.data;
        if ((kind & ~0x40) == EXT_AUTHORITY_KEY && !ext.is_critical) {
            ext.oid.data[2] ^= 0x40;
            is_changed = true;
        } else if (kind == EXT_SUBJECT_ALT_NAME &&
                   take_tag(&at, end_of(&ext.value), SEQUENCE, &names)) {
            at = names.data;
            while (take(&at, end_of(&names), &name))
                if (is_idle_name(&name)) {
                    name.start[0] ^= 0x10;
                    is_changed = true;
                }
        }
    }
    return is_changed;
}

static mbedtls_x509_crt *last_of(mbedtls_x509_crt *list)
{
    while (list->next)
        list = list->next;
    return list;
}

int sc_tls_read_cert(mbedtls_x509_crt *list, unsigned char *der, size_t length, bool copies)
{
    int ret = parse(list, der, length, copies);

    if (ret == 0 || ret == MBEDTLS_ERR_X509_ALLOC_FAILED || !toggle_idle(der, length))
        return ret;
    int second = parse(list, der, length, copies);
    toggle_idle(der, length);
    if (second == 0 && copies) /* the signature is of the bytes as they were */
        toggle_idle(last_of(list)->raw.p, last_of(list)->raw.len);
    return second == 0 || second == MBEDTLS_ERR_X509_ALLOC_FAILED ? second : ret;
}

/* A certificate at the end of the list, still empty, or NULL. */
static mbedtls_x509_crt *add_cert(mbedtls_x509_crt *list)
{
    if (list->version == 0)
        return list;
    mbedtls_x509_crt *last = last_of(list);
    last->next = mbedtls_calloc(1, sizeof(*last->next));
    if (last->next)
        mbedtls_x509_crt_init(last->next);
    return last->next;
}

static void drop_last(mbedtls_x509_crt *list)
{
    mbedtls_x509_crt *last = last_of(list);

    mbedtls_x509_crt_free(last);
    if (last == list)
        return;
    while (list->next != last)
        list = list->next;
    list->next = NULL;
    mbedtls_free(last);
}

/* Appends the bytes of a certificate and nothing else of it. */
static int add_bytes(mbedtls_x509_crt *list, const unsigned char *der, size_t length, bool copies,
                     mbedtls_x509_crt **out, struct parts *parts)
{
    if (!split(der, length, parts))
        return MBEDTLS_ERR_X509_INVALID_FORMAT;
    mbedtls_x509_crt *crt = add_cert(list);
    if (!crt)
        return MBEDTLS_ERR_X509_ALLOC_FAILED;
    crt->version = 3;
    crt->raw = (mbedtls_x509_buf){ .tag = SEQUENCE,
                                   .p = parts->whole.start,
                                   .len = (size_t)(end_of(&parts->whole) - parts->whole.start) };
    *out = crt;
    if (!copies)
        return 0;
    crt->raw.p = mbedtls_calloc(1, crt->raw.len);
    if (!crt->raw.p) {
        drop_last(list);
        return MBEDTLS_ERR_X509_ALLOC_FAILED;
    }
    crt->MBEDTLS_PRIVATE(own_buffer) = 1;
    memcpy(crt->raw.p, der, crt->raw.len);
    split(crt->raw.p, crt->raw.len, parts);
    return 0;
}

int sc_tls_keep_cert(mbedtls_x509_crt *list, const unsigned char *der, size_t length)
{
    mbedtls_x509_crt *crt;
    struct parts parts;

    return add_bytes(list, der, length, true, &crt, &parts);
}

/* The attributes of a name as far as they can be read. */
static int read_name(mbedtls_x509_name *name, const struct element *whole)
{
    unsigned char *p = whole->data;
    struct element set, pair, oid, value;

    while (take_tag(&p, end_of(whole), MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SET, &set)) {
        unsigned char *at = set.data;
        while (take_tag(&at, end_of(&set), SEQUENCE, &pair)) {
            unsigned char *in = pair.data;
            if (!take_tag(&in, end_of(&pair), MBEDTLS_ASN1_OID, &oid) ||
                !take(&in, end_of(&pair), &value))
                return 0;
            if (name->oid.p) {
                name->next = mbedtls_calloc(1, sizeof(*name));
                if (!name->next)
                    return MBEDTLS_ERR_X509_ALLOC_FAILED;
                name = name->next;
            }
            name->oid = buf_of(&oid);
            name->val = buf_of(&value);
        }
    }
    return 0;
}

static int two_digits(const unsigned char *p)
{
    return (p[0] - '0') * 10 + p[1] - '0';
}

/* The second of two dates, YYMMDDhhmmss or YYYYMMDDhhmmss; the year 0 when it is none. */
static void read_expiry(mbedtls_x509_time *time, const struct element *validity)
{
    unsigned char *p = validity->data;
    struct element date;

    for (int i = 0; i < 2; i++)
        if (!take(&p, end_of(validity), &date))
            return;
    size_t digits = date.tag == MBEDTLS_ASN1_UTC_TIME ? 12 : 14;
    p = date.data;
    if (date.length < digits)
        return;
    for (size_t i = 0; i < digits; i++)
        if (p[i] < '0' || p[i] > '9')
            return;
    int year = two_digits(p);
    if (digits == 14)
        year = 100 * year + two_digits(p += 2);
    else
        year += year < 50 ? 2000 : 1900;
    *time = (mbedtls_x509_time){ year,
                                 two_digits(p + 2),
                                 two_digits(p + 4),
                                 two_digits(p + 6),
                                 two_digits(p + 8),
                                 two_digits(p + 10) };
}

static int read_public_key(mbedtls_pk_context *pk, const struct element *key)
{
    unsigned char *p = key->start;
    int ret = mbedtls_pk_parse_subpubkey(&p, end_of(key), pk);

    if (!is_doubtful(ret))
        return ret;
    if (!has_room(key->length))
        return MBEDTLS_ERR_X509_ALLOC_FAILED;
    p = key->start;
    return mbedtls_pk_parse_subpubkey(&p, end_of(key), pk);
}

int sc_tls_read_cert_key(mbedtls_x509_crt *list, const unsigned char *der, size_t length,
                         bool copies)
{
    mbedtls_x509_crt *crt;
    struct parts parts;
    int ret = add_bytes(list, der, length, copies, &crt, &parts);

    if (ret != 0)
        return ret;
    ret = read_public_key(&crt->pk, &parts.key);
    if (ret == 0)
        ret = read_name(&crt->subject, &parts.subject);
    if (ret == 0)
        ret = read_name(&crt->issuer, &parts.issuer);
    if (ret != 0) {
        drop_last(list);
        return sc_tls_is_out_of_memory(ret) ? MBEDTLS_ERR_X509_ALLOC_FAILED : ret;
    }
    crt->pk_raw.p = parts.key.start;
    crt->pk_raw.len = (size_t)(end_of(&parts.key) - parts.key.start);
    read_expiry(&crt->valid_to, &parts.validity);
    return 0;
}

static int tell_unread(mbedtls_ssl_context *ssl, int depth, const unsigned char *der, size_t length,
                       int error)
{
    mbedtls_x509_crt crt;
    uint32_t flags = (uint32_t)-error;

    mbedtls_x509_crt_init(&crt);
    crt.raw.p = (unsigned char *)(size_t)der;
    crt.raw.len = length;
    return ssl->MBEDTLS_PRIVATE(f_vrfy)
               ? ssl->MBEDTLS_PRIVATE(f_vrfy)(ssl->MBEDTLS_PRIVATE(p_vrfy), &crt, depth, &flags)
               : 0;
}

int sc_tls_read_peer_cert(mbedtls_ssl_context *ssl, mbedtls_x509_crt *list,
                          const unsigned char *der, size_t length, bool copies)
{
    const mbedtls_ssl_config *config = ssl ? ssl->MBEDTLS_PRIVATE(conf) : NULL;
    bool is_verified = config && config->MBEDTLS_PRIVATE(authmode) != MBEDTLS_SSL_VERIFY_NONE;
    bool is_first = list->version == 0;

    if (config && config->MBEDTLS_PRIVATE(endpoint) != MBEDTLS_SSL_IS_CLIENT)
        return mbedtls_x509_crt_parse_der_with_ext_cb(list, der, length, copies, NULL, NULL);
    if (!is_first && !is_verified)
        return 0;
    /* mbedTLS's own buffer, or a session, whose bytes may be anybody's. */
    int ret = ssl ? sc_tls_read_cert(list, (unsigned char *)(size_t)der, length, copies)
                  : parse(list, der, length, copies);
    if (ret != 0 && ret != MBEDTLS_ERR_X509_ALLOC_FAILED && is_first && !is_verified)
        ret = sc_tls_read_cert_key(list, der, length, copies);
    if (ret == 0 || ret == MBEDTLS_ERR_X509_ALLOC_FAILED || !ssl)
        return ret;
    ret = tell_unread(ssl, is_first ? SC_TLS_DEPTH_UNREAD_FIRST : SC_TLS_DEPTH_UNREAD, der, length,
                      ret);
    return ret != 0 || !is_first ? ret : MBEDTLS_ERR_SSL_BAD_CERTIFICATE;
}

/* ---- words ---- */

static const struct {
    const char *oid;
    unsigned char length;
    const char *name;
} names[] = {
#define OID(bytes) bytes, sizeof(bytes) - 1
    { OID("\x2b\x65\x6e"), "X25519" },
    { OID("\x2b\x65\x70"), "Ed25519" },
    { OID("\x2b\x65\x71"), "Ed448" },
    { OID("\x2a\x86\x48\xce\x38\x04\x01"), "DSA" },
    { OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"), "RSASSA-PSS" },
    { OID("\x60\x86\x48\x01\x65\x03\x04\x03\x11"), "ML-DSA-44" },
    { OID("\x60\x86\x48\x01\x65\x03\x04\x03\x12"), "ML-DSA-65" },
    { OID("\x60\x86\x48\x01\x65\x03\x04\x03\x13"), "ML-DSA-87" },
    { OID("\x2a\x86\x48\xce\x3d\x03\x01\x01"), "P-192" },
    { OID("\x2b\x81\x04\x00\x21"), "P-224" },
    { OID("\x2b\x81\x04\x00\x22"), "P-384" },
    { OID("\x2b\x81\x04\x00\x23"), "P-521" },
    { OID("\x2b\x81\x04\x00\x0a"), "secp256k1" },
    { OID("\x2b\x24\x03\x03\x02\x08\x01\x01\x07"), "brainpoolP256r1" },
    { OID("\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"), "brainpoolP384r1" },
    { OID("\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"), "brainpoolP512r1" },
    { OID("\x55\x1d\x1e"), "nameConstraints" },
    { OID("\x55\x1d\x24"), "policyConstraints" },
};

/* "<what> <name of the OID> is not supported" */
static void say_unsupported(char *out, size_t size, const char *what, const struct element *oid)
{
    char digits[64];
    const char *name = digits;
    mbedtls_asn1_buf buf = buf_of(oid);

    if (mbedtls_oid_get_numeric_string(digits, sizeof(digits), &buf) < 0)
        name = "of an unknown kind";
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].length == oid->length && memcmp(names[i].oid, oid->data, oid->length) == 0)
            name = names[i].name;
    snprintf(out, size, "%s %s is not supported", what, name);
}

/* Says so if the key algorithm or the curve is one that mbedTLS does not know. `whole` is the
 * AlgorithmIdentifier. */
static bool say_unknown_key(char *out, size_t size, const struct element *whole)
{
    unsigned char *p = whole->data;
    struct element oid, curve;
    mbedtls_pk_type_t kind;
    mbedtls_ecp_group_id group;

    if (!take_tag(&p, end_of(whole), MBEDTLS_ASN1_OID, &oid))
        return false;
    mbedtls_asn1_buf buf = buf_of(&oid);
    if (mbedtls_oid_get_pk_alg(&buf, &kind) != 0 || kind == MBEDTLS_PK_NONE) {
        say_unsupported(out, size, "key algorithm", &oid);
        return true;
    }
    if (kind == MBEDTLS_PK_RSA)
        return false;
    if (!take_tag(&p, end_of(whole), MBEDTLS_ASN1_OID, &curve)) {
        snprintf(out, size, "a curve without a name is not supported");
        return true;
    }
    buf = buf_of(&curve);
    if (mbedtls_oid_get_ec_grp(&buf, &group) == 0)
        return false;
    say_unsupported(out, size, "curve", &curve);
    return true;
}

static bool say_unknown_signature(char *out, size_t size, const struct element *whole, int ret)
{
    unsigned char *p = whole->data;
    struct element oid;
    mbedtls_md_type_t md;
    mbedtls_pk_type_t pk;
    int high = -(-ret & ~LOW_ERROR);

    if (!take_tag(&p, end_of(whole), MBEDTLS_ASN1_OID, &oid))
        return false;
    mbedtls_asn1_buf buf = buf_of(&oid);
    if (mbedtls_oid_get_sig_alg(&buf, &md, &pk) == 0 && high != MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG &&
        high != MBEDTLS_ERR_X509_INVALID_ALG)
        return false;
    say_unsupported(out, size, "signature algorithm", &oid);
    return true;
}

static bool say_unknown_extension(char *out, size_t size, const struct element *whole)
{
    unsigned char *p = whole->data;
    struct extension ext;

    while (take_extension(&p, end_of(whole), &ext)) {
        mbedtls_asn1_buf buf = buf_of(&ext.oid);
        int type;
        if (ext.is_critical && mbedtls_oid_get_x509_ext_type(&buf, &type) != 0 &&
            !is_harmless(ext.oid.data, ext.oid.length)) {
            say_unsupported(out, size, "critical extension", &ext.oid);
            return true;
        }
    }
    return false;
}

static void say_code(char *out, size_t size, const char *what, int ret)
{
    char words[80] = "";

#if defined(MBEDTLS_ERROR_C)
    mbedtls_strerror(ret, words, sizeof(words));
#endif
    snprintf(out, size, "%s%s%s (-0x%04x)", what, words[0] ? ": " : "", words, (unsigned)-ret);
}

/* Takes the outermost element. False: it says in `out` why it cannot. */
static bool take_whole(char *out, size_t size, const unsigned char *der, size_t length,
                       struct element *whole)
{
    unsigned char *p = (unsigned char *)(size_t)der;

    if (take_tag(&p, der + length, SEQUENCE, whole))
        return true;
    if (length > 4 && der[0] == SEQUENCE && der[1] == 0x82)
        snprintf(out, size, "DER that is cut short (%u of %u bytes)", (unsigned)length,
                 4U + (der[2] << 8 | der[3]));
    else
        snprintf(out, size, "not DER");
    return false;
}

void sc_tls_explain_cert(char *out, size_t size, const unsigned char *der, size_t length, int ret)
{
    struct parts parts;
    struct element whole, algorithm;

    if (!take_whole(out, size, der, length, &whole))
        return;
    if (!split(der, length, &parts)) {
        snprintf(out, size, "DER, but not of a certificate");
        return;
    }
    unsigned char *p = parts.key.data;
    if (take_tag(&p, end_of(&parts.key), SEQUENCE, &algorithm) &&
        say_unknown_key(out, size, &algorithm))
        return;
    if (say_unknown_signature(out, size, &parts.algorithm, ret) ||
        say_unknown_extension(out, size, &parts.extensions))
        return;
    say_code(out, size, "malformed", ret);
}

/* PKCS#8: version, algorithm, key; SEC 1: version, key, [0] curve; PKCS#1: nine integers. */
void sc_tls_explain_key(char *out, size_t size, const unsigned char *der, size_t length, int ret)
{
    struct element whole = { 0 }, version, next, curve;

    if (!take_whole(out, size, der, length, &whole))
        return;
    unsigned char *p = whole.data;
    if (!take_tag(&p, end_of(&whole), MBEDTLS_ASN1_INTEGER, &version) ||
        !take(&p, end_of(&whole), &next)) {
        snprintf(out, size, "DER, but not of a private key");
        return;
    }
    if (next.tag == SEQUENCE && say_unknown_key(out, size, &next))
        return;
    if (next.tag == MBEDTLS_ASN1_OCTET_STRING && take_tag(&p, end_of(&whole), TAGGED(0), &next)) {
        mbedtls_ecp_group_id group;
        p = next.data;
        if (take_tag(&p, end_of(&next), MBEDTLS_ASN1_OID, &curve)) {
            mbedtls_asn1_buf buf = buf_of(&curve);
            if (mbedtls_oid_get_ec_grp(&buf, &group) != 0) {
                say_unsupported(out, size, "curve", &curve);
                return;
            }
        }
    }
    say_code(out, size, "malformed", ret);
}

bool sc_tls_get_cert_subject(char *out, size_t size, const unsigned char *der, size_t length)
{
    mbedtls_x509_name subject = { 0 };
    struct parts parts;

    bool is_there = split(der, length, &parts) && read_name(&subject, &parts.subject) == 0 &&
                    subject.oid.p && mbedtls_x509_dn_gets(out, size, &subject) > 0;
    mbedtls_asn1_free_named_data_list_shallow(subject.next);
    return is_there;
}
