/*
 * TLS as a transport that stacks on TCP: mbedTLS's client between two channels. It knows neither
 * the script nor the socket's states.
 *
 * Runs on the engine's thread. One handshake step (a few milliseconds on a PC, a second on a small
 * processor) is the longest that it keeps the engine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "socketcore_port.h"
#include "tls_certs.h"
#include "tls_credentials.h"
#include "tls_reason.h"
#include "tls_records.h"
#include "tls_room.h"
#include "tls_sessions.h"
#include "transport.h"

#include "lwip/mem.h"
#include "lwip/pbuf.h"

#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <mbedtls/ssl.h>
#include <stdio.h>
#include <string.h>

/* What the BIO functions return when TCP has failed; any code that is mbedTLS's network module's.
 */
#define TCP_FAILED (-0x0050)

/* A client's last records of a handshake fit, with any key and hash but the largest. */
#define FLIGHT_MAX 160

/* Hosts that are remembered as warned of. */
#define WARNED_MAX 64

struct sc_tls_channel {
    struct sc_channel channel; /* first */
    struct sc_channel *tcp;
    const struct sc_tls_credentials *credentials;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config *own_config; /* see tls_records.h, or NULL */
    struct pbuf *input;             /* received and not yet decrypted */
    u16_t input_offset;
    unsigned char flight[FLIGHT_MAX]; /* records of the handshake, to go out together */
    size_t flight_length;
    size_t room;          /* of `ssl` for input, as it was set up */
    size_t failed_before; /* sc_port_failed_allocations before the step that is under way */
    size_t owed;          /* bytes in the record that mbedTLS is sending, see write_some */
    bool is_set_up;       /* `ssl` holds memory */
    bool is_open;         /* the handshake is done */
    bool is_name_due;
    bool was_offered; /* a session to resume */
    bool had_certificate;
    bool has_no_clock;
    bool was_notified; /* our close_notify is out */
    bool has_ended;    /* the peer's close_notify or FIN came */
    bool has_fin;      /* TCP has nothing more to read */
    bool is_blocked;   /* a BIO function had to say so: TCP wakes the owner */
    enum sc_error error;
    struct sc_tls_validity validity; /* of the server's chain; of a session that is resumed */
    struct sc_tls_verdict verdict;
    char reason[SC_TLS_REASON_MAX];
};

static struct sc_tls_channel *tls_of(struct sc_channel *channel)
{
    return (struct sc_tls_channel *)(void *)channel;
}

static enum sc_error fail(struct sc_tls_channel *t, enum sc_error error, const char *reason)
{
    if (t->error == SC_OK) {
        t->error = error;
        snprintf(t->reason, sizeof(t->reason), "%s", reason);
    }
    t->channel.reason = t->reason;
    return t->error;
}

/* ---- between mbedTLS and TCP ---- */

static int write_tcp(struct sc_tls_channel *t, const unsigned char *data, size_t length)
{
    size_t taken = 0;
    enum sc_error error = t->tcp->ops->write(t->tcp, data, length, &taken);

    if (error == SC_ERR_WOULDBLOCK) {
        t->is_blocked = true;
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    }
    return error == SC_OK ? (int)taken : TCP_FAILED;
}

static int flush_flight(struct sc_tls_channel *t)
{
    while (t->flight_length) {
        int ret = write_tcp(t, t->flight, t->flight_length);
        if (ret < 0)
            return ret;
        t->flight_length -= (size_t)ret;
        memmove(t->flight, t->flight + ret, t->flight_length);
    }
    return 0;
}

/* mbedTLS writes each record of a handshake by itself. Short ones are held until it wants to read
 * or is done, so that a flight is one segment. */
static int bio_send(void *context, const unsigned char *data, size_t length)
{
    struct sc_tls_channel *t = context;

    if (!t->is_open && length <= FLIGHT_MAX - t->flight_length) {
        memcpy(t->flight + t->flight_length, data, length);
        t->flight_length += length;
        return (int)length;
    }
    int ret = flush_flight(t);
    return ret < 0 ? ret : write_tcp(t, data, length);
}

