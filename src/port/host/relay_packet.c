/*
 * Packets and chunks of the relay.
 *
 * Large blocks that are given back and asked for again cost more than the copying: the C library
 * returns them to the system at the end of its heap and gets them back page by page. So a few are
 * kept, and the data of large packets goes where the data before it was.
 *
 * SPDX-License-Identifier: MIT
 */
#include "relay_packet.h"

#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/sys.h"

#include <stdlib.h>
#include <string.h>

/* Up to here a chunk is memory of its size, so that a little data that stays for long does not hold
 * much; larger ones have the full size. */
#define SMALL_MAX 16384
/* So many large ones are kept. */
#define SPARE_MAX 16
/* A packet with less data than this is copied into memory of its own. */
#define SHARED_FROM 8192

/* Shared, under SYS_ARCH_PROTECT. */
static struct sc_chunk *spares;
static unsigned spare_count;

/* Where the next large packet's data goes. */
static struct sc_chunk *filling;

/* ---- chunks ---- */

static struct sc_chunk *take_spare(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_chunk *chunk;

    SYS_ARCH_PROTECT(level);
    chunk = spares;
    if (chunk) {
        spares = chunk->next;
        spare_count--;
    }
    SYS_ARCH_UNPROTECT(level);
    return chunk;
}

struct sc_chunk *sc_chunk_new(size_t size)
{
    struct sc_chunk *chunk = NULL;

    if (size > SMALL_MAX) {
        size = SC_CHUNK_MAX;
        chunk = take_spare();
    }
    if (!chunk)
        chunk = malloc(sizeof(*chunk) + size);
    if (chunk)
        *chunk = (struct sc_chunk){ .size = size, .refs = 1 };
    return chunk;
}

/* Any thread. */
void sc_chunk_drop(struct sc_chunk *chunk)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_unused;

    SYS_ARCH_PROTECT(level);
    is_unused = --chunk->refs == 0;
    if (is_unused && chunk->size > SMALL_MAX && spare_count < SPARE_MAX) {
        chunk->next = spares;
        spares = chunk;
        spare_count++;
        is_unused = false;
    }
    SYS_ARCH_UNPROTECT(level);
    if (is_unused)
        free(chunk);
}

struct sc_chunk *sc_chunk_fit(struct sc_chunk *chunk, size_t length)
{
    struct sc_chunk *fitting = length > SMALL_MAX ? NULL : sc_chunk_new(length);

    if (fitting) {
        memcpy(fitting->data, chunk->data, length);
        sc_chunk_drop(chunk);
        chunk = fitting;
    }
    chunk->length = length;
    return chunk;
}

void sc_packet_stop(void)
{
    if (filling)
        sc_chunk_drop(filling);
    filling = NULL;
    for (struct sc_chunk *chunk = take_spare(); chunk; chunk = take_spare())
        free(chunk);
}

/* ---- pieces: pbufs that refer to a chunk ---- */

struct piece {
    struct pbuf_custom custom; /* first */
    struct sc_chunk *chunk;
};

/* Any thread. */
static void free_piece(struct pbuf *p)
{
    struct piece *piece = (struct piece *)(void *)p;

    sc_chunk_drop(piece->chunk);
    free(piece);
}

static struct pbuf *make_piece(struct sc_chunk *chunk, void *start, u16_t length)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct piece *piece = malloc(sizeof(*piece));

    if (!piece)
        return NULL;
    piece->custom.custom_free_function = free_piece;
    piece->chunk = chunk;
    SYS_ARCH_PROTECT(level);
    chunk->refs++;
    SYS_ARCH_UNPROTECT(level);
    return pbuf_alloced_custom(PBUF_RAW, length, PBUF_REF, &piece->custom, start, length);
}

/* ---- looking at packets ---- */

bool sc_packet_is_tcp(const struct pbuf *packet)
{
    const struct ip_hdr *ip = packet->payload;

    if (IPH_V(ip) == 4)
        return IPH_PROTO(ip) == IP_PROTO_TCP && !(IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK | IP_MF)) &&
               packet->len >= IPH_HL_BYTES(ip) + sizeof(struct tcp_hdr);
    return IP6H_NEXTH((const struct ip6_hdr *)packet->payload) == IP6_NEXTH_TCP &&
           packet->len >= IP6_HLEN + sizeof(struct tcp_hdr);
}

static size_t ip_header_length(const struct pbuf *packet)
{
    const struct ip_hdr *ip = packet->payload;

    return IPH_V(ip) == 4 ? IPH_HL_BYTES(ip) : IP6_HLEN;
}

