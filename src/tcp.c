/*
 * TCP on lwIP's netconn, without a blocking call. It knows neither the script nor TLS, which
 * stacks on it.
 *
 * Runs on the engine's thread, but for the netconn callback. The pcb behind the netconn belongs to
 * lwIP and is looked at under the core lock only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "error.h"
#include "transport.h"

#include "lwip/api.h"
#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "lwip/tcpip.h"

#include <string.h>

/* So many released connections wait for their peer to close; then the oldest one is ended. */
#define LINGERING_MAX 1024

struct sc_tcp_channel {
    struct sc_channel channel; /* first */
    struct netconn *conn;
    tcpwnd_size_t window; /* receive window that the script asked for */
    bool is_connecting;   /* until the callback has seen the connection come up */
    bool has_fin;         /* the peer's FIN was read */
    bool was_shut;        /* our FIN was handed to lwIP */
    bool is_detached;     /* both sides have closed, and the pcb is lwIP's alone */
    bool keepalive;
    bool copies;      /* what is written */
    err_t error;      /* the first that was seen; lwIP forgets it once it was read */
    uint32_t written; /* sequence number after the last byte written */
    uint32_t acked;   /* last acknowledgement seen */
    uint32_t linger_ms;
    struct sc_task linger; /* runs in place of the owner once the channel was released */
    struct sc_tcp_channel *next_lingering;
    struct sc_tcp_channel **link_lingering; /* what points here */
};

/* Oldest first; the engine's thread only. */
static struct sc_tcp_channel *lingering;
static struct sc_tcp_channel **lingering_end = &lingering;
static size_t lingering_count; /* shared */

static struct sc_tcp_channel *tcp_of(struct sc_channel *channel)
{
    return (struct sc_tcp_channel *)(void *)channel;
}

static enum sc_error fail(struct sc_tcp_channel *t, enum sc_error error, const char *reason)
{
    t->channel.reason = reason;
    return error;
}

/* ---- errors ---- */

/* Keeps the first error; a clean end of both directions comes as ERR_CLSD and is none. */
static void latch(struct sc_tcp_channel *t, err_t err)
{
    if (err != ERR_OK && err != ERR_WOULDBLOCK && t->error == ERR_OK)
        t->error = err;
}

/* Has lwIP freed the pcb before its time? Then the error says why. */
static bool is_gone(struct sc_tcp_channel *t)
{
    LOCK_TCPIP_CORE();
    bool gone = !t->conn->pcb.tcp && !t->is_detached;
    UNLOCK_TCPIP_CORE();
    if (gone)
        latch(t, netconn_err(t->conn));
    return gone;
}

/* The error of an established connection in the script's terms. lwIP has ERR_ABRT for everything
 * that it gave up by itself: what was under way tells which it was. */
static enum sc_error explain(struct sc_tcp_channel *t)
{
    switch (t->error) {
    case ERR_ABRT:
        if (t->keepalive && t->written == t->acked)
            return fail(t, SC_ERR_TIMEOUT, "keepalive: no answer from the peer");
        return fail(t, SC_ERR_TIMEOUT, "send: the peer does not acknowledge any more");
    case ERR_RST:
        return fail(t, SC_ERR_RST, "reset by the peer");
    case ERR_MEM:
        return fail(t, SC_ERR_NOMEM, "out of memory");
    case ERR_OK:
    case ERR_CONN:
    case ERR_CLSD:
        return fail(t, SC_ERR_CLSD, "closed by the peer");
    default:
        return fail(t, sc_error_from_lwip(t->error), sc_error_text(sc_error_from_lwip(t->error)));
    }
}

static enum sc_error explain_connect(struct sc_tcp_channel *t)
{
    switch (t->error) {
    case ERR_RST:
        return fail(t, SC_ERR_RST, "connect: refused");
    case ERR_ABRT:
    case ERR_TIMEOUT:
        return fail(t, SC_ERR_TIMEOUT, "connect: no answer");
    case ERR_RTE:
        return fail(t, SC_ERR_RTE, "connect: no route");
    case ERR_MEM:
    case ERR_BUF:
        return fail(t, SC_ERR_NOMEM, "connect: out of memory");
    case ERR_USE:
        return fail(t, SC_ERR_ADDRINUSE, "connect: the local port is in use");
    case ERR_ISCONN:
        return fail(t, SC_ERR_ADDRINUSE, "connect: the local port is already connected to it");
    default:
        return fail(t, sc_error_from_lwip(t->error), "connect: failed");
    }
}

