/*
 * The bench's lwIP side: what lwIP and libslirp can do with the project's lwipopts.h and link
 * sizes, when a C program uses lwIP's raw API on a single thread. No Lua, nothing of the core; of
 * the host port only what lwIP itself needs (sys_arch.c, checksum.c, clock.c).
 *
 * SPDX-License-Identifier: MIT
 */
#include "limit.h"

#include "lwip/init.h"
#include "lwip/ip4.h"
#include "lwip/netif.h"
#include "lwip/prot/ethernet.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "lwip_hooks.h"
#include "netif/ethernet.h"

#include <libslirp.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINK_MTU (TCP_MSS + 40)
#define FRAMES_MAX 4096
#define TURNS_PER_LOOK 64 /* of frames alone, before timers and descriptors have their turn */

static const unsigned char our_hardware_address[ETH_HWADDR_LEN] = {
    0x52, 0x54, 0, 0x12, 0x34, 0x56
};
static const unsigned char its_hardware_address[ETH_HWADDR_LEN] = { 0x52, 0x55, 10, 0, 2, 2 };

static struct netif interface;
static Slirp *slirp;
static struct pbuf *frames[FRAMES_MAX]; /* from slirp, oldest first */
static unsigned frames_first, frames_count;
static struct pollfd *descriptors;
static int descriptors_count, descriptors_size;
static ip_addr_t server_address;
static char data[SEND_SIZE];

/* ---- lwIP's interface over slirp ---- */

struct netif *sc_route_ip4(const ip4_addr_t *destination)
{
    (void)destination;
    return &interface;
}

const ip6_addr_t *sc_gateway_ip6(struct netif *netif, const ip6_addr_t *destination)
{
    (void)netif;
    (void)destination;
    return NULL;
}

static ssize_t queue_frame(const void *frame, size_t length, void *unused)
{
    (void)unused;
    struct pbuf *p =
        frames_count == FRAMES_MAX ? NULL : pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
    if (p != NULL) {
        memcpy(p->payload, frame, length);
        frames[(frames_first + frames_count++) % FRAMES_MAX] = p;
    }
    return (ssize_t)length;
}

static bool deliver_frames(void)
{
    bool was_any = frames_count > 0;
    while (frames_count > 0) {
        struct pbuf *p = frames[frames_first];
        frames_first = (frames_first + 1) % FRAMES_MAX;
        frames_count--;
        if (interface.input(p, &interface) != ERR_OK)
            pbuf_free(p);
    }
    return was_any;
}

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
    static unsigned char joined[SIZEOF_ETH_HDR + LINK_MTU];
    (void)netif;
    if (p->next == NULL) {
        slirp_input(slirp, p->payload, p->len);
        return ERR_OK;
    }
    if (p->tot_len > sizeof joined)
        return ERR_BUF;
    pbuf_copy_partial(p, joined, p->tot_len, 0);
    slirp_input(slirp, joined, p->tot_len);
    return ERR_OK;
}

/* slirp does not look at the hardware addresses: nobody has to be asked for them. */
static err_t send_packet(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
{
    (void)next_hop;
    if (pbuf_add_header(p, SIZEOF_ETH_HDR) != 0)
        return ERR_BUF;
    struct eth_hdr *header = p->payload;
    memcpy(&header->dest, its_hardware_address, ETH_HWADDR_LEN);
    memcpy(&header->src, our_hardware_address, ETH_HWADDR_LEN);
    header->type = lwip_htons(ETHTYPE_IP);
    err_t result = send_frame(netif, p);
    pbuf_remove_header(p, SIZEOF_ETH_HDR);
    return result;
}

static err_t init_interface(struct netif *netif)
{
    netif->name[0] = 'b';
    netif->name[1] = 'l';
    netif->mtu = LINK_MTU;
    /* With ARP: its greeting when the interface goes up tells slirp our hardware address. */
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    netif->hwaddr_len = ETH_HWADDR_LEN;
    memcpy(netif->hwaddr, our_hardware_address, ETH_HWADDR_LEN);
    netif->output = send_packet;
    netif->linkoutput = send_frame;
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_ENABLE_ALL & ~NETIF_CHECKSUM_CHECK_IP &
                                       ~NETIF_CHECKSUM_CHECK_UDP & ~NETIF_CHECKSUM_CHECK_TCP);
    return ERR_OK;
}

