/*
 * The TCP half of the default link. A connection that a script opens ends at a second pcb in this
 * same lwIP, its far end, and goes on in a socket of the host:
 *
 *   script <-> pcb of the script's connection <-> far end <-> socket of the host <-> peer
 *
 * Between the two pcbs travel IP packets as on any link, so retransmission, windows and resets are
 * lwIP's. The far ends belong to an interface of their own, which nothing is routed to. It has
 * whatever address a packet is for, and its one listener whatever port.
 *
 * What the script sends is acknowledged as soon as it is here. A little is written to the host at
 * once, and so is the last of a connection; a stream in large pieces, at the latest before a sleep
 * or when the stand-in takes over.
 *
 * SPDX-License-Identifier: MIT
 */
#include "relay.h"

#include "host.h"
#include "link.h"
#include "pollset.h"
#include "relay_packet.h"
#include "relay_socket.h"

#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* So much is a stream: it waits to be written until it is so much, or before a sleep. A write often
 * has to wake the peer, and that is what costs. */
#define STREAM_FROM 8192
#define WRITE_AT (TCP_WND / 2)
/* Pieces in one write, chunks in one read of a stream. */
#define PIECES_MAX 64
#define CHUNKS_MAX 8
/* When all connections together hold so much of what was read, none reads more than its far end
 * takes at once. */
#define AHEAD_MAX (8 << 20)
/* Small packets that wait are gathered: a pbuf costs more than what it holds then. */
#define GATHER_PIECE_MAX 512
#define GATHER_BUFFER 8192
/* So many connections that the script has given up may still have something to write. */
#define LEFTOVERS_MAX 64
/* The listener's interface while it shall not hear anything; interfaces count from 1. */
#define NO_INTERFACE UINT8_MAX

struct flow {
    struct flow *next; /* of all */
    struct flow **link;
    struct flow *next_of_port;
    struct flow *next_active;
    struct flow *next_with_news;
    ip_addr_t remote; /* of the script's connection */
    uint16_t remote_port;
    uint16_t local_port;
    int fd;
    int error;           /* the first one of `fd`, until the script's side was told; 0: none */
    struct tcp_pcb *pcb; /* the far end; NULL before the handshake and after the end */
    struct pbuf *syn;    /* waits for the host's connection */

    bool is_active; /* wants to be looked at before the next sleep */
    bool has_news;  /* of the script's side, for finish_delivery */
    bool owes_ack;
    bool is_connecting; /* the host's socket */
    bool is_watched;    /* epoll knows the socket */
    bool is_over;       /* lwIP is through with the connection */
    bool is_reset;      /* and the script had not closed */
    bool is_leftover;   /* only what the script had sent before is still to be written */

    /* From the script to the host. */
    bool is_writable;
    bool has_nodelay;
    bool has_fin;    /* the script's side has closed */
    bool was_shut;   /* and the host was told */
    bool has_broken; /* the host's socket takes and gives no more */
    struct pbuf *out;
    struct pbuf *out_last;
    size_t out_length;
    size_t out_room; /* bytes that still fit into the last pbuf */
    size_t lent;     /* bytes of window given before the data was written, see keep_window_open */

    /* From the host to the script. */
    bool is_readable;
    bool is_ending;    /* the end of the input, or an error, is behind what can be read */
    bool has_urgent;   /* a read stops short at urgent data */
    bool has_lost_fd;  /* it is an error, which was read already */
    bool has_much;     /* the last read filled its chunk */
    bool has_measured; /* the script's window */
    bool has_host_fin;
    bool was_finished;       /* and the far end was told */
    struct sc_chunk *chunks; /* what was read, until the script's end has acknowledged it */
    struct sc_chunk *chunks_last;
};

static struct netif *script_side;
static struct netif far_side;
static struct tcp_pcb_listen *listener;

static struct flow *flows;
static struct flow *by_port[UINT16_MAX + 1]; /* the script's end's */
static struct flow *active;
static struct flow *with_news;
static unsigned leftovers;
/* Connections that this process has no memory for, by the script's port: a bit each. They are ended
 * once lwIP is not inside them. */
static unsigned char starved[(UINT16_MAX + 1) / 8];
static bool has_starved;
static size_t chunk_bytes; /* in the chunks of all */
/* Packets on their way, oldest first: a ring that grows. There is room for some without memory. */
#define PACKETS_MIN 64
static struct packet {
    struct pbuf *packet;
    bool is_to_script;
} first_packets[PACKETS_MIN], *packets = first_packets;
static size_t packets_capacity = PACKETS_MIN; /* a power of two */
static size_t packets_first;
static size_t packets_count;

/* ---- memory: the far ends stand for the rest of the world. What lwIP needs for them is not
 * counted as the device's, nor does it run out with it. ---- */

/* Returns what leave_far_side wants to know. */
static bool enter_far_side(void)
{
    return sc_host_count_memory(false);
}

