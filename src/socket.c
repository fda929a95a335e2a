/*
 * A socket's state machine, the engine's half: it runs on the engine's thread when something
 * happened, moves data between the script's boxes and the channel, and says what the script is to
 * be told. It knows transports by their ops only; messages are made in announce.c.
 *
 * state       | event                        | action                     | next state, message
 * ------------|------------------------------|----------------------------|----------------------
 * FREE        | sc_open                      | start the lookup           | RESOLVING
 * RESOLVING   | address                      | open a channel             | CONNECTING
 *             | no address (more)            |                            | CLOSED, CONN_CNF 1
 *             | deadline                     |                            | CLOSED, CONN_CNF 1
 *             | sc_close                     |                            | CLOSED, CLOSE_CNF
 * CONNECTING  | channel usable               |                            | CONNECTED, CONN_CNF 0
 *             | channel failed               | next address               | RESOLVING
 *             | no answer for half the time  | next address, if any       | CONNECTING
 *             | deadline                     | abort                      | CLOSED, CONN_CNF 1
 *             | sc_close                     | abort                      | CLOSED, CLOSE_CNF
 * CONNECTED   | data                         | to the inbox               | RECV_IND
 *             | sc_send, acknowledgement     | from the outbox            | SEND_CNF
 *             | peer closed, all read        | wait for the grace time    | LOST, CLOSE_IND
 *             | connection broke             | fail the sends under way   | SEND_CNF 1, as above
 *             | sc_close                     |                            | CLOSING
 * LOST        | sc_send before CLOSE_IND     | as in CONNECTED            | SEND_CNF
 *             | sc_close                     |                            | CLOSING
 * CLOSING     | outbox empty                 | shut the channel down      |
 *             | all acknowledged             | release the channel        | CLOSED, CLOSE_CNF
 *             | data                         | thrown away                |
 *             | connection broke             | fail the sends, abort      | CLOSED, CLOSE_CNF
 *             | linger time over             | fail the sends, abort      | CLOSED, CLOSE_CNF
 * CLOSED      | sc_close                     |                            | CLOSE_CNF
 *             | sc_destroy                   | free all memory            | FREE
 *
 * SPDX-License-Identifier: MIT
 */
#include "socket.h"

#include "announce.h"
#include "error.h"
#include "socketcore_port.h"
#include "tls_credentials.h"

#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/sys.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Small pieces that arrive while the script is behind are gathered, so that a peer that sends
 * bytes one by one cannot make the inbox cost many times what it holds. */
#define GATHER_PIECE_MAX 256
#define GATHER_BUFFER 2048

#define READ_WAKE_MAX 8192

/* 0 leaves the log's line of each step out of the program. */
#ifndef SC_LOG_STEPS
#define SC_LOG_STEPS 1
#endif

/* ---- the log ---- */

/* Written once, at the start of the platform. */
enum sc_log_level sc_log_from = SC_LOG_INFO;

static const char *format_address(const struct sc_endpoint *endpoint, char *out, size_t size)
{
    if (!ipaddr_ntoa_r(&endpoint->address, out, (int)size))
        return "?";
    return out;
}

__attribute__((format(printf, 2, 3))) static void log_step(const struct sc_socket *s,
                                                           const char *format, ...)
{
    char text[SC_REASON_MAX];
    va_list args;
    int used = snprintf(text, sizeof(text), "socket %d, %lu ms: ", s->id,
                        (unsigned long)(sc_engine_now() - s->opened_at));

    va_start(args, format);
    vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
    va_end(args);
    sc_port_log(SC_LOG_DEBUG, text);
}

/* A line of what has come of the socket, with the time since sock_conn; one comparison where nobody
 * wants it. */
#define LOGS_STEPS (SC_LOG_STEPS && sc_log_from <= SC_LOG_DEBUG)
#define LOG_STEP(...)                                                                              \
    do {                                                                                           \
        if (LOGS_STEPS)                                                                            \
            log_step(__VA_ARGS__);                                                                 \
    } while (0)

/* "handshake" once the transport waits for more than the peer's first answer. */
static void log_waiting(struct sc_socket *s)
{
    const char *waiting = s->transport->waiting_for ? s->transport->waiting_for(s->channel) : NULL;

    if (waiting && waiting != s->logged_waiting)
        log_step(s, "TCP is connected, the TLS handshake begins");
    s->logged_waiting = waiting;
}