static int bio_recv(void *context, unsigned char *data, size_t length)
{
    struct sc_tls_channel *t = context;
    int ret = flush_flight(t);

    if (ret < 0)
        return ret;

    if (!t->input) {
        enum sc_error error = t->tcp->ops->read(t->tcp, &t->input);
        if (error == SC_ERR_WOULDBLOCK) {
            t->is_blocked = true;
            return MBEDTLS_ERR_SSL_WANT_READ;
        }
        if (error == SC_ERR_CLSD) {
            t->has_fin = true;
            return 0;
        }
        if (error != SC_OK)
            return TCP_FAILED;
        t->input_offset = 0;
    }
    u16_t wanted = (u16_t)LWIP_MIN(length, 0xffff);
    u16_t got = pbuf_copy_partial(t->input, data, wanted, t->input_offset);
    t->input_offset = (u16_t)(t->input_offset + got);
    if (t->input_offset == t->input->tot_len) {
        pbuf_free(t->input);
        t->input = NULL;
    }
    t->tcp->ops->consumed(t->tcp, got);
    return got;
}

/* Before a call of mbedTLS whose error is told by `explain`. */
static void begin_step(struct sc_tls_channel *t)
{
    t->failed_before = sc_port_failed_allocations();
}

static bool has_lacked_memory(const struct sc_tls_channel *t)
{
    return sc_port_failed_allocations() != t->failed_before;
}

/* mbedTLS's error in words, or TCP's when that is what failed. */
static enum sc_error explain(struct sc_tls_channel *t, int ret)
{
    char text[SC_TLS_REASON_MAX];

    /* mbedTLS hides it: a signature that it had no memory to check is a bad one. */
    if (ret != TCP_FAILED && has_lacked_memory(t))
        ret = MBEDTLS_ERR_SSL_ALLOC_FAILED;

    if (ret == TCP_FAILED) {
        enum sc_error error = t->tcp->ops->check(t->tcp);
        snprintf(text, sizeof(text), "%s%s", t->tcp->reason,
                 t->is_open ? "" : " during the TLS handshake");
        return fail(t, error == SC_OK ? SC_ERR_CLSD : error, text);
    }
    /* mbedtls_ssl_fetch_input (ssl_msg.c) has no better code for a record that does not fit. */
    if (ret == MBEDTLS_ERR_SSL_BAD_INPUT_DATA && sc_tls_has_small_records(&t->ssl))
        return fail(t, SC_ERR_SSL_HANDSHAKE,
                    "tls: the server sent a larger record than it had agreed to (tls_record_max)");
    enum sc_error error =
        sc_tls_explain(text, sizeof(text), ret, &t->ssl, &t->verdict, t->credentials->name);
    return fail(t, error, text);
}

/* ---- setting up ---- */

/* Seconds since 1970 of a date in the Gregorian calendar. */
static int64_t seconds_of(const mbedtls_x509_time *time)
{
    /* The year begins in March here, so that the leap day is its last. */
    int64_t year = time->mon > 2 ? time->year : time->year - 1;
    int64_t month = (time->mon + 9) % 12;
    int64_t days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 +
                   time->day - 1 - 719468;

    return ((days * 24 + time->hour) * 60 + time->min) * 60 + time->sec;
}

#if !defined(MBEDTLS_HAVE_TIME_DATE)
/* mbedTLS looks at the dates only where the C library has a clock. */
static uint32_t check_dates(const mbedtls_x509_crt *crt, int64_t now)
{
    if (now > seconds_of(&crt->valid_to))
        return MBEDTLS_X509_BADCERT_EXPIRED;
    return now < seconds_of(&crt->valid_from) ? MBEDTLS_X509_BADCERT_FUTURE : 0;
}
#else
static uint32_t check_dates(const mbedtls_x509_crt *crt, int64_t now)
{
    LWIP_UNUSED_ARG(crt);
    LWIP_UNUSED_ARG(now);
    return 0;
}
#endif

static void note_validity(struct sc_tls_validity *validity, const mbedtls_x509_crt *crt)
{
    validity->from = LWIP_MAX(validity->from, seconds_of(&crt->valid_from));
    validity->until = LWIP_MIN(validity->until, seconds_of(&crt->valid_to));
}

