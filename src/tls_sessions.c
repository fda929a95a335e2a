/*
 * The session cache behind tls_sessions.h, and its form as a string: a header, then for each
 * session the fingerprint, the validity, the length and mbedTLS's own serialisation, most recently
 * used first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_sessions.h"

#include "socketcore_port.h"
#include "tls_certs.h"
#include "tls_credentials.h"
#include "tls_lock.h"

#include "lwip/mem.h"

#include <mbedtls/platform_util.h>
#include <string.h>

#ifndef SC_TLS_SESSIONS_MAX
#define SC_TLS_SESSIONS_MAX 32
#endif
#define SESSION_SIZE_MAX 8192 /* a long chain of the peer's is not worth keeping */

#define MAGIC_SIZE 4
/* Where the parts of an entry stand. */
#define VALIDITY_AT SC_FINGERPRINT_SIZE
#define LENGTH_AT (VALIDITY_AT + 16)
#define ENTRY_HEADER (LENGTH_AT + 2)

struct session {
    struct session *next;
    unsigned char fingerprint[SC_FINGERPRINT_SIZE];
    struct sc_tls_validity validity;
    size_t length;
    unsigned char data[];
};

static const unsigned char magic[MAGIC_SIZE] = { 'S', 'C', 'T', '2' };

/* Most recently used first. Under the lock. */
static struct session *sessions;
static struct sc_tls_lock lock;

static struct session *unlink_session(const unsigned char *fingerprint)
{
    for (struct session **link = &sessions; *link; link = &(*link)->next) {
        struct session *s = *link;
        if (memcmp(s->fingerprint, fingerprint, SC_FINGERPRINT_SIZE) == 0) {
            *link = s->next;
            return s;
        }
    }
    return NULL;
}

static void free_session(struct session *s)
{
    if (!s)
        return;
    mbedtls_platform_zeroize(s->data, s->length); /* it holds a key */
    mem_free(s);
}

static void push_session(struct session *s)
{
    size_t count = 0;

    free_session(unlink_session(s->fingerprint));
    s->next = sessions;
    sessions = s;
    for (struct session **link = &sessions; *link; link = &(*link)->next)
        if (++count > SC_TLS_SESSIONS_MAX) {
            struct session *last = *link;
            *link = last->next;
            free_session(last);
            return;
        }
}

static void free_sessions(struct session *list)
{
    while (list) {
        struct session *next = list->next;
        free_session(list);
        list = next;
    }
}

static struct session *new_session(const unsigned char *fingerprint,
                                   const struct sc_tls_validity *validity, size_t length)
{
    struct session *s = mem_malloc((mem_size_t)(sizeof(*s) + length));

    if (!s)
        return NULL;
    memcpy(s->fingerprint, fingerprint, SC_FINGERPRINT_SIZE);
    s->validity = *validity;
    s->length = length;
    return s;
}

void sc_tls_keep_session(const unsigned char *fingerprint, const struct sc_tls_validity *validity,
                         const mbedtls_ssl_session *session)
{
    size_t length = 0;

    mbedtls_ssl_session_save(session, NULL, 0, &length);
    if (!length || length > SESSION_SIZE_MAX)
        return;
    struct session *s = new_session(fingerprint, validity, length);
    if (!s)
        return;
    if (mbedtls_ssl_session_save(session, s->data, length, &length) != 0 || !sc_tls_lock(&lock)) {
        free_session(s);
        return;
    }
    push_session(s);
    sc_tls_unlock(&lock);
}

static bool is_valid_now(const struct sc_tls_validity *validity)
{
    int64_t now = sc_port_time();

    return !now || (now >= validity->from && now <= validity->until);
}

/* mbedtls_ssl_session_load, which may hide that it had no memory. */
static int load_session(mbedtls_ssl_session *session, const unsigned char *data, size_t length)
{
    size_t failed_before = sc_port_failed_allocations();
    int ret = mbedtls_ssl_session_load(session, data, length);

    return ret != 0 && sc_port_failed_allocations() != failed_before ? MBEDTLS_ERR_SSL_ALLOC_FAILED
                                                                     : ret;
}

static int give_session(mbedtls_ssl_context *ssl, const struct session *s)
{
    mbedtls_ssl_session session;

    mbedtls_ssl_session_init(&session);
    int ret = load_session(&session, s->data, s->length);
    if (ret == 0)
        ret = mbedtls_ssl_set_session(ssl, &session);
    mbedtls_ssl_session_free(&session);
    return ret;
}

bool sc_tls_offer_session(const unsigned char *fingerprint, mbedtls_ssl_context *ssl,
                          struct sc_tls_validity *validity)
{
    bool is_offered = false;

    if (!sc_tls_lock(&lock))
        return false;
    struct session *s = unlink_session(fingerprint);
    if (s) {
        int ret =
            is_valid_now(&s->validity) ? give_session(ssl, s) : MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
        is_offered = ret == 0;
        if (is_offered)
            *validity = s->validity;
        if (is_offered || sc_tls_is_out_of_memory(ret))
            push_session(s);
        else
            free_session(s);
    }
    sc_tls_unlock(&lock);
    return is_offered;
}