static void leave_far_side(bool counted)
{
    sc_host_count_memory(counted);
}

/* ---- packets ---- */

static bool grow_packets(void)
{
    size_t capacity = 2 * packets_capacity;
    struct packet *grown = malloc(capacity * sizeof(*grown));

    if (!grown)
        return false;
    for (size_t i = 0; i < packets_count; i++)
        grown[i] = packets[(packets_first + i) & (packets_capacity - 1)];
    if (packets != first_packets)
        free(packets);
    packets = grown;
    packets_capacity = capacity;
    packets_first = 0;
    return true;
}

/* Takes `packet`. One that there is no memory for is lost, as on any link. */
static void queue_packet(struct pbuf *packet, bool is_to_script)
{
    if (packets_count == packets_capacity && !grow_packets()) {
        pbuf_free(packet);
        return;
    }
    packets[(packets_first + packets_count++) & (packets_capacity - 1)] =
        (struct packet){ .packet = packet, .is_to_script = is_to_script };
    sc_net_note_frame();
}

static struct packet shift_packet(void)
{
    struct packet first = packets[packets_first];

    packets_first = (packets_first + 1) & (packets_capacity - 1);
    packets_count--;
    return first;
}

/* ---- flows ---- */

static void mark_active(struct flow *flow)
{
    if (flow->is_active)
        return;
    flow->is_active = true;
    flow->next_active = active;
    active = flow;
}

static struct flow *find_by_ends(uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port)
{
    struct flow *flow = by_port[local_port];

    while (flow && (flow->is_over || flow->remote_port != remote_port ||
                    !ip_addr_eq(&flow->remote, remote)))
        flow = flow->next_of_port;
    return flow;
}

/* The flow of a packet from the script, or of one to it. */
static struct flow *find_flow(const struct sc_packet_info *info)
{
    return find_by_ends(info->source_port, &info->destination, info->destination_port);
}

static struct flow *find_flow_to(const struct sc_packet_info *info)
{
    return find_by_ends(info->destination_port, &info->source, info->source_port);
}

static struct flow *new_flow(const struct sc_packet_info *info, int fd)
{
    struct flow *flow = calloc(1, sizeof(*flow));

    if (!flow)
        return NULL;
    flow->fd = fd;
    ip_addr_copy(flow->remote, info->destination);
    flow->remote_port = info->destination_port;
    flow->local_port = info->source_port;
    flow->next_of_port = by_port[flow->local_port];
    by_port[flow->local_port] = flow;
    flow->next = flows;
    flow->link = &flows;
    if (flows)
        flows->link = &flow->next;
    flows = flow;
    return flow;
}

static void drop_first_chunk(struct flow *flow)
{
    struct sc_chunk *chunk = flow->chunks;

    flow->chunks = chunk->next;
    chunk_bytes -= chunk->length;
    sc_chunk_drop(chunk);
}

static void drop_output(struct flow *flow)
{
    while (flow->out) {
        struct pbuf *piece = flow->out;
        flow->out = piece->next;
        piece->next = NULL;
        pbuf_free(piece);
    }
    flow->out_last = NULL;
    flow->out_length = 0;
    flow->out_room = 0;
}

/* Only while the flow is on neither list. */
static void free_flow(struct flow *flow)
{
    struct flow **link = &by_port[flow->local_port];

    while (*link != flow)
        link = &(*link)->next_of_port;
    *link = flow->next_of_port;
    *flow->link = flow->next;
    if (flow->next)
        flow->next->link = flow->link;
    drop_output(flow);
    while (flow->chunks)
        drop_first_chunk(flow);
    if (flow->syn)
        pbuf_free(flow->syn);
    if (flow->is_watched)
        sc_poll_drop(flow->fd);
    if (flow->is_leftover)
        leftovers--;
    /* One that was never watched was short, and more of its kind may come. */
    sc_relay_socket_close(flow->fd, IP_IS_V4(&flow->remote) && flow->was_shut &&
                                        flow->has_host_fin && !flow->has_broken &&
                                        !flow->is_watched);
    free(flow);
}

/* The pcb is lwIP's alone from here on. */
static void leave_pcb(struct flow *flow)
{
    struct tcp_pcb *pcb = flow->pcb;

    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    flow->pcb = NULL;
    flow->is_over = true;
    flow->error = 0;
}

/* Both sides have closed and nothing refers to our memory any more: the last acknowledgements are
 * lwIP's affair. It frees what is in TIME_WAIT without a word, and tells nobody of the way there.
 */
static void leave_closed_pcb(struct flow *flow)
{
    struct tcp_pcb *pcb = flow->pcb;

    if (!pcb || !flow->has_fin || !flow->was_finished || flow->chunks)
        return;
    leave_pcb(flow);
    if (flow->owes_ack) {
        flow->owes_ack = false;
        tcp_ack_now(pcb);
        tcp_output(pcb);
    }
}