/* Is `name` the DNS name of a certificate, or in place of its wildcard's first label? */
static bool is_dns_name(const mbedtls_x509_buf *dns, const char *name)
{
    const char *pattern = (const char *)dns->p;
    size_t length = dns->len;

    if (length > 2 && pattern[0] == '*' && pattern[1] == '.') {
        const char *label_end = strchr(name, '.');
        if (!label_end || label_end == name)
            return false;
        name = label_end;
        pattern++;
        length--;
    }
    return strlen(name) == length && lwip_strnicmp(pattern, name, length) == 0;
}

/* mbedTLS also finds an IP address in a DNS name or the common name, and a host's name in a URI;
 * only the common name of a certificate without other names is left to it. */
static bool is_named_wrongly(const mbedtls_x509_crt *crt, const struct sc_tls_credentials *c)
{
    uint32_t ip[4];
    size_t ip_length = c->is_literal ? mbedtls_x509_crt_parse_cn_inet_pton(c->name, ip) : 0;
    bool has_names = false;

    for (const mbedtls_x509_sequence *san = &crt->subject_alt_names; san; san = san->next) {
        int type = san->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
        if (type == MBEDTLS_X509_SAN_IP_ADDRESS && ip_length && san->buf.len == ip_length &&
            memcmp(san->buf.p, ip, ip_length) == 0)
            return false;
        if (type == MBEDTLS_X509_SAN_DNS_NAME && !c->is_literal && is_dns_name(&san->buf, c->name))
            return false;
        has_names |= san->buf.p != NULL;
    }
    return c->is_literal || has_names;
}

static int on_certificate(void *context, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct sc_tls_channel *t = context;

    if (depth < 0) {
        sc_tls_note_unread(&t->verdict, &crt->raw, -(int)*flags,
                           depth == SC_TLS_DEPTH_UNREAD_FIRST);
        return 0;
    }
    if (t->credentials->name_check == SC_NAME_IGNORED)
        *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
    else if (depth == 0 && is_named_wrongly(crt, t->credentials))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    if (sc_tls_has_name_constraints(crt))
        *flags |= MBEDTLS_X509_BADCERT_OTHER;
    note_validity(&t->validity, crt);
    int64_t now = sc_port_time();
    if (now) {
        *flags |= check_dates(crt, now);
    } else {
        *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
        t->has_no_clock = true;
    }
    sc_tls_note_certificate(&t->verdict, crt, depth, *flags, &t->credentials->ca);
    return 0;
}

static void put_hex(char *out, const unsigned char *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        snprintf(out + 2 * i, 3, "%02x", data[i]);
}

/* A line of the key log, in the form that Wireshark reads. */
static void on_keys(void *context, mbedtls_ssl_key_export_type type, const unsigned char *secret,
                    size_t secret_length, const unsigned char client_random[32],
                    const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    static const char *const labels[] = {
        [MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET] = "CLIENT_RANDOM",
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_EARLY_SECRET] = "CLIENT_EARLY_TRAFFIC_SECRET",
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_EARLY_EXPORTER_SECRET] = "EARLY_EXPORTER_SECRET",
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_HANDSHAKE_TRAFFIC_SECRET] =
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_HANDSHAKE_TRAFFIC_SECRET] =
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET] =
            "CLIENT_TRAFFIC_SECRET_0",
        [MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET] =
            "SERVER_TRAFFIC_SECRET_0",
#endif
    };
    char line[40 + 64 + 2 * MBEDTLS_MD_MAX_SIZE + 3];

    (void)context;
    (void)server_random;
    (void)prf;
    if ((size_t)type >= LWIP_ARRAYSIZE(labels) || secret_length > MBEDTLS_MD_MAX_SIZE)
        return;
    int used = snprintf(line, 40, "%s ", labels[type]);
    put_hex(line + used, client_random, 32);
    strcat(line, " ");
    put_hex(line + strlen(line), secret, secret_length);
    sc_port_key_log(line);
    mbedtls_platform_zeroize(line, sizeof(line));
}

/* What was not verified does not expire. */
static const struct sc_tls_validity always_valid = { INT64_MIN, INT64_MAX };