/* ---- connecting ---- */

/* Leaves the pcb to lwIP once both sides have closed and all data is acknowledged: what frees a pcb
 * in TIME_WAIT (tcp_slowtmr, tcp_kill_timewait and tcp_abort in core/tcp.c) tells nobody, and the
 * netconn would be left with a pointer to somebody else's connection. On the way from CLOSING to
 * TIME_WAIT there is no event, thus the look at both. Core lock held. */
static void detach_when_closed(struct sc_tcp_channel *t)
{
    struct tcp_pcb *pcb = t->conn->pcb.tcp;

    if (!pcb || !t->was_shut)
        return;
    if (pcb->state != TIME_WAIT && !(pcb->state == CLOSING && pcb->lastack == t->written))
        return;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    t->conn->pcb.tcp = NULL;
    t->is_detached = true;
}

/* From lwIP with the core lock held, or from a netconn call of the engine. The window has to be
 * cut here: right after this lwIP announces it with the handshake's last ACK. */
static void on_event(struct netconn *conn, enum netconn_evt event, u16_t length)
{
    struct sc_tcp_channel *t = netconn_get_callback_arg(conn);

    LWIP_UNUSED_ARG(length);
    if (event == NETCONN_EVT_RCVMINUS || event == NETCONN_EVT_SENDMINUS)
        return;
    if (t->is_connecting && event == NETCONN_EVT_SENDPLUS && conn->pcb.tcp) {
        struct tcp_pcb *pcb = conn->pcb.tcp;
        t->is_connecting = false;
        if (t->window < pcb->rcv_wnd) {
            pcb->rcv_wnd = t->window;
            pcb->rcv_ann_wnd = t->window;
        }
    }
    detach_when_closed(t);
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
}

static void set_options(struct sc_channel *channel, const struct sc_options *options)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    t->keepalive = options->keepalive;
    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->conn->pcb.tcp;
    if (pcb) {
        if (options->reuse_address)
            ip_set_option(pcb, SOF_REUSEADDR);
        else
            ip_reset_option(pcb, SOF_REUSEADDR);
        if (options->keepalive)
            ip_set_option(pcb, SOF_KEEPALIVE);
        else
            ip_reset_option(pcb, SOF_KEEPALIVE);
        if (options->keep_idle)
            pcb->keep_idle = options->keep_idle * 1000U;
#if LWIP_TCP_KEEPALIVE
        if (options->keep_interval)
            pcb->keep_intvl = options->keep_interval * 1000U;
        if (options->keep_count)
            pcb->keep_cnt = options->keep_count;
#endif
    }
    UNLOCK_TCPIP_CORE();
}

/* Both sides have closed: the last acknowledgements are lwIP's own affair. */
static bool has_both_fins(const struct tcp_pcb *pcb)
{
    return pcb->state == CLOSING || pcb->state == LAST_ACK || pcb->state == TIME_WAIT;
}

static void free_channel(struct sc_tcp_channel *t)
{
    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->conn->pcb.tcp;
    if (pcb && !has_both_fins(pcb)) {
        tcp_abort(pcb);
        t->conn->pcb.tcp = NULL;
    }
    UNLOCK_TCPIP_CORE();
    netconn_delete(t->conn);
    sc_task_remove(&t->linger);
    mem_free(t);
}

static void count_lingering(int change)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    lingering_count += (size_t)change;
    SYS_ARCH_UNPROTECT(level);
}

static void end_lingering(struct sc_tcp_channel *t)
{
    *t->link_lingering = t->next_lingering;
    if (t->next_lingering)
        t->next_lingering->link_lingering = t->link_lingering;
    else
        lingering_end = t->link_lingering;
    count_lingering(-1);
    free_channel(t);
}

