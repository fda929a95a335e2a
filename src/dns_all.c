/*
 * The queries of dns_all.h: as much of RFC 1035 and RFC 3596 as two questions and their answers
 * need.
 *
 * SPDX-License-Identifier: MIT
 */
#include "dns_all.h"

#include "lwip/def.h"
#include "lwip/dns.h"
#include "lwip/pbuf.h"
#include "lwip/tcpip.h"

#include <string.h>

#define DNS_PORT 53
#define TRIES 3
#define TRY_MS 1000

#define HEADER_SIZE 12
#define QNAME_MAX 255
#define QLABEL_MAX 63
#define QUESTION_TAIL 4
#define RECORD_TAIL 10
#define MESSAGE_MAX 512

#define TYPE_A 1
#define TYPE_AAAA 28
#define CLASS_IN 1

static const uint16_t types[2] = { TYPE_A, TYPE_AAAA };

/* ---- messages ---- */

static uint16_t get16(const unsigned char *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(unsigned char *at, uint16_t value)
{
    at[0] = (unsigned char)(value >> 8);
    at[1] = (unsigned char)value;
}

/* Writes `host` as labels. Returns how many bytes, 0 when it is no name. */
static size_t put_name(unsigned char *out, const char *host)
{
    size_t size = 0;

    while (*host) {
        const char *dot = strchr(host, '.');
        size_t length = dot ? (size_t)(dot - host) : strlen(host);
        if (!length || length > QLABEL_MAX || size + length + 2 > QNAME_MAX)
            return 0;
        out[size] = (unsigned char)length;
        memcpy(out + size + 1, host, length);
        size += length + 1;
        host += length + (dot ? 1 : 0);
    }
    out[size++] = 0;
    return size;
}

static size_t put_query(unsigned char *out, uint16_t id, uint16_t type, const char *host)
{
    memset(out, 0, HEADER_SIZE);
    put16(out, id);
    put16(out + 2, 0x0100); /* recursion desired */
    put16(out + 4, 1);      /* one question */
    size_t name_size = put_name(out + HEADER_SIZE, host);
    if (!name_size)
        return 0;
    put16(out + HEADER_SIZE + name_size, type);
    put16(out + HEADER_SIZE + name_size + 2, CLASS_IN);
    return HEADER_SIZE + name_size + QUESTION_TAIL;
}

/* Where the name that starts at `at` ends, or 0 when it does not end within the message. */
static size_t skip_name(const unsigned char *message, size_t length, size_t at)
{
    while (at < length) {
        unsigned char label = message[at];
        if ((label & 0xc0) == 0xc0)
            return at + 2 <= length ? at + 2 : 0;
        if (!label)
            return at + 1;
        at += label + 1u;
    }
    return 0;
}

/* Does the question repeat what was asked? Names are equal whatever their case. */
static bool is_question(const unsigned char *question, size_t length, uint16_t type,
                        const char *host)
{
    unsigned char asked[QNAME_MAX + 1];
    size_t size = put_name(asked, host);

    return size && size + QUESTION_TAIL <= length &&
           lwip_strnicmp((const char *)question, (const char *)asked, size) == 0 &&
           memcmp(question + size - 1, "", 1) == 0 && get16(question + size) == type &&
           get16(question + size + 2) == CLASS_IN;
}

static void take_record(const unsigned char *data, uint16_t type, sc_dns_all_found *found,
                        void *context)
{
    ip_addr_t address;

    memset(&address, 0, sizeof(address));
    if (type == TYPE_A) {
        IP_ADDR4(&address, data[0], data[1], data[2], data[3]);
        found(context, &address);
        return;
    }
#if LWIP_IPV6
    uint32_t words[4];
    memcpy(words, data, sizeof(words));
    IP_ADDR6(&address, words[0], words[1], words[2], words[3]);
    found(context, &address);
#endif
}

bool sc_dns_all_parse(const unsigned char *answer, size_t length, uint16_t id, uint16_t type,
                      const char *host, sc_dns_all_found *found, void *context)
{
    size_t data_size = type == TYPE_A ? 4 : 16;

    if (length < HEADER_SIZE || get16(answer) != id || !(answer[2] & 0x80) ||
        get16(answer + 4) != 1 ||
        !is_question(answer + HEADER_SIZE, length - HEADER_SIZE, type, host))
        return false;
    size_t at = skip_name(answer, length, HEADER_SIZE) + QUESTION_TAIL;
    for (unsigned records = get16(answer + 6); records; records--) {
        at = skip_name(answer, length, at);
        if (!at || at + RECORD_TAIL > length)
            break;
        const unsigned char *record = answer + at;
        size_t size = get16(record + 8);
        at += RECORD_TAIL + size;
        if (at > length)
            break;
        if (get16(record) == type && get16(record + 2) == CLASS_IN && size == data_size)
            take_record(record + RECORD_TAIL, type, found, context);
    }
    return true;
}

/* ---- the exchange ---- */

static bool find_server(struct sc_endpoint *server)
{
    LOCK_TCPIP_CORE();
    server->address = *dns_getserver(0);
    UNLOCK_TCPIP_CORE();
    server->port = DNS_PORT;
    return !ip_addr_isany_val(server->address);
}

static void send_queries(struct sc_dns_all *dns)
{
    unsigned char query[HEADER_SIZE + QNAME_MAX + 1 + QUESTION_TAIL];

    for (int i = 0; i < 2; i++) {
        size_t taken;
        size_t size = put_query(query, dns->ids[i], types[i], dns->host);
        if (size && !dns->is_answered[i])
            dns->channel->ops->write(dns->channel, query, size, &taken);
    }
    dns->tries++;
    dns->again_at = sc_engine_now() + TRY_MS;
}

bool sc_dns_all_start(struct sc_dns_all *dns, const char *host, struct sc_task *owner)
{
    static const struct sc_options no_options;
    struct sc_channel_args args = { .owner = owner, .recv_buffer = 4096, .options = &no_options };
    const char *reason;

    memset(dns, 0, sizeof(*dns));
    if (!find_server(&args.remote) || sc_udp.open(&args, &dns->channel, &reason) != SC_OK)
        return false;
    dns->host = host;
    dns->ids[0] = (uint16_t)LWIP_RAND();
    dns->ids[1] = (uint16_t)(dns->ids[0] + 1);
    send_queries(dns);
    return true;
}

static void take_answer(struct sc_dns_all *dns, struct pbuf *piece, sc_dns_all_found *found,
                        void *context)
{
    unsigned char answer[MESSAGE_MAX];
    size_t length = pbuf_copy_partial(piece, answer, sizeof(answer), 0);

    for (int i = 0; i < 2; i++)
        if (!dns->is_answered[i])
            dns->is_answered[i] =
                sc_dns_all_parse(answer, length, dns->ids[i], types[i], dns->host, found, context);
}

bool sc_dns_all_step(struct sc_dns_all *dns, sc_dns_all_found *found, void *context)
{
    struct pbuf *piece;

    while (dns->channel->ops->read(dns->channel, &piece) == SC_OK) {
        take_answer(dns, piece, found, context);
        pbuf_free(piece);
    }
    if (dns->is_answered[0] && dns->is_answered[1])
        return true;
    if (sc_engine_now() < dns->again_at)
        return false;
    if (dns->tries == TRIES)
        return true;
    send_queries(dns);
    return false;
}

void sc_dns_all_end(struct sc_dns_all *dns)
{
    if (dns->channel)
        dns->channel->ops->abort(dns->channel);
    dns->channel = NULL;
}
