/*
 * The packets between the two sides of the relay (relay.c), and the memory that they share with it.
 * Under lwIP's core lock, but for the freeing of what was received, which the script thread does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_RELAY_PACKET_H
#define SC_HOST_RELAY_PACKET_H

#include "lwip/ip_addr.h"
#include "lwip/pbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- chunks: memory for data, which packets refer to instead of copying it ---- */

struct sc_chunk {
    struct sc_chunk *next; /* the owner's */
    size_t length;         /* bytes in it, the owner's to set */
    size_t queued;         /* of these, bytes that lwIP has taken */
    size_t acked;          /* and that were acknowledged */
    size_t size;           /* constant: bytes there is room for */
    unsigned refs;         /* the owner's and the packets', under SYS_ARCH_PROTECT */
    unsigned char data[];
};

/* The largest chunk: lwIP's lengths have 16 bits. */
#define SC_CHUNK_MAX 65535

/* A chunk for `size` bytes, up to SC_CHUNK_MAX, or NULL without memory. The caller is its owner. */
struct sc_chunk *sc_chunk_new(size_t size);

/* A chunk with the first `length` bytes of this one, which is no larger than they are worth: much
 * stays where it is, little goes to memory of its size. The owner's chunk is the one returned. */
struct sc_chunk *sc_chunk_fit(struct sc_chunk *chunk, size_t length);

/* The owner has no use for it any more; it is freed once no packet refers to it. */
void sc_chunk_drop(struct sc_chunk *chunk);

/* ---- packets ---- */

struct sc_packet_info {
    ip_addr_t source;
    ip_addr_t destination;
    uint16_t source_port;
    uint16_t destination_port;
    uint8_t flags; /* TCP_* */
};

/* Is this IP packet TCP, and whole? */
bool sc_packet_is_tcp(const struct pbuf *packet);

/* What the headers of a TCP packet say. */
struct sc_packet_info sc_packet_inspect(const struct pbuf *packet);

/* What the receiver of a packet gets: a copy, because the sender keeps its own to send it again, or
 * a reference to a packet that is never sent again. NULL without memory. Data that lies in one of
 * `chunks` (linked by `next`) is not copied but referred to. */
struct pbuf *sc_packet_copy(struct pbuf *packet, struct sc_chunk *chunks);

/* Frees what is kept for later. */
void sc_packet_stop(void);

#endif