static const struct tcp_hdr *tcp_header(const struct pbuf *packet)
{
    return (const void *)((const char *)packet->payload + ip_header_length(packet));
}

struct sc_packet_info sc_packet_inspect(const struct pbuf *packet)
{
    struct sc_packet_info info;
    const struct ip_hdr *ip4 = packet->payload;
    const struct ip6_hdr *ip6 = packet->payload;
    const struct tcp_hdr *tcp = tcp_header(packet);

    if (IPH_V(ip4) == 4) {
        ip_addr_copy_from_ip4(info.source, ip4->src);
        ip_addr_copy_from_ip4(info.destination, ip4->dest);
    } else {
        ip_addr_copy_from_ip6_packed(info.source, ip6->src);
        ip_addr_copy_from_ip6_packed(info.destination, ip6->dest);
    }
    info.source_port = lwip_ntohs(tcp->src);
    info.destination_port = lwip_ntohs(tcp->dest);
    info.flags = TCPH_FLAGS(tcp);
    return info;
}

/* ---- copying packets ---- */

/* The first `length` bytes. */
static struct pbuf *copy_start(const struct pbuf *packet, u16_t length)
{
    struct pbuf *copy = pbuf_alloc(PBUF_RAW, length, PBUF_RAM);

    if (copy)
        pbuf_copy_partial(packet, copy->payload, length, 0);
    return copy;
}

/* A chunk with room for `length` more bytes, which packets that are on their way may refer to. */
static struct sc_chunk *find_room(size_t length)
{
    SYS_ARCH_DECL_PROTECT(level);

    if (filling) {
        SYS_ARCH_PROTECT(level);
        if (filling->refs == 1)
            filling->length = 0;
        SYS_ARCH_UNPROTECT(level);
        if (filling->size - filling->length >= length)
            return filling;
        sc_chunk_drop(filling);
    }
    filling = sc_chunk_new(SC_CHUNK_MAX);
    return filling;
}

/* The packet's data from `offset` on, copied into a shared chunk. */
static struct pbuf *share_data(const struct pbuf *packet, u16_t offset)
{
    u16_t length = (u16_t)(packet->tot_len - offset);
    struct sc_chunk *chunk = find_room(length);

    if (!chunk)
        return NULL;
    unsigned char *start = chunk->data + chunk->length;
    pbuf_copy_partial(packet, start, length, offset);
    chunk->length += length;
    return make_piece(chunk, start, length);
}

static struct sc_chunk *find_chunk(struct sc_chunk *chunks, const void *data)
{
    const unsigned char *at = data;

    while (chunks && (at < chunks->data || at >= chunks->data + chunks->length))
        chunks = chunks->next;
    return chunks;
}

/* References to the data of all pbufs behind the first, as far as it lies in `chunks`. */
static bool refer_to_data(struct pbuf *copy, const struct pbuf *packet, struct sc_chunk *chunks)
{
    for (const struct pbuf *p = packet->next; p; p = p->next) {
        struct sc_chunk *chunk = find_chunk(chunks, p->payload);
        struct pbuf *piece = chunk ? make_piece(chunk, p->payload, p->len) : NULL;
        if (!piece)
            return false;
        pbuf_cat(copy, piece);
    }
    return true;
}

struct pbuf *sc_packet_copy(struct pbuf *packet, struct sc_chunk *chunks)
{
    const struct tcp_hdr *tcp = tcp_header(packet);
    u16_t header = (u16_t)(ip_header_length(packet) + TCPH_HDRLEN_BYTES(tcp));
    struct pbuf *copy;

    /* lwIP lets go of these once they are sent (tcp_output_control_segment in core/tcp_out.c); all
     * others it may send again. */
    if (packet->tot_len == header && !(TCPH_FLAGS(tcp) & (TCP_SYN | TCP_FIN))) {
        pbuf_ref(packet);
        return packet;
    }
    if (chunks && packet->next) {
        copy = copy_start(packet, packet->len);
        if (copy && refer_to_data(copy, packet, chunks))
            return copy;
        if (copy)
            pbuf_free(copy);
    } else if (packet->tot_len >= header + SHARED_FROM) {
        copy = copy_start(packet, header);
        struct pbuf *data = copy ? share_data(packet, header) : NULL;
        if (data) {
            pbuf_cat(copy, data);
            return copy;
        }
        if (copy)
            pbuf_free(copy);
    }
    return copy_start(packet, packet->tot_len);
}
