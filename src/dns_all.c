/*
 * The DNS client of dns_all.h: as much of RFC 1035 and RFC 3596 as questions for addresses and
 * their answers need. Not lwIP's own (core/dns.c), which keeps one address of a name, waits out its
 * time where a server refuses, and does not say whether a name was denied or nobody answered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "dns_all.h"

#include "lwip/def.h"
#include "lwip/dns.h"
#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/tcpip.h"

#include <string.h>

#define DNS_PORT 53

/* A server that is silent has one second, in the next round two, and so on: about as long as the C
 * library of a PC waits, all in all. */
#define ROUNDS 4
#define ROUND_MS 1000
/* Rounds of a question when the other one was answered: some servers never answer for IPv6. */
#define ROUNDS_OF_THE_REST 2
/* A server that says so twice cannot help. */
#define FAILURES_MAX 2
/* So many lookups may wait for their first answer; servers drop what is too much. */
#define FRESH_MAX 64
/* Then the first server, which the user prefers, has another chance. */
#define PREFERENCE_MS 300000
/* Random ports that are tried. */
#define PORTS_MAX 8
#define PORT_MIN 1024

#define HEADER_SIZE 12
#define QNAME_MAX 255
#define QLABEL_MAX 63
#define QUESTION_TAIL 4
#define RECORD_TAIL 10
#define QUERY_MAX (HEADER_SIZE + QNAME_MAX + 1 + QUESTION_TAIL)
/* So much of an answer is looked at: there is no use for more addresses than that. */
#define ANSWER_MAX 1024
#define LENGTH_SIZE 2 /* stands before a message on TCP */

#define TYPE_A 1
#define TYPE_AAAA 28
#define CLASS_IN 1

#define IS_ANSWER 0x80 /* in byte 2 */
#define IS_AUTHORITY 0x04
#define IS_CUT 0x02
#define HAS_RECURSION 0x80 /* in byte 3 */
#define RESULT_MASK 0x0f
enum { RESULT_OK = 0, RESULT_NO_NAME = 3 };

enum {
    QUESTION_IP4,
#if LWIP_IPV6
    QUESTION_IP6,
#endif
    QUESTION_COUNT
};
static const uint16_t types[] = { TYPE_A, TYPE_AAAA };

/* One question, at one server. */
struct query {
    struct sc_channel *channel; /* NULL: not asked, or failed */
    struct pbuf *cut;           /* while TCP is asked: what UDP gave */
    struct pbuf *input;         /* of TCP */
    uint16_t id;
    uint16_t port; /* ours */
    uint8_t failures;
    bool is_unreachable; /* an ICMP error came */
    bool was_sent;       /* over TCP */
};

struct question {
    struct query queries[DNS_MAX_SERVERS];
    enum sc_dns_verdict verdict; /* when it is over; SC_DNS_FOREIGN: nobody answered */
    bool is_over;
    uint8_t tries;
    uint8_t current; /* the server that was asked last */
    uint64_t next_at;
};

struct sc_dns_all {
    struct sc_dns_all *next; /* of all, oldest first */
    struct sc_dns_all **link;
    struct sc_task *owner;
    const char *host; /* borrowed */
    bool is_started;
    bool is_fresh; /* counts among FRESH_MAX */
    bool has_no_memory;
    uint8_t server_count;
    uint8_t first_server;
    ip_addr_t servers[DNS_MAX_SERVERS];
    uint64_t ip4_until;
    struct question questions[QUESTION_COUNT];
};

/* The engine's thread only. */
static struct sc_dns_all *lookups;
static struct sc_dns_all **lookups_end = &lookups;
static unsigned fresh_count;
static ip_addr_t preferred_server;
static uint64_t preferred_until;

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

static void make_address(ip_addr_t *out, const unsigned char *data, bool is_ip6)
{
    memset(out, 0, sizeof(*out));
#if LWIP_IPV6
    if (is_ip6) {
        uint32_t words[4];
        memcpy(words, data, sizeof(words));
        IP_ADDR6(out, words[0], words[1], words[2], words[3]);
        return;
    }
#endif
    LWIP_UNUSED_ARG(is_ip6);
    IP_ADDR4(out, data[0], data[1], data[2], data[3]);
}

