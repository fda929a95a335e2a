/*
 * The TAP link, for root: lwIP as a machine of its own on a network that the host has prepared.
 *
 *   SOCKETCORE_LINK=tap:tap0                 an interface that exists: ip tuntap add tap0 mode tap
 *   SOCKETCORE_TAP_ADDR=192.168.7.2/24       lwIP's address
 *   SOCKETCORE_TAP_GATEWAY=192.168.7.1       optional: the way to other networks
 *   SOCKETCORE_TAP_ADDR6, _GATEWAY6          optional: the same for IPv6, always a /64
 *   SOCKETCORE_TAP_DNS=192.168.7.1           optional, default: the host's servers
 *
 * The host's loopback addresses are not reached this way. Runs under lwIP's core lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"
#include "link.h"
#include "pollset.h"

#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/nd6.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Frames that are taken in before anything else has its turn. */
#define BATCH_MAX 64

static int tap_fd = -1;
static int place;
static struct netif *interface;
static char trouble[256];

/* ---- frames ---- */

static err_t send_frame(struct netif *netif, struct pbuf *p)
{
    static unsigned char joined[UINT16_MAX];
    const void *data = p->payload;

    (void)netif;
    if (p->next) {
        pbuf_copy_partial(p, joined, p->tot_len, 0);
        data = joined;
    }
    /* A queue that is full loses frames, as on any wire. */
    return write(tap_fd, data, p->tot_len) == p->tot_len ? ERR_OK : ERR_IF;
}

static bool receive_frame(void)
{
    static unsigned char buffer[UINT16_MAX];
    ssize_t length = read(tap_fd, buffer, sizeof(buffer));

    if (length <= 0)
        return false;
    struct pbuf *frame = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
    if (!frame)
        return false;
    memcpy(frame->payload, buffer, (size_t)length);
    if (interface->input(frame, interface) != ERR_OK)
        pbuf_free(frame);
    return true;
}

static void watch(uint64_t now, uint64_t *until)
{
    (void)now;
    (void)until;
    place = sc_poll_add(tap_fd, POLLIN);
}

static void dispatch(uint64_t now, int ready)
{
    (void)now;
    (void)ready;
    if (!sc_poll_events(place))
        return;
    for (int i = 0; i < BATCH_MAX && receive_frame(); i++)
        ;
}

/* Frames go to lwIP as they are read. */
static bool deliver(struct netif *netif)
{
    (void)netif;
    return false;
}

/* What lwIP was told has arrived was told by the peer. */
static bool is_flushed(void)
{
    return true;
}

/* ---- addresses ---- */

/* NULL when it is not set, or empty. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static const char *refuse(const char *name, const char *value, const char *wanted)
{
    snprintf(trouble, sizeof(trouble), "%s=%.80s is not %s", name, value, wanted);
    return trouble;
}

/* "a.b.c.d/len" */
static bool parse_network(const char *text, ip4_addr_t *address, ip4_addr_t *mask)
{
    char number[16];
    unsigned bits;
    char rest;

    if (sscanf(text, "%15[0-9.]/%2u%c", number, &bits, &rest) != 2 || bits < 1 || bits > 32 ||
        inet_pton(AF_INET, number, &address->addr) != 1)
        return false;
    mask->addr = lwip_htonl((u32_t)(0xffffffffu << (32 - bits)));
    return true;
}

static const char *set_ip4(struct netif *netif)
{
    const char *text = setting("SOCKETCORE_TAP_ADDR");
    const char *gateway_text = setting("SOCKETCORE_TAP_GATEWAY");
    ip4_addr_t address;
    ip4_addr_t mask;
    ip4_addr_t gateway = { 0 };

    if (!text)
        return "the TAP link needs SOCKETCORE_TAP_ADDR=a.b.c.d/len, lwIP's address on it";
    if (!parse_network(text, &address, &mask))
        return refuse("SOCKETCORE_TAP_ADDR", text,
                      "an IPv4 address with the length of its network, 192.168.7.2/24 for example");
    if (gateway_text && inet_pton(AF_INET, gateway_text, &gateway.addr) != 1)
        return refuse("SOCKETCORE_TAP_GATEWAY", gateway_text, "an IPv4 address");
    netif_set_addr(netif, &address, &mask, &gateway);
    return NULL;
}