static void log_connecting(const struct sc_socket *s, const ip_addr_t *to)
{
    char address[SC_ADDRESS_MAX];

    if (ipaddr_ntoa_r(to, address, sizeof(address)))
        log_step(s, "connecting to %s", address);
}

static void log_connected(const struct sc_socket *s)
{
    char address[SC_ADDRESS_MAX];

    log_step(s, "connected to %s port %u%s%s%s%s",
             format_address(&s->remote, address, sizeof(address)), (unsigned)s->port,
             s->tls ? ", " : "", s->tls ? s->tls->version : "",
             s->tls && s->tls->is_resumed ? ", session resumed" : "",
             s->tls && !s->tls->is_verified ? ", server not verified" : "");
}
/* About what lwIP needs for a segment. */
#define PROBE_SIZE 1024

/* ---- failures ---- */

void sc_free(void *memory)
{
    if (memory)
        mem_free(memory);
}

/* NULL when memory is out; whoever reads it has other words then. */
static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_malloc((mem_size_t)size);

    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void sc_socket_fail(struct sc_socket *s, enum sc_error error, const char *format, ...)
{
    SYS_ARCH_DECL_PROTECT(level);
    char text[SC_REASON_MAX];
    va_list args;

    if (s->error != SC_OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* It is one line, whatever the script or the peer has named. */
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    char *reason = copy_text(text);
    SYS_ARCH_PROTECT(level);
    s->error = error;
    s->reason = reason;
    SYS_ARCH_UNPROTECT(level);
    sc_port_log(SC_LOG_INFO, text);
    LOG_STEP(s, "%s", text);
}

/* ---- state ---- */

static void set_state(struct sc_socket *s, enum sc_state state)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    s->state = state;
    SYS_ARCH_UNPROTECT(level);
}

/* From here on the slot is the script thread's: nothing of it may be touched afterwards. */
static void enter_closed(struct sc_socket *s, unsigned pending)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_due;

    LOG_STEP(s, "closed; %lu bytes received, %lu acknowledged", (unsigned long)s->bytes_in,
             (unsigned long)s->bytes_out);
    sc_task_cancel_timer(&s->task);
    sc_tls_free_credentials(s->credentials);
    s->credentials = NULL;
    SYS_ARCH_PROTECT(level);
    if (!s->close_requested)
        s->pending |= pending;
    s->state = SC_STATE_CLOSED;
    is_due = sc_announce_is_due(s);
    SYS_ARCH_UNPROTECT(level);
    if (is_due)
        sc_announce_post(s);
}

static void abort_channel(struct sc_socket *s)
{
    if (s->channel)
        s->transport->abort(s->channel);
    s->channel = NULL;
}

/* What there is to do once the channel has told its news. */
static unsigned fetch_news(struct sc_socket *s, unsigned wake)
{
    if (!(wake & SC_WAKE_NET) || !s->transport->refresh || s->transport->refresh(s->channel))
        return wake;
    return (wake & ~(unsigned)SC_WAKE_NET) | SC_WAKE_SEND;
}

/* ---- connecting ---- */

static void end_connect(struct sc_socket *s)
{
    sc_task_cancel_timer(&s->task);
    sc_resolve_end(&s->resolve);
}

static void fail_connect(struct sc_socket *s)
{
    end_connect(s);
    abort_channel(s);
    enter_closed(s, SC_PENDING_CONN_CNF);
}

/* Then lwIP had none either for what it should have sent. */
static bool is_memory_out(void)
{
    void *probe = mem_calloc(1, PROBE_SIZE);

    sc_free(probe);
    return !probe;
}

/* The server was reached and TLS did not come about: its other addresses have nothing to add. */
static bool is_tls_failure(enum sc_error error)
{
    return error == SC_ERR_SSL_HANDSHAKE || error == SC_ERR_SSL_INIT || error == SC_ERR_SSL_INVALID;
}

/* What TLS waits for, NULL when it is TCP that is not there yet. */
static const char *waiting_for(const struct sc_socket *s)
{
    return s->channel && s->transport->waiting_for ? s->transport->waiting_for(s->channel) : NULL;
}

