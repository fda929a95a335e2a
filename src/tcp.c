/*
 * TCP on lwIP's raw API, without a blocking call. It knows neither the script nor TLS, which stacks
 * on it.
 *
 * Runs on the engine's thread, but for lwIP's callbacks, which come with the core lock held from
 * whichever thread lwIP is in. They leave news; `refresh` fetches it with one turn of the lock, and
 * everything that asks goes by what was fetched.
 *
 * Not netconn: its mailbox loses a FIN when it is full (recv_tcp, api/api_msg.c), parks and drops
 * segments, and costs a thread's way through it for each piece.
 *
 * SPDX-License-Identifier: MIT
 */
#include "error.h"
#include "transport.h"

#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "lwip/tcpip.h"

#include <string.h>

/* So many released connections wait for their peer to close; then the oldest one is ended. */
#define LINGERING_MAX 1024
/* Slow timer's ticks of half a second between two looks for memory. */
#define POLL_INTERVAL 1
/* lwIP copies what is this short: a pbuf that points at it would cost more. */
#define COPY_MAX 128

struct sc_tcp_channel {
    struct sc_channel channel; /* first */

    /* lwIP's and ours, under the core lock. */
    struct tcp_pcb *pcb;  /* NULL: lwIP has freed it, or it is lwIP's alone */
    struct pbuf *arrived; /* packets in a row: the last pbuf of one has tot_len == len */
    struct pbuf *arrived_last;
    bool has_come_up;
    bool fin_arrived;
    bool is_detached;     /* both sides have closed, and the pcb is lwIP's alone */
    bool is_polling;      /* for memory */
    err_t pcb_error;      /* why lwIP has freed the pcb */
    tcpwnd_size_t window; /* receive window that the script asked for */

    /* The engine's. */
    struct pbuf *input; /* taken over from `arrived` */
    struct pbuf **input_end;
    bool is_up;
    bool had_fin; /* `input` is followed by the peer's FIN */
    bool has_fin; /* the peer's FIN was read */
    bool is_gone; /* lwIP has freed the pcb before its time */
    bool was_detached;
    bool was_shut; /* our FIN was handed to lwIP; changed under the core lock */
    bool keepalive;
    bool copies;      /* what is written */
    err_t error;      /* the first that was seen */
    uint32_t written; /* sequence number after the last byte written; changed under the core lock */
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
    if (err != ERR_OK && t->error == ERR_OK)
        t->error = err;
}

/* Core lock held. */
static void take_news(struct sc_tcp_channel *t)
{
    struct tcp_pcb *pcb = t->pcb;

    if (t->arrived) {
        *t->input_end = t->arrived;
        t->input_end = &t->arrived_last->next;
        t->arrived = NULL;
    }
    t->had_fin = t->fin_arrived;
    t->was_detached = t->is_detached;
    t->is_gone = !pcb && !t->is_detached;
    if (t->is_gone)
        latch(t, t->pcb_error);
    if (pcb && t->has_come_up)
        t->acked = pcb->lastack;
    t->is_up = t->has_come_up;
}

static bool refresh(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    LOCK_TCPIP_CORE();
    take_news(t);
    UNLOCK_TCPIP_CORE();
    return t->input || t->had_fin || t->is_gone;
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
    case ERR_TIMEOUT:
        return fail(t, SC_ERR_TIMEOUT, "the peer does not answer any more");
    case ERR_RTE:
        return fail(t, SC_ERR_RTE, "no route to the peer any more");
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
        return fail(t, SC_ERR_NOMEM, "connect: out of memory");
    case ERR_BUF:
        return fail(t, SC_ERR_NOMEM, "connect: no socket is left (too many open files?)");
    case ERR_USE:
        return fail(t, SC_ERR_ADDRINUSE, "connect: the local port is in use");
    case ERR_ISCONN:
        return fail(t, SC_ERR_ADDRINUSE, "connect: the local port is already connected to it");
    default:
        return fail(t, sc_error_from_lwip(t->error), "connect: failed");
    }
}

/* ---- the pcb ---- */

/* Forgets the pcb: no callback comes any more. Core lock held. */
static struct tcp_pcb *let_go(struct sc_tcp_channel *t)
{
    struct tcp_pcb *pcb = t->pcb;

    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    t->pcb = NULL;
    return pcb;
}

