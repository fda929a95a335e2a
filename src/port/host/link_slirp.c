/*
 * The links over libslirp, a user-mode NAT inside this process. No privileges, nothing to
 * configure. lwIP is 10.0.2.15 and fec0::15; 10.0.2.2 and fec0::2 are the host, and so are
 * 127.0.0.0/8 and ::1, which slirp takes as they are.
 *
 *   nat     the default: TCP goes through relay.c, everything else through slirp
 *   slirp   all through slirp, which looks at each of its sockets at every event, copies all data
 *           twice more and writes it a segment at a time
 *
 * slirp is not thread-safe and calls back from inside its own functions: everything here runs under
 * lwIP's core lock, and what slirp sends is queued until sc_net_deliver.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"
#include "link.h"
#include "pollset.h"
#include "relay.h"
#include "relay_packet.h"

#include "lwip/icmp6.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip6.h"
#include "lwip/nd6.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/nd6.h"

#include <libslirp.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The sizes belong together (lwipopts.h); netinet/tcp.h, were it included, has another TCP_MSS. */
_Static_assert(TCP_MSS == 16384, "TCP_MSS is not lwipopts.h's");
#define LINK_MTU (TCP_MSS + 40)
#define FRAME_MAX (SIZEOF_ETH_HDR + LINK_MTU)

/* More would only wait for lwIP to catch up; TCP sends it again. */
#define FRAMES_MAX 4096

/* What neighbour discovery demands, so that no router can have passed it on. */
#define HOP_LIMIT 255

static const unsigned char our_hardware_address[ETH_HWADDR_LEN] = {
    0x52, 0x54, 0, 0x12, 0x34, 0x56
};
/* slirp does not look at the destination. */
static const unsigned char its_hardware_address[ETH_HWADDR_LEN] = { 0x52, 0x55, 10, 0, 2, 2 };

static Slirp *slirp;

/* Frames from slirp, oldest first. */
static struct pbuf *frames[FRAMES_MAX];
static unsigned frames_first;
static unsigned frames_count;

/* When slirp wants slirp_pollfds_poll called even though no descriptor is ready. */
static uint64_t dispatch_at;

/* ---- memory: slirp's (GLib's g_malloc) ends the process when there is none ---- */

/* What a packet may make slirp ask for: a buffer of the MTU, one of the largest datagram, a struct
 * for a new socket; and the two buffers of a TCP connection, where it has TCP. */
#define SLIRP_MEMORY (128 * 1024)
#define SLIRP_MEMORY_WITH_TCP (3 * SLIRP_MEMORY)
/* How long what slirp has to read waits for memory. */
#define STARVED_US 20000

static size_t needed_memory;
static uint64_t starved_until;

/* True when slirp finds all the memory that it may want now: what is free here can only be taken by
 * another thread meanwhile. */
static bool has_memory(void)
{
    void *volatile memory = malloc(needed_memory);

    free(memory);
    return memory != NULL;
}

/* Only slirp_pollfds_poll sets slirp's clock. A socket of UDP or ICMP gets its time to live by it:
 * with a clock of minutes ago, or of 0 at the start, it would end before its answer is there. */
#define CLOCK_LAG_MAX_US 1000000
static uint64_t clock_set_at;

/* ---- timers for slirp: it has one, for its router advertisements ---- */

#define TIMERS_MAX 4

static struct link_timer {
    SlirpTimerCb callback; /* NULL: free */
    void *argument;
    uint64_t at;
} timers[TIMERS_MAX];

static void *new_timer(SlirpTimerCb callback, void *argument, void *unused)
{
    struct link_timer *timer = timers;

    (void)unused;
    while (timer < timers + TIMERS_MAX && timer->callback)
        timer++;
    if (timer == timers + TIMERS_MAX)
        return NULL;
    *timer = (struct link_timer){ .callback = callback, .argument = argument, .at = SC_NEVER };
    return timer;
}

static void free_timer(void *timer, void *unused)
{
    (void)unused;
    if (timer)
        *(struct link_timer *)timer = (struct link_timer){ .at = SC_NEVER };
}

static void set_timer(void *timer, int64_t at_ms, void *unused)
{
    (void)unused;
    if (timer)
        ((struct link_timer *)timer)->at = (uint64_t)at_ms * 1000;
}

static void fire_timers(uint64_t now)
{
    for (struct link_timer *timer = timers; timer < timers + TIMERS_MAX; timer++) {
        if (timer->callback && timer->at <= now) {
            timer->at = SC_NEVER;
            timer->callback(timer->argument);
        }
    }
}