enum sc_dns_verdict sc_dns_all_judge(const unsigned char *answer, size_t length, uint16_t id,
                                     uint16_t type, const char *host)
{
    if (length < HEADER_SIZE || get16(answer) != id || !(answer[2] & IS_ANSWER))
        return SC_DNS_FOREIGN;
    unsigned result = answer[3] & RESULT_MASK;
    bool is_bad = result != RESULT_OK && result != RESULT_NO_NAME;
    /* A server that cannot read the question does not repeat it. */
    if (is_bad && get16(answer + 4) == 0)
        return SC_DNS_FAILED;
    if (get16(answer + 4) != 1 ||
        !is_question(answer + HEADER_SIZE, length - HEADER_SIZE, type, host))
        return SC_DNS_FOREIGN;
    if (is_bad)
        return SC_DNS_FAILED;
    if (answer[2] & IS_CUT)
        return SC_DNS_CUT;
    if (result == RESULT_NO_NAME)
        return SC_DNS_DENIED;
    /* A server that neither knows the name nor asks others. */
    if (!get16(answer + 6) && !(answer[2] & IS_AUTHORITY) && !(answer[3] & HAS_RECURSION))
        return SC_DNS_FAILED;
    return SC_DNS_ANSWERED;
}

/* Seconds; one with the highest bit set counts as 0 (RFC 2181). */
static uint32_t get_ttl(const unsigned char *record)
{
    uint32_t ttl = (uint32_t)get16(record + 4) << 16 | get16(record + 6);

    return ttl >> 31 ? 0 : ttl;
}

unsigned sc_dns_all_read(const unsigned char *answer, size_t length, uint16_t type,
                         sc_dns_all_found *found, void *context)
{
    size_t address_size = type == TYPE_A ? 4 : 16;
    uint32_t ttl = UINT32_MAX; /* of the names on the way to the address too */
    unsigned count = 0;

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
        ttl = LWIP_MIN(ttl, get_ttl(record));
        if (get16(record) == type && get16(record + 2) == CLASS_IN && size == address_size) {
            ip_addr_t address;
            make_address(&address, record + RECORD_TAIL, type == TYPE_AAAA);
            found(context, &address, ttl);
            count++;
        }
    }
    return count;
}

/* ---- ICMP errors: lwIP's UDP hears of none. One raw channel for each version of IP, while there
 * are lookups; without memory for it a dead server is a silent one. ---- */

static struct sc_channel *icmp[QUESTION_COUNT];

/* Which query an error is about: from our port to a server's port 53. */
static void note_unreachable(const ip_addr_t *server, uint16_t port)
{
    for (struct sc_dns_all *dns = lookups; dns; dns = dns->next)
        for (int q = 0; q < QUESTION_COUNT; q++)
            for (unsigned i = 0; i < dns->server_count; i++) {
                struct query *query = &dns->questions[q].queries[i];
                if (query->channel && query->port == port && ip_addr_eq(&dns->servers[i], server)) {
                    query->is_unreachable = true;
                    sc_task_wake(dns->owner, SC_WAKE_DNS);
                }
            }
}

/* "Destination unreachable", which quotes the start of the packet that was not delivered. */
static void take_icmp(const struct pbuf *p, bool is_ip6)
{
    enum { HEADER = 8, PORTS = 4, UNREACHABLE = 3, TOO_LARGE = 4, UNREACHABLE_IP6 = 1 };
    unsigned char packet[2 * IP_HLEN_MAX + HEADER + PORTS] = { 0 };
    size_t length = pbuf_copy_partial(p, packet, sizeof(packet), 0);
    const unsigned char *icmp_error = packet + (is_ip6 ? IP6_HLEN : (packet[0] & 15u) * 4u);
    const unsigned char *quoted = icmp_error + HEADER;
    ip_addr_t server;

    if (is_ip6 ? icmp_error[0] != UNREACHABLE_IP6
               : icmp_error[0] != UNREACHABLE || icmp_error[1] == TOO_LARGE)
        return;
    const unsigned char *ports = quoted + (is_ip6 ? IP6_HLEN : (quoted[0] & 15u) * 4u);
    if (ports + PORTS > packet + length || quoted[is_ip6 ? 6 : 9] != IP_PROTO_UDP)
        return;
    make_address(&server, quoted + (is_ip6 ? 24 : 16), is_ip6);
    if (get16(ports + 2) == DNS_PORT)
        note_unreachable(&server, get16(ports));
}

