/*
 * From a host to addresses, one after the other: an IP literal, the local host list, what DNS said
 * lately, or DNS. The next source is only asked when the addresses so far did not connect.
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
    uint8_t stage;
    uint8_t count; /* of `addresses` */
    uint8_t next;  /* so many were handed out */
    bool was_cached;
    ip_addr_t addresses[SC_RESOLVE_ADDRESSES];
    enum sc_error error;    /* why there is no (further) address */
    const char *reason;     /* in words, constant */
    const char *advice;     /* or NULL; why `host` cannot be a host, and what to do: constant */
    uint64_t good_until;    /* the addresses may be kept, UINT64_MAX: they are not of DNS */
    uint64_t again_at;      /* while a lookup is under way: when to ask again at the latest, or 0 */
    struct sc_dns_all *dns; /* NULL while none is */
};

/* `host` must stay where it is until sc_resolve_end; `owner` is the task to wake. */
void sc_resolve_start(struct sc_resolve *resolve, const char *host, struct sc_task *owner);

/* Gives back what a lookup under way holds; may be called at any time. */
void sc_resolve_end(struct sc_resolve *resolve);

/* SC_OK and the next address; SC_ERR_WOULDBLOCK while a lookup is under way: the owner is woken,
 * and asks again by resolve->again_at; else why there is no further address, with words in
 * resolve->reason, or in resolve->advice. */
enum sc_error sc_resolve_next(struct sc_resolve *resolve, ip_addr_t *address);

/* Forgets what DNS said. Only while the engine does not run. */
void sc_resolve_stop(void);

#endif