/* A port that the script asks for by number is taken back from connections of its past. */
static err_t bind_local(struct sc_tcp_channel *t, const struct sc_channel_args *args)
{
    ip_addr_t any;

    ip_addr_set_any(IP_IS_V6(&args->remote.address), &any);
    err_t err = netconn_bind(t->conn, &any, args->local_port);
    if (err != ERR_USE)
        return err;
    LOCK_TCPIP_CORE();
    for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb; pcb = next) {
        next = pcb->next;
        if (pcb->local_port == args->local_port)
            tcp_abort(pcb);
    }
    UNLOCK_TCPIP_CORE();
    return netconn_bind(t->conn, &any, args->local_port);
}

static err_t start_connect(struct sc_tcp_channel *t, const struct sc_channel_args *args)
{
    netconn_set_nonblocking(t->conn, 1);
    LOCK_TCPIP_CORE();
    /* What the script sends in one call is one message: it must not wait for the ACK of the one
     * before. */
    tcp_nagle_disable(t->conn->pcb.tcp);
    UNLOCK_TCPIP_CORE();
    set_options(&t->channel, args->options);
    err_t err = args->local_port ? bind_local(t, args) : ERR_OK;
    if (err != ERR_OK)
        return err;
    t->is_connecting = true;
    err = netconn_connect(t->conn, &args->remote.address, args->remote.port);
    return err == ERR_INPROGRESS ? ERR_OK : err;
}

static enum sc_error open_channel(const struct sc_channel_args *args, struct sc_channel **out,
                                  const char **reason)
{
    struct sc_tcp_channel *t = mem_calloc(1, sizeof(*t));
    enum netconn_type type = NETCONN_TCP;

    if (!t) {
        *reason = "connect: out of memory";
        return SC_ERR_NOMEM;
    }
    t->channel.ops = &sc_tcp;
    t->channel.owner = args->owner;
    t->window = (tcpwnd_size_t)LWIP_MIN(args->recv_buffer, TCP_WND);
    t->linger_ms = args->linger_ms;
    t->copies = args->copies;
#if LWIP_IPV6
    if (IP_IS_V6(&args->remote.address))
        type = NETCONN_TCP_IPV6;
#endif
    t->conn = netconn_new_with_callback(type, on_event);
    if (!t->conn && lingering) {
        /* On a small target the lingering ones may hold the last netconn or pcb. */
        end_lingering(lingering);
        t->conn = netconn_new_with_callback(type, on_event);
    }
    if (!t->conn) {
        mem_free(t);
        *reason = "connect: out of memory for another connection";
        return SC_ERR_NOMEM;
    }
    netconn_set_callback_arg(t->conn, t);
    err_t err = start_connect(t, args);
    if (err != ERR_OK) {
        latch(t, err);
        enum sc_error error = explain_connect(t);
        *reason = t->channel.reason;
        free_channel(t);
        return error;
    }
    *out = &t->channel;
    return SC_OK;
}

static enum sc_error step_connect(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);
    enum tcp_state state = CLOSED;

    if (is_gone(t))
        return explain_connect(t);
    LOCK_TCPIP_CORE();
    if (t->conn->pcb.tcp)
        state = t->conn->pcb.tcp->state;
    UNLOCK_TCPIP_CORE();
    return state == ESTABLISHED || state == CLOSE_WAIT ? SC_OK : SC_ERR_WOULDBLOCK;
}

/* ---- data ---- */

static uint32_t end_of_written(struct netconn *conn)
{
    LOCK_TCPIP_CORE();
    uint32_t end = conn->pcb.tcp ? conn->pcb.tcp->snd_lbb : 0;
    UNLOCK_TCPIP_CORE();
    return end;
}

static enum sc_error write_some(struct sc_channel *channel, const void *data, size_t length,
                                size_t *taken)
{
    struct sc_tcp_channel *t = tcp_of(channel);
    uint32_t before = end_of_written(t->conn);

    *taken = 0; /* netconn_write_partly leaves it alone unless it returns ERR_OK */
    err_t err = netconn_write_partly(t->conn, data, length,
                                     t->copies ? NETCONN_COPY : NETCONN_NOCOPY, taken);
    if (err == ERR_WOULDBLOCK || err == ERR_MEM)
        return SC_ERR_WOULDBLOCK;
    if (err == ERR_RTE) {
        /* lwip_netconn_do_writemore (api/api_msg.c) has queued the bytes all the same: sent again
         * they would arrive twice. Either the route comes back or the connection times out. */
        *taken = (uint32_t)(end_of_written(t->conn) - before);
        return *taken ? SC_OK : SC_ERR_WOULDBLOCK;
    }
    if (err == ERR_OK)
        return SC_OK;
    latch(t, err);
    is_gone(t);
    return explain(t);
}