/* Leaves the pcb to lwIP once both sides have closed and all data is acknowledged: what frees a pcb
 * in TIME_WAIT (tcp_slowtmr, tcp_kill_timewait and tcp_abort in core/tcp.c) tells nobody, and here
 * would be left a pointer to somebody else's connection. On the way from CLOSING to TIME_WAIT there
 * is no event, thus the look at both. Core lock held. */
static void detach_when_closed(struct sc_tcp_channel *t)
{
    struct tcp_pcb *pcb = t->pcb;

    if (!t->was_shut || !pcb)
        return;
    if (pcb->state != TIME_WAIT && !(pcb->state == CLOSING && pcb->lastack == t->written))
        return;
    let_go(t);
    t->is_detached = true;
}

/* ---- lwIP's callbacks, with the core lock held ---- */

/* The window has to be cut here: right after this lwIP announces it with the handshake's last
 * ACK. */
static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct sc_tcp_channel *t = arg;

    LWIP_UNUSED_ARG(err);
    if (t->window < pcb->rcv_wnd) {
        pcb->rcv_wnd = t->window;
        pcb->rcv_ann_wnd = t->window;
    }
    t->written = pcb->snd_lbb;
    t->has_come_up = true;
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
    return ERR_OK;
}

/* No data is refused: the window has room for it. */
static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct sc_tcp_channel *t = arg;

    LWIP_UNUSED_ARG(pcb);
    LWIP_UNUSED_ARG(err);
    if (!p) {
        t->fin_arrived = true;
        detach_when_closed(t);
    } else if (t->arrived) {
        t->arrived_last->next = p;
    } else {
        t->arrived = p;
    }
    for (; p; p = p->next)
        t->arrived_last = p;
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
    return ERR_OK;
}

static err_t on_acknowledged(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    struct sc_tcp_channel *t = arg;

    LWIP_UNUSED_ARG(pcb);
    LWIP_UNUSED_ARG(length);
    detach_when_closed(t);
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
    return ERR_OK;
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
    struct sc_tcp_channel *t = arg;

    LWIP_UNUSED_ARG(pcb);
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
    return ERR_OK;
}

/* lwIP has freed the pcb. */
static void on_error(void *arg, err_t err)
{
    struct sc_tcp_channel *t = arg;

    t->pcb = NULL;
    t->pcb_error = err;
    sc_task_wake(t->channel.owner, SC_WAKE_NET);
}

/* ---- connecting ---- */

/* Both sides have closed: the last acknowledgements are lwIP's own affair. */
static bool has_both_fins(const struct tcp_pcb *pcb)
{
    return pcb->state == CLOSING || pcb->state == LAST_ACK || pcb->state == TIME_WAIT;
}

/* Frees packets in a row. */
static void free_packets(struct pbuf *first)
{
    while (first) {
        struct pbuf *last = first;
        while (last->tot_len != last->len)
            last = last->next;
        struct pbuf *next = last->next;
        last->next = NULL;
        pbuf_free(first);
        first = next;
    }
}

static void free_channel(struct sc_tcp_channel *t)
{
    LOCK_TCPIP_CORE();
    if (t->pcb) {
        struct tcp_pcb *pcb = let_go(t);
        if (!has_both_fins(pcb))
            tcp_abort(pcb);
    }
    UNLOCK_TCPIP_CORE();
    free_packets(t->input);
    free_packets(t->arrived);
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

/* A port that the script asks for by number is taken back from connections of its past. Core lock
 * held. */
static err_t bind_local(struct sc_tcp_channel *t, const struct sc_channel_args *args)
{
    ip_addr_t any;

    ip_addr_set_any(IP_IS_V6(&args->remote.address), &any);
    err_t err = tcp_bind(t->pcb, &any, args->local_port);
    if (err != ERR_USE)
        return err;
    for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb; pcb = next) {
        next = pcb->next;
        if (pcb->local_port == args->local_port)
            tcp_abort(pcb);
    }
    return tcp_bind(t->pcb, &any, args->local_port);
}

/* Core lock held. */
static void apply_options(struct sc_tcp_channel *t, const struct sc_options *options)
{
    struct tcp_pcb *pcb = t->pcb;

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

static void set_options(struct sc_channel *channel, const struct sc_options *options)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    t->keepalive = options->keepalive;
    LOCK_TCPIP_CORE();
    if (t->pcb)
        apply_options(t, options);
    UNLOCK_TCPIP_CORE();
}