/* ---- from the script to the host ---- */

static bool gather(struct flow *flow, const struct pbuf *packet)
{
    if (!flow->out || flow->out_room < packet->tot_len)
        return false;
    struct pbuf *last = flow->out_last;
    pbuf_copy_partial(packet, (char *)last->payload + last->len, packet->tot_len, 0);
    last->len = (u16_t)(last->len + packet->tot_len);
    flow->out_room -= packet->tot_len;
    return true;
}

/* Takes `packet`, whose pbufs are linked by `next` from then on: the tot_len means nothing. */
static void append_output(struct flow *flow, struct pbuf *packet)
{
    size_t length = packet->tot_len;

    flow->out_length += length;
    while (!packet->len && packet->next) { /* what was the headers */
        struct pbuf *rest = packet->next;
        packet->next = NULL;
        pbuf_free(packet);
        packet = rest;
    }
    if (length <= GATHER_PIECE_MAX && flow->out) {
        if (gather(flow, packet)) {
            pbuf_free(packet);
            return;
        }
        struct pbuf *buffer = pbuf_alloc(PBUF_RAW, GATHER_BUFFER, PBUF_RAM);
        if (buffer) {
            pbuf_copy_partial(packet, buffer->payload, (u16_t)length, 0);
            buffer->len = (u16_t)length;
            pbuf_free(packet);
            packet = buffer;
        }
        flow->out_room = buffer ? GATHER_BUFFER - length : 0;
    } else {
        flow->out_room = 0;
    }
    if (flow->out)
        flow->out_last->next = packet;
    else
        flow->out = packet;
    flow->out_last = packet;
    while (flow->out_last->next)
        flow->out_last = flow->out_last->next;
}

/* A window that is all used up makes lwIP answer every ACK with one of its own (the end of
 * tcp_receive in core/tcp_in.c), and two ends that have no window answer each other for ever. One
 * byte ahead of time is not announced and prevents it. */
static void keep_window_open(struct flow *flow)
{
    if (flow->pcb->rcv_wnd == 0) {
        flow->lent++;
        flow->pcb->rcv_wnd++;
    }
}

/* The window that `length` bytes took up is free again. */
static void open_window(struct flow *flow, size_t length)
{
    size_t repaid = length < flow->lent ? length : flow->lent;

    flow->lent -= repaid;
    length -= repaid;
    while (length && flow->pcb) {
        u16_t step = length > UINT16_MAX ? UINT16_MAX : (u16_t)length;
        tcp_recved(flow->pcb, step);
        length -= step;
    }
}

static void drop_written(struct flow *flow, size_t length)
{
    flow->out_length -= length;
    open_window(flow, length);
    while (length) {
        struct pbuf *piece = flow->out;
        if (length < piece->len) {
            piece->payload = (char *)piece->payload + length;
            piece->len = (u16_t)(piece->len - length);
            return;
        }
        length -= piece->len;
        flow->out = piece->next;
        piece->next = NULL;
        pbuf_free(piece);
    }
    if (!flow->out) {
        flow->out_last = NULL;
        flow->out_room = 0;
    }
}

static void note_error(struct flow *flow, int error)
{
    if (!flow->error)
        flow->error = error;
}

static void break_flow(struct flow *flow, int error)
{
    note_error(flow, error);
    flow->has_broken = true;
    flow->is_readable = false;
    drop_output(flow);
}

