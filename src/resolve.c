/*
 * The sources of addresses behind resolve.h, on lwIP's DNS client. Runs in the engine, but for
 * the callback, which only stores the answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "resolve.h"

#include "engine.h"
#include "socket.h"

#include "lwip/dns.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"

#include <string.h>

enum { STAGE_LITERAL, STAGE_HOST_LIST, STAGE_IPV4, STAGE_IPV6, STAGE_ALL, STAGE_END };

/* lwIP does not say whether a server denied the name or none answered. A denial is passed on as
 * soon as it is there; giving up takes DNS_MAX_RETRIES rounds of a second and more. */
#define NO_ANSWER_MS 3000

/* lwIP has room for a few lookups at a time only; one that does not fit tries again. */
#define RETRY_MS 20

static void add(struct sc_resolve *r, const ip_addr_t *address)
{
    for (int i = 0; i < r->count; i++)
        if (ip_addr_eq(&r->addresses[i], address))
            return;
    if (r->count < SC_RESOLVE_ADDRESSES)
        r->addresses[r->count++] = *address;
}

static void add_found(void *context, const ip_addr_t *address)
{
    add(context, address);
}

/* With the core lock: a zone ("fe80::1%en0") is looked up among the interfaces. */
static bool parse_address(const char *text, ip_addr_t *address)
{
    LOCK_TCPIP_CORE();
    bool is_address = ipaddr_aton(text, address);
    UNLOCK_TCPIP_CORE();
    return is_address;
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

static void dns_found(const char *name, const ip_addr_t *address, void *arg)
{
    uintptr_t token = (uintptr_t)arg;

    LWIP_UNUSED_ARG(name);
    sc_socket_resolved((int)(token & 0xffff), (uint16_t)(token >> 16), address);
}

static enum sc_error fail(struct sc_resolve *r, enum sc_error error, const char *reason)
{
    r->error = error;
    r->reason = reason;
    return error;
}

static enum sc_error ask(struct sc_resolve *r, u8_t family)
{
    SYS_ARCH_DECL_PROTECT(level);
    uintptr_t token = ((uintptr_t)r->generation << 16) | (uintptr_t)r->id;
    ip_addr_t address;

    SYS_ARCH_PROTECT(level);
    r->is_asking = true;
    r->is_answered = false;
    SYS_ARCH_UNPROTECT(level);
    r->asked_at = sc_engine_now();
    LOCK_TCPIP_CORE();
    err_t err = dns_gethostbyname_addrtype(r->host, &address, dns_found, (void *)token, family);
    UNLOCK_TCPIP_CORE();
    if (err == ERR_INPROGRESS)
        return SC_ERR_WOULDBLOCK;
    r->is_asking = false;
    switch (err) {
    case ERR_OK:
        add(r, &address);
        return SC_OK;
    case ERR_MEM:
        r->again_at = r->asked_at + RETRY_MS;
        return SC_ERR_INPROGRESS;
    case ERR_VAL:
        return fail(r, SC_ERR_RTE, "dns: no DNS server is known");
    default:
        return fail(r, SC_ERR_INVAL, "dns: not a valid name");
    }
}

static void take_answer(struct sc_resolve *r)
{
    r->is_asking = false;
    r->is_answered = false;
    if (r->has_address)
        add(r, &r->answer);
    else if (sc_engine_now() - r->asked_at >= NO_ANSWER_MS)
        fail(r, SC_ERR_TIMEOUT, "dns: no answer from the DNS server");
    else
        fail(r, SC_ERR_INVAL, "dns: name not found");
}

void sc_resolve_answer(struct sc_resolve *r, const ip_addr_t *address)
{
    r->is_answered = true;
    r->has_address = address != NULL;
    if (address)
        ip_addr_copy(r->answer, *address);
}

void sc_resolve_start(struct sc_resolve *r, const char *host, struct sc_task *owner, int id,
                      uint16_t generation)
{
    memset(r, 0, sizeof(*r));
    r->host = host;
    r->owner = owner;
    r->id = id;
    r->generation = generation;
}

void sc_resolve_end(struct sc_resolve *r)
{
    sc_dns_all_end(&r->all);
}

/* Only worth it for a name that has an address: without one lwIP's answer is the last word. */
static enum sc_error ask_for_all(struct sc_resolve *r)
{
    if (!r->all.channel && (!r->count || !sc_dns_all_start(&r->all, r->host, r->owner)))
        return SC_OK;
    if (!sc_dns_all_step(&r->all, add_found, r)) {
        r->again_at = r->all.again_at;
        return SC_ERR_INPROGRESS;
    }
    sc_dns_all_end(&r->all);
    return SC_OK;
}

/* Asks the next source. SC_OK when it was asked, with or without a result; SC_ERR_INPROGRESS when
 * this has to be called again. */
static enum sc_error ask_next_source(struct sc_resolve *r)
{
    enum sc_error error = SC_OK;
    ip_addr_t address;

    switch (r->stage) {
    case STAGE_LITERAL:
        if (parse_literal(r->host, &address)) {
            add(r, &address);
            r->stage = STAGE_END;
            return SC_OK;
        }
        break;
    case STAGE_HOST_LIST:
        add_host_list(r);
        if (r->count) {
            r->stage = STAGE_END;
            return SC_OK;
        }
        break;
    case STAGE_IPV4:
        error = ask(r, LWIP_DNS_ADDRTYPE_IPV4);
        break;
    case STAGE_IPV6:
#if LWIP_IPV6
        error = ask(r, LWIP_DNS_ADDRTYPE_IPV6);
#endif
        break;
    case STAGE_ALL:
        error = ask_for_all(r);
        break;
    default:
        return r->error;
    }
    if (error != SC_ERR_INPROGRESS)
        r->stage++;
    return error == SC_ERR_WOULDBLOCK || error == SC_ERR_INPROGRESS ? error : SC_OK;
}

enum sc_error sc_resolve_next(struct sc_resolve *r, ip_addr_t *address)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_waiting;
    bool is_answered;

    SYS_ARCH_PROTECT(level);
    is_answered = r->is_answered;
    is_waiting = r->is_asking && !is_answered;
    SYS_ARCH_UNPROTECT(level);
    r->again_at = 0;
    if (is_waiting)
        return SC_ERR_WOULDBLOCK;
    if (is_answered)
        take_answer(r);
    while (r->next == r->count) {
        if (r->stage == STAGE_END)
            return r->error ? r->error : fail(r, SC_ERR_INVAL, "dns: name not found");
        enum sc_error error = ask_next_source(r);
        if (error != SC_OK)
            return SC_ERR_WOULDBLOCK;
    }
    *address = r->addresses[r->next++];
    return SC_OK;
}