/* Of a name with several addresses the failure of the one that came furthest says most. */
static uint8_t weight_of(enum sc_error error, bool is_in_tls)
{
    if (error == SC_ERR_NOMEM)
        return 6;
    if (is_in_tls || is_tls_failure(error))
        return 5;
    switch (error) {
    case SC_ERR_RTE:
        return 1;
    case SC_ERR_TIMEOUT:
        return 2;
    case SC_ERR_RST:
        return 3;
    default:
        return 4;
    }
}

static void note_connect_failure(struct sc_socket *s, enum sc_error error, const char *reason)
{
    uint8_t weight = weight_of(error, waiting_for(s) != NULL);
    char address[SC_ADDRESS_MAX];
    char text[SC_REASON_MAX];

    snprintf(text, sizeof(text), "%s (%s port %u)", reason ? reason : sc_error_text(error),
             format_address(&s->remote, address, sizeof(address)), (unsigned)s->port);
    LOG_STEP(s, "%s", text);
    if (s->connect_error != SC_OK && weight <= s->connect_weight)
        return;
    sc_free(s->connect_reason);
    s->connect_reason = copy_text(text);
    s->connect_error = error;
    s->connect_weight = weight;
}

#define TRIED_MAX 32

/* How many addresses were tried, "" when it was only one. */
static const char *format_tried(const struct sc_socket *s, char *out)
{
    out[0] = '\0';
    if (s->resolve.next > 1)
        snprintf(out, TRIED_MAX, ", %u addresses tried", (unsigned)s->resolve.next);
    return out;
}

/* No address is left: the one that came furthest has the reason, else the lookup. */
static void fail_connect_for_good(struct sc_socket *s, enum sc_error error)
{
    char tried[TRIED_MAX];

    if (s->connect_error != SC_OK)
        sc_socket_fail(s, s->connect_error, "%s%s",
                       s->connect_reason ? s->connect_reason : sc_error_text(s->connect_error),
                       format_tried(s, tried));
    else if (s->resolve.advice)
        sc_socket_fail(s, error, "dns: \"%.100s\" is not a host name: %s", s->host,
                       s->resolve.advice);
    else
        sc_socket_fail(s, error, "%s: %.100s", s->resolve.reason, s->host);
    fail_connect(s);
}

static void fail_connect_in_time(struct sc_socket *s)
{
    uint32_t limit = (uint32_t)(s->deadline - s->opened_at);
    char address[SC_ADDRESS_MAX];
    char tried[TRIED_MAX];
    const char *wait = waiting_for(s);
    uint8_t weight = s->channel ? weight_of(SC_ERR_TIMEOUT, wait != NULL) : 0;

    if (is_memory_out()) {
        sc_socket_fail(s, SC_ERR_NOMEM, "connect: out of memory");
        fail_connect(s);
        return;
    }
    /* Another address had more to say than that this one is silent. */
    if (s->connect_error != SC_OK && s->connect_weight > weight) {
        fail_connect_for_good(s, s->connect_error);
        return;
    }
    if (s->state == SC_STATE_RESOLVING)
        sc_socket_fail(s, SC_ERR_TIMEOUT, "dns: no answer for %.100s within %lu ms", s->host,
                       (unsigned long)limit);
    else if (wait)
        sc_socket_fail(s, SC_ERR_TIMEOUT, "%s within %lu ms%s", wait, (unsigned long)limit,
                       format_tried(s, tried));
    else
        sc_socket_fail(s, SC_ERR_TIMEOUT, "connect: no answer from %s within %lu ms%s",
                       format_address(&s->remote, address, sizeof(address)), (unsigned long)limit,
                       format_tried(s, tried));
    fail_connect(s);
}

/* NULL without TLS, or where memory is out: then it is only not told. */
static struct sc_tls_info *describe_tls(struct sc_socket *s)
{
    struct sc_tls_info *info;

    if (!s->transport->describe)
        return NULL;
    info = mem_malloc(sizeof(*info));
    if (!info)
        return NULL;
    s->transport->describe(s->channel, info);
    if (info->is_verified && info->has_no_clock)
        sc_port_log(SC_LOG_INFO, "tls: validity times were not checked: the clock is not set");
    return info;
}

static void enter_connected(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_endpoint local;
    struct sc_endpoint remote;
    bool is_due;

    end_connect(s);
    s->transport->endpoints(s->channel, &local, &remote);
    struct sc_tls_info *tls = describe_tls(s);
    SYS_ARCH_PROTECT(level);
    s->tls = tls;
    s->local = local;
    s->remote = remote;
    s->state = SC_STATE_CONNECTED;
    s->was_connected = true;
    if (!s->close_requested)
        s->pending |= SC_PENDING_CONN_CNF;
    is_due = sc_announce_is_due(s);
    SYS_ARCH_UNPROTECT(level);
    if (LOGS_STEPS)
        log_connected(s);
    if (is_due)
        sc_announce_post(s);
}

