/*
 * All addresses of a name, which lwIP's DNS client does not give: it keeps the first one. Asked
 * only when that one did not connect. One query for IPv4 and one for IPv6 go to the first name
 * server, and again after each second without an answer, three times in all.
 *
 * Runs in the engine, on the UDP transport; it keeps no cache and follows no referral.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_DNS_ALL_H
#define SC_DNS_ALL_H

#include "transport.h"

struct sc_dns_all {
    struct sc_channel *channel; /* NULL while nothing is asked */
    const char *host;           /* borrowed */
    uint16_t ids[2];            /* of the two queries */
    bool is_answered[2];
    uint8_t tries;
    uint64_t again_at; /* sc_engine_now() when to step at the latest */
};

/* Called for each address. */
typedef void sc_dns_all_found(void *context, const ip_addr_t *address);

/* Sends the queries; `owner` is woken for the answers. False when that is not possible. */
bool sc_dns_all_start(struct sc_dns_all *dns, const char *host, struct sc_task *owner);

/* Takes what has arrived. True when no more is to be waited for. */
bool sc_dns_all_step(struct sc_dns_all *dns, sc_dns_all_found *found, void *context);

/* Gives everything back; may be called at any time. */
void sc_dns_all_end(struct sc_dns_all *dns);

/* Reads one answer of `length` bytes to the query `id` for records of `type` of `host`. False when
 * it is none. Apart from the rest for the sake of its tests. */
bool sc_dns_all_parse(const unsigned char *answer, size_t length, uint16_t id, uint16_t type,
                      const char *host, sc_dns_all_found *found, void *context);

#endif