/* ---- slirp ---- */

static void ignore_message(const char *message, void *unused)
{
    (void)message;
    (void)unused;
}

static int64_t get_clock(void *unused)
{
    (void)unused;
    return (int64_t)(limit_now() * 1e9);
}

/* Only IPv6, which is off, has a timer. */
static void *new_timer(SlirpTimerCb callback, void *argument, void *unused)
{
    (void)callback;
    (void)argument;
    (void)unused;
    return &slirp;
}

static void free_timer(void *timer, void *unused)
{
    (void)timer;
    (void)unused;
}

static void set_timer(void *timer, int64_t at_ms, void *unused)
{
    (void)timer;
    (void)at_ms;
    (void)unused;
}

/* The descriptors are asked for before each poll. */
static void ignore_descriptor(int fd, void *unused)
{
    (void)fd;
    (void)unused;
}

static void ignore_room(void *unused)
{
    (void)unused;
}

static struct in_addr ip4(const char *text)
{
    struct in_addr address;
    inet_pton(AF_INET, text, &address);
    return address;
}

static void start(void)
{
    static const SlirpCb callbacks = {
        .send_packet = queue_frame,
        .guest_error = ignore_message,
        .clock_get_ns = get_clock,
        .timer_new = new_timer,
        .timer_free = free_timer,
        .timer_mod = set_timer,
        .register_poll_fd = ignore_descriptor,
        .unregister_poll_fd = ignore_descriptor,
        .notify = ignore_room,
    };
    const SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = ip4("10.0.2.0"),
        .vnetmask = ip4("255.255.255.0"),
        .vhost = ip4("10.0.2.2"),
        .vnameserver = ip4("10.0.2.3"),
        .if_mtu = LINK_MTU,
        .if_mru = LINK_MTU,
        .disable_dhcp = true,
    };
    ip4_addr_t address, mask, gateway;

    LOCK_TCPIP_CORE(); /* for good: there is one thread */
    lwip_init();
    slirp = slirp_new(&config, &callbacks, NULL);
    if (slirp == NULL)
        limit_die("slirp_new");
    IP4_ADDR(&address, 10, 0, 2, 15);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 0, 2, 2);
    IP_ADDR4(&server_address, 127, 0, 0, 1);
    netif_add(&interface, &address, &mask, &gateway, NULL, init_interface, ethernet_input);
    netif_set_default(&interface);
    netif_set_link_up(&interface);
    netif_set_up(&interface);
}

/* ---- the loop ---- */

static int add_descriptor(int fd, int events, void *unused)
{
    (void)unused;
    if (descriptors_count == descriptors_size) {
        descriptors_size = 2 * descriptors_size + 16;
        descriptors = realloc(descriptors, (size_t)descriptors_size * sizeof *descriptors);
        if (descriptors == NULL)
            limit_die("realloc");
    }
    struct pollfd *d = &descriptors[descriptors_count];
    d->fd = fd;
    d->events =
        (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                (events & SLIRP_POLL_PRI ? POLLPRI : 0));
    d->revents = 0;
    return descriptors_count++;
}