static uint64_t next_timer(void)
{
    uint64_t at = SC_NEVER;

    for (const struct link_timer *timer = timers; timer < timers + TIMERS_MAX; timer++) {
        if (timer->callback && timer->at < at)
            at = timer->at;
    }
    return at;
}

/* ---- from slirp to lwIP ---- */

static ssize_t queue_frame(const void *data, size_t length, void *unused)
{
    (void)unused;
    if (frames_count == FRAMES_MAX || length > UINT16_MAX)
        return (ssize_t)length;
    struct pbuf *frame = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
    if (!frame)
        return (ssize_t)length;
    memcpy(frame->payload, data, length);
    frames[(frames_first + frames_count++) % FRAMES_MAX] = frame;
    sc_net_note_frame();
    return (ssize_t)length;
}

static struct pbuf *shift_frame(void)
{
    if (!frames_count)
        return NULL;
    struct pbuf *frame = frames[frames_first];
    frames_first = (frames_first + 1) % FRAMES_MAX;
    frames_count--;
    return frame;
}

static bool deliver(struct netif *netif)
{
    struct pbuf *frame = shift_frame();
    bool was_any = frame != NULL;

    for (; frame; frame = shift_frame()) {
        if (netif->input(frame, netif) != ERR_OK)
            pbuf_free(frame);
    }
    return was_any;
}

/* ---- from lwIP to slirp ---- */

static void set_clock(void)
{
    uint64_t now = sc_host_recent();

    if (now - clock_set_at < CLOCK_LAG_MAX_US)
        return;
    clock_set_at = now;
    /* As if the poll had failed: it looks at no socket. */
    slirp_pollfds_poll(slirp, true, NULL, NULL);
}

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
    static unsigned char joined[FRAME_MAX];

    (void)netif;
    if (!has_memory())
        return ERR_MEM;
    set_clock();
    if (!p->next) {
        slirp_input(slirp, p->payload, p->len);
        return ERR_OK;
    }
    if (p->tot_len > sizeof(joined))
        return ERR_BUF;
    pbuf_copy_partial(p, joined, p->tot_len, 0);
    slirp_input(slirp, joined, p->tot_len);
    return ERR_OK;
}

/* ARP and neighbour discovery would ask slirp for an address that it ignores, and hold packets
 * back until the answer. So the header is written here. */
static err_t send_packet(struct netif *netif, struct pbuf *p, u16_t type)
{
    if (pbuf_add_header(p, SIZEOF_ETH_HDR) != 0)
        return ERR_BUF;
    struct eth_hdr *header = p->payload;
    memcpy(&header->dest, its_hardware_address, ETH_HWADDR_LEN);
    memcpy(&header->src, our_hardware_address, ETH_HWADDR_LEN);
    header->type = lwip_htons(type);
    err_t result = send_frame(netif, p);
    pbuf_remove_header(p, SIZEOF_ETH_HDR);
    return result;
}