/* The largest datagram that fits into one IP packet to `address`. */
static size_t datagram_max(const struct sc_socket *s, const ip_addr_t *address)
{
    size_t ip_payload_max = IP_IS_V6(address) ? 65535 - 40 : 65535 - 20;

    LWIP_UNUSED_ARG(address); /* without LWIP_IPV6 */
    if (!s->transport->is_datagram)
        return 0;
    return s->type == SC_UDP ? ip_payload_max - 8 : ip_payload_max;
}

static enum sc_error open_channel(struct sc_socket *s, const ip_addr_t *address,
                                  const char **reason)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_options options;
    struct sc_endpoint remote = { .port = s->port };
    size_t max = datagram_max(s, address);
    uint32_t linger_ms;

    ip_addr_copy(remote.address, *address);
    SYS_ARCH_PROTECT(level);
    s->state = SC_STATE_CONNECTING;
    s->remote = remote;
    s->datagram_max = max;
    options = s->options;
    linger_ms = sc_get_config()->linger_ms;
    SYS_ARCH_UNPROTECT(level);
    struct sc_channel_args args = {
        .owner = &s->task,
        .remote = remote,
        .protocol = (uint8_t)s->port,
        .local_port = s->local_port,
        .recv_buffer = s->recv_buffer,
        .linger_ms = linger_ms,
        .options = &options,
        .credentials = s->credentials,
    };
    return s->transport->open(&args, &s->channel, reason);
}

/* One step with the address at hand. SC_OK: the socket is connected. */
static enum sc_error step_channel(struct sc_socket *s)
{
    enum sc_error error = s->transport->connect(s->channel);

    if (error == SC_OK)
        enter_connected(s);
    else if (LOGS_STEPS)
        log_waiting(s);
    if (error == SC_OK || error == SC_ERR_WOULDBLOCK)
        return error;
    note_connect_failure(s, error, s->channel->reason);
    abort_channel(s);
    return error;
}

static enum sc_error start_channel(struct sc_socket *s, const ip_addr_t *address, uint64_t now)
{
    const char *reason = NULL;

    s->logged_waiting = NULL;
    if (LOGS_STEPS)
        log_connecting(s, address);
    s->patience_at = now + (s->deadline - now) / 2;
    enum sc_error error = open_channel(s, address, &reason);
    if (error == SC_OK)
        return step_channel(s);
    note_connect_failure(s, error, reason);
    return error;
}

/* Has the connection under way had half of the time that was left, without an answer? */
static bool is_impatient(const struct sc_socket *s, uint64_t now)
{
    return s->patience_at && now >= s->patience_at && !waiting_for(s);
}

/* Goes over to the next address, when there is one; until that is known the connection goes on. */
static enum sc_error change_address(struct sc_socket *s, uint64_t now)
{
    ip_addr_t address;
    enum sc_error error = sc_resolve_next(&s->resolve, &address);

    if (error == SC_ERR_WOULDBLOCK)
        return error;
    if (error != SC_OK) {
        s->patience_at = 0;
        return SC_ERR_WOULDBLOCK;
    }
    note_connect_failure(s, SC_ERR_TIMEOUT, "connect: no answer");
    abort_channel(s);
    return start_channel(s, &address, now);
}

/* When to look again though nothing has happened. */
static void wait_to_connect(struct sc_socket *s, uint64_t now)
{
    uint64_t at = s->deadline;
    uint64_t patience_at = s->channel ? s->patience_at : 0;

    if (patience_at > now && patience_at < at)
        at = patience_at;
    if (s->resolve.again_at && s->resolve.again_at < at)
        at = s->resolve.again_at;
    sc_task_wake_at(&s->task, at);
}

/* Goes through the addresses until one connects or has to be waited for. True when it is
 * connected. */