static ssize_t write_pieces(struct flow *flow)
{
    struct iovec pieces[PIECES_MAX];
    struct msghdr message = { .msg_iov = pieces };
    struct iovec *last = NULL;
    const char *end = NULL;

    for (struct pbuf *piece = flow->out; piece; piece = piece->next) {
        if (last && piece->payload == end) { /* as a rule, because they were copied one by one */
            last->iov_len += piece->len;
        } else if (message.msg_iovlen < PIECES_MAX) {
            last = &pieces[message.msg_iovlen++];
            *last = (struct iovec){ .iov_base = piece->payload, .iov_len = piece->len };
        } else {
            break;
        }
        end = (const char *)piece->payload + piece->len;
    }
    return sendmsg(flow->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void write_output(struct flow *flow)
{
    if (flow->is_connecting || flow->has_broken)
        return;
    if (flow->out && !flow->has_nodelay) {
        sc_relay_socket_set_nodelay(flow->fd);
        flow->has_nodelay = true;
    }
    while (flow->out && flow->is_writable) {
        ssize_t written = write_pieces(flow);
        if (written >= 0) {
            drop_written(flow, (size_t)written);
        } else if (errno == EAGAIN) {
            flow->is_writable = false;
        } else if (errno != EINTR) {
            /* What the host's socket still has to read comes first, then its error. */
            note_error(flow, errno);
            drop_output(flow);
            flow->is_writable = false;
            flow->is_ending = true;
            flow->has_lost_fd = true;
            flow->is_readable = true;
        }
    }
    if (flow->has_fin && !flow->out && !flow->was_shut) {
        flow->was_shut = true;
        shutdown(flow->fd, SHUT_WR);
    }
}

/* ---- from the host to the script ---- */

/* lwIP makes no segment larger than half of the largest window that it has seen, and one that is
 * larger than the window waits for a timer. What it has seen is the SYN's, before tcp.c cuts it. */
static void measure_window(struct flow *flow)
{
    if (flow->has_measured)
        return;
    flow->has_measured = true;
    flow->pcb->snd_wnd_max = LWIP_MAX(flow->pcb->snd_wnd, 2);
}

/* False: the far end takes no more now; its callbacks say when it may. */
static bool queue_chunks(struct flow *flow)
{
    if (flow->chunks)
        measure_window(flow);
    for (struct sc_chunk *chunk = flow->chunks; chunk; chunk = chunk->next) {
        if (chunk->queued == chunk->length)
            continue;
        size_t length = chunk->length - chunk->queued;
        if (length > flow->pcb->snd_buf)
            length = flow->pcb->snd_buf;
        if (!length ||
            tcp_write(flow->pcb, chunk->data + chunk->queued, (u16_t)length, 0) != ERR_OK)
            return false;
        chunk->queued += length;
        if (chunk->queued < chunk->length)
            return false;
    }
    return true;
}

static void free_acked(struct flow *flow, size_t length)
{
    while (length && flow->chunks) {
        struct sc_chunk *chunk = flow->chunks;
        size_t step = chunk->length - chunk->acked;
        if (step > length)
            step = length;
        chunk->acked += step;
        length -= step;
        if (chunk->acked < chunk->length)
            return;
        drop_first_chunk(flow);
    }
}

static void append_chunk(struct flow *flow, struct sc_chunk *chunk)
{
    if (flow->chunks)
        flow->chunks_last->next = chunk;
    else
        flow->chunks = chunk;
    flow->chunks_last = chunk;
    chunk_bytes += chunk->length;
}

/* What `recv` said when it had no data. */
static void note_end(struct flow *flow, ssize_t got)
{
    if (got == 0 && !flow->has_lost_fd) {
        flow->has_host_fin = true;
        flow->is_readable = false;
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        break_flow(flow, got < 0 ? errno : EPIPE);
    } else if (errno == EAGAIN) {
        flow->is_readable = false;
    }
}

/* Chunks for the next read. Returns how many. */
static unsigned make_room(const struct flow *flow, struct sc_chunk **chunks, struct iovec *pieces)
{
    unsigned most = flow->has_much ? CHUNKS_MAX : 1;
    unsigned count = 0;
    size_t room = flow->pcb->snd_buf;

    if (flow->has_much && chunk_bytes < AHEAD_MAX)
        room = CHUNKS_MAX * SC_CHUNK_MAX;
    while (count < most && room && (chunks[count] = sc_chunk_new(SC_CHUNK_MAX)) != NULL) {
        size_t size = room < SC_CHUNK_MAX ? room : SC_CHUNK_MAX;
        pieces[count] = (struct iovec){ .iov_base = chunks[count]->data, .iov_len = size };
        room -= size;
        count++;
    }
    return count;
}

/* False without memory. */
static bool read_once(struct flow *flow)
{
    struct sc_chunk *chunks[CHUNKS_MAX] = { NULL };
    struct iovec pieces[CHUNKS_MAX];
    struct msghdr message = { .msg_iov = pieces };
    size_t room = 0;

    unsigned count = make_room(flow, chunks, pieces);
    if (!count)
        return false;
    message.msg_iovlen = count;
    ssize_t got = recvmsg(flow->fd, &message, MSG_DONTWAIT);
    if (got <= 0)
        note_end(flow, got);
    size_t left = got > 0 ? (size_t)got : 0;
    flow->has_much = left >= pieces[0].iov_len;
    for (unsigned i = 0; i < count; i++) {
        size_t length = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        if (length)
            append_chunk(flow, sc_chunk_fit(chunks[i], length));
        else
            sc_chunk_drop(chunks[i]);
        left -= length;
        room += pieces[i].iov_len;
    }
    /* Less than there was room for: nothing is left, and epoll tells when there is more. */
    if (got > 0 && (size_t)got < room && !flow->is_ending && !flow->has_urgent)
        flow->is_readable = false;
    return true;
}

static err_t on_poll(void *argument, struct tcp_pcb *pcb)
{
    (void)pcb;
    mark_active(argument);
    return ERR_OK;
}

/* The error of a host's socket in lwIP's terms, which tcp.c has words for. */
static err_t to_lwip(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return ERR_RST;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EACCES:
    case EPERM:
        return ERR_RTE;
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
        return ERR_MEM;
    case EMFILE:
    case ENFILE:
        return ERR_BUF;
    default:
        return ERR_IF;
    }
}

static struct tcp_pcb *find_script_pcb(const struct flow *flow)
{
    struct tcp_pcb *pcb = tcp_active_pcbs;

    /* What is bound to an interface is a far end. */
    while (pcb &&
           (pcb->netif_idx != NETIF_NO_INDEX || pcb->local_port != flow->local_port ||
            pcb->remote_port != flow->remote_port || !ip_addr_eq(&pcb->remote_ip, &flow->remote)))
        pcb = pcb->next;
    return pcb;
}

/* Ends a connection of the script with an error, as lwIP does it; a reset packet could not say
 * which. Not from within lwIP, which may be at work on that very pcb. */
static void fail_pcb(struct tcp_pcb *pcb, err_t error)
{
    tcp_err_fn tell = pcb->errf;
    void *argument = pcb->callback_arg;

    tcp_err(pcb, NULL);
    tcp_abandon(pcb, 0);
    if (tell)
        tell(argument, error);
}

static void fail_script_side(const struct flow *flow)
{
    struct tcp_pcb *pcb = find_script_pcb(flow);

    if (pcb)
        fail_pcb(pcb, to_lwip(flow->error));
}

static void finish_input(struct flow *flow)
{
    if (flow->has_broken) {
        fail_script_side(flow);
        tcp_abandon(flow->pcb, 0); /* calls on_error */
    } else if (flow->has_host_fin && !flow->was_finished) {
        flow->was_finished = tcp_shutdown(flow->pcb, 0, 1) == ERR_OK;
        tcp_output(flow->pcb);
        leave_closed_pcb(flow);
    }
}

/* Has a write failed, so that the script waits for what it has sent, while its window is closed, so
 * that nothing more can reach it? On a wire its peer could not have sent that. */
static bool is_stuck(struct flow *flow)
{
    if (!flow->has_lost_fd || flow->pcb->unacked || !flow->pcb->unsent)
        return false;
    break_flow(flow, EPIPE);
    return true;
}

/* Each read has the kernel tell the peer of the room, wake it, and send in the reader's place what
 * the peer had written meanwhile. So of a stream much is read at a time. */
static bool wants_read(const struct flow *flow)
{
    return flow->is_readable && flow->pcb->snd_buf >= (flow->has_much ? TCP_SND_BUF / 2 : 1);
}

static void read_input(struct flow *flow)
{
    bool is_through;

    if (!flow->pcb || flow->pcb->state < ESTABLISHED)
        return;
    do
        is_through = queue_chunks(flow);
    while (is_through && wants_read(flow) && (is_through = read_once(flow)));
    tcp_output(flow->pcb);
    /* Out of memory raises no event. */
    tcp_poll(flow->pcb, is_through ? NULL : on_poll, 1);
    /* A reset throws away what was not acknowledged, so it has to wait for that. */
    if (is_stuck(flow) || (is_through && (!flow->has_broken || !flow->chunks)))
        finish_input(flow);
}

/* ---- connections that memory is out for ---- */

static void note_starved(uint16_t local_port)
{
    starved[local_port / 8] |= (unsigned char)(1 << local_port % 8);
    has_starved = true;
    sc_net_note_frame();
}

static bool is_starved(const struct tcp_pcb *pcb)
{
    return pcb->state == SYN_SENT && pcb->netif_idx == NETIF_NO_INDEX &&
           starved[pcb->local_port / 8] & (1 << pcb->local_port % 8);
}

static void end_starved(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs, *next; pcb; pcb = next) {
        next = pcb->next;
        if (is_starved(pcb))
            fail_pcb(pcb, ERR_MEM);
    }
    memset(starved, 0, sizeof(starved));
    has_starved = false;
}