static void run_icmp(struct sc_task *task, unsigned wake)
{
    struct pbuf *packet;

    LWIP_UNUSED_ARG(task);
    LWIP_UNUSED_ARG(wake);
    for (int q = 0; q < QUESTION_COUNT; q++)
        while (icmp[q] && icmp[q]->ops->read(icmp[q], &packet) == SC_OK) {
            take_icmp(packet, q != QUESTION_IP4);
            pbuf_free(packet);
        }
}

static struct sc_task icmp_task = { .run = run_icmp };

static const struct sc_options no_options;

static void open_icmp(void)
{
    struct sc_channel_args args = { .owner = &icmp_task,
                                    .recv_buffer = 4096,
                                    .options = &no_options };
    const char *reason;

    for (int q = 0; q < QUESTION_COUNT; q++) {
        ip_addr_set_any(q != QUESTION_IP4, &args.remote.address);
        args.protocol = q == QUESTION_IP4 ? IP_PROTO_ICMP : IP6_NEXTH_ICMP6;
        if (sc_raw.open(&args, &icmp[q], &reason) != SC_OK)
            icmp[q] = NULL;
    }
}

static void close_icmp(void)
{
    for (int q = 0; q < QUESTION_COUNT; q++) {
        if (icmp[q])
            icmp[q]->ops->abort(icmp[q]);
        icmp[q] = NULL;
    }
    sc_task_remove(&icmp_task);
}

/* ---- one query ---- */

static uint16_t get_random(void)
{
    LOCK_TCPIP_CORE();
    uint16_t number = (uint16_t)LWIP_RAND();
    UNLOCK_TCPIP_CORE();
    return number;
}

static void drop_channel(struct query *query)
{
    if (query->channel)
        query->channel->ops->abort(query->channel);
    query->channel = NULL;
}

static void drop_query(struct query *query)
{
    drop_channel(query);
    if (query->cut)
        pbuf_free(query->cut);
    if (query->input)
        pbuf_free(query->input);
    query->cut = NULL;
    query->input = NULL;
}

static struct sc_channel_args args_for(const struct sc_dns_all *dns, unsigned server)
{
    return (struct sc_channel_args){
        .owner = dns->owner,
        .remote = { .address = dns->servers[server], .port = DNS_PORT },
        .recv_buffer = 2 * ANSWER_MAX,
        .options = &no_options,
        .copies = true,
    };
}

/* Id and port of each query are its own: whoever wants to forge an answer has to guess both. */
static enum sc_error open_udp(const struct sc_dns_all *dns, struct query *query, unsigned server)
{
    struct sc_channel_args args = args_for(dns, server);
    enum sc_error error = SC_ERR_ADDRINUSE;
    const char *reason;

    for (int i = 0; error == SC_ERR_ADDRINUSE && i < PORTS_MAX; i++) {
        args.local_port = (uint16_t)(PORT_MIN + get_random() % (UINT16_MAX + 1 - PORT_MIN));
        error = sc_udp.open(&args, &query->channel, &reason);
    }
    query->id = get_random();
    query->port = args.local_port;
    query->is_unreachable = false;
    return error;
}

/* Sends the query, or sends it again. */
static enum sc_error send_query(struct sc_dns_all *dns, int q, unsigned server)
{
    struct query *query = &dns->questions[q].queries[server];
    unsigned char message[QUERY_MAX];
    size_t taken;

    if (query->cut)
        return SC_OK;
    if (!query->channel) {
        enum sc_error error = open_udp(dns, query, server);
        if (!query->channel)
            return error;
    }
    size_t size = put_query(message, query->id, types[q], dns->host);
    return query->channel->ops->write(query->channel, message, size, &taken);
}

struct result {
    sc_dns_all_found *found;
    void *context;
};