/* Core lock held. */
static err_t start_connect(struct sc_tcp_channel *t, const struct sc_channel_args *args)
{
    tcp_arg(t->pcb, t);
    tcp_recv(t->pcb, on_received);
    tcp_sent(t->pcb, on_acknowledged);
    tcp_err(t->pcb, on_error);
    /* What the script sends in one call is one message: it must not wait for the ACK of the one
     * before. */
    tcp_nagle_disable(t->pcb);
    apply_options(t, args->options);
    err_t err = args->local_port ? bind_local(t, args) : ERR_OK;
    if (err != ERR_OK)
        return err;
    return tcp_connect(t->pcb, &args->remote.address, args->remote.port, on_connected);
}

/* Without a pcb there was no memory for one. */
static err_t make_pcb(struct sc_tcp_channel *t, const struct sc_channel_args *args)
{
    err_t err = ERR_MEM;

    LOCK_TCPIP_CORE();
    t->pcb = tcp_new_ip_type(IP_GET_TYPE(&args->remote.address));
    if (t->pcb)
        err = start_connect(t, args);
    UNLOCK_TCPIP_CORE();
    return err;
}

static enum sc_error open_channel(const struct sc_channel_args *args, struct sc_channel **out,
                                  const char **reason)
{
    struct sc_tcp_channel *t = mem_malloc(sizeof(*t));

    if (!t) {
        *reason = "connect: out of memory";
        return SC_ERR_NOMEM;
    }
    *t = (struct sc_tcp_channel){
        .channel = { .ops = &sc_tcp, .owner = args->owner },
        .window = (tcpwnd_size_t)LWIP_MIN(args->recv_buffer, TCP_WND),
        .input_end = &t->input,
        .keepalive = args->options->keepalive,
        .copies = args->copies,
        .linger_ms = args->linger_ms,
    };
    err_t err = make_pcb(t, args);
    if (err != ERR_OK && !t->pcb && lingering) {
        /* On a small target the lingering ones may hold the last pcb. */
        end_lingering(lingering);
        err = make_pcb(t, args);
    }
    if (err != ERR_OK && !t->pcb) {
        mem_free(t);
        *reason = "connect: out of memory for another connection";
        return SC_ERR_NOMEM;
    }
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

    if (t->is_gone)
        return explain_connect(t);
    return t->is_up ? SC_OK : SC_ERR_WOULDBLOCK;
}

/* ---- data ---- */

/* Core lock held. The result of tcp_output does not matter: what it could not send is queued, and
 * either goes out later or times out. */
static err_t write_part(struct sc_tcp_channel *t, const void *data, size_t length, size_t *taken)
{
    struct tcp_pcb *pcb = t->pcb;
    size_t part = LWIP_MIN(length, tcp_sndbuf(pcb));

    part = LWIP_MIN(part, 0xffff);
    if (!part)
        return ERR_WOULDBLOCK;
    err_t err =
        tcp_write(pcb, data, (u16_t)part, t->copies || part <= COPY_MAX ? TCP_WRITE_FLAG_COPY : 0);
    if (err == ERR_OK) {
        *taken = part;
        t->written = pcb->snd_lbb;
    }
    /* Without memory nothing may be under way that would be acknowledged. */
    if ((err == ERR_MEM) != t->is_polling) {
        t->is_polling = err == ERR_MEM;
        tcp_poll(pcb, t->is_polling ? on_poll : NULL, POLL_INTERVAL);
    }
    if (err == ERR_OK || err == ERR_MEM)
        tcp_output(pcb);
    return err;
}

static enum sc_error write_some(struct sc_channel *channel, const void *data, size_t length,
                                size_t *taken)
{
    struct sc_tcp_channel *t = tcp_of(channel);
    err_t err = ERR_CLSD;

    *taken = 0;
    LOCK_TCPIP_CORE();
    if (t->pcb)
        err = write_part(t, data, length, taken);
    UNLOCK_TCPIP_CORE();
    if (err == ERR_OK)
        return SC_OK;
    if (err == ERR_WOULDBLOCK || err == ERR_MEM)
        return SC_ERR_WOULDBLOCK;
    refresh(channel);
    latch(t, err);
    return explain(t);
}

static uint32_t mark_end(struct sc_channel *channel)
{
    return tcp_of(channel)->written;
}

/* Have both sides closed, after everything was acknowledged? lwIP ends LAST_ACK with ERR_CLSD. */
static bool has_closed_well(const struct sc_tcp_channel *t)
{
    return t->was_detached || (t->was_shut && t->is_gone && t->error == ERR_CLSD);
}

