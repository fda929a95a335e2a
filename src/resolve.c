/*
 * The sources of addresses behind resolve.h, and the memory for what DNS said. Runs in the engine.
 *
 * SPDX-License-Identifier: MIT
 */
#include "resolve.h"

#include "engine.h"

#include "lwip/dns.h"
#include "lwip/mem.h"
#include "lwip/tcpip.h"

#include <string.h>

enum { STAGE_LITERAL, STAGE_HOST_LIST, STAGE_CACHE, STAGE_DNS, STAGE_END };

#define CACHE_MAX 8
#define LABEL_MAX 63
#define NAME_MAX_LENGTH 253

/* Those of IPv4 first, as long as they were not tried. */
static void add(struct sc_resolve *r, const ip_addr_t *address)
{
    uint8_t at = r->next;

    for (int i = 0; i < r->count; i++)
        if (ip_addr_eq(&r->addresses[i], address))
            return;
    while (at < r->count && (IP_IS_V6(address) || IP_IS_V4(&r->addresses[at])))
        at++;
    if (at == SC_RESOLVE_ADDRESSES)
        return;
    if (r->count < SC_RESOLVE_ADDRESSES)
        r->count++;
    memmove(&r->addresses[at + 1], &r->addresses[at],
            (r->count - 1u - at) * sizeof(r->addresses[0]));
    r->addresses[at] = *address;
}

/* ---- what DNS said, for as long as it said: the latest first ---- */

struct entry {
    struct entry *next;
    uint64_t until;
    const char *name; /* behind the addresses */
    uint8_t count;
    ip_addr_t addresses[];
};

static struct entry *cache;

static void drop_entry(struct entry **link)
{
    struct entry *entry = *link;

    *link = entry->next;
    mem_free(entry);
}

static struct entry **find_entry(const char *name)
{
    struct entry **link = &cache;