static enum sc_error set_up(struct sc_tls_channel *t)
{
    const struct sc_tls_credentials *c = t->credentials;

    begin_step(t);
    t->is_set_up = true;
    t->validity = always_valid;
    mbedtls_ssl_init(&t->ssl);
    int ret = mbedtls_ssl_setup(&t->ssl, &c->config);
    /* When it fails for memory it forgets the configuration, which mbedtls_ssl_handshake_free
     * (ssl_tls.c) looks into all the same. */
    t->ssl.MBEDTLS_PRIVATE(conf) = &c->config;
    /* mbedTLS sends as SNI whatever it will compare the certificate with. An IP literal must not
     * go out, so it is set after the ClientHello. */
    if (ret == 0)
        ret = mbedtls_ssl_set_hostname(&t->ssl, c->is_literal ? NULL : c->name);
    if (ret != 0)
        return explain(t, ret);
    t->room = sc_tls_room(&t->ssl);
    t->is_name_due = c->is_literal && c->name_check == SC_NAME_CHECKED;
    mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_recv, NULL);
    mbedtls_ssl_set_verify(&t->ssl, on_certificate, t);
    if (sc_port_key_log(NULL))
        mbedtls_ssl_set_export_keys_cb(&t->ssl, on_keys, NULL);
    if (c->may_resume)
        t->was_offered = sc_tls_offer_session(c->fingerprint, &t->ssl, &t->validity);
    return SC_OK;
}

static enum sc_error open_tls(const struct sc_channel_args *args, struct sc_channel **out,
                              const char **reason)
{
    struct sc_tls_channel *t = mem_calloc(1, sizeof(*t));
    struct sc_channel_args tcp_args = *args;

    if (!t) {
        *reason = "tls: out of memory";
        return SC_ERR_NOMEM;
    }
    tcp_args.local_port = 0;
    tcp_args.copies = true;
    t->channel.ops = &sc_tls;
    t->channel.owner = args->owner;
    t->credentials = args->credentials;
    enum sc_error error = sc_tcp.open(&tcp_args, &t->tcp, reason);
    if (error != SC_OK) {
        mem_free(t);
        return error;
    }
    *out = &t->channel;
    return SC_OK;
}

/* ---- the handshake ---- */

static void keep_session(struct sc_tls_channel *t)
{
    mbedtls_ssl_session session;

    if (!t->credentials->may_resume)
        return;
    mbedtls_ssl_session_init(&session);
    if (mbedtls_ssl_get_session(&t->ssl, &session) == 0)
        sc_tls_keep_session(t->credentials->fingerprint, &t->validity, &session);
    mbedtls_ssl_session_free(&session);
}

static enum sc_error check_pin(struct sc_tls_channel *t)
{
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    unsigned char hash[SC_FINGERPRINT_SIZE];

    if (!t->credentials->has_pin || !t->had_certificate)
        return SC_OK;
    if (crt && mbedtls_sha256(crt->pk_raw.p, crt->pk_raw.len, hash, 0) == 0 &&
        memcmp(hash, t->credentials->pin, sizeof(hash)) == 0)
        return SC_OK;
    return fail(t, SC_ERR_SSL_INVALID, "tls: the server's public key is not the one of cert.pin");
}

/* Has the server proved who it is, one way or another? */
static bool is_authenticated(const struct sc_tls_channel *t)
{
    const struct sc_tls_credentials *c = t->credentials;

    /* A server that was offered a pre-shared key may have sent a certificate instead. */
    return c->has_ca || c->has_pin || (c->has_psk && !mbedtls_ssl_get_peer_cert(&t->ssl));
}

/* FNV-1a; a name's case (bit 5 of a letter) does not matter. */
static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261;

    for (; *name; name++)
        hash = (hash ^ ((unsigned char)*name | 0x20u)) * 16777619;
    return hash;
}

/* Once for each host, as long as no more than WARNED_MAX others were warned of since. */
static void warn_not_verified(const char *name)
{
    static uint32_t warned[WARNED_MAX]; /* hashes of names */
    static size_t count;
    uint32_t hash = hash_name(name);
    char text[128 + 256];

    for (size_t i = 0; i < LWIP_MIN(count, WARNED_MAX); i++)
        if (warned[i] == hash)
            return;
    warned[count++ % WARNED_MAX] = hash;
    snprintf(text, sizeof(text), "tls: connected, server not verified: %s (cert.caCert is not set)",
             name);
    sc_port_log(SC_LOG_WARN, text);
}