static bool has_reached(struct sc_channel *channel, uint32_t position)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    return (t->is_up && TCP_SEQ_GEQ(t->acked, position)) || has_closed_well(t);
}

static enum sc_error read_piece(struct sc_channel *channel, struct pbuf **out)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (t->input) {
        struct pbuf *last = t->input;
        while (last->tot_len != last->len)
            last = last->next;
        *out = t->input;
        t->input = last->next;
        last->next = NULL;
        if (!t->input)
            t->input_end = &t->input;
        return SC_OK;
    }
    if (t->had_fin) {
        t->has_fin = true;
        return fail(t, SC_ERR_CLSD, "closed by the peer");
    }
    return t->is_gone ? explain(t) : SC_ERR_WOULDBLOCK;
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
    struct tcp_pcb *pcb = t->pcb;
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

    if (!t->is_gone || has_closed_well(t))
        return SC_OK;
    return explain(t);
}

static void get_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                          struct sc_endpoint *remote)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    memset(local, 0, sizeof(*local));
    memset(remote, 0, sizeof(*remote));
    LOCK_TCPIP_CORE();
    if (t->pcb) {
        ip_addr_copy(local->address, t->pcb->local_ip);
        local->port = t->pcb->local_port;
        ip_addr_copy(remote->address, t->pcb->remote_ip);
        remote->port = t->pcb->remote_port;
    }
    UNLOCK_TCPIP_CORE();
}

/* ---- the end ---- */

/* When the peer has closed first our FIN leads to LAST_ACK, and lwIP gives a pcb there two TCP_MSL
 * (tcp_slowtmr in core/tcp.c), whatever of its data is not acknowledged yet. */
static bool has_to_wait(const struct tcp_pcb *pcb)
{
    return pcb->state == CLOSE_WAIT && (pcb->unsent || pcb->unacked);
}

/* tcp_shutdown and not tcp_close, which with unread input would send a reset and throw away what is
 * still to be sent. The acknowledgement of the FIN itself raises no event (tcp_free_acked_segments,
 * core/tcp_in.c): lwIP sees to it. */
static enum sc_error step_shutdown(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    if (t->was_shut)
        return check_alive(channel);
    if (t->is_gone)
        return explain(t);
    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = t->pcb;
    if (pcb && !has_to_wait(pcb)) {
        t->written = pcb->snd_lbb;
        /* Out of memory is not told: lwIP sends the FIN later by itself. */
        t->was_shut = tcp_shutdown(pcb, 0, 1) == ERR_OK;
        tcp_output(pcb);
        detach_when_closed(t);
    }
    take_news(t);
    UNLOCK_TCPIP_CORE();
    return t->was_shut ? SC_OK : SC_ERR_WOULDBLOCK;
}

static void abort_channel(struct sc_channel *channel)
{
    free_channel(tcp_of(channel));
}

/* Takes the input of a released connection and throws it away. False when no more will come. */
static bool discard_input(struct sc_tcp_channel *t)
{
    struct pbuf *piece;
    enum sc_error error;

    while ((error = read_piece(&t->channel, &piece)) == SC_OK) {
        open_window(&t->channel, piece->tot_len);
        pbuf_free(piece);
    }
    return error == SC_ERR_WOULDBLOCK;
}

/* Until the peer closes too. */
static void run_lingering(struct sc_task *task, unsigned wake)
{
    struct sc_tcp_channel *t =
        (struct sc_tcp_channel *)(void *)((char *)task - offsetof(struct sc_tcp_channel, linger));

    refresh(&t->channel);
    if (!discard_input(t) || (wake & SC_WAKE_TIMER))
        end_lingering(t);
}

static void release_channel(struct sc_channel *channel)
{
    struct sc_tcp_channel *t = tcp_of(channel);

    /* From here on news wake the lingering task; what came before is fetched. */
    t->linger.run = run_lingering;
    LOCK_TCPIP_CORE();
    t->channel.owner = &t->linger;
    take_news(t);
    UNLOCK_TCPIP_CORE();
    if (t->has_fin || !discard_input(t)) {
        free_channel(t);
        return;
    }
    if (sc_tcp_lingering() == LINGERING_MAX)
        end_lingering(lingering);
    t->link_lingering = lingering_end;
    *lingering_end = t;
    lingering_end = &t->next_lingering;
    count_lingering(+1);
    sc_task_wake_at(&t->linger, sc_engine_recent() + t->linger_ms);
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
    .refresh = refresh,
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
