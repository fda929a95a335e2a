/*
 * A link: what carries lwIP's Ethernet frames. One is chosen when the network starts; its
 * functions are called with lwIP's core lock held.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_LINK_H
#define SC_HOST_LINK_H

#include "lwip/netif.h"

#include <stdbool.h>
#include <stdint.h>

/* Sets up `netif` except for its name: MTU, hardware address, output functions, addresses, name
 * servers. `argument` is what stood behind the link's name in SOCKETCORE_LINK. Returns NULL, or
 * one line that says what is wrong and what to do about it. */
typedef const char *link_open_fn(struct netif *netif, const char *argument);

/* Closes everything; bytes that is_flushed would have waited for are lost. */
typedef void link_close_fn(void);

/* Before a sleep: adds its file descriptors to the poll set, and brings *until forward to when it
 * wants to be dispatched at the latest. */
typedef void link_watch_fn(uint64_t now, uint64_t *until);

/* After a sleep: reads what the descriptors have. */
typedef void link_dispatch_fn(uint64_t now, int ready);

/* Hands received frames to lwIP. True when there were any. */
typedef bool link_deliver_fn(struct netif *netif);

/* False while bytes that lwIP was told have arrived are still inside this process, or would be
 * lost if it ended now. */
typedef bool link_is_flushed_fn(void);

/* The name server to ask instead of the host's own, or NULL. */
typedef const char *link_name_server_fn(void);

struct sc_link {
    const char *name;
    bool takes_argument;
    bool has_host_loopback; /* carries 127.0.0.0/8 and ::1 to the host's own servers */
    link_open_fn *open;
    link_close_fn *close;
    link_watch_fn *watch;
    link_dispatch_fn *dispatch;
    link_deliver_fn *deliver;
    link_is_flushed_fn *is_flushed;
    link_name_server_fn *name_server;
};

extern const struct sc_link sc_link_nat;
extern const struct sc_link sc_link_slirp;
extern const struct sc_link sc_link_tap;

/* ---- netif.c: the one interface, over the link that SOCKETCORE_LINK names ---- */

/* Start lwIP (the first time) and open the link, close it. The texts as in link_open_fn. Core lock
 * held. */
const char *sc_net_start(void);
void sc_net_stop(void);

/* The same as the link's functions of these names; without a link they do nothing. */
void sc_net_watch(uint64_t now, uint64_t *until);
void sc_net_dispatch(uint64_t now, int ready);
bool sc_net_deliver(void);

/* True when no connection has output that its peer has not taken yet. */
bool sc_net_is_flushed(void);

/* The name server that the link prescribes, or NULL. */
const char *sc_net_name_server(void);

/* False for addresses of the host's loopback where the link has no way there. */
bool sc_net_reaches(const ip_addr_t *address);

/* For a link: where IPv6 packets to other networks go, where that has to be said. */
void sc_net_set_gateway_ip6(const ip6_addr_t *gateway);

/* For a link: can the connection of the host's socket `fd` be closed without losing anything, with
 * `waiting` bytes still to be written to it? True also after a reset: they can never be written. */
bool sc_net_has_sent(int fd, size_t waiting);

/* True when sc_net_deliver may have something to do. Any thread. */
bool sc_net_has_frames(void);

/* For a link: a frame is there for sc_net_deliver. */
void sc_net_note_frame(void);

#endif