    while (*link && lwip_stricmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static void forget(const char *name)
{
    struct entry **link = find_entry(name);

    if (*link)
        drop_entry(link);
}

static void remember(const struct sc_resolve *r)
{
    size_t addresses_size = r->count * sizeof(r->addresses[0]);
    size_t name_size = strlen(r->host) + 1;
    struct entry *entry = mem_malloc((mem_size_t)(sizeof(*entry) + addresses_size + name_size));
    struct entry **link = &cache;

    forget(r->host);
    if (!entry)
        return;
    for (int i = 0; *link && i < CACHE_MAX - 1; i++)
        link = &(*link)->next;
    while (*link)
        drop_entry(link);
    char *name = (char *)&entry->addresses[r->count];
    memcpy(name, r->host, name_size);
    memcpy(entry->addresses, r->addresses, addresses_size);
    entry->name = name;
    entry->count = r->count;
    entry->until = r->good_until;
    entry->next = cache;
    cache = entry;
}

static void add_cached(struct sc_resolve *r)
{
    const struct entry *entry = *find_entry(r->host);

    if (entry && sc_engine_now() < entry->until)
        for (int i = 0; i < entry->count; i++)
            add(r, &entry->addresses[i]);
}

void sc_resolve_stop(void)
{
    while (cache)
        drop_entry(&cache);
}

/* ---- literals and the host list ---- */

static bool is_address_byte(char c)
{
    char lower = (char)(c | 0x20);

    return (c >= '.' && c <= ':' && c != '/') || (lower >= 'a' && lower <= 'f') || lower == 'x';
}

/* With the core lock: a zone ("fe80::1%en0") is looked up among the interfaces. ipaddr_aton takes
 * addresses with other characters behind them too. */
static bool parse_address(const char *text, ip_addr_t *address)
{
    LOCK_TCPIP_CORE();
    bool is_address = ipaddr_aton(text, address);
    UNLOCK_TCPIP_CORE();
    while (is_address_byte(*text))
        text++;
    return is_address && (*text == '\0' || *text == '%');
}

/* An IP literal, IPv6 also in brackets. */
static bool parse_literal(const char *host, ip_addr_t *address)
{
    char bare[IPADDR_STRLEN_MAX + 1];
    size_t length = strlen(host);

    if (length < 2 || host[0] != '[' || host[length - 1] != ']')
        return parse_address(host, address);
    if (length - 2 >= sizeof(bare))
        return false;
    memcpy(bare, host + 1, length - 2);
    bare[length - 2] = '\0';
    return parse_address(bare, address) && IP_IS_V6(address);
}

#if DNS_LOCAL_HOSTLIST
static void add_if_named(const char *name, const ip_addr_t *address, void *arg)
{
    struct sc_resolve *r = arg;

    if (lwip_stricmp(name, r->host) == 0)
        add(r, address);
}

static void add_host_list(struct sc_resolve *r)
{
    LOCK_TCPIP_CORE();
    dns_local_iterate(add_if_named, r);
    UNLOCK_TCPIP_CORE();
}
#else
static void add_host_list(struct sc_resolve *r)
{
    LWIP_UNUSED_ARG(r);
}
#endif

/* ---- DNS ---- */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* What to do about a host with bytes that no name has. */
static const char *advise_on_byte(const char *host, const char *at)
{
    if (strncmp(host, "http://", 7) == 0)
        return "leave out \"http://\"";
    if (strncmp(host, "https://", 8) == 0)
        return "leave out \"https://\"";
    if (strstr(host, "://"))
        return "leave out everything up to \"://\"";
    if (*at == ':' && !strchr(at + 1, ':'))
        return "the port is an argument of its own";
    if (*at == ':' || *at == '[' || *at == ']' || *at == '%')
        return "it is not a valid IPv6 address either";
    if (*at == '/')
        return "leave out the \"/\" and what follows";
    if ((unsigned char)*at <= ' ' || *at == 0x7f)
        return "it contains a blank or a control character";
    if ((unsigned char)*at >= 0x80)
        return "it is not ASCII, write its \"xn--\" form";
    return "a name has letters, digits, \"-\", \"_\" and dots only";
}

/* Why `host`, which is no IP address, cannot be a name, or NULL. */
static const char *advise(const char *host)
{
    const char *label = host;
    size_t length = strlen(host);

    if (!length)
        return "it is empty";
    for (const char *at = host; *at; at++)
        if (*at != '.' && !is_name_byte(*at))
            return advise_on_byte(host, at);
    if (length - (host[length - 1] == '.') > NAME_MAX_LENGTH)
        return "it is longer than 253 characters";
    for (;;) {
        size_t label_length = strcspn(label, ".");
        if (!label_length)
            return "a part between its dots is empty";
        if (label_length > LABEL_MAX)
            return "a part between its dots is longer than 63 characters";
        if (!label[label_length] || !label[label_length + 1])
            break;
        label += label_length + 1;
    }
    /* As the C library has it: no top-level domain is a number. */
    if (strspn(label, "0123456789.") == strlen(label))
        return "it is not a valid IPv4 address either";
    return NULL;
}

static enum sc_error fail(struct sc_resolve *r, enum sc_error error, const char *reason)
{
    r->stage = STAGE_END;
    r->error = error;
    r->reason = reason;
    return SC_OK;
}

static void add_found(void *context, const ip_addr_t *address, uint32_t ttl)
{
    struct sc_resolve *r = context;
    uint64_t until = sc_engine_now() + (uint64_t)ttl * 1000;

    add(r, address);
    /* Together with addresses of old they are not kept. */
    if (!r->was_cached)
        r->good_until = LWIP_MIN(r->good_until, until);
}

static bool has_next(const struct sc_resolve *r)
{
    if (r->next == r->count)
        return false;
    return IP_IS_V4(&r->addresses[r->next]) || !r->dns || !sc_dns_all_awaits_ip4(r->dns);
}

static enum sc_error start_lookup(struct sc_resolve *r)
{
    const char *reason = NULL;

    /* They did not connect: the name may have moved. */
    forget(r->host);
    r->advice = advise(r->host);
    enum sc_error error =
        r->advice ? SC_ERR_INVAL : sc_dns_all_start(&r->dns, r->host, r->owner, &reason);
    return error == SC_OK ? SC_OK : fail(r, error, reason);
}

static enum sc_error ask_servers(struct sc_resolve *r)
{
    const char *reason;

    if (!r->dns)
        return start_lookup(r);
    if (!sc_dns_all_step(r->dns, add_found, r, &r->again_at))
        return has_next(r) ? SC_OK : SC_ERR_WOULDBLOCK;
    enum sc_error error = sc_dns_all_error(r->dns, &reason);
    sc_dns_all_end(r->dns);
    r->dns = NULL;
    return fail(r, error, reason);
}

/* Asks the next source. SC_OK when it was asked, with or without a result. */
static enum sc_error ask_next_source(struct sc_resolve *r)
{
    ip_addr_t address;

    switch (r->stage) {
    case STAGE_LITERAL:
        r->stage = STAGE_HOST_LIST;
        if (parse_literal(r->host, &address)) {
            add(r, &address);
            r->stage = STAGE_END;
        }
        return SC_OK;
    case STAGE_HOST_LIST:
        add_host_list(r);
        r->stage = r->count ? STAGE_END : STAGE_CACHE;
        return SC_OK;
    case STAGE_CACHE:
        add_cached(r);
        r->was_cached = r->count != 0;
        r->stage = STAGE_DNS;
        return SC_OK;
    default:
        return ask_servers(r);
    }
}

void sc_resolve_start(struct sc_resolve *r, const char *host, struct sc_task *owner)
{
    memset(r, 0, sizeof(*r));
    r->host = host;
    r->owner = owner;
    r->good_until = UINT64_MAX;
    r->error = SC_ERR_INVAL;
    r->reason = "dns: name not found";
}

void sc_resolve_end(struct sc_resolve *r)
{
    if (r->dns)
        sc_dns_all_end(r->dns);
    r->dns = NULL;
    if (r->good_until != UINT64_MAX && sc_engine_now() < r->good_until)
        remember(r);
    r->good_until = UINT64_MAX;
}

enum sc_error sc_resolve_next(struct sc_resolve *r, ip_addr_t *address)
{
    while (!has_next(r)) {
        if (r->stage == STAGE_END)
            return r->error;
        r->again_at = 0;
        if (ask_next_source(r) == SC_ERR_WOULDBLOCK)
            return SC_ERR_WOULDBLOCK;
    }
    r->again_at = 0;
    *address = r->addresses[r->next++];
    return SC_OK;
}
