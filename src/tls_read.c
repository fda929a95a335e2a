/*
 * The readers of tls_read.h: blocks of PEM one by one, words for each that fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_read.h"

#include "tls_certs.h"
#include "tls_credentials.h"

#include "lwip/def.h"
#include "lwip/mem.h"

#include <mbedtls/cipher.h>
#include <mbedtls/pem.h>
#include <mbedtls/pkcs12.h>
#include <mbedtls/pkcs5.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <string.h>

#define BEGIN "-----BEGIN "
#define BEGIN_CERT "-----BEGIN CERTIFICATE-----"
#define END_CERT "-----END CERTIFICATE-----"
#define LABEL_MAX 40

/* mbedTLS looks for PEM in what ends with a NUL. A copy, because the caller's bytes may not. */
static char *copy_with_nul(const struct sc_bytes *bytes)
{
    char *copy = mem_malloc((mem_size_t)(bytes->length + 1));

    if (!copy)
        return NULL;
    memcpy(copy, bytes->data, bytes->length);
    copy[bytes->length] = '\0';
    return copy;
}

/* PEM text may have a key beside the certificates. */
static void free_copy(char *copy, size_t length)
{
    mbedtls_platform_zeroize(copy, length);
    mem_free(copy);
}

/* The label of the first block of PEM that has `wanted` in it, or else of the first of all. False:
 * there is none. */
static bool find_label(const char *text, const char *wanted, char *label)
{
    char found[LABEL_MAX];

    label[0] = '\0';
    while ((text = strstr(text, BEGIN))) {
        text += strlen(BEGIN);
        size_t length = strcspn(text, "-\r\n");
        if (length == 0 || length >= sizeof(found))
            continue;
        memcpy(found, text, length);
        found[length] = '\0';
        if (!label[0] || strstr(found, wanted))
            strcpy(label, found);
        if (strstr(found, wanted))
            return true;
    }
    return label[0] != '\0';
}

static enum sc_error say_label(char *why, const char *label, const char *wanted)
{
    snprintf(why, SC_TLS_WHY_MAX, "PEM that holds %s %s, not a %s",
             strchr("AEIORX", label[0]) ? "an" : "a", label, wanted);
    return SC_ERR_SSL_INIT;
}

/* Bytes that are not PEM and cannot be DER either. */
static bool say_neither(char *why, const char *bytes, size_t length)
{
    if (length && bytes[0] == (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE))
        return false;
    snprintf(why, SC_TLS_WHY_MAX, "%s",
             length ? "neither PEM nor DER (it must be the contents of a file, not its name)"
                    : "empty");
    return true;
}

/* What an error of mbedTLS is to the script; the words for it are in `why`. */
static enum sc_error error_of(int ret)
{
    return sc_tls_is_out_of_memory(ret) ? SC_ERR_NOMEM : SC_ERR_SSL_INIT;
}

/* ---- certificates ---- */

static int take_cert(mbedtls_x509_crt *list, enum sc_cert_use use, unsigned char *der,
                     size_t length)
{
    if (use != SC_CERT_OWN)
        return sc_tls_read_cert(list, der, length, true);
    return list->version == 0 ? sc_tls_read_cert_key(list, der, length, true)
                              : sc_tls_keep_cert(list, der, length);
}

static size_t count_certs(const char *text)
{
    size_t count = 0;

    while ((text = strstr(text, BEGIN_CERT))) {
        text += strlen(BEGIN_CERT);
        count++;
    }
    return count;
}

#if defined(MBEDTLS_PEM_PARSE_C)
static void note_left_out(struct sc_left_out *l, size_t number, mbedtls_pem_context *pem,
                          const char *why)
{
    char name[64], text[150];
    size_t length, used = strlen(l->which);
    const unsigned char *der = mbedtls_pem_get_buffer(pem, &length);

    l->count++;
    if (!der || !sc_tls_get_cert_subject(name, sizeof(name), der, length))
        snprintf(name, sizeof(name), "number %u", (unsigned)number);
    snprintf(text, sizeof(text), "%s%s: %.75s", used ? "; " : "", name, why);
    if (used + strlen(text) < sizeof(l->which))
        strcpy(l->which + used, text);
}