/* NULL is no address, and fine. */
static bool parse_ip6(const char *text, ip6_addr_t *address)
{
    struct in6_addr unused;

    ip6_addr_set_zero(address);
    return !text || (inet_pton(AF_INET6, text, &unused) == 1 && ip6addr_aton(text, address));
}

static const char *set_ip6(struct netif *netif)
{
    static const char wanted[] = "an IPv6 address (without a length)";
    const char *text = setting("SOCKETCORE_TAP_ADDR6");
    const char *gateway_text = setting("SOCKETCORE_TAP_GATEWAY6");
    ip6_addr_t address;
    ip6_addr_t gateway;

    if (!parse_ip6(text, &address))
        return refuse("SOCKETCORE_TAP_ADDR6", text, wanted);
    if (!parse_ip6(gateway_text, &gateway))
        return refuse("SOCKETCORE_TAP_GATEWAY6", gateway_text, wanted);
    if (text) {
        netif_ip6_addr_set(netif, 0, &address);
        netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
    }
    sc_net_set_gateway_ip6(&gateway);
    return NULL;
}

static const char *name_server(void)
{
    return setting("SOCKETCORE_TAP_DNS");
}

static const char *check_name_server(void)
{
    const char *text = name_server();
    ip_addr_t address;

    if (text && !ipaddr_aton(text, &address))
        return refuse("SOCKETCORE_TAP_DNS", text, "an IP address");
    return NULL;
}

/* ---- open and close ---- */

static const char *complain(const char *name, const char *advice)
{
    snprintf(trouble, sizeof(trouble), "TAP interface \"%s\": %s", name, advice);
    return trouble;
}

static const char *open_device(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };

    if (!*name || strlen(name) >= sizeof(request.ifr_name))
        return complain(name,
                        "cannot be one; SOCKETCORE_LINK=tap:NAME names it, tap:tap0 for example");
    /* TUNSETIFF would make one, without an address and down. */
    if (!if_nametoindex(name))
        return complain(name, "does not exist; make it with ip tuntap add dev NAME mode tap, give "
                              "it an address and set it up");
    tap_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap_fd < 0)
        return complain(name, "/dev/net/tun cannot be opened; run as root, with the tun module");
    strcpy(request.ifr_name, name);
    if (ioctl(tap_fd, TUNSETIFF, &request) == 0)
        return NULL;
    int error = errno;
    close(tap_fd);
    tap_fd = -1;
    if (error == EBUSY)
        return complain(name, "is in use by another program");
    if (error == EPERM)
        return complain(name, "needs root (or ip tuntap add ... user NAME)");
    return complain(name, "is not a TAP interface");
}

static u16_t get_mtu(const char *name)
{
    struct ifreq request = { .ifr_mtu = 0 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strcpy(request.ifr_name, name);
    if (fd < 0 || ioctl(fd, SIOCGIFMTU, &request) != 0)
        request.ifr_mtu = 1500;
    if (fd >= 0)
        close(fd);
    return (u16_t)(request.ifr_mtu < 32768 ? request.ifr_mtu : 32768);
}

static const char *open_tap(struct netif *netif, const char *name)
{
    const char *problem = set_ip4(netif);

    if (!problem)
        problem = set_ip6(netif);
    if (!problem)
        problem = check_name_server();
    if (!problem)
        problem = open_device(name);
    if (problem)
        return problem;
    interface = netif;
    netif->mtu = get_mtu(name);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET;
    /* Locally administered, otherwise random: two programs may share a bridge. */
    sc_port_entropy(netif->hwaddr, ETH_HWADDR_LEN);
    netif->hwaddr[0] = 0x02;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = send_frame;
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_ENABLE_ALL);
    return NULL;
}

static void close_tap(void)
{
    etharp_cleanup_netif(interface);
    nd6_cleanup_netif(interface);
    close(tap_fd);
    tap_fd = -1;
}

const struct sc_link sc_link_tap = {
    .name = "tap",
    .takes_argument = true,
    .has_host_loopback = false,
    .open = open_tap,
    .close = close_tap,
    .watch = watch,
    .dispatch = dispatch,
    .deliver = deliver,
    .is_flushed = is_flushed,
    .name_server = name_server,
};