static bool step_connect(struct sc_socket *s, uint64_t now)
{
    enum sc_error error = s->channel ? step_channel(s) : SC_ERR_NOTCONN;

    s->resolve.again_at = 0;
    if (error == SC_ERR_WOULDBLOCK && is_impatient(s, now))
        error = change_address(s, now);
    while (error != SC_OK && error != SC_ERR_WOULDBLOCK) {
        ip_addr_t address = s->remote.address;

        if (is_tls_failure(error)) {
            fail_connect_for_good(s, error);
            return false;
        }
        if (error == SC_ERR_INPROGRESS) {
            error = start_channel(s, &address, now);
            continue;
        }
        error = sc_resolve_next(&s->resolve, &address);
        if (error == SC_OK) {
            error = start_channel(s, &address, now);
        } else if (error == SC_ERR_WOULDBLOCK) {
            set_state(s, SC_STATE_RESOLVING);
        } else {
            fail_connect_for_good(s, error);
            return false;
        }
    }
    if (error == SC_ERR_WOULDBLOCK)
        wait_to_connect(s, now);
    return error == SC_OK;
}

static void apply_options(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_options options;

    if (!s->channel)
        return;
    SYS_ARCH_PROTECT(level);
    options = s->options;
    SYS_ARCH_UNPROTECT(level);
    s->transport->set_options(s->channel, &options);
}

/* True when it is connected now. */
static bool run_connecting(struct sc_socket *s, unsigned wake, bool is_closing)
{
    uint64_t now = sc_engine_recent();

    if (wake & SC_WAKE_OPEN)
        LOG_STEP(s, "opened to %.100s port %u; looking it up", s->host, (unsigned)s->port);
    if (is_closing) {
        LOG_STEP(s, "sock_close");
        end_connect(s);
        abort_channel(s);
        enter_closed(s, 0);
        return false;
    }
    if (now >= s->deadline) {
        fail_connect_in_time(s);
        return false;
    }
    if (wake & SC_WAKE_OPTION)
        apply_options(s);
    if (s->channel)
        fetch_news(s, wake);
    return step_connect(s, now);
}

/* ---- input ---- */

/* Puts a small piece behind what the gathering pbuf at the inbox's end holds already. The copy is
 * within the protection, because the script thread may free that pbuf; it is short. */
static bool gather(struct sc_socket *s, const struct pbuf *piece)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_gathered = false;

    SYS_ARCH_PROTECT(level);
    if (s->inbox && s->inbox_room >= piece->len) {
        struct pbuf *last = s->inbox_last;
        memcpy((char *)last->payload + last->len, piece->payload, piece->len);
        last->len = (u16_t)(last->len + piece->len);
        s->inbox_room -= piece->len;
        s->inbox_length += piece->len;
        is_gathered = true;
    }
    SYS_ARCH_UNPROTECT(level);
    return is_gathered;
}

/* Is something unread? Then the engine is woken when the script reads. */
static bool awaits_reader(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_unread;

    SYS_ARCH_PROTECT(level);
    is_unread = s->inbox != NULL;
    s->read_wake = 0;
    SYS_ARCH_UNPROTECT(level);
    return is_unread;
}

/* Pieces that were read and are not in the inbox yet, linked by `next`. */
struct arrival {
    struct pbuf *first;
    struct pbuf *last;
    size_t length; /* as in inbox_length */
    size_t bytes;
    size_t room; /* left in the last one */
};

static void add_arrival(struct arrival *in, struct pbuf *piece, size_t length)
{
    if (in->last)
        in->last->next = piece;
    else
        in->first = piece;
    in->last = piece;
    while (in->last->next)
        in->last = in->last->next;
    in->length += length;
}

/* How many bytes the script may consume before the engine hears of it: waking it for each piece
 * costs more than reading that. What is held back of the window is little. */
static size_t read_wake(const struct sc_socket *s)
{
    return LWIP_MIN(s->recv_buffer / 8, READ_WAKE_MAX);
}

/* Puts what has arrived into the inbox, and tells the script. */
static void deliver(struct sc_socket *s, struct arrival *in)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_due;

    if (!in->bytes && !in->first)
        return;
    SYS_ARCH_PROTECT(level);
    if (in->first) {
        if (s->inbox)
            s->inbox_last->next = in->first;
        else
            s->inbox = in->first;
        s->inbox_last = in->last;
        s->inbox_room = in->room;
        s->inbox_length += in->length;
    }
    s->bytes_in += in->bytes;
    s->read_wake = s->has_ended || s->inbox_length >= s->recv_buffer ? 0 : read_wake(s);
    if (!s->close_requested)
        s->pending |= SC_PENDING_RECV_IND;
    is_due = sc_announce_is_due(s);
    SYS_ARCH_UNPROTECT(level);
    LOG_STEP(s, "%lu bytes received", (unsigned long)in->bytes);
    *in = (struct arrival){ 0 };
    if (is_due)
        sc_announce_post(s);
}