static int get_events(int place, void *unused)
{
    short found = descriptors[place].revents;
    (void)unused;
    return (found & POLLIN ? SLIRP_POLL_IN : 0) | (found & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (found & POLLPRI ? SLIRP_POLL_PRI : 0) | (found & POLLHUP ? SLIRP_POLL_HUP : 0) |
           (found & (POLLERR | POLLNVAL) ? SLIRP_POLL_ERR : 0);
}

static void look(bool may_wait)
{
    uint32_t wait_ms = may_wait ? TIMEOUT * 1000 : 0;
    descriptors_count = 0;
    slirp_pollfds_fill(slirp, &wait_ms, add_descriptor, NULL);
    uint32_t timers_ms = sys_timeouts_sleeptime();
    if (timers_ms < wait_ms)
        wait_ms = timers_ms;
    int ready = poll(descriptors, (nfds_t)descriptors_count, may_wait ? (int)wait_ms : 0);
    slirp_pollfds_poll(slirp, ready < 0, get_events, NULL);
    sys_check_timeouts();
}

/* Takes in what has come, and waits when nothing has. */
static void turn(void)
{
    static unsigned turns;
    bool was_any = deliver_frames();
    if (!was_any || ++turns % TURNS_PER_LOOK == 0)
        look(!was_any);
}

/* ---- one TCP connection ---- */

struct connection {
    struct tcp_pcb *pcb;
    bool is_connected;
    size_t received;
    size_t acknowledged;
};

static void end_broken(void *argument, err_t error)
{
    (void)argument;
    printf("the connection broke: %d\n", error);
    exit(1);
}

static err_t note_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
    (void)pcb;
    ((struct connection *)argument)->is_connected = true;
    return error;
}

static err_t note_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb;
    ((struct connection *)argument)->acknowledged += length;
    return ERR_OK;
}

/* Reads it in the pieces that every side reads. */
static err_t take_data(void *argument, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
    char piece[READ_SIZE];
    if (p == NULL)
        return error;
    for (u16_t at = 0; at < p->tot_len;)
        at = (u16_t)(at + pbuf_copy_partial(p, piece, READ_SIZE, at));
    ((struct connection *)argument)->received += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static void open_tcp(struct connection *c)
{
    *c = (struct connection){ .pcb = tcp_new() };
    if (c->pcb == NULL)
        limit_die("tcp_new");
    tcp_arg(c->pcb, c);
    tcp_err(c->pcb, end_broken);
    tcp_recv(c->pcb, take_data);
    tcp_sent(c->pcb, note_sent);
    tcp_nagle_disable(c->pcb);
    if (tcp_connect(c->pcb, &server_address, (u16_t)limit_options.tcp_port, note_connected) !=
        ERR_OK)
        limit_die("tcp_connect");
    while (!c->is_connected)
        turn();
}

static void close_tcp(struct connection *c)
{
    tcp_arg(c->pcb, NULL);
    tcp_err(c->pcb, NULL);
    tcp_recv(c->pcb, NULL);
    tcp_sent(c->pcb, NULL);
    if (tcp_close(c->pcb) != ERR_OK)
        limit_die("tcp_close");
}

static void send_bytes(struct connection *c, const void *bytes, size_t length, u8_t flags)
{
    if (tcp_write(c->pcb, bytes, (u16_t)length, flags) != ERR_OK || tcp_output(c->pcb) != ERR_OK)
        limit_die("tcp_write");
}

static void command(struct connection *c, const char *verb, long bytes)
{
    char line[64];
    int length = snprintf(line, sizeof line, "%s %ld\n", verb, bytes);
    send_bytes(c, line, (size_t)length, TCP_WRITE_FLAG_COPY);
    while (c->acknowledged < (size_t)length)
        turn();
    c->acknowledged = 0;
}

/* ---- what is measured ---- */

static void send_with(size_t under_way, long n)
{
    struct connection c;
    open_tcp(&c);
    command(&c, "sink", n * SEND_SIZE);
    limit_begin();
    for (size_t i = 0; i < (size_t)n; i++) {
        while (i * SEND_SIZE >= c.acknowledged + under_way * SEND_SIZE)
            turn();
        send_bytes(&c, data, SEND_SIZE, 0);
    }
    while (c.received < 1)
        turn();
    limit_end();
    close_tcp(&c);
}

static void do_send(long n)
{
    send_with(1, n);
}

static void do_send8(long n)
{
    send_with(8, n);
}

static void do_receive(long n)
{
    struct connection c;
    open_tcp(&c);
    limit_begin();
    command(&c, "source", n * READ_SIZE);
    while (c.received < (size_t)n * READ_SIZE)
        turn();
    limit_end();
    close_tcp(&c);
}

static void do_round_trip(long n)
{
    struct connection c;
    open_tcp(&c);
    command(&c, "echo", 0);
    limit_begin();
    for (size_t i = 1; i <= (size_t)n; i++) {
        send_bytes(&c, data, ROUND_TRIP_SIZE, 0);
        while (c.received < i * ROUND_TRIP_SIZE)
            turn();
    }
    limit_end();
    close_tcp(&c);
}

static void do_connect(long n)
{
    struct connection c;
    limit_begin();
    for (long i = 0; i < n; i++) {
        open_tcp(&c);
        close_tcp(&c);
    }
    limit_end();
}

static void take_datagram(void *argument, struct udp_pcb *pcb, struct pbuf *p,
                          const ip_addr_t *address, u16_t port)
{
    (void)pcb;
    (void)address;
    (void)port;
    char piece[READ_SIZE];
    *(size_t *)argument += pbuf_copy_partial(p, piece, READ_SIZE, 0);
    pbuf_free(p);
}

static void do_datagram(long n)
{
    size_t received = 0;
    struct udp_pcb *pcb = udp_new();
    if (pcb == NULL || udp_connect(pcb, &server_address, (u16_t)limit_options.udp_port) != ERR_OK)
        limit_die("udp_connect");
    udp_recv(pcb, take_datagram, &received);
    limit_begin();
    for (size_t i = 1; i <= (size_t)n; i++) {
        struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, DATAGRAM_SIZE, PBUF_RAM);
        if (p == NULL || pbuf_take(p, data, DATAGRAM_SIZE) != ERR_OK || udp_send(pcb, p) != ERR_OK)
            limit_die("udp_send");
        pbuf_free(p);
        while (received < i * DATAGRAM_SIZE)
            turn();
    }
    limit_end();
    udp_remove(pcb);
}

