/*
 * The TCP half of the default link: carries lwIP's connections over sockets of the host. Runs under
 * lwIP's core lock.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_RELAY_H
#define SC_HOST_RELAY_H

#include "lwip/netif.h"

#include <stdbool.h>

/* Starts to answer what `interface` sends. NULL, or one line that says what is wrong. */
const char *sc_relay_open(struct netif *interface);

/* Closes every connection at once. */
void sc_relay_close(void);

/* A TCP packet from lwIP (sc_packet_is_tcp). One without data must not be changed afterwards. */
err_t sc_relay_send(struct pbuf *packet);

/* Hands over what both ends have sent each other. True when there was anything. */
bool sc_relay_deliver(void);

/* Before a sleep: writes what waits. */
void sc_relay_watch(void);

/* After a sleep: reads what the host's sockets have. */
void sc_relay_dispatch(void);

/* False while bytes that lwIP was told have arrived could be lost if this process ended. */
bool sc_relay_is_flushed(void);

#endif