/* Judges the message of at most `length` bytes that stands at `offset`, and takes its addresses. */
static enum sc_dns_verdict take_message(const struct sc_dns_all *dns, int q, uint16_t id,
                                        const struct pbuf *p, size_t offset, size_t length,
                                        const struct result *result)
{
    unsigned char buffer[ANSWER_MAX];
    u16_t size = (u16_t)LWIP_MIN(length, ANSWER_MAX);
    const unsigned char *message =
        pbuf_get_contiguous(p, buffer, sizeof(buffer), size, (u16_t)offset);

    if (!message)
        return SC_DNS_FOREIGN;
    enum sc_dns_verdict verdict = sc_dns_all_judge(message, size, id, types[q], dns->host);
    if (verdict == SC_DNS_ANSWERED)
        sc_dns_all_read(message, size, types[q], result->found, result->context);
    return verdict;
}

/* TCP did not help: the addresses that UDP gave are better than none. */
static enum sc_dns_verdict take_cut(int q, const struct query *query, const struct result *result)
{
    unsigned char buffer[ANSWER_MAX];
    u16_t size = pbuf_copy_partial(query->cut, buffer, sizeof(buffer), 0);

    return sc_dns_all_read(buffer, size, types[q], result->found, result->context) ? SC_DNS_ANSWERED
                                                                                   : SC_DNS_FAILED;
}

static enum sc_dns_verdict start_tcp(const struct sc_dns_all *dns, int q, struct query *query,
                                     unsigned server, const struct result *result)
{
    struct sc_channel_args args = args_for(dns, server);
    const char *reason;

    drop_channel(query);
    query->id = get_random();
    query->was_sent = false;
    if (sc_tcp.open(&args, &query->channel, &reason) != SC_OK)
        return take_cut(q, query, result);
    return SC_DNS_FOREIGN;
}

static enum sc_dns_verdict step_udp(const struct sc_dns_all *dns, int q, struct query *query,
                                    unsigned server, const struct result *result)
{
    struct pbuf *piece;

    while (query->channel->ops->read(query->channel, &piece) == SC_OK) {
        enum sc_dns_verdict verdict =
            take_message(dns, q, query->id, piece, 0, piece->tot_len, result);
        if (verdict == SC_DNS_CUT) {
            query->cut = piece;
            return start_tcp(dns, q, query, server, result);
        }
        pbuf_free(piece);
        if (verdict != SC_DNS_FOREIGN)
            return verdict;
    }
    return query->is_unreachable ? SC_DNS_FAILED : SC_DNS_FOREIGN;
}

static enum sc_error send_tcp(const struct sc_dns_all *dns, int q, struct query *query)
{
    const struct sc_transport *ops = query->channel->ops;
    unsigned char message[LENGTH_SIZE + QUERY_MAX];
    size_t taken = 0;

    enum sc_error error = ops->connect(query->channel);
    if (error != SC_OK)
        return error;
    size_t size = put_query(message + LENGTH_SIZE, query->id, types[q], dns->host);
    put16(message, (uint16_t)size);
    error = ops->write(query->channel, message, LENGTH_SIZE + size, &taken);
    query->was_sent = error == SC_OK;
    return error == SC_OK && taken < LENGTH_SIZE + size ? SC_ERR_NOMEM : error;
}

/* Bytes of TCP that are waited for. */
static size_t tcp_size(const struct query *query)
{
    if (!query->input || query->input->tot_len < LENGTH_SIZE)
        return LENGTH_SIZE;
    size_t length =
        (size_t)pbuf_get_at(query->input, 0) << 8 | (size_t)pbuf_get_at(query->input, 1);
    return LENGTH_SIZE + LWIP_MIN(length, ANSWER_MAX);
}

static bool has_tcp_answer(const struct query *query)
{
    return query->input && query->input->tot_len > LENGTH_SIZE &&
           query->input->tot_len >= tcp_size(query);
}

