/*
 * Functions that lwIP's routing asks (LWIP_HOOK_* in lwipopts.h); netif.c has them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_LWIP_HOOKS_H
#define SC_HOST_LWIP_HOOKS_H

#include "lwip/ip4_addr.h"
#include "lwip/ip6_addr.h"

struct netif;

/* The interface for addresses that no netmask matches, 127.0.0.0/8 among them. */
struct netif *sc_route_ip4(const ip4_addr_t *destination);

/* The next hop for an address outside the link's prefix, or NULL. */
const ip6_addr_t *sc_gateway_ip6(struct netif *netif, const ip6_addr_t *destination);

#endif
