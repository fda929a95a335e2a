/*
 * The peer of peer.h, with a TCP that knows a network without losses. Anything else that arrives
 * ends the program: then the two sides would not have done the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "peer.h"

#include "machine.h"

#include "lwip/opt.h"

#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/prot/ip.h"
#include "lwip/tcpip.h"

#include <stdint.h>

#define PACKET_MAX 1500
#define PACKETS_MAX 32 /* a power of 2 */
#define IP_HEADER 20
#define TCP_HEADER 20
#define OPTION_MSS 4
#define WINDOW 0xffff
#define FIRST_SEQ 1000

enum { FIN = 0x01, SYN = 0x02, RST = 0x04, PSH = 0x08, ACK = 0x10 };

struct packet {
    size_t length;
    unsigned char bytes[PACKET_MAX];
};

static struct netif link;
static struct packet packets[PACKETS_MAX];
static unsigned first_packet;
static unsigned packet_count;

/* The latest connection. */
static unsigned client_port;
static uint32_t sent;  /* sequence number of what comes next from here */
static uint32_t acked; /* by the device */
static uint32_t taken; /* sequence number of what comes next from the device */
static size_t received;
static bool is_closed;

/* ---- bytes ---- */

static unsigned get16(const unsigned char *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(unsigned char *p, unsigned value)
{
    p[0] = (unsigned char)(value >> 8);
    p[1] = (unsigned char)value;
}

static void put32(unsigned char *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value & 0xffff);
}

static uint32_t add_up(uint32_t sum, const unsigned char *p, size_t length)
{
    for (; length > 1; length -= 2, p += 2)
        sum += get16(p);
    return length ? sum + ((uint32_t)p[0] << 8) : sum;
}

static unsigned fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static unsigned tcp_checksum(const unsigned char *ip, size_t tcp_length)
{
    uint32_t pseudo = add_up(IP_PROTO_TCP + (uint32_t)tcp_length, ip + 12, 8);

    return fold(add_up(pseudo, ip + IP_HEADER, tcp_length));
}

/* ---- towards the device ---- */

/* Queues a segment; with SYN it has the MSS option, else `length` bytes of data. */
static void send_segment(unsigned flags, size_t length)
{
    static unsigned id;
    size_t options = flags & SYN ? OPTION_MSS : 0;
    size_t tcp_length = TCP_HEADER + options + length;

    if (packet_count == PACKETS_MAX || IP_HEADER + tcp_length > PACKET_MAX)
        machine_abort("the peer has too much to send");
    struct packet *packet = &packets[(first_packet + packet_count++) % PACKETS_MAX];
    unsigned char *ip = packet->bytes;
    unsigned char *tcp = ip + IP_HEADER;
    for (size_t i = 0; i < IP_HEADER + TCP_HEADER; i++)
        ip[i] = 0;
    packet->length = IP_HEADER + tcp_length;
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)packet->length);
    put16(ip + 4, ++id & 0xffff);
    ip[8] = 64;
    ip[9] = IP_PROTO_TCP;
    put32(ip + 12, lwip_ntohl(netif_ip4_gw(&link)->addr));
    put32(ip + 16, lwip_ntohl(netif_ip4_addr(&link)->addr));
    put16(ip + 10, fold(add_up(0, ip, IP_HEADER)));
    put16(tcp, PEER_PORT);
    put16(tcp + 2, client_port);
    put32(tcp + 4, sent);
    put32(tcp + 8, taken);
    tcp[12] = (unsigned char)((TCP_HEADER + options) / 4 << 4);
    tcp[13] = (unsigned char)flags;
    put16(tcp + 14, WINDOW);
    if (options)
        put32(tcp + TCP_HEADER, 0x02040000 | TCP_MSS);
    for (size_t i = 0; i < length; i++)
        tcp[TCP_HEADER + i] = (unsigned char)(sent + i);
    put16(tcp + 16, tcp_checksum(ip, tcp_length));
    sent += (uint32_t)length + (flags & (SYN | FIN) ? 1 : 0);
}