static void do_idle(long n)
{
    struct connection *all = calloc((size_t)n, sizeof *all);
    if (all == NULL)
        limit_die("calloc");
    for (long i = 0; i < n; i++)
        open_tcp(&all[i]);
} // NOLINT(clang-analyzer-unix.Malloc): lwIP keeps the pointers

/* All are open, and a few of them exchange something. */
static void do_event(long n)
{
    static struct connection *all;
    int active = limit_options.sockets < EVENT_SOCKETS ? limit_options.sockets : EVENT_SOCKETS;
    if (all == NULL) {
        all = calloc((size_t)limit_options.sockets, sizeof *all);
        if (all == NULL)
            limit_die("calloc");
        for (int i = 0; i < limit_options.sockets; i++) {
            open_tcp(&all[i]);
            command(&all[i], "echo", 0);
        }
    }
    limit_begin();
    for (int i = 0; i < active; i++)
        send_bytes(&all[i], data, ROUND_TRIP_SIZE, 0);
    for (long done = 0, sent = active; done < n;) {
        turn();
        for (int i = 0; i < active; i++) {
            if (all[i].received < ROUND_TRIP_SIZE)
                continue;
            all[i].received = 0;
            done++;
            if (sent < n) {
                send_bytes(&all[i], data, ROUND_TRIP_SIZE, 0);
                sent++;
            }
        }
    }
    limit_end();
}

int main(int argc, char **argv)
{
    static const struct limit_figure figures[] = {
        { "send", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send },
        { "send8", LIMIT_RATE, SEND_SIZE / 1e6, 0, do_send8 },
        { "receive", LIMIT_RATE, READ_SIZE / 1e6, 0, do_receive },
        { "round_trip", LIMIT_RATE, 1, 0, do_round_trip },
        { "connect", LIMIT_RATE, 1, 8000, do_connect },
        { "datagram", LIMIT_RATE, 1, 0, do_datagram },
        { "idle", LIMIT_MEMORY, 1, 0, do_idle },
        { "event", LIMIT_CPU, 1, 0, do_event },
        { NULL, LIMIT_RATE, 0, 0, NULL },
    };
    return limit_main(argc, argv, figures, start);
}
