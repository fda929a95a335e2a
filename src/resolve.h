/*
 * From a host to addresses, one after the other: an IP literal, the local host list, or by DNS:
 * lwIP's answer for IPv4, the one for IPv6, then all that the name has. The next source is only
 * asked when the addresses so far did not connect.
 *
 * lwIP's lookups cannot be cancelled: an answer finds its socket by id and generation, and is
 * dropped when that use of the id is over.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_RESOLVE_H
#define SC_RESOLVE_H

#include "dns_all.h"
#include "socketcore.h"

#include "lwip/ip_addr.h"

#define SC_RESOLVE_ADDRESSES 8 /* so many are tried */

struct sc_resolve {
    const char *host; /* borrowed */
    struct sc_task *owner;
    int id;
    uint16_t generation;
    uint8_t stage;
    uint8_t count; /* of `addresses` */
    uint8_t next;
    bool is_asking; /* a lookup is under way; shared with the lookup's callback, as `answer` */
    bool is_answered;
    bool has_address;
    ip_addr_t answer;
    ip_addr_t addresses[SC_RESOLVE_ADDRESSES];
    enum sc_error error; /* of the lookups so far */
    const char *reason;
    uint64_t asked_at;
    uint64_t again_at; /* while a lookup is under way: when to ask again at the latest, or 0 */
    struct sc_dns_all all;
};

/* `host` must stay where it is until sc_resolve_end; `owner` is the task of the socket `id`. */
void sc_resolve_start(struct sc_resolve *resolve, const char *host, struct sc_task *owner, int id,
                      uint16_t generation);

/* Gives back what a lookup under way holds; may be called at any time. */
void sc_resolve_end(struct sc_resolve *resolve);

/* SC_OK and the next address; SC_ERR_WOULDBLOCK while a lookup is under way: the owner is woken,
 * and asks again by resolve->again_at; else why there is no further address, with words in
 * resolve->reason. */
enum sc_error sc_resolve_next(struct sc_resolve *resolve, ip_addr_t *address);

/* The lookup has ended, NULL: without an address. Under protection. */
void sc_resolve_answer(struct sc_resolve *resolve, const ip_addr_t *address);

#endif