/* ---- the far end's callbacks ---- */

static void note_news(struct flow *flow)
{
    if (flow->has_news)
        return;
    flow->has_news = true;
    flow->next_with_news = with_news;
    with_news = flow;
}

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *packet, err_t error)
{
    struct flow *flow = argument;

    (void)error;
    note_news(flow);
    mark_active(flow);
    if (!packet) {
        flow->has_fin = true;
        if (flow->was_finished) {
            leave_closed_pcb(flow);
        } else if (!flow->has_broken) {
            /* The peer's own FIN mostly follows at once, and acknowledges this one too. */
            tcp_clear_flags(pcb, TF_ACK_NOW);
            tcp_set_flags(pcb, TF_ACK_DELAY);
        }
        return ERR_OK;
    }
    if (flow->has_broken) {
        flow->has_lost_fd = true; /* see is_stuck */
        tcp_recved(pcb, packet->tot_len);
        pbuf_free(packet);
        return ERR_OK;
    }
    append_output(flow, packet);
    keep_window_open(flow);
    /* One acknowledgement for all that is delivered now. */
    tcp_clear_flags(pcb, TF_ACK_DELAY | TF_ACK_NOW);
    flow->owes_ack = true;
    return ERR_OK;
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    struct flow *flow = argument;

    (void)pcb;
    free_acked(flow, length);
    leave_closed_pcb(flow);
    if (flow->is_readable || flow->chunks || flow->has_broken || flow->has_host_fin ||
        flow->is_over)
        mark_active(flow);
    return ERR_OK;
}