static enum sc_dns_verdict step_tcp(const struct sc_dns_all *dns, int q, struct query *query,
                                    const struct result *result)
{
    const struct sc_transport *ops = query->channel->ops;
    enum sc_error error = SC_OK;
    struct pbuf *piece;

    if (ops->refresh)
        ops->refresh(query->channel);
    if (!query->was_sent)
        error = send_tcp(dns, q, query);
    while (error == SC_OK && !has_tcp_answer(query)) {
        error = ops->read(query->channel, &piece);
        if (error != SC_OK)
            break;
        ops->consumed(query->channel, piece->tot_len);
        if (query->input)
            pbuf_cat(query->input, piece);
        else
            query->input = piece;
    }
    if (error == SC_ERR_WOULDBLOCK)
        return SC_DNS_FOREIGN;
    enum sc_dns_verdict verdict = SC_DNS_FOREIGN;
    if (error == SC_OK)
        verdict = take_message(dns, q, query->id, query->input, LENGTH_SIZE,
                               tcp_size(query) - LENGTH_SIZE, result);
    return verdict == SC_DNS_FOREIGN || verdict == SC_DNS_CUT ? take_cut(q, query, result)
                                                              : verdict;
}

/* ---- one question ---- */

static void end_question(struct question *question, enum sc_dns_verdict verdict)
{
    for (unsigned i = 0; i < DNS_MAX_SERVERS; i++)
        drop_query(&question->queries[i]);
    question->is_over = true;
    question->verdict = verdict;
}

static unsigned tries_max(const struct sc_dns_all *dns)
{
    bool is_rest = false;

    for (int q = 0; q < QUESTION_COUNT; q++)
        is_rest |= dns->questions[q].is_over && dns->questions[q].verdict != SC_DNS_FOREIGN;
    return dns->server_count * (unsigned)(is_rest ? ROUNDS_OF_THE_REST : ROUNDS);
}

/* Nobody is left to be asked. Those that are silent have had their time. */
static void give_up(struct question *question)
{
    enum sc_dns_verdict verdict = SC_DNS_FAILED;

    for (unsigned i = 0; i < DNS_MAX_SERVERS; i++)
        if (question->queries[i].channel)
            verdict = SC_DNS_FOREIGN;
    end_question(question, verdict);
}

static void ask_next(struct sc_dns_all *dns, int q)
{
    struct question *question = &dns->questions[q];

    while (question->tries < tries_max(dns)) {
        unsigned round = question->tries / dns->server_count;
        unsigned server = (dns->first_server + question->tries) % dns->server_count;
        struct query *query = &question->queries[server];
        question->tries++;
        if (query->failures == FAILURES_MAX)
            continue;
        enum sc_error error = send_query(dns, q, server);
        if (error == SC_OK) {
            question->current = (uint8_t)server;
            question->next_at = sc_engine_now() + (uint64_t)(round + 1) * ROUND_MS;
            return;
        }
        dns->has_no_memory |= error == SC_ERR_NOMEM;
        drop_query(query);
        query->failures++;
    }
    give_up(question);
}

static void prefer(const ip_addr_t *server)
{
    if (ip_addr_eq(&preferred_server, server) && sc_engine_now() < preferred_until)
        return;
    ip_addr_copy(preferred_server, *server);
    preferred_until = sc_engine_now() + PREFERENCE_MS;
}

static void step_question(struct sc_dns_all *dns, int q, const struct result *result)
{
    struct question *question = &dns->questions[q];
    bool is_due = sc_engine_now() >= question->next_at;

    for (unsigned i = 0; i < dns->server_count; i++) {
        struct query *query = &question->queries[i];
        if (!query->channel)
            continue;
        enum sc_dns_verdict verdict =
            query->cut ? step_tcp(dns, q, query, result) : step_udp(dns, q, query, i, result);
        if (verdict == SC_DNS_FOREIGN)
            continue;
        if (verdict != SC_DNS_FAILED) {
            prefer(&dns->servers[i]);
            end_question(question, verdict);
            return;
        }
        drop_query(query);
        query->failures++;
        is_due |= i == question->current;
    }
    if (!is_due)
        return;
    struct query *silent = &question->queries[question->current];
    if (silent->cut && take_cut(q, silent, result) == SC_DNS_ANSWERED)
        end_question(question, SC_DNS_ANSWERED);
    else
        ask_next(dns, q);
}

/* ---- lookups ---- */