static err_t send_ip4(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
{
    (void)next_hop;
    return send_packet(netif, p, ETHTYPE_IP);
}

static err_t send_ip6(struct netif *netif, struct pbuf *p, const ip6_addr_t *next_hop)
{
    (void)next_hop;
    return send_packet(netif, p, ETHTYPE_IPV6);
}

/* ---- the poll set ---- */

static int add_descriptor(int fd, int events, void *unused)
{
    short wanted = 0;

    (void)unused;
    if (events & SLIRP_POLL_IN)
        wanted |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        wanted |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        wanted |= POLLPRI;
    return sc_poll_add(fd, wanted);
}

static int get_events(int place, void *unused)
{
    short found = sc_poll_events(place);
    int events = 0;

    (void)unused;
    if (found & POLLIN)
        events |= SLIRP_POLL_IN;
    if (found & POLLOUT)
        events |= SLIRP_POLL_OUT;
    if (found & POLLPRI)
        events |= SLIRP_POLL_PRI;
    if (found & (POLLERR | POLLNVAL))
        events |= SLIRP_POLL_ERR;
    if (found & POLLHUP)
        events |= SLIRP_POLL_HUP;
    return events;
}

static void bring_forward(uint64_t *at, uint64_t limit)
{
    if (limit < *at)
        *at = limit;
}

static void watch(uint64_t now, uint64_t *until)
{
    uint32_t timeout_ms = UINT32_MAX;

    if (now < starved_until) {
        bring_forward(until, starved_until);
        return;
    }
    slirp_pollfds_fill(slirp, &timeout_ms, add_descriptor, NULL);
    /* slirp counts from each call anew: an earlier wish stands until it was fulfilled. */
    bring_forward(&dispatch_at, now + (uint64_t)timeout_ms * 1000);
    bring_forward(until, dispatch_at);
    bring_forward(until, next_timer());
}

static void dispatch(uint64_t now, int ready)
{
    bool is_due = ready != 0 || now >= dispatch_at || now >= next_timer();

    if (!is_due || now < starved_until)
        return;
    if (!has_memory()) {
        starved_until = now + STARVED_US;
        return;
    }
    fire_timers(now);
    if (ready == 0 && now < dispatch_at)
        return;
    dispatch_at = SC_NEVER;
    clock_set_at = now;
    slirp_pollfds_poll(slirp, ready < 0, get_events, NULL);
}

/* ---- what else slirp wants ---- */

static int64_t get_clock(void *unused)
{
    (void)unused;
    return (int64_t)sc_host_now() * 1000;
}

static void note_error(const char *message, void *unused)
{
    (void)unused;
    sc_port_log(SC_LOG_DEBUG, message);
}

static void note_descriptor(int fd, void *unused)
{
    (void)unused;
    sc_poll_forget(fd);
    sc_pump_kick();
}

static void note_room(void *unused)
{
    (void)unused;
    sc_pump_kick();
}

/* ---- the end: nothing that lwIP was told has arrived may be lost ---- */

/* Reads the text of slirp_connection_info, which is all there is: a line a connection, with its
 * state, descriptor, addresses, and the bytes that wait to be written to the host's socket. */
static bool is_flushed(void)
{
    bool result = true;
    char *report;

    if (!has_memory())
        return false;
    report = slirp_connection_info(slirp);

    for (char *line = strtok(report, "\n"); line && result; line = strtok(NULL, "\n")) {
        int fd;
        int to_host;
        if (sscanf(line, " TCP[%*[^]]] %d %*s %*d %*s %*d %d", &fd, &to_host) != 2 || fd < 0)
            continue;
        result = sc_net_has_sent(fd, (size_t)to_host);
    }
    free(report);
    return result;
}

/* ---- open and close ---- */

static struct in_addr ip4(const char *text)
{
    struct in_addr address;

    inet_pton(AF_INET, text, &address);
    return address;
}

static struct in6_addr ip6(const char *text)
{
    struct in6_addr address;

    inet_pton(AF_INET6, text, &address);
    return address;
}

/* Tells slirp our hardware address before it has to ask for it: a packet that waits for the answer
 * stays in slirp until the next poll. (For IPv4 lwIP does so itself when the interface goes up.) */
static void announce_ip6(struct netif *netif)
{
    const ip6_addr_t *own = netif_ip6_addr(netif, 0);
    ip6_addr_t router;
    struct pbuf *p = pbuf_alloc(PBUF_IP, sizeof(struct na_header), PBUF_RAM);

    if (!p)
        return;
    struct na_header *advertisement = p->payload;
    memset(advertisement, 0, sizeof(*advertisement));
    advertisement->type = ICMP6_TYPE_NA;
    advertisement->flags = ND6_FLAG_OVERRIDE;
    ip6_addr_copy_to_packed(advertisement->target_address, *own);
    IP6_ADDR(&router, PP_HTONL(0xfec00000), 0, 0, PP_HTONL(2));
    advertisement->chksum = ip6_chksum_pseudo(p, IP6_NEXTH_ICMP6, p->tot_len, own, &router);
    ip6_output_if(p, own, &router, HOP_LIMIT, 0, IP6_NEXTH_ICMP6, netif);
    pbuf_free(p);
}

static void set_addresses(struct netif *netif)
{
    ip4_addr_t address;
    ip4_addr_t mask;
    ip4_addr_t gateway;

    IP4_ADDR(&address, 10, 0, 2, 15);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 0, 2, 2);
    netif_set_addr(netif, &address, &mask, &gateway);
    netif_ip6_addr_set_parts(netif, 0, PP_HTONL(0xfec00000), 0, 0, PP_HTONL(0x15));
    netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
}