/* Takes over a small piece while the script is behind. False when it is to be taken as it is. */
static bool gather_arrival(struct sc_socket *s, struct arrival *in, struct pbuf *piece)
{
    size_t length = piece->len;

    deliver(s, in);
    if (gather(s, piece)) {
        in->bytes += length;
        pbuf_free(piece);
        return true;
    }
    struct pbuf *buffer = pbuf_alloc(PBUF_RAW, GATHER_BUFFER, PBUF_RAM);
    if (!buffer)
        return false;
    memcpy(buffer->payload, piece->payload, length);
    buffer->len = (u16_t)length;
    pbuf_free(piece);
    add_arrival(in, buffer, length);
    in->bytes += length;
    in->room = GATHER_BUFFER - length;
    deliver(s, in);
    return true;
}

static void take_piece(struct sc_socket *s, struct arrival *in, struct pbuf *piece, bool is_behind)
{
    size_t length = piece->tot_len;

    if (is_behind && !s->transport->is_datagram && !piece->next && length <= GATHER_PIECE_MAX &&
        gather_arrival(s, in, piece))
        return;
    add_arrival(in, piece, s->transport->is_datagram ? length + SC_DATAGRAM_COST : length);
    in->bytes += length;
}

/* The connection is gone: nothing more can be sent, and what is under way has failed. What was
 * received before that may still be on its way through `read`. */
static void break_connection(struct sc_socket *s, enum sc_error error, const char *reason)
{
    if (s->has_broken)
        return;
    s->has_broken = true;
    s->break_error = error;
    sc_socket_fail(s, error, "%s", reason);
}

static void end_input(struct sc_socket *s, enum sc_error error)
{
    s->has_ended = true;
    if (error == SC_ERR_CLSD)
        sc_socket_fail(s, error, "%s", s->channel->reason);
    else
        break_connection(s, error, s->channel->reason);
}

static void tell_consumed(struct sc_socket *s, size_t length)
{
    if (length && !s->has_ended)
        s->transport->consumed(s->channel, length);
}

/* `unread` bytes are in the inbox already. */
static void fill_inbox(struct sc_socket *s, size_t unread)
{
    struct arrival in = { 0 };
    bool is_behind = unread != 0;
    size_t room = s->recv_buffer > unread ? s->recv_buffer - unread : 0;

    while (!s->has_ended && room) {
        struct pbuf *piece;
        enum sc_error error = s->transport->read(s->channel, &piece);
        if (error == SC_ERR_WOULDBLOCK)
            break;
        if (error != SC_OK) {
            end_input(s, error);
            break;
        }
        size_t length =
            s->transport->is_datagram ? piece->tot_len + SC_DATAGRAM_COST : piece->tot_len;
        room -= LWIP_MIN(room, length);
        take_piece(s, &in, piece, is_behind);
        is_behind = true;
    }
    deliver(s, &in);
}

/* Input that nobody will read still has to be taken, for the peer to get rid of what it sends. */
static void discard_input(struct sc_socket *s)
{
    struct pbuf *piece;

    while (!s->has_ended) {
        enum sc_error error = s->transport->read(s->channel, &piece);
        if (error == SC_ERR_WOULDBLOCK)
            return;
        if (error != SC_OK) {
            end_input(s, error);
            return;
        }
        size_t length = piece->tot_len;
        pbuf_free(piece);
        s->transport->consumed(s->channel, length);
    }
}

/* `read` tells of the end in its turn, after what was received. For the sends it counts now. */
static void check_broken(struct sc_socket *s)
{
    if (s->has_broken)
        return;
    enum sc_error error = s->transport->check(s->channel);
    if (error != SC_OK)
        break_connection(s, error, s->channel->reason);
}

/* ---- output ---- */