bool peer_deliver(void)
{
    if (!packet_count)
        return false;
    const struct packet *packet = &packets[first_packet];
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)packet->length, PBUF_POOL);
    if (!p || pbuf_take(p, packet->bytes, (u16_t)packet->length) != ERR_OK)
        machine_abort("no pbuf for what the peer sends");
    first_packet = (first_packet + 1) % PACKETS_MAX;
    packet_count--;
    if (link.input(p, &link) != ERR_OK)
        machine_abort("lwIP does not take what the peer sends");
    return true;
}

void peer_send(size_t length)
{
    send_segment(ACK | PSH, length);
}

/* ---- from the device ---- */

static void open_connection(unsigned port, uint32_t seq)
{
    client_port = port;
    taken = seq + 1;
    sent = FIRST_SEQ;
    acked = FIRST_SEQ;
    received = 0;
    is_closed = false;
    send_segment(SYN | ACK, 0);
}

static void take_data(const unsigned char *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (data[i] != (unsigned char)(received + i))
            machine_abort("the peer received other bytes than were sent");
    received += length;
    taken += (uint32_t)length;
}

static void take_segment(const unsigned char *tcp, size_t length)
{
    size_t header = (size_t)(tcp[12] >> 4) * 4;
    unsigned flags = tcp[13];

    if (flags & RST)
        machine_abort("the device has reset the connection");
    if (flags & SYN) {
        open_connection(get16(tcp), get32(tcp + 4));
        return;
    }
    if (get16(tcp) != client_port || get32(tcp + 4) != taken)
        machine_abort("a segment that the peer did not expect");
    if (flags & ACK)
        acked = get32(tcp + 8);
    take_data(tcp + header, length - header);
    if (flags & FIN) {
        taken++;
        send_segment(FIN | ACK, 0);
        is_closed = true;
    } else if (length > header) {
        send_segment(ACK, 0);
    }
}

static err_t on_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    unsigned char bytes[PACKET_MAX];
    size_t length = 0;

    LWIP_UNUSED_ARG(netif);
    LWIP_UNUSED_ARG(to);
    for (; p; p = p->next)
        for (size_t i = 0; i < p->len; i++) {
            if (length == sizeof(bytes))
                machine_abort("a packet that is too long");
            bytes[length++] = ((const unsigned char *)p->payload)[i];
        }
    if (length < IP_HEADER + TCP_HEADER || bytes[0] != 0x45 || bytes[9] != IP_PROTO_TCP ||
        get16(bytes + IP_HEADER + 2) != PEER_PORT)
        machine_abort("a packet that is not for the peer's server");
    if (fold(add_up(0, bytes, IP_HEADER)) || tcp_checksum(bytes, length - IP_HEADER))
        machine_abort("a packet with a wrong checksum");
    take_segment(bytes + IP_HEADER, length - IP_HEADER);
    return ERR_OK;
}

size_t peer_received(void)
{
    return received;
}

bool peer_is_closed(void)
{
    return is_closed && acked == sent;
}

/* ---- the start ---- */

static err_t init_link(struct netif *netif)
{
    netif->name[0] = 'i';
    netif->name[1] = 'n';
    netif->mtu = PACKET_MAX;
    netif->output = on_output;
    return ERR_OK;
}

void peer_start(void)
{
    ip4_addr_t address;
    ip4_addr_t mask;
    ip4_addr_t gateway;

    IP4_ADDR(&address, 10, 0, 0, 2);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    ip4addr_aton(PEER_ADDRESS, &gateway);
    LOCK_TCPIP_CORE();
    netif_add(&link, &address, &mask, &gateway, NULL, init_link, tcpip_input);
    netif_set_default(&link);
    netif_set_up(&link);
    netif_set_link_up(&link);
    UNLOCK_TCPIP_CORE();
}
