/*
 * The session cache behind tls_sessions.h, and its form as a string: a header, then for each
 * session the fingerprint, the length and mbedTLS's own serialisation, most recently used first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tls_sessions.h"

#include "tls_credentials.h"
#include "tls_lock.h"

#include "lwip/mem.h"

#include <string.h>

#ifndef SC_TLS_SESSIONS_MAX
#define SC_TLS_SESSIONS_MAX 32
#endif
#define SESSION_SIZE_MAX 8192 /* a long chain of the peer's is not worth keeping */

#define MAGIC_SIZE 4
#define ENTRY_HEADER (SC_FINGERPRINT_SIZE + 2)

struct session {
    struct session *next;
    unsigned char fingerprint[SC_FINGERPRINT_SIZE];
    size_t length;
    unsigned char data[];
};

static const unsigned char magic[MAGIC_SIZE] = { 'S', 'C', 'T', '1' };

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
    memset(s->data, 0, s->length); /* it holds a key */
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

static struct session *new_session(const unsigned char *fingerprint, size_t length)
{
    struct session *s = mem_malloc((mem_size_t)(sizeof(*s) + length));

    if (!s)
        return NULL;
    memcpy(s->fingerprint, fingerprint, SC_FINGERPRINT_SIZE);
    s->length = length;
    return s;
}

void sc_tls_keep_session(const unsigned char *fingerprint, const mbedtls_ssl_session *session)
{
    size_t length = 0;

    mbedtls_ssl_session_save(session, NULL, 0, &length);
    if (!length || length > SESSION_SIZE_MAX)
        return;
    struct session *s = new_session(fingerprint, length);
    if (!s)
        return;
    if (mbedtls_ssl_session_save(session, s->data, length, &length) != 0 || !sc_tls_lock(&lock)) {
        mem_free(s);
        return;
    }
    push_session(s);
    sc_tls_unlock(&lock);
}

bool sc_tls_offer_session(const unsigned char *fingerprint, mbedtls_ssl_context *ssl)
{
    mbedtls_ssl_session session;
    bool is_offered = false;

    if (!sc_tls_lock(&lock))
        return false;
    struct session *s = unlink_session(fingerprint);
    if (s) {
        mbedtls_ssl_session_init(&session);
        is_offered = mbedtls_ssl_session_load(&session, s->data, s->length) == 0 &&
                     mbedtls_ssl_set_session(ssl, &session) == 0;
        mbedtls_ssl_session_free(&session);
        if (is_offered)
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
    while (sessions) {
        struct session *next = sessions->next;
        free_session(sessions);
        sessions = next;
    }
    sc_tls_unlock(&lock);
    sc_tls_lock_free(&lock);
}

size_t sc_tls_save_sessions(void *out, size_t size)
{
    unsigned char *at = out;
    size_t needed = MAGIC_SIZE;

    if (!sc_is_running() || !sc_tls_lock(&lock))
        return 0;
    for (struct session *s = sessions; s; s = s->next)
        needed += ENTRY_HEADER + s->length;
    if (needed <= size) {
        memcpy(at, magic, MAGIC_SIZE);
        at += MAGIC_SIZE;
        for (struct session *s = sessions; s; s = s->next) {
            memcpy(at, s->fingerprint, SC_FINGERPRINT_SIZE);
            at[SC_FINGERPRINT_SIZE] = (unsigned char)(s->length >> 8);
            at[SC_FINGERPRINT_SIZE + 1] = (unsigned char)s->length;
            memcpy(at + ENTRY_HEADER, s->data, s->length);
            at += ENTRY_HEADER + s->length;
        }
    }
    sc_tls_unlock(&lock);
    return needed;
}

/* Does the string hold whole entries that mbedTLS can read? */
static bool is_well_formed(const unsigned char *data, size_t length)
{
    size_t at = MAGIC_SIZE;

    if (length < MAGIC_SIZE || memcmp(data, magic, MAGIC_SIZE) != 0)
        return false;
    while (at < length) {
        if (length - at < ENTRY_HEADER)
            return false;
        size_t size =
            (size_t)data[at + SC_FINGERPRINT_SIZE] << 8 | data[at + SC_FINGERPRINT_SIZE + 1];
        at += ENTRY_HEADER;
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        bool is_good =
            size <= length - at && mbedtls_ssl_session_load(&session, data + at, size) == 0;
        mbedtls_ssl_session_free(&session);
        if (!is_good)
            return false;
        at += size;
    }
    return true;
}

bool sc_tls_load_sessions(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    struct session *loaded = NULL;

    if (!sc_is_running() || !is_well_formed(bytes, length))
        return false;
    for (size_t at = MAGIC_SIZE; at < length;) {
        size_t size =
            (size_t)bytes[at + SC_FINGERPRINT_SIZE] << 8 | bytes[at + SC_FINGERPRINT_SIZE + 1];
        struct session *s = new_session(bytes + at, size);
        if (s) {
            memcpy(s->data, bytes + at + ENTRY_HEADER, size);
            s->next = loaded;
            loaded = s;
        }
        at += ENTRY_HEADER + size;
    }
    if (!sc_tls_lock(&lock))
        return false;
    /* Reversed by now: the most recently used one is pushed last. */
    while (loaded) {
        struct session *next = loaded->next;
        push_session(loaded);
        loaded = next;
    }
    sc_tls_unlock(&lock);
    return true;
}