static enum sc_error finish_handshake(struct sc_tls_channel *t)
{
    enum sc_error error = check_pin(t);

    if (error != SC_OK)
        return error;
    int ret = flush_flight(t);
    if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
        return SC_ERR_WOULDBLOCK;
    if (ret < 0)
        return explain(t, ret);
    t->is_open = true;
    sc_tls_give_back_room(&t->ssl, t->room);
    if (!is_authenticated(t))
        warn_not_verified(t->credentials->name);
    /* A session of TLS 1.3 can be resumed only with a ticket, which comes later. */
    if (mbedtls_ssl_get_version_number(&t->ssl) == MBEDTLS_SSL_VERSION_TLS1_2)
        keep_session(t);
    return SC_OK;
}

static enum sc_error step_handshake(struct sc_tls_channel *t)
{
    int state = t->ssl.MBEDTLS_PRIVATE(state);

    if (mbedtls_ssl_is_handshake_over(&t->ssl))
        return finish_handshake(t);
    if (state == MBEDTLS_SSL_SERVER_CERTIFICATE) {
        if (!t->had_certificate)
            t->validity = always_valid;
        t->had_certificate = true;
        if (t->is_name_due && mbedtls_ssl_set_hostname(&t->ssl, t->credentials->name) != 0)
            return fail(t, SC_ERR_NOMEM, "tls: out of memory");
        t->is_name_due = false;
    }
    t->is_blocked = false;
    begin_step(t);
    int ret = mbedtls_ssl_handshake_step(&t->ssl);
    if (ret == 0 && state == MBEDTLS_SSL_SERVER_HELLO)
        ret = sc_tls_settle_records(&t->ssl, &t->own_config);
    ret = sc_tls_make_room(&t->ssl, ret);
    if (ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE) {
        if (t->is_blocked)
            return SC_ERR_WOULDBLOCK;
        ret = 0; /* a warning alert was read */
    }
    if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
        keep_session(t);
        ret = 0;
    }
    /* mbedTLS may go on without what it had no memory for, with a signature that is wrong. */
    if (ret == 0 && !mbedtls_ssl_is_handshake_over(&t->ssl) && has_lacked_memory(t))
        ret = MBEDTLS_ERR_SSL_ALLOC_FAILED;
    if (ret != 0) {
        flush_flight(t); /* an alert */
        enum sc_error error = explain(t, ret);
        if (!t->was_offered || error == SC_ERR_NOMEM)
            return error;
        /* It may be the session that the server cannot take, of another version of TLS for one. */
        sc_tls_drop_session(t->credentials->fingerprint);
        return SC_ERR_INPROGRESS;
    }
    if (mbedtls_ssl_is_handshake_over(&t->ssl))
        return finish_handshake(t);
    /* The others have their turn before the next step. */
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
    return SC_ERR_WOULDBLOCK;
}

/* Reading may have to go on that is no news of TCP's. */
static bool refresh(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    t->tcp->ops->refresh(t->tcp);
    return true;
}

static enum sc_error step_connect(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    if (t->is_set_up)
        return step_handshake(t);
    enum sc_error error = t->tcp->ops->connect(t->tcp);
    if (error == SC_ERR_WOULDBLOCK)
        return error;
    if (error != SC_OK)
        return fail(t, error, t->tcp->reason);
    error = set_up(t);
    return error == SC_OK ? step_handshake(t) : error;
}

static const char *waiting_for(struct sc_channel *channel)
{
    return tls_of(channel)->is_set_up ? "tls: handshake not finished" : NULL;
}

/* ---- data ---- */

/* What mbedTLS could not hand to TCP whole is one record of the first `owed` bytes. It remembers
 * only that there is output (ssl_msg.c, ssl_write_real): when reading has flushed the record
 * meanwhile, as it does for a ticket, the next call would write these bytes a second time; and when
 * the output is an alert that reading left there, the call would flush that and say that the data
 * was written. */
