/*
 * UDP and RAW on lwIP's netconn. Received datagrams wait in the netconn's mbox, bounded by its
 * size and the receive buffer; what does not fit is dropped, as datagrams are.
 *
 * Runs on the engine's thread, but for the netconn callback.
 *
 * SPDX-License-Identifier: MIT
 */
#include "error.h"
#include "transport.h"

#include "lwip/api.h"
#include "lwip/ip.h"
#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/tcpip.h"

#include <string.h>

struct sc_datagram_channel {
    struct sc_channel channel; /* first */
    struct netconn *conn;
    struct sc_endpoint remote;
};

static struct sc_datagram_channel *datagram_of(struct sc_channel *channel)
{
    return (struct sc_datagram_channel *)(void *)channel;
}

/* From lwIP with the core lock held, or from a netconn call of the engine. */
static void on_event(struct netconn *conn, enum netconn_evt event, u16_t length)
{
    struct sc_datagram_channel *d = netconn_get_callback_arg(conn);

    LWIP_UNUSED_ARG(length);
    if (event == NETCONN_EVT_RCVPLUS)
        sc_task_wake(d->channel.owner, SC_WAKE_NET);
}

static const char *explain_open(err_t err)
{
    switch (err) {
    case ERR_USE:
        return "connect: the local port is in use";
    case ERR_RTE:
        return "connect: no route";
    case ERR_MEM:
    case ERR_BUF:
        return "connect: out of memory";
    default:
        return "connect: failed";
    }
}

static void set_options(struct sc_channel *channel, const struct sc_options *options)
{
    struct netconn *conn = datagram_of(channel)->conn;

    LOCK_TCPIP_CORE();
    if (options->reuse_address)
        ip_set_option(conn->pcb.ip, SOF_REUSEADDR);
    else
        ip_reset_option(conn->pcb.ip, SOF_REUSEADDR);
    UNLOCK_TCPIP_CORE();
}

static err_t start(struct sc_datagram_channel *d, const struct sc_channel_args *args)
{
    err_t err = ERR_OK;

    netconn_set_nonblocking(d->conn, 1);
#if LWIP_SO_RCVBUF
    netconn_set_recvbufsize(d->conn, (int)args->recv_buffer);
#endif
    set_options(&d->channel, args->options);
    if (args->local_port) {
        ip_addr_t any;
        ip_addr_set_any(IP_IS_V6(&d->remote.address), &any);
        err = netconn_bind(d->conn, &any, args->local_port);
    }
    /* RAW without a remote address takes what comes from anywhere. */
    if (err == ERR_OK && (args->remote.port || !ip_addr_isany_val(d->remote.address)))
        err = netconn_connect(d->conn, &d->remote.address, d->remote.port);
    return err;
}

static enum sc_error open_channel(enum netconn_type type, uint8_t protocol,
                                  const struct sc_transport *ops,
                                  const struct sc_channel_args *args, struct sc_channel **out,
                                  const char **reason)
{
    struct sc_datagram_channel *d = mem_calloc(1, sizeof(*d));

    if (!d) {
        *reason = "connect: out of memory";
        return SC_ERR_NOMEM;
    }
    d->channel.ops = ops;
    d->channel.owner = args->owner;
    d->remote = args->remote;
#if LWIP_IPV6
    if (IP_IS_V6(&args->remote.address))
        type = (enum netconn_type)(type | NETCONN_TYPE_IPV6);
#endif
    d->conn = netconn_new_with_proto_and_callback(type, protocol, on_event);
    if (!d->conn) {
        mem_free(d);
        *reason = "connect: out of memory for another connection";
        return SC_ERR_NOMEM;
    }
    netconn_set_callback_arg(d->conn, d);
    err_t err = start(d, args);
    if (err != ERR_OK) {
        netconn_delete(d->conn);
        mem_free(d);
        *reason = explain_open(err);
        return sc_error_from_lwip(err);
    }
    *out = &d->channel;
    return SC_OK;
}

static enum sc_error open_udp(const struct sc_channel_args *args, struct sc_channel **out,
                              const char **reason)
{
    return open_channel(NETCONN_UDP, 0, &sc_udp, args, out, reason);
}

static enum sc_error open_raw(const struct sc_channel_args *args, struct sc_channel **out,
                              const char **reason)
{
    return open_channel(NETCONN_RAW, args->protocol, &sc_raw, args, out, reason);
}

static enum sc_error always_ok(struct sc_channel *channel)
{
    LWIP_UNUSED_ARG(channel);
    return SC_OK;
}

static enum sc_error send_datagram(struct sc_channel *channel, const void *data, size_t length,
                                   size_t *taken)
{
    struct sc_datagram_channel *d = datagram_of(channel);
    struct netbuf *buffer = netbuf_new();
    err_t err = ERR_MEM;

    if (buffer)
        err = netbuf_ref(buffer, data, (u16_t)length);
    if (err == ERR_OK)
        err = netconn_send(d->conn, buffer);
    if (buffer)
        netbuf_delete(buffer);
    *taken = err == ERR_OK ? length : 0;
    return sc_error_from_lwip(err);
}

static uint32_t mark_nothing(struct sc_channel *channel)
{
    LWIP_UNUSED_ARG(channel);
    return 0;
}

static bool has_reached(struct sc_channel *channel, uint32_t mark)
{
    LWIP_UNUSED_ARG(channel);
    LWIP_UNUSED_ARG(mark);
    return true;
}

static enum sc_error read_datagram(struct sc_channel *channel, struct pbuf **out)
{
    struct netbuf *buffer;
    err_t err =
        netconn_recv_udp_raw_netbuf_flags(datagram_of(channel)->conn, &buffer, NETCONN_DONTBLOCK);

    if (err != ERR_OK)
        return SC_ERR_WOULDBLOCK;
    *out = buffer->p;
    buffer->p = NULL;
    buffer->ptr = NULL;
    netbuf_delete(buffer);
    return SC_OK;
}

static void ignore_consumed(struct sc_channel *channel, size_t length)
{
    LWIP_UNUSED_ARG(channel);
    LWIP_UNUSED_ARG(length);
}

static void delete_channel(struct sc_channel *channel)
{
    netconn_delete(datagram_of(channel)->conn);
    mem_free(channel);
}

static void get_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                          struct sc_endpoint *remote)
{
    struct sc_datagram_channel *d = datagram_of(channel);

    memset(local, 0, sizeof(*local));
    netconn_getaddr(d->conn, &local->address, &local->port, 1);
    *remote = d->remote;
}

/* The two differ in how they are opened. */
#define DATAGRAM_OPS                                                                               \
    .connect = always_ok, .write = send_datagram, .mark = mark_nothing, .reached = has_reached,    \
    .read = read_datagram, .consumed = ignore_consumed, .check = always_ok, .shutdown = always_ok, \
    .release = delete_channel, .abort = delete_channel, .set_options = set_options,                \
    .endpoints = get_endpoints, .is_datagram = true

const struct sc_transport sc_udp = { .open = open_udp, DATAGRAM_OPS };
const struct sc_transport sc_raw = { .open = open_raw, DATAGRAM_OPS };