static uint32_t mark_end(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    t->written = end_of_written(t->conn);
    return t->written;
}

/* Have both sides closed, after everything was acknowledged? lwIP ends LAST_ACK with ERR_CLSD. */
static bool has_closed_well(struct sc_tcp_channel *t)
{
    return t->is_detached || (t->was_shut && is_gone(t) && t->error == ERR_CLSD);
}

static bool has_reached(struct sc_channel *channel, uint32_t position)
{
    struct sc_tcp_channel *t = tcp_of(channel);
    bool is_reached = false;

    LOCK_TCPIP_CORE();
    if (t->conn->pcb.tcp) {
        t->acked = t->conn->pcb.tcp->lastack;
        is_reached = TCP_SEQ_GEQ(t->acked, position);
    }
    UNLOCK_TCPIP_CORE();
    return is_reached || has_closed_well(t);
}

/* lwIP tells of a FIN once, through the recvmbox, and when that is full the news is lost:
 * recv_tcp (api/api_msg.c) returns ERR_MEM, which tcp_input (core/tcp_in.c) does not look at. The
 * pcb's state still knows. */
static bool has_received_fin(struct sc_tcp_channel *t)
{
    bool has_fin = false;

    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->conn->pcb.tcp;
    if (t->is_detached)
        has_fin = true;
    else if (pcb && !pcb->refused_data)
        has_fin = pcb->state == CLOSE_WAIT || pcb->state == LAST_ACK || pcb->state == CLOSING ||
                  pcb->state == TIME_WAIT;
    UNLOCK_TCPIP_CORE();
    return has_fin;
}

static enum sc_error end_of_input(struct sc_tcp_channel *t)
{
    t->has_fin = true;
    return fail(t, SC_ERR_CLSD, "closed by the peer");
}

static enum sc_error read_piece(struct sc_channel *channel, struct pbuf **out)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (t->has_fin)
        return SC_ERR_CLSD;
    /* Before the mbox is looked at: what is in it then came before the FIN. */
    bool had_fin = has_received_fin(t);
    /* NOFIN: with the FIN netconn_recv_data_tcp (api/api_lib.c) would shut the receiving side
     * down, after which lwIP frees the pcb behind our back when our own FIN is acknowledged. */
    err_t err = netconn_recv_tcp_pbuf_flags(t->conn, out,
                                            NETCONN_NOAUTORCVD | NETCONN_DONTBLOCK | NETCONN_NOFIN);
    if (err == ERR_OK)
        return SC_OK;
    if (netconn_is_flag_set(t->conn, NETCONN_FIN_RX_PENDING))
        return end_of_input(t);
    latch(t, err);
    if (err == ERR_WOULDBLOCK && !is_gone(t))
        return had_fin ? end_of_input(t) : SC_ERR_WOULDBLOCK;
    is_gone(t);
    return explain(t);
}

/* How much more the peer may send by what it was told last. Core lock held. */
static tcpwnd_size_t announced_window(const struct tcp_pcb *pcb)
{
    return (tcpwnd_size_t)(pcb->rcv_ann_right_edge - pcb->rcv_nxt);
}

/* tcp_update_rcv_ann_wnd (core/tcp.c) announces a larger window only once it has grown by an MSS,
 * which a window that is smaller than that never does: the peer would wait for ever. */
static void announce_small_window(struct sc_tcp_channel *t, struct tcp_pcb *pcb)
{
    if (t->window >= 2 * TCP_MSS || pcb->rcv_wnd < announced_window(pcb) + t->window / 2)
        return;
    pcb->rcv_ann_wnd = pcb->rcv_wnd;
    tcp_ack_now(pcb);
    tcp_output(pcb);
}

/* tcp_receive (core/tcp_in.c) drops a FIN that meets a closed window, and the peer repeats it after
 * its time-out only; libslirp takes 6 s. Three ACKs that say the same have it repeated at once, and
 * mean nothing to a peer that has nothing outstanding. */
static void ask_for_dropped_fin(struct tcp_pcb *pcb)
{
    for (int i = 0; i < 3; i++)
        tcp_send_empty_ack(pcb);
}