bool sc_tls_has_session(const unsigned char *fingerprint)
{
    bool has_session = false;

    if (!sc_tls_lock(&lock))
        return false;
    for (const struct session *s = sessions; s && !has_session; s = s->next)
        has_session = memcmp(s->fingerprint, fingerprint, SC_FINGERPRINT_SIZE) == 0;
    sc_tls_unlock(&lock);
    return has_session;
}

void sc_tls_drop_session(const unsigned char *fingerprint)
{
    if (!sc_tls_lock(&lock))
        return;
    free_session(unlink_session(fingerprint));
    sc_tls_unlock(&lock);
}

void sc_tls_drop_sessions(void)
{
    if (!sc_tls_lock(&lock))
        return;
    free_sessions(sessions);
    sessions = NULL;
    sc_tls_unlock(&lock);
    sc_tls_lock_free(&lock);
}

/* ---- as a string ---- */

static void put_number(unsigned char *out, uint64_t number, size_t size)
{
    while (size--) {
        out[size] = (unsigned char)number;
        number >>= 8;
    }
}

static uint64_t get_number(const unsigned char *data, size_t size)
{
    uint64_t number = 0;

    while (size--)
        number = number << 8 | *data++;
    return number;
}

static struct sc_tls_validity get_validity(const unsigned char *entry)
{
    struct sc_tls_validity validity = {
        .from = (int64_t)get_number(entry + VALIDITY_AT, 8),
        .until = (int64_t)get_number(entry + VALIDITY_AT + 8, 8),
    };

    return validity;
}

size_t sc_tls_save_sessions(void *out, size_t size)
{
    unsigned char *at = out;
    size_t needed = MAGIC_SIZE;

    if (!sc_tls_lock(&lock))
        return 0;
    for (struct session *s = sessions; s; s = s->next)
        needed += ENTRY_HEADER + s->length;
    if (needed <= size) {
        memcpy(at, magic, MAGIC_SIZE);
        at += MAGIC_SIZE;
        for (struct session *s = sessions; s; s = s->next) {
            memcpy(at, s->fingerprint, SC_FINGERPRINT_SIZE);
            put_number(at + VALIDITY_AT, (uint64_t)s->validity.from, 8);
            put_number(at + VALIDITY_AT + 8, (uint64_t)s->validity.until, 8);
            put_number(at + LENGTH_AT, s->length, 2);
            memcpy(at + ENTRY_HEADER, s->data, s->length);
            at += ENTRY_HEADER + s->length;
        }
    }
    sc_tls_unlock(&lock);
    return needed;
}

/* Does the string hold whole entries that mbedTLS can read? */
static enum sc_error check_string(const unsigned char *data, size_t length)
{
    size_t at = MAGIC_SIZE;

    if (length < MAGIC_SIZE || memcmp(data, magic, MAGIC_SIZE) != 0)
        return SC_ERR_INVAL;
    while (at < length) {
        if (length - at < ENTRY_HEADER)
            return SC_ERR_INVAL;
        size_t size = (size_t)get_number(data + at + LENGTH_AT, 2);
        at += ENTRY_HEADER;
        if (size > length - at)
            return SC_ERR_INVAL;
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        int ret = load_session(&session, data + at, size);
        mbedtls_ssl_session_free(&session);
        if (ret != 0)
            return sc_tls_is_out_of_memory(ret) ? SC_ERR_NOMEM : SC_ERR_INVAL;
        at += size;
    }
    return SC_OK;
}

/* The sessions of a string that was checked, the last one first. */
static enum sc_error read_string(const unsigned char *data, size_t length, struct session **out)
{
    *out = NULL;
    for (size_t at = MAGIC_SIZE; at < length;) {
        size_t size = (size_t)get_number(data + at + LENGTH_AT, 2);
        struct sc_tls_validity validity = get_validity(data + at);
        struct session *s = new_session(data + at, &validity, size);
        if (!s) {
            free_sessions(*out);
            return SC_ERR_NOMEM;
        }
        memcpy(s->data, data + at + ENTRY_HEADER, size);
        s->next = *out;
        *out = s;
        at += ENTRY_HEADER + size;
    }
    return SC_OK;
}

enum sc_error sc_tls_load_sessions(const void *data, size_t length)
{
    struct session *loaded;
    enum sc_error error = check_string(data, length);

    if (error == SC_OK)
        error = read_string(data, length, &loaded);
    if (error != SC_OK)
        return error;
    if (!sc_tls_lock(&lock)) {
        free_sessions(loaded);
        return SC_ERR_NOMEM;
    }
    /* The most recently used one is pushed last. */
    while (loaded) {
        struct session *next = loaded->next;
        push_session(loaded);
        loaded = next;
    }
    sc_tls_unlock(&lock);
    return SC_OK;
}
