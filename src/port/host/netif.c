/*
 * lwIP's one network interface, over the link that the environment names:
 *
 *   SOCKETCORE_LINK=nat        the default: user-mode NAT, see link_slirp.c and relay.c
 *   SOCKETCORE_LINK=slirp      the same with libslirp alone
 *   SOCKETCORE_LINK=tap:NAME   a TAP interface, see link_tap.c
 *
 * Everything here runs under lwIP's core lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "host.h"
#include "link.h"

#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "lwip_hooks.h"
#include "netif/ethernet.h"

#include <linux/sockios.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static struct netif interface;
static const struct sc_link *link;
static ip6_addr_t gateway_ip6;
static atomic_bool has_frames;

/* ---- routing: everything goes through the one interface ---- */

struct netif *sc_route_ip4(const ip4_addr_t *destination)
{
    if (!link || (ip4_addr_isloopback(destination) && !link->has_host_loopback))
        return NULL;
    return &interface;
}

const ip6_addr_t *sc_gateway_ip6(struct netif *netif, const ip6_addr_t *destination)
{
    (void)netif;
    (void)destination;
    return ip6_addr_isany_val(gateway_ip6) ? NULL : &gateway_ip6;
}

void sc_net_set_gateway_ip6(const ip6_addr_t *gateway)
{
    ip6_addr_copy(gateway_ip6, *gateway);
}

bool sc_net_reaches(const ip_addr_t *address)
{
    return !ip_addr_isloopback(address) || (link && link->has_host_loopback);
}

const char *sc_net_name_server(void)
{
    return link && link->name_server ? link->name_server() : NULL;
}

/* ---- frames ---- */

void sc_net_note_frame(void)
{
    atomic_store_explicit(&has_frames, true, memory_order_release);
    /* The script thread may have sent something while the stand-in sleeps. */
    sc_pump_kick();
}

bool sc_net_has_frames(void)
{
    return atomic_load_explicit(&has_frames, memory_order_acquire);
}

bool sc_net_deliver(void)
{
    atomic_store_explicit(&has_frames, false, memory_order_relaxed);
    return link && link->deliver(&interface);
}

void sc_net_watch(uint64_t now, uint64_t *until)
{
    if (link)
        link->watch(now, until);
}

void sc_net_dispatch(uint64_t now, int ready)
{
    if (link)
        link->dispatch(now, ready);
}

/* The engine keeps lwIP's queues filled as long as a socket has anything to send, so there is no
 * need to look any further. What is bound to an interface is a link's own. */
static bool has_output(const struct tcp_pcb *pcb)
{
    return pcb->netif_idx == NETIF_NO_INDEX && pcb->state >= ESTABLISHED &&
           (pcb->unsent || pcb->unacked);
}

bool sc_net_is_flushed(void)
{
    if (!link)
        return true;
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        if (has_output(pcb))
            return false;
    }
    return link->is_flushed();
}

/* A kernel that has unread input, or gets more later, sends a reset instead of what it still has to
 * send. */
bool sc_net_has_sent(int fd, size_t waiting)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    int unsent = 0;

    if (getpeername(fd, (struct sockaddr *)&peer, &length) != 0)
        return true;
    ioctl(fd, SIOCOUTQ, &unsent);
    return waiting == 0 && unsent == 0;
}

/* ---- start and stop ---- */

/* Splits "tap:tap0" into the link and what stands behind the colon. */
static const struct sc_link *choose_link(const char **argument, const char **trouble)
{
    static const struct sc_link *const links[] = { &sc_link_nat, &sc_link_slirp, &sc_link_tap };
    static char text[160];
    const char *wanted = getenv("SOCKETCORE_LINK");

    *argument = "";
    if (!wanted || !*wanted)
        return links[0];
    size_t length = strcspn(wanted, ":");
    if (wanted[length])
        *argument = wanted + length + 1;
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (strlen(links[i]->name) == length && !memcmp(links[i]->name, wanted, length) &&
            (!wanted[length] || links[i]->takes_argument))
            return links[i];
    }
    snprintf(text, sizeof(text),
             "SOCKETCORE_LINK=%.80s is not a link; it is nat (the default), slirp or tap:NAME",
             wanted);
    *trouble = text;
    return NULL;
}

static err_t init_interface(struct netif *netif)
{
    netif->name[0] = 's';
    netif->name[1] = 'c';
    netif->hwaddr_len = ETH_HWADDR_LEN;
    return ERR_OK;
}

const char *sc_net_start(void)
{
    static bool is_initialized;
    const char *argument;
    const char *trouble = NULL;
    const struct sc_link *chosen = choose_link(&argument, &trouble);

    if (!chosen)
        return trouble;
    if (!is_initialized) {
        lwip_init();
        is_initialized = true;
    }
    memset(&interface, 0, sizeof(interface));
    netif_add_noaddr(&interface, NULL, init_interface, ethernet_input);
    netif_set_default(&interface);
    trouble = chosen->open(&interface, argument);
    if (trouble) {
        netif_remove(&interface);
        return trouble;
    }
    link = chosen;
    netif_set_link_up(&interface);
    netif_set_up(&interface);
    sc_names_refresh(sc_host_now());
    return NULL;
}

/* Connections whose netconn is gone and that were still saying good-bye. */
static void end_connections(void)
{
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
}

/* Half-received datagrams. */
static void end_reassembly(void)
{
    for (int i = 0; i <= IP_REASS_MAXAGE; i++)
        ip_reass_tmr();
    for (int i = 0; i <= IPV6_REASS_MAXAGE; i++)
        ip6_reass_tmr();
}

void sc_net_stop(void)
{
    if (!link)
        return;
    end_connections();
    end_reassembly();
    sc_net_deliver();
    link->close();
    atomic_store(&has_frames, false);
    netif_set_down(&interface);
    netif_remove(&interface);
    link = NULL;
}