static void find_servers(struct sc_dns_all *dns)
{
    LOCK_TCPIP_CORE();
    for (u8_t i = 0; i < DNS_MAX_SERVERS; i++) {
        const ip_addr_t *server = dns_getserver(i);
        if (!ip_addr_isany(server))
            dns->servers[dns->server_count++] = *server;
    }
    UNLOCK_TCPIP_CORE();
    if (sc_engine_now() >= preferred_until)
        return;
    for (uint8_t i = 0; i < dns->server_count; i++)
        if (ip_addr_eq(&dns->servers[i], &preferred_server))
            dns->first_server = i;
}

enum sc_error sc_dns_all_start(struct sc_dns_all **out, const char *host, struct sc_task *owner,
                               const char **reason)
{
    struct sc_dns_all *dns = mem_calloc(1, sizeof(*dns));

    if (!dns) {
        *reason = "dns: out of memory";
        return SC_ERR_NOMEM;
    }
    find_servers(dns);
    if (!dns->server_count) {
        mem_free(dns);
        *reason = "dns: no DNS server is known";
        return SC_ERR_RTE;
    }
    dns->owner = owner;
    dns->host = host;
    if (!lookups)
        open_icmp();
    dns->link = lookups_end;
    *lookups_end = dns;
    lookups_end = &dns->next;
    *out = dns;
    return SC_OK;
}

static void leave_fresh(struct sc_dns_all *dns)
{
    struct sc_dns_all *waiting = lookups;

    if (!dns->is_fresh)
        return;
    dns->is_fresh = false;
    fresh_count--;
    while (waiting && waiting->is_started)
        waiting = waiting->next;
    if (waiting)
        sc_task_wake(waiting->owner, SC_WAKE_DNS);
}

bool sc_dns_all_step(struct sc_dns_all *dns, sc_dns_all_found *found, void *context,
                     uint64_t *again_at)
{
    const struct result result = { found, context };
    bool is_over = true;
    bool is_fresh = true;

    *again_at = 0;
    if (!dns->is_started) {
        if (fresh_count >= FRESH_MAX)
            return false;
        fresh_count++;
        dns->is_fresh = true;
        dns->is_started = true;
        dns->ip4_until = sc_engine_now() + ROUND_MS;
    }
    for (int q = 0; q < QUESTION_COUNT; q++) {
        struct question *question = &dns->questions[q];
        if (!question->is_over)
            step_question(dns, q, &result);
        is_fresh &= !question->is_over && question->tries == 1;
        is_over &= question->is_over;
        if (!question->is_over && (!*again_at || question->next_at < *again_at))
            *again_at = question->next_at;
    }
    if (!is_fresh)
        leave_fresh(dns);
    return is_over;
}

bool sc_dns_all_awaits_ip4(const struct sc_dns_all *dns)
{
    const struct question *question = &dns->questions[QUESTION_IP4];

    return !question->is_over && sc_engine_now() < dns->ip4_until;
}

enum sc_error sc_dns_all_error(const struct sc_dns_all *dns, const char **reason)
{
    bool is_silent = false;
    bool has_failed = false;

    for (int q = 0; q < QUESTION_COUNT; q++) {
        enum sc_dns_verdict verdict = dns->questions[q].verdict;
        if (verdict == SC_DNS_DENIED) {
            *reason = "dns: name not found";
            return SC_ERR_INVAL;
        }
        is_silent |= verdict == SC_DNS_FOREIGN;
        has_failed |= verdict == SC_DNS_FAILED;
    }
    if (!is_silent && !has_failed) {
        *reason = "dns: the name has no address";
        return SC_ERR_INVAL;
    }
    if (dns->has_no_memory) {
        *reason = "dns: out of memory";
        return SC_ERR_NOMEM;
    }
    *reason = is_silent ? "dns: no answer from the DNS server"
                        : "dns: no DNS server can be reached or knows the name";
    return SC_ERR_TIMEOUT;
}

void sc_dns_all_end(struct sc_dns_all *dns)
{
    for (int q = 0; q < QUESTION_COUNT; q++)
        end_question(&dns->questions[q], SC_DNS_FOREIGN);
    *dns->link = dns->next;
    if (dns->next)
        dns->next->link = dns->link;
    else
        lookups_end = dns->link;
    leave_fresh(dns);
    mem_free(dns);
    if (!lookups)
        close_icmp();
}