/* The pcb is gone: reset, aborted, or closed by both sides (ERR_CLSD). */
static void on_error(void *argument, err_t error)
{
    struct flow *flow = argument;

    flow->pcb = NULL;
    flow->is_over = true;
    flow->error = 0;
    /* After its FIN the script only wants no more input: what it has sent still goes out. */
    flow->is_reset = error != ERR_CLSD && !flow->has_fin;
    mark_active(flow);
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
    (void)pcb;
    if (error == ERR_OK)
        mark_active(argument);
    return ERR_OK;
}

/* The listener has just made a far end for the flow, if there was memory for it. */
static void adopt_pcb(struct flow *flow)
{
    struct tcp_pcb *pcb = tcp_active_pcbs;

    if (!pcb || pcb->state != SYN_RCVD || pcb->callback_arg != flow) {
        note_starved(flow->local_port);
        flow->is_over = true;
        flow->is_reset = true;
        mark_active(flow);
        return;
    }
    flow->pcb = pcb;
    tcp_recv(pcb, on_receive);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    tcp_nagle_disable(pcb);
}

/* ---- delivering ---- */

/* The far side has the address that the packet is for, and listens where a flow waits. A SYN that
 * nobody waits for is answered with a reset. */
static void deliver_to_far_side(struct pbuf *packet)
{
    struct sc_packet_info info = sc_packet_inspect(packet);
    bool is_ip4 = IP_IS_V4_VAL(info.destination);
    struct flow *flow = NULL;

    if (is_ip4)
        ip_addr_copy(far_side.ip_addr, info.destination);
    else
        ip_addr_copy(far_side.ip6_addr[0], info.destination);
    if ((info.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
        flow = find_flow(&info);
        if (flow && !flow->pcb)
            listener->netif_idx = netif_get_index(&far_side);
        listener->local_port = info.destination_port;
        listener->callback_arg = flow;
    }
    bool counted = enter_far_side();
    if (is_ip4)
        ip4_input(packet, &far_side);
    else
        ip6_input(packet, &far_side);
    if (flow && !flow->pcb)
        adopt_pcb(flow);
    leave_far_side(counted);
    listener->netif_idx = NO_INTERFACE;
}

static void deliver_to_script_side(struct pbuf *packet)
{
    if (IPH_V((const struct ip_hdr *)packet->payload) == 4)
        ip4_input(packet, script_side);
    else
        ip6_input(packet, script_side);
}

static void finish_delivery(void)
{
    bool counted = enter_far_side();
    while (with_news) {
        struct flow *flow = with_news;
        with_news = flow->next_with_news;
        flow->has_news = false;
        if (flow->has_fin || flow->out_length < STREAM_FROM || flow->out_length >= WRITE_AT)
            write_output(flow);
        if (flow->pcb && flow->owes_ack) {
            flow->owes_ack = false;
            tcp_ack_now(flow->pcb);
            tcp_output(flow->pcb);
        }
    }
    leave_far_side(counted);
}

/* Connections that are over and that nobody has a pointer to: on this link no packet of theirs can
 * still be on its way, and each makes the search for a free port longer. */
static void end_time_waits(void)
{
    for (struct tcp_pcb *pcb = tcp_tw_pcbs, *next; pcb; pcb = next) {
        next = pcb->next;
        if (!pcb->callback_arg)
            tcp_abort(pcb);
    }
}

bool sc_relay_deliver(void)
{
    bool was_any = packets_count != 0;

    if (has_starved)
        end_starved();
    while (packets_count) {
        while (packets_count) {
            struct packet next = shift_packet();
            if (next.is_to_script)
                deliver_to_script_side(next.packet);
            else
                deliver_to_far_side(next.packet);
        }
        finish_delivery();
    }
    if (was_any && tcp_tw_pcbs)
        end_time_waits();
    return was_any;
}

static err_t send_to_script(struct pbuf *packet)
{
    struct sc_chunk *chunks = NULL;

    if (packet->next) {
        struct sc_packet_info info = sc_packet_inspect(packet);
        struct flow *flow = find_flow_to(&info);
        chunks = flow ? flow->chunks : NULL;
    }
    bool counted = sc_host_count_memory(true);
    struct pbuf *copy = sc_packet_copy(packet, chunks);
    sc_host_count_memory(counted);
    if (!copy) {
        struct sc_packet_info info = sc_packet_inspect(packet);
        if (info.flags & TCP_SYN)
            note_starved(info.destination_port);
        return ERR_MEM;
    }
    queue_packet(copy, true);
    return ERR_OK;
}

static err_t output_ip4(struct netif *netif, struct pbuf *packet, const ip4_addr_t *next_hop)
{
    (void)netif;
    (void)next_hop;
    return send_to_script(packet);
}

static err_t output_ip6(struct netif *netif, struct pbuf *packet, const ip6_addr_t *next_hop)
{
    (void)netif;
    (void)next_hop;
    return send_to_script(packet);
}

/* ---- connecting ---- */

/* The link's own networks, 10.0.2.0/24 and fec0::/64, are the host. */
static bool is_host(const ip_addr_t *address)
{
    if (IP_IS_V4(address))
        return (lwip_ntohl(ip_2_ip4(address)->addr) & 0xffffff00) == 0x0a000200;
    return ip_2_ip6(address)->addr[0] == PP_HTONL(0xfec00000) && !ip_2_ip6(address)->addr[1];
}

static socklen_t host_address(const struct sc_packet_info *info, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (IP_IS_V4_VAL(info->destination)) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(info->destination_port);
        in->sin_addr.s_addr = is_host(&info->destination) ? htonl(INADDR_LOOPBACK)
                                                          : ip_2_ip4(&info->destination)->addr;
        return sizeof(*in);
    }
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(info->destination_port);
    if (is_host(&info->destination))
        in->sin6_addr = in6addr_loopback;
    else
        memcpy(&in->sin6_addr, ip_2_ip6(&info->destination)->addr, sizeof(in->sin6_addr));
    return sizeof(*in);
}

