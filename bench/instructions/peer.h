/*
 * The other end of the network: a host with one TCP server, which acknowledges each segment at
 * once, answers a FIN with its own, and sends when it is told to. It is on the wire, not in lwIP:
 * everything that lwIP executes is the device's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_PEER_H
#define SC_INSTRUCTIONS_PEER_H

#include <stdbool.h>
#include <stddef.h>

#define PEER_ADDRESS "10.0.0.1"
#define PEER_PORT 4000

/* Adds the network interface that leads to the peer. */
void peer_start(void);

/* Hands the next packet that the peer has sent to lwIP. False when there is none. */
bool peer_deliver(void);

/* Sends one segment of `length` bytes on the connection. */
void peer_send(size_t length);

/* Bytes received on the latest connection. */
size_t peer_received(void);

/* Is the latest connection closed from both sides? */
bool peer_is_closed(void);

#endif