static enum sc_error write_some(struct sc_channel *channel, const void *data, size_t length,
                                size_t *taken)
{
    struct sc_tls_channel *t = tls_of(channel);

    if (t->error != SC_OK)
        return fail(t, t->error, t->reason);
    begin_step(t);
    while (length) {
        bool has_output = t->ssl.MBEDTLS_PRIVATE(out_left) != 0;
        if (t->owed && !has_output)
            break;
        int ret = mbedtls_ssl_write(&t->ssl, data, length);
        if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
            keep_session(t);
            sc_task_wake(t->channel.owner, SC_WAKE_SEND);
            return SC_ERR_WOULDBLOCK;
        }
        if (ret == MBEDTLS_ERR_SSL_WANT_WRITE || ret == MBEDTLS_ERR_SSL_WANT_READ) {
            int most = mbedtls_ssl_get_max_out_record_payload(&t->ssl);
            if (!has_output && t->ssl.MBEDTLS_PRIVATE(out_left))
                t->owed = most > 0 && (size_t)most < length ? (size_t)most : length;
            return SC_ERR_WOULDBLOCK;
        }
        if (ret < 0)
            return explain(t, ret);
        if (!has_output)
            t->owed = (size_t)ret;
    }
    *taken = t->owed;
    t->owed = 0;
    return SC_OK;
}

/* mbedTLS has handed on every record that it took the data into, so TCP's end is the end. */
static uint32_t mark_end(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    return t->tcp->ops->mark(t->tcp);
}

static bool has_reached(struct sc_channel *channel, uint32_t mark)
{
    struct sc_tls_channel *t = tls_of(channel);

    return t->tcp->ops->reached(t->tcp, mark);
}

static enum sc_error end_input(struct sc_tls_channel *t, const char *reason)
{
    t->has_ended = true;
    snprintf(t->reason, sizeof(t->reason), "%s", reason);
    t->channel.reason = t->reason;
    return SC_ERR_CLSD;
}

/* Decrypts the next record. SC_OK when there are bytes to take. */
static enum sc_error fetch_record(struct sc_tls_channel *t)
{
    unsigned char none;

    for (;;) {
        t->is_blocked = false;
        int ret = sc_tls_make_room(&t->ssl, mbedtls_ssl_read(&t->ssl, &none, 0));
        if (mbedtls_ssl_get_bytes_avail(&t->ssl))
            return SC_OK;
        switch (ret) {
        case MBEDTLS_ERR_SSL_WANT_READ:
        case MBEDTLS_ERR_SSL_WANT_WRITE:
            /* Else it was a warning alert, and more may have arrived with it. */
            if (t->is_blocked)
                return SC_ERR_WOULDBLOCK;
            continue;
        case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
            keep_session(t);
            sc_tls_give_back_room(&t->ssl, t->room);
            continue;
        case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
            return end_input(t, "closed by the peer");
        case 0:
            /* Else it was an empty record. */
            if (t->has_fin)
                return end_input(t, "closed by the peer without close_notify: data may be missing");
            continue;
        default:
            return explain(t, ret);
        }
    }
}

static enum sc_error read_piece(struct sc_channel *channel, struct pbuf **out)
{
    struct sc_tls_channel *t = tls_of(channel);

    if (t->has_ended)
        return SC_ERR_CLSD;
    if (t->error != SC_OK)
        return fail(t, t->error, t->reason);
    begin_step(t);
    enum sc_error error = mbedtls_ssl_get_bytes_avail(&t->ssl) ? SC_OK : fetch_record(t);
    if (error != SC_OK)
        return error;
    size_t length = mbedtls_ssl_get_bytes_avail(&t->ssl);
    struct pbuf *piece = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
    if (!piece)
        return fail(t, SC_ERR_NOMEM, "receive: out of memory");
    int got = mbedtls_ssl_read(&t->ssl, piece->payload, length);
    if (got != (int)length) {
        pbuf_free(piece);
        return explain(t, got);
    }
    *out = piece;
    return SC_OK;
}

/* TCP's window was opened when the record was decrypted. */
static void ignore_consumed(struct sc_channel *channel, size_t length)
{
    LWIP_UNUSED_ARG(channel);
    LWIP_UNUSED_ARG(length);
}

