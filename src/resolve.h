/*
 * From a host to addresses, one after the other: an IP literal, the local host list, then the
 * names's addresses by DNS, IPv4 before IPv6. The next source is only asked when the addresses so
 * far did not connect.
 *
 * lwIP's lookups cannot be cancelled: an answer finds its socket by id and generation, and is
 * dropped when that use of the id is over.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_RESOLVE_H
#define SC_RESOLVE_H

#include "socketcore.h"

#include "lwip/ip_addr.h"

#define SC_RESOLVE_ADDRESSES 8 /* as many of the host list's are tried */

struct sc_resolve {
    const char *host; /* borrowed */
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
};

/* `host` must stay where it is. */
void sc_resolve_start(struct sc_resolve *resolve, const char *host, int id, uint16_t generation);

/* SC_OK and the next address; SC_ERR_WOULDBLOCK while a lookup is under way (SC_WAKE_DNS follows);
 * SC_ERR_INPROGRESS when lwIP has no room for another lookup now: ask again later; else why there
 * is no further address, with words in resolve->reason. */
enum sc_error sc_resolve_next(struct sc_resolve *resolve, ip_addr_t *address);

/* The lookup has ended, NULL: without an address. Under protection. */
void sc_resolve_answer(struct sc_resolve *resolve, const ip_addr_t *address);

#endif