static const char *open_slirp(struct netif *netif, const char *argument)
{
    static const SlirpCb callbacks = {
        .send_packet = queue_frame,
        .guest_error = note_error,
        .clock_get_ns = get_clock,
        .timer_new = new_timer,
        .timer_free = free_timer,
        .timer_mod = set_timer,
        .register_poll_fd = note_descriptor,
        .unregister_poll_fd = note_descriptor,
        .notify = note_room,
    };
    const SlirpConfig config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = ip4("10.0.2.0"),
        .vnetmask = ip4("255.255.255.0"),
        .vhost = ip4("10.0.2.2"),
        .vnameserver = ip4("10.0.2.3"),
        .in6_enabled = true,
        .vprefix_addr6 = ip6("fec0::"),
        .vprefix_len = 64,
        .vhost6 = ip6("fec0::2"),
        .vnameserver6 = ip6("fec0::3"),
        .if_mtu = LINK_MTU,
        .if_mru = LINK_MTU,
        .disable_dhcp = true,
    };

    (void)argument;
    needed_memory = SLIRP_MEMORY_WITH_TCP;
    slirp = has_memory() ? slirp_new(&config, &callbacks, NULL) : NULL;
    if (!slirp)
        return "libslirp does not start: out of memory";
    dispatch_at = 0;
    starved_until = 0;
    clock_set_at = 0;
    netif->mtu = LINK_MTU;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    memcpy(netif->hwaddr, our_hardware_address, ETH_HWADDR_LEN);
    netif->output = send_ip4;
    netif->output_ip6 = send_ip6;
    netif->linkoutput = send_frame;
    /* Frames come from the same process: nothing to verify. slirp does verify ours. */
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_ENABLE_ALL & ~NETIF_CHECKSUM_CHECK_IP &
                                       ~NETIF_CHECKSUM_CHECK_UDP & ~NETIF_CHECKSUM_CHECK_TCP &
                                       ~NETIF_CHECKSUM_CHECK_ICMP & ~NETIF_CHECKSUM_CHECK_ICMP6);
    set_addresses(netif);
    announce_ip6(netif);
    return NULL;
}

static void close_slirp(void)
{
    slirp_cleanup(slirp);
    slirp = NULL;
    for (struct pbuf *frame = shift_frame(); frame; frame = shift_frame())
        pbuf_free(frame);
}

const struct sc_link sc_link_slirp = {
    .name = "slirp",
    .has_host_loopback = true,
    .open = open_slirp,
    .close = close_slirp,
    .watch = watch,
    .dispatch = dispatch,
    .deliver = deliver,
    .is_flushed = is_flushed,
};

/* ---- the same with the relay for TCP ---- */

static err_t send_nat_ip4(struct netif *netif, struct pbuf *p, const ip4_addr_t *next_hop)
{
    struct ip_hdr *header = p->payload;

    if (sc_packet_is_tcp(p))
        return sc_relay_send(p);
    IPH_CHKSUM_SET(header, 0);
    IPH_CHKSUM_SET(header, inet_chksum(header, IPH_HL_BYTES(header)));
    return send_ip4(netif, p, next_hop);
}

static err_t send_nat_ip6(struct netif *netif, struct pbuf *p, const ip6_addr_t *next_hop)
{
    return sc_packet_is_tcp(p) ? sc_relay_send(p) : send_ip6(netif, p, next_hop);
}

static bool deliver_nat(struct netif *netif)
{
    bool was_any = deliver(netif);

    return sc_relay_deliver() || was_any;
}

static void watch_nat(uint64_t now, uint64_t *until)
{
    sc_relay_watch();
    watch(now, until);
}

static void dispatch_nat(uint64_t now, int ready)
{
    sc_relay_dispatch();
    dispatch(now, ready);
}

static const char *open_nat(struct netif *netif, const char *argument)
{
    const char *trouble = open_slirp(netif, argument);

    if (trouble)
        return trouble;
    needed_memory = SLIRP_MEMORY;
    netif->output = send_nat_ip4;
    netif->output_ip6 = send_nat_ip6;
    /* Both ends of TCP are in this process. */
    NETIF_SET_CHECKSUM_CTRL(netif, netif->chksum_flags &
                                       ~(NETIF_CHECKSUM_GEN_IP | NETIF_CHECKSUM_GEN_TCP));
    trouble = sc_relay_open(netif);
    if (trouble)
        close_slirp();
    return trouble;
}

static void close_nat(void)
{
    sc_relay_close();
    close_slirp();
}

const struct sc_link sc_link_nat = {
    .name = "nat",
    .has_host_loopback = true,
    .open = open_nat,
    .close = close_nat,
    .watch = watch_nat,
    .dispatch = dispatch_nat,
    .deliver = deliver_nat,
    .is_flushed = sc_relay_is_flushed,
};