/* Reads the block of PEM that begins at *text, and moves *text to where the next may begin. */
static int read_block(mbedtls_x509_crt *list, enum sc_cert_use use, const char **text,
                      mbedtls_pem_context *pem, char *why)
{
    size_t used, length;
    int ret = mbedtls_pem_read_buffer(pem, BEGIN_CERT, END_CERT, (const unsigned char *)*text, NULL,
                                      0, &used);

    if (ret != 0) {
        *text += strlen(BEGIN_CERT);
        snprintf(why, SC_TLS_WHY_MAX, "PEM that is damaged or cut short");
        return ret;
    }
    *text += used;
    unsigned char *der = (unsigned char *)(size_t)mbedtls_pem_get_buffer(pem, &length);
    ret = take_cert(list, use, der, length);
    if (ret != 0)
        sc_tls_explain_cert(why, SC_TLS_WHY_MAX, der, length, ret);
    return ret;
}

static enum sc_error read_pem(mbedtls_x509_crt *list, enum sc_cert_use use, const char *text,
                              struct sc_left_out *left_out, char *why)
{
    size_t number = 0, count = count_certs(text);
    int ret = 0;

    left_out->of = count;
    while (ret == 0 && (text = strstr(text, BEGIN_CERT))) {
        mbedtls_pem_context pem;
        char words[SC_TLS_WHY_MAX];
        number++;
        mbedtls_pem_init(&pem);
        ret = read_block(list, use, &text, &pem, words);
        if (ret != 0 && !sc_tls_is_out_of_memory(ret)) {
            if (use == SC_CERT_SYSTEM) {
                note_left_out(left_out, number, &pem, words);
                ret = 0;
            } else if (count > 1) {
                snprintf(why, SC_TLS_WHY_MAX, "certificate %u of %u: %.100s", (unsigned)number,
                         (unsigned)count, words);
            } else {
                strcpy(why, words);
            }
        }
        mbedtls_pem_free(&pem);
    }
    return ret == 0 ? SC_OK : error_of(ret);
}
#else
static enum sc_error read_pem(mbedtls_x509_crt *list, enum sc_cert_use use, const char *text,
                              struct sc_left_out *left_out, char *why)
{
    LWIP_UNUSED_ARG(list);
    LWIP_UNUSED_ARG(use);
    LWIP_UNUSED_ARG(text);
    LWIP_UNUSED_ARG(left_out);
    snprintf(why, SC_TLS_WHY_MAX, "PEM, which this build does not read");
    return SC_ERR_SSL_INIT;
}
#endif

static enum sc_error read_der(mbedtls_x509_crt *list, enum sc_cert_use use, char *bytes,
                              size_t length, char *why)
{
    unsigned char *der = (unsigned char *)bytes;

    if (say_neither(why, bytes, length))
        return SC_ERR_SSL_INIT;
    int ret = take_cert(list, use, der, length);
    if (ret == 0)
        return SC_OK;
    sc_tls_explain_cert(why, SC_TLS_WHY_MAX, der, length, ret);
    return error_of(ret);
}

enum sc_error sc_tls_read_certs(mbedtls_x509_crt *list, enum sc_cert_use use,
                                const struct sc_bytes *bytes, struct sc_left_out *left_out,
                                char *why)
{
    char label[LABEL_MAX];
    char *copy = copy_with_nul(bytes);
    enum sc_error error;

    if (!copy)
        return SC_ERR_NOMEM;
    memset(left_out, 0, sizeof(*left_out));
    if (strstr(copy, BEGIN_CERT))
        error = read_pem(list, use, copy, left_out, why);
    else if (find_label(copy, "CERTIFICATE", label))
        error = say_label(why, label, "CERTIFICATE");
    else
        error = read_der(list, use, copy, bytes->length, why);
    free_copy(copy, bytes->length);
    if (error == SC_OK && list->version == 0) {
        snprintf(why, SC_TLS_WHY_MAX, "none of the certificates can be read: %.100s",
                 left_out->which);
        error = SC_ERR_SSL_INIT;
    }
    return error;
}