static enum sc_error check_alive(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    if (t->error != SC_OK)
        return fail(t, t->error, t->reason);
    enum sc_error error = t->tcp->ops->check(t->tcp);
    if (error != SC_OK)
        channel->reason = t->tcp->reason;
    return error;
}

/* ---- the end ---- */

static enum sc_error step_shutdown(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    while (!t->was_notified && t->error == SC_OK) {
        /* With output pending it only flushes, and says WANT_WRITE until that is done. */
        bool is_flush = t->ssl.MBEDTLS_PRIVATE(out_left) != 0;
        int ret = mbedtls_ssl_close_notify(&t->ssl);
        if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
            return SC_ERR_WOULDBLOCK;
        t->was_notified = ret != 0 || !is_flush;
    }
    enum sc_error error = t->tcp->ops->shutdown(t->tcp);
    if (error != SC_OK)
        channel->reason = t->tcp->reason;
    return error;
}

static void free_channel(struct sc_tls_channel *t)
{
    if (t->is_set_up)
        mbedtls_ssl_free(&t->ssl);
    if (t->own_config)
        mem_free(t->own_config);
    if (t->input)
        pbuf_free(t->input);
    mem_free(t);
}

static void release_channel(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    t->tcp->ops->release(t->tcp);
    free_channel(t);
}

static void abort_channel(struct sc_channel *channel)
{
    struct sc_tls_channel *t = tls_of(channel);

    t->tcp->ops->abort(t->tcp);
    free_channel(t);
}

/* ---- the rest ---- */

static void set_options(struct sc_channel *channel, const struct sc_options *options)
{
    struct sc_tls_channel *t = tls_of(channel);

    t->tcp->ops->set_options(t->tcp, options);
}

static void get_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                          struct sc_endpoint *remote)
{
    struct sc_tls_channel *t = tls_of(channel);

    t->tcp->ops->endpoints(t->tcp, local, remote);
}

static void describe(struct sc_channel *channel, struct sc_tls_info *info)
{
    struct sc_tls_channel *t = tls_of(channel);
    const mbedtls_x509_crt *crt = mbedtls_ssl_get_peer_cert(&t->ssl);
    const char *alpn = NULL;

#if defined(MBEDTLS_SSL_ALPN)
    alpn = mbedtls_ssl_get_alpn_protocol(&t->ssl);
#endif
    memset(info, 0, sizeof(*info));
    snprintf(info->version, sizeof(info->version), "%s", mbedtls_ssl_get_version(&t->ssl));
    snprintf(info->cipher_suite, sizeof(info->cipher_suite), "%s",
             mbedtls_ssl_get_ciphersuite(&t->ssl));
    snprintf(info->alpn, sizeof(info->alpn), "%s", alpn ? alpn : "");
    info->is_verified = t->credentials->has_ca;
    info->is_resumed = t->was_offered && !t->had_certificate;
    info->has_no_clock = t->has_no_clock;
    if (!crt)
        return;
    mbedtls_x509_dn_gets(info->subject, sizeof(info->subject), &crt->subject);
    mbedtls_x509_dn_gets(info->issuer, sizeof(info->issuer), &crt->issuer);
    if (!crt->valid_to.year) /* it could not be read */
        return;
    snprintf(info->expires, sizeof(info->expires), "%04d-%02d-%02d %02d:%02d:%02d",
             crt->valid_to.year, crt->valid_to.mon, crt->valid_to.day, crt->valid_to.hour,
             crt->valid_to.min, crt->valid_to.sec);
}

const struct sc_transport sc_tls = {
    .open = open_tls,
    .refresh = refresh,
    .connect = step_connect,
    .waiting_for = waiting_for,
    .write = write_some,
    .mark = mark_end,
    .reached = has_reached,
    .read = read_piece,
    .consumed = ignore_consumed,
    .check = check_alive,
    .shutdown = step_shutdown,
    .release = release_channel,
    .abort = abort_channel,
    .set_options = set_options,
    .endpoints = get_endpoints,
    .describe = describe,
    .is_datagram = false,
};