/* False without memory. */
static bool watch_socket(struct flow *flow)
{
    flow->is_watched =
        sc_poll_keep(flow->fd, EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET, flow);
    return flow->is_watched;
}

/* Goes on with the SYN of a connection whose attempt at the host has ended with `error`: hands it
 * to the listener, or leaves the failure to step_flow. */
static void answer_syn(struct flow *flow, int error)
{
    struct pbuf *syn = flow->syn;

    flow->syn = NULL;
    flow->is_connecting = false;
    flow->is_writable = error == 0;
    flow->is_over = error != 0;
    flow->error = error;
    mark_active(flow);
    if (error == 0)
        queue_packet(syn, false);
    else
        pbuf_free(syn);
}

/* Takes `syn`. */
static void start_flow(const struct sc_packet_info *info, struct pbuf *syn)
{
    struct sockaddr_storage address;
    socklen_t length = host_address(info, &address);
    int fd = sc_relay_socket_open(address.ss_family);
    int error = fd < 0 ? errno : 0;
    struct flow *flow = new_flow(info, fd);

    if (error == EMFILE || error == ENFILE)
        sc_port_log(SC_LOG_WARN, "cannot open a socket (too many open files? see ulimit -n)");
    if (!flow) {
        sc_relay_socket_close(fd, false);
        pbuf_free(syn);
        note_starved(info->source_port);
        return;
    }
    flow->syn = syn;
    flow->is_connecting = true;
    if (!error)
        error = sc_relay_socket_connect(fd, (struct sockaddr *)&address, length);
    if (error == EINPROGRESS && !watch_socket(flow))
        error = ENOMEM;
    if (error != EINPROGRESS)
        answer_syn(flow, error);
}