static void open_window(struct sc_channel *channel, size_t length)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->conn->pcb.tcp;
    if (pcb) {
        bool was_closed = announced_window(pcb) == 0;
        for (size_t left = length, part; left; left -= part) {
            part = LWIP_MIN(left, 0xffff);
            tcp_recved(pcb, (u16_t)part);
        }
        announce_small_window(t, pcb);
        if (was_closed && announced_window(pcb))
            ask_for_dropped_fin(pcb);
    }
    UNLOCK_TCPIP_CORE();
}

static enum sc_error check_alive(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (!is_gone(t) || has_closed_well(t))
        return SC_OK;
    return explain(t);
}

static void get_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                          struct sc_endpoint *remote)
{
    struct netconn *conn = tcp_of(channel)->conn;

    memset(local, 0, sizeof(*local));
    memset(remote, 0, sizeof(*remote));
    netconn_getaddr(conn, &local->address, &local->port, 1);
    netconn_getaddr(conn, &remote->address, &remote->port, 0);
}

/* ---- the end ---- */

/* tcp_shutdown and not netconn_shutdown: lwip_netconn_do_close_internal (api/api_msg.c) takes the
 * sent callback away, and the events of the last acknowledgements with it. Nor netconn_delete: with
 * unread input it would send a reset and throw away what is still to be sent. The acknowledgement
 * of the FIN itself raises no event (tcp_free_acked_segments, core/tcp_in.c): lwIP sees to it. */
static enum sc_error step_shutdown(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (t->was_shut)
        return check_alive(channel);
    if (is_gone(t))
        return explain(t);
    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->conn->pcb.tcp;
    if (pcb) {
        t->written = pcb->snd_lbb;
        /* Out of memory is not told: lwIP sends the FIN later by itself. */
        t->was_shut = tcp_shutdown(pcb, 0, 1) == ERR_OK;
        tcp_output(pcb);
        detach_when_closed(t);
    }
    UNLOCK_TCPIP_CORE();
    return t->was_shut ? SC_OK : SC_ERR_WOULDBLOCK;
}

static void abort_channel(struct sc_channel *channel)
{
    free_channel(tcp_of(channel));
}

/* Input of a released connection: taken and thrown away until the peer closes too. */
static void run_lingering(struct sc_task *task, unsigned wake)
{
    struct sc_tcp_channel *t =
        (struct sc_tcp_channel *)(void *)((char *)task - offsetof(struct sc_tcp_channel, linger));
    struct pbuf *piece;
    enum sc_error error;

    while ((error = read_piece(&t->channel, &piece)) == SC_OK) {
        open_window(&t->channel, piece->tot_len);
        pbuf_free(piece);
    }
    if (error != SC_ERR_WOULDBLOCK || (wake & SC_WAKE_TIMER))
        end_lingering(t);
}

static void release_channel(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (t->has_fin || is_gone(t)) {
        free_channel(t);
        return;
    }
    if (sc_tcp_lingering() == LINGERING_MAX)
        end_lingering(lingering);
    t->link_lingering = lingering_end;
    *lingering_end = t;
    lingering_end = &t->next_lingering;
    count_lingering(+1);
    t->linger.run = run_lingering;
    t->linger.wake = 0;
    LOCK_TCPIP_CORE();
    t->channel.owner = &t->linger;
    UNLOCK_TCPIP_CORE();
    sc_task_wake_at(&t->linger, sc_engine_now() + t->linger_ms);
    sc_task_wake(&t->linger, SC_WAKE_NET);
}

size_t sc_tcp_lingering(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    size_t count;

    SYS_ARCH_PROTECT(level);
    count = lingering_count;
    SYS_ARCH_UNPROTECT(level);
    return count;
}

void sc_tcp_abort_lingering(void)
{
    while (lingering)
        end_lingering(lingering);
}

const struct sc_transport sc_tcp = {
    .open = open_channel,
    .connect = step_connect,
    .write = write_some,
    .mark = mark_end,
    .reached = has_reached,
    .read = read_piece,
    .consumed = open_window,
    .check = check_alive,
    .shutdown = step_shutdown,
    .release = release_channel,
    .abort = abort_channel,
    .set_options = set_options,
    .endpoints = get_endpoints,
    .is_datagram = false,
};