/* ---- the private key ---- */

static bool is_encryption_unknown(int ret)
{
    switch (ret) {
    case MBEDTLS_ERR_PKCS5_FEATURE_UNAVAILABLE:
    case MBEDTLS_ERR_PKCS12_FEATURE_UNAVAILABLE:
    case MBEDTLS_ERR_PEM_FEATURE_UNAVAILABLE:
    case MBEDTLS_ERR_PEM_UNKNOWN_ENC_ALG:
    case MBEDTLS_ERR_PK_FEATURE_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}

/* Words for a key that is in PEM, not encrypted, and not known. */
static void explain_pem_key(char *why, const char *text, const char *label, int ret)
{
    snprintf(why, SC_TLS_WHY_MAX, "PEM that is damaged or cut short");
#if defined(MBEDTLS_PEM_PARSE_C)
    char begin[LABEL_MAX + sizeof(BEGIN_CERT)], end[LABEL_MAX + sizeof(BEGIN_CERT)];
    mbedtls_pem_context pem;
    size_t used, length;

    snprintf(begin, sizeof(begin), "-----BEGIN %s-----", label);
    snprintf(end, sizeof(end), "-----END %s-----", label);
    mbedtls_pem_init(&pem);
    if (mbedtls_pem_read_buffer(&pem, begin, end, (const unsigned char *)text, NULL, 0, &used) ==
        0) {
        const unsigned char *der = mbedtls_pem_get_buffer(&pem, &length);
        sc_tls_explain_key(why, SC_TLS_WHY_MAX, der, length, ret);
    }
    mbedtls_pem_free(&pem);
#endif
}

static enum sc_error explain_key(char *why, const char *text, size_t length, int ret)
{
    char label[LABEL_MAX];
    bool is_pem = find_label(text, "PRIVATE KEY", label);

    if (sc_tls_is_out_of_memory(ret))
        return SC_ERR_NOMEM;
    if (strcmp(label, "OPENSSH PRIVATE KEY") == 0)
        snprintf(why, SC_TLS_WHY_MAX,
                 "an OpenSSH key, which \"ssh-keygen -p -m PEM -f FILE\" turns into PEM");
    else if (is_pem && !strstr(label, "PRIVATE KEY"))
        say_label(why, label, "PRIVATE KEY");
    else if (is_encryption_unknown(ret))
        snprintf(why, SC_TLS_WHY_MAX, "encrypted in a way that is not supported");
    else if (is_pem)
        explain_pem_key(why, text, label, ret);
    else if (!say_neither(why, text, length))
        sc_tls_explain_key(why, SC_TLS_WHY_MAX, (const unsigned char *)text, length, ret);
    return SC_ERR_SSL_INIT;
}

enum sc_error sc_tls_read_key(mbedtls_pk_context *key, const struct sc_bytes *bytes,
                              const struct sc_bytes *password, char *why)
{
    char *copy = copy_with_nul(bytes);
    enum sc_error error = SC_OK;

    if (!copy)
        return SC_ERR_NOMEM;
    size_t length = bytes->length + (strstr(copy, BEGIN) ? 1 : 0);
    int ret = mbedtls_pk_parse_key(key, (const unsigned char *)copy, length, password->data,
                                   password->length, sc_tls_random, NULL);
    if (ret == MBEDTLS_ERR_PK_PASSWORD_REQUIRED) {
        snprintf(why, SC_TLS_WHY_MAX, "encrypted, and clientPassword is missing");
        error = SC_ERR_SSL_INIT;
    } else if (ret == MBEDTLS_ERR_PK_PASSWORD_MISMATCH) {
        snprintf(why, SC_TLS_WHY_MAX, "clientPassword does not fit");
        error = SC_ERR_SSL_INIT;
    } else if (ret != 0) {
        error = explain_key(why, copy, bytes->length, ret);
    }
    free_copy(copy, bytes->length);
    return error;
}