static void finish_connect(struct flow *flow)
{
    int error = 0;
    socklen_t length = sizeof(error);

    if (getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    answer_syn(flow, error);
}

err_t sc_relay_send(struct pbuf *packet)
{
    struct sc_packet_info info = sc_packet_inspect(packet);
    bool is_syn = (info.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    struct flow *flow = is_syn || (info.flags & TCP_RST) ? find_flow(&info) : NULL;

    if (flow && flow->is_connecting) {
        /* A SYN again: the host is still at it. A reset: the script does not want it any more. */
        flow->is_over = !is_syn;
        if (flow->is_over)
            mark_active(flow);
        return ERR_OK;
    }
    bool counted = enter_far_side();
    struct pbuf *copy = sc_packet_copy(packet, NULL);
    leave_far_side(counted);
    if (!copy) {
        if (is_syn && !flow)
            note_starved(info.source_port);
        return ERR_MEM;
    }
    if (is_syn && !flow)
        start_flow(&info, copy);
    else
        queue_packet(copy, false);
    return ERR_OK;
}

/* ---- the poll set ---- */

static void close_flow(struct flow *flow)
{
    static const struct linger at_once = { .l_onoff = 1 };

    write_output(flow);
    /* A peer that does not get everything must not see a clean end. */
    if (flow->out)
        setsockopt(flow->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    if (flow->pcb) {
        struct tcp_pcb *pcb = flow->pcb;
        leave_pcb(flow);
        tcp_abort(pcb);
    }
    free_flow(flow);
}

/* May a flow that is over go on writing what the script has sent? */
static bool may_stay(struct flow *flow)
{
    if (flow->is_leftover)
        return true;
    if (flow->is_reset || leftovers == LEFTOVERS_MAX)
        return false;
    flow->is_leftover = true;
    leftovers++;
    return true;
}

/* Frees the flow when nothing is left to be done. */
static void step_flow(struct flow *flow)
{
    if (flow->is_connecting && flow->is_writable)
        finish_connect(flow);
    if (flow->error && !flow->pcb)
        fail_script_side(flow);
    write_output(flow);
    /* A flow that was shut before epoll knew it most likely has nothing left but its end. */
    if (flow->was_shut && !flow->is_watched)
        flow->is_readable = true;
    read_input(flow);
    if (flow->is_active)
        return;
    if (flow->is_over && (!flow->out || !may_stay(flow))) {
        close_flow(flow);
    } else if (!flow->is_watched && !watch_socket(flow)) {
        /* epoll tells nothing of it, so it is looked at whenever the loop wakes up. */
        flow->is_readable = true;
        flow->is_writable = true;
        mark_active(flow);
    }
}

static void step_flows(void)
{
    struct flow *todo = active;

    active = NULL;
    bool counted = enter_far_side();
    while (todo) {
        struct flow *flow = todo;
        todo = flow->next_active;
        flow->is_active = false;
        step_flow(flow);
    }
    leave_far_side(counted);
}

void sc_relay_watch(void)
{
    /* The second time ends what the first has brought to its end. */
    step_flows();
    if (active)
        step_flows();
}

static void note_events(void *owner, unsigned events)
{
    struct flow *flow = owner;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        flow->is_ending = true;
    if (events & EPOLLPRI)
        flow->has_urgent = true;
    if (events & (EPOLLIN | EPOLLPRI) || flow->is_ending)
        flow->is_readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        flow->is_writable = true;
    mark_active(flow);
}

void sc_relay_dispatch(void)
{
    step_flows();
}

/* ---- the end ---- */

bool sc_relay_is_flushed(void)
{
    for (const struct flow *flow = flows; flow; flow = flow->next) {
        if (!flow->is_connecting && !flow->has_broken &&
            !sc_net_has_sent(flow->fd, flow->out_length))
            return false;
    }
    return true;
}

/* ---- open and close ---- */

static err_t init_far_side(struct netif *netif)
{
    netif->name[0] = 'f';
    netif->name[1] = 's';
    netif->mtu = script_side->mtu;
    netif->output = output_ip4;
    netif->output_ip6 = output_ip6;
    netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
    NETIF_SET_CHECKSUM_CTRL(netif, NETIF_CHECKSUM_DISABLE_ALL);
    return ERR_OK;
}

static bool open_listener(void)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);

    if (!pcb)
        return false;
    tcp_bind_netif(pcb, &far_side);
    tcp_bind(pcb, IP_ANY_TYPE, 0);
    struct tcp_pcb *listening = tcp_listen(pcb);
    if (!listening) {
        tcp_abort(pcb);
        return false;
    }
    tcp_accept(listening, on_accept);
    listener = (struct tcp_pcb_listen *)listening;
    listener->netif_idx = NO_INTERFACE;
    return true;
}

const char *sc_relay_open(struct netif *interface)
{
    const char *trouble = "out of memory";

    script_side = interface;
    sc_poll_tell(note_events);
    memset(&far_side, 0, sizeof(far_side));
    netif_add_noaddr(&far_side, NULL, init_far_side, NULL);
    /* Up for what it receives; its link stays down, so nothing is ever routed there. */
    netif_set_up(&far_side);
    bool counted = enter_far_side();
    if (open_listener())
        trouble = NULL;
    leave_far_side(counted);
    if (trouble)
        sc_relay_close();
    return trouble;
}

void sc_relay_close(void)
{
    for (struct flow *flow = flows, *next; flow; flow = next) {
        next = flow->next;
        close_flow(flow);
    }
    active = NULL;
    with_news = NULL;
    while (packets_count)
        pbuf_free(shift_packet().packet);
    if (packets != first_packets)
        free(packets);
    packets = first_packets;
    packets_capacity = PACKETS_MIN;
    if (listener)
        tcp_close((struct tcp_pcb *)listener);
    listener = NULL;
    sc_packet_stop();
    sc_relay_socket_stop();
    /* It has the address of the last packet: lwIP would look for connections to end. */
    ip_addr_set_any(false, &far_side.ip_addr);
    netif_ip6_addr_set_state(&far_side, 0, IP6_ADDR_INVALID);
    netif_set_down(&far_side);
    netif_remove(&far_side);
}