/* Marks the first block that is not done as done, and returns the next. */
static struct sc_send_block *finish_block(struct sc_socket *s, struct sc_send_block *block,
                                          enum sc_error error)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_send_block *next;
    bool is_due;

    LOG_STEP(s, "send of %lu bytes: %s", (unsigned long)block->length,
             error == SC_OK ? "acknowledged" : "failed");
    SYS_ARCH_PROTECT(level);
    next = block->next;
    s->to_confirm = next;
    if (s->to_write == block)
        s->to_write = next;
    if (error == SC_OK)
        s->bytes_out += block->length;
    if (block->error == SC_OK)
        block->error = error;
    block->is_done = true;
    is_due = sc_announce_is_due(s);
    SYS_ARCH_UNPROTECT(level);
    if (is_due)
        sc_announce_post(s);
    return next;
}

static struct sc_send_block *first_to_confirm(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_send_block *block;

    SYS_ARCH_PROTECT(level);
    block = s->to_confirm;
    SYS_ARCH_UNPROTECT(level);
    return block;
}

/* Hands one block on. SC_OK once all of it is written. */
static enum sc_error write_block(struct sc_socket *s, struct sc_send_block *block)
{
    if (!block->is_accepted)
        return SC_OK;
    /* An empty send is a datagram of its own, but nothing at all on a stream. */
    while (block->written < block->length || (s->datagram_max && !block->written)) {
        size_t taken = 0;
        enum sc_error error = s->transport->write(s->channel, block->data + block->written,
                                                  block->length - block->written, &taken);
        if (error != SC_OK)
            return error;
        block->written += taken;
        if (s->datagram_max)
            break;
    }
    block->mark = s->transport->mark(s->channel);
    return SC_OK;
}

/* Hands on the blocks from `block` on. Returns the first that is not written, NULL: none. */
static struct sc_send_block *flush_outbox(struct sc_socket *s, struct sc_send_block *block)
{
    SYS_ARCH_DECL_PROTECT(level);

    while (block && !s->has_broken) {
        enum sc_error error = write_block(s, block);
        if (error == SC_ERR_WOULDBLOCK)
            break;
        if (error != SC_OK && !s->transport->is_datagram) {
            break_connection(s, error, s->channel->reason);
            break;
        }
        SYS_ARCH_PROTECT(level);
        if (error != SC_OK)
            block->error = error;
        block->is_written = true;
        block = block->next;
        s->to_write = block;
        SYS_ARCH_UNPROTECT(level);
    }
    return block;
}

static bool is_under_way(struct sc_socket *s, const struct sc_send_block *block)
{
    return !block->is_written || (block->is_accepted && block->error == SC_OK &&
                                  !s->transport->reached(s->channel, block->mark));
}

/* Marks as done what the peer has acknowledged, from `block` on; after the connection broke,
 * everything. The script may append a send at any moment, also between flush_outbox and here: such
 * a block has not been written. Returns the first that is not done, NULL: none. */
static struct sc_send_block *confirm_sends(struct sc_socket *s, struct sc_send_block *block)
{
    while (block && (s->has_broken || !is_under_way(s, block)))
        block = finish_block(s, block, s->has_broken ? s->break_error : block->error);
    return block;
}

/* ---- connected ---- */

/* When the script may hear of the end: a while after its last read. */
static uint64_t time_of_end(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    uint64_t due;

    SYS_ARCH_PROTECT(level);
    due = s->last_read ? s->last_read + sc_get_config()->close_grace_ms : 0;
    SYS_ARCH_UNPROTECT(level);
    return due;
}

/* Tells the script of the end, once it has read everything, all its sends have ended, and the
 * grace time since its last read is over. */
static void tell_end(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);

    if (!s->has_ended || s->state == SC_STATE_LOST)
        return;
    if (awaits_reader(s) || first_to_confirm(s))
        return;
    uint64_t due = time_of_end(s);
    if (due > sc_engine_now()) {
        sc_task_wake_at(&s->task, due);
        return;
    }
    SYS_ARCH_PROTECT(level);
    s->state = SC_STATE_LOST;
    if (!s->close_requested)
        s->pending |= SC_PENDING_CLOSE_IND;
    SYS_ARCH_UNPROTECT(level);
    sc_announce(s);
}

/* The shared fields that a step goes by, read at its start. What changes meanwhile wakes the task
 * again. */
struct outlook {
    enum sc_state state;
    bool is_closing;
    size_t unread;   /* bytes in the inbox */
    size_t consumed; /* bytes that the channel is to be told of */
    struct sc_send_block *to_write;
    struct sc_send_block *to_confirm;
};

