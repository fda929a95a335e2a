/*
 * The DNS client: all addresses of a name, from the servers that lwIP knows (dns_setserver).
 *
 * For each kind of address one question is asked: of the server that answered last, of the next one
 * at once when a server cannot help or an ICMP error comes back, else after a second of silence. An
 * answer that comes later counts too. One that was cut is asked for again over TCP.
 *
 * Runs in the engine, on the transports. It keeps no cache.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_DNS_ALL_H
#define SC_DNS_ALL_H

#include "transport.h"

struct sc_dns_all;

/* Called for each address; `ttl` in seconds. */
typedef void sc_dns_all_found(void *context, const ip_addr_t *address, uint32_t ttl);

/* Starts a lookup; `owner` is woken when it is worth a step. `host` must stay where it is. On
 * failure there is no lookup and *reason says why, a constant text. */
enum sc_error sc_dns_all_start(struct sc_dns_all **out, const char *host, struct sc_task *owner,
                               const char **reason);

/* Takes what has arrived and asks further. True when nothing more is to be waited for; else
 * *again_at is when to step at the latest, 0: when woken. */
bool sc_dns_all_step(struct sc_dns_all *dns, sc_dns_all_found *found, void *context,
                     uint64_t *again_at);

/* May an IPv4 address still come soon, which goes before those of IPv6? */
bool sc_dns_all_awaits_ip4(const struct sc_dns_all *dns);

/* Why a lookup that is over has found no address. */
enum sc_error sc_dns_all_error(const struct sc_dns_all *dns, const char **reason);

/* Ends a lookup at any time. */
void sc_dns_all_end(struct sc_dns_all *dns);

/* ---- one answer; apart from the rest for the sake of its tests ---- */

enum sc_dns_verdict {
    SC_DNS_FOREIGN,  /* it answers something else */
    SC_DNS_FAILED,   /* the server cannot say, or does not want to */
    SC_DNS_CUT,      /* there is more than fits into a datagram */
    SC_DNS_DENIED,   /* the name does not exist */
    SC_DNS_ANSWERED, /* all addresses are there, maybe none */
};

/* What `length` bytes say to the query `id` for records of `type` of `host`. */
enum sc_dns_verdict sc_dns_all_judge(const unsigned char *answer, size_t length, uint16_t id,
                                     uint16_t type, const char *host);

/* Takes the addresses out of an answer that was judged. Returns how many. */
unsigned sc_dns_all_read(const unsigned char *answer, size_t length, uint16_t type,
                         sc_dns_all_found *found, void *context);

#endif