static void run_connected(struct sc_socket *s, unsigned wake, const struct outlook *o)
{
    if (wake & SC_WAKE_OPTION)
        apply_options(s);
    tell_consumed(s, o->consumed);
    if (wake & ~(unsigned)SC_WAKE_SEND) {
        fill_inbox(s, o->unread);
        check_broken(s);
    }
    flush_outbox(s, o->to_write);
    confirm_sends(s, o->to_confirm);
    tell_end(s);
}

/* ---- closing ---- */

static void enter_closing(struct sc_socket *s, size_t consumed)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct pbuf *unread;
    size_t length;

    LOG_STEP(s, "sock_close");
    SYS_ARCH_PROTECT(level);
    s->deadline = sc_engine_read_clock() + sc_get_config()->linger_ms;
    s->state = SC_STATE_CLOSING;
    unread = s->inbox;
    s->inbox = NULL;
    length = s->inbox_length + consumed;
    s->inbox_length = 0;
    SYS_ARCH_UNPROTECT(level);
    sc_socket_free_pbufs(unread);
    if (length && !s->has_ended)
        s->transport->consumed(s->channel, length);
}

static enum sc_error step_shutdown(struct sc_socket *s)
{
    enum sc_error error = s->transport->shutdown(s->channel);

    if (error != SC_OK && error != SC_ERR_WOULDBLOCK)
        break_connection(s, error, s->channel->reason);
    return error;
}

static void leave_closing(struct sc_socket *s)
{
    if (s->has_broken)
        s->transport->abort(s->channel);
    else
        s->transport->release(s->channel);
    s->channel = NULL;
    enter_closed(s, 0);
}

/* False when the socket is CLOSED, and the script thread's. */
static bool run_closing(struct sc_socket *s, const struct outlook *o)
{
    discard_input(s);
    check_broken(s);
    struct sc_send_block *unwritten = flush_outbox(s, o->to_write);
    struct sc_send_block *unconfirmed = confirm_sends(s, o->to_confirm);
    bool is_shut = false;
    if (!s->has_broken && !unwritten)
        is_shut = step_shutdown(s) == SC_OK && !unconfirmed;
    if (!is_shut && sc_engine_recent() >= s->deadline)
        break_connection(s, SC_ERR_ABORT, "close: not acknowledged within the linger time");
    if (s->has_broken)
        confirm_sends(s, unconfirmed);
    if (!is_shut && !s->has_broken)
        return true;
    leave_closing(s);
    return false;
}

/* ---- entry points ---- */

static struct outlook look(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct outlook o;

    SYS_ARCH_PROTECT(level);
    o.state = s->state;
    o.is_closing = s->close_requested;
    o.unread = s->inbox_length;
    o.consumed = s->read_length;
    s->read_length = 0;
    o.to_write = s->to_write;
    o.to_confirm = s->to_confirm;
    SYS_ARCH_UNPROTECT(level);
    return o;
}

void sc_socket_run(struct sc_task *task, unsigned wake)
{
    struct sc_socket *s = (struct sc_socket *)(void *)task;
    struct outlook o = look(s);
    bool is_connected = false;

    switch (o.state) {
    case SC_STATE_FREE:
    case SC_STATE_CLOSED:
        break;
    case SC_STATE_RESOLVING:
    case SC_STATE_CONNECTING:
        /* What the peer has sent meanwhile may have come with the same wake-up. */
        is_connected = run_connecting(s, wake, o.is_closing);
        break;
    case SC_STATE_CONNECTED:
    case SC_STATE_LOST:
        wake = fetch_news(s, wake);
        is_connected = !o.is_closing;
        if (is_connected)
            break;
        enter_closing(s, o.consumed);
        if (run_closing(s, &o))
            sc_task_wake_at(&s->task, s->deadline);
        break;
    case SC_STATE_CLOSING:
        fetch_news(s, wake);
        run_closing(s, &o);
        break;
    }
    if (is_connected)
        run_connected(s, wake, &o);
}

void sc_socket_free_pbufs(struct pbuf *first)
{
    while (first) {
        struct pbuf *next = first->next;
        first->next = NULL;
        first->tot_len = first->len;
        pbuf_free(first);
        first = next;
    }
}

void sc_socket_abandon(struct sc_socket *s)
{
    sc_resolve_end(&s->resolve);
    abort_channel(s);
    sc_task_remove(&s->task);
}
