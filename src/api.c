/*
 * The script's half of a socket: the functions of socketcore.h. They put work into the socket's
 * boxes and wake the engine, or take results out of them; none of them touches the network or
 * waits. Messages are announce.c's.
 *
 * Runs on the script thread only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "announce.h"
#include "error.h"
#include "socket.h"
#include "socketcore_port.h"
#include "tls_credentials.h"
#include "tls_sessions.h"

#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"

#include <string.h>

#ifndef SC_DEFAULT_MAX_SOCKETS
#define SC_DEFAULT_MAX_SOCKETS 10
#endif
#ifndef SC_DEFAULT_RECV_IND_MAX
#define SC_DEFAULT_RECV_IND_MAX 2048
#endif
#ifndef SC_DEFAULT_CLOSE_GRACE_MS
#define SC_DEFAULT_CLOSE_GRACE_MS 500
#endif
#ifndef SC_DEFAULT_LINGER_MS
#define SC_DEFAULT_LINGER_MS 5000
#endif
#ifndef SC_DEFAULT_CONNECT_TIMEOUT_MS
#define SC_DEFAULT_CONNECT_TIMEOUT_MS 30000
#endif
#ifndef SC_DEFAULT_SEND_BUFFER
#define SC_DEFAULT_SEND_BUFFER 16384
#endif
#ifndef SC_DEFAULT_RECV_BUFFER
#define SC_DEFAULT_RECV_BUFFER (4 * TCP_MSS)
#endif

#ifndef SC_DEFAULT_TLS_RECORD_MAX
#define SC_DEFAULT_TLS_RECORD_MAX 0
#endif

#define MAX_SOCKETS_LIMIT 65535
#define TIME_LIMIT_MS 0x7fffffff
#define RECV_BUFFER_MIN 1024
/* However small they are, no more sends than this are under way: their bookkeeping is memory too.
 */
#define SENDS_MAX(send_buffer) ((send_buffer) / 32 + 16)

static const struct sc_config default_config = {
    .max_sockets = SC_DEFAULT_MAX_SOCKETS,
    .recv_ind_max = SC_DEFAULT_RECV_IND_MAX,
    .close_grace_ms = SC_DEFAULT_CLOSE_GRACE_MS,
    .linger_ms = SC_DEFAULT_LINGER_MS,
    .connect_timeout_ms = SC_DEFAULT_CONNECT_TIMEOUT_MS,
    .send_buffer = SC_DEFAULT_SEND_BUFFER,
    .recv_buffer = SC_DEFAULT_RECV_BUFFER,
    .tls_record_max = SC_DEFAULT_TLS_RECORD_MAX,
};

/* Written by the script thread; the engine reads under protection. */
static struct sc_config config;

/* Slots are allocated in rows, one at the start and one at each growth, and never move: the
 * engine and lwIP's callbacks hold pointers to them. The table is replaced under protection. */
struct row {
    struct row *next;
    struct sc_socket slots[];
};
static struct row *rows;
static struct sc_socket **table;
static size_t table_size;
static size_t lowest_free; /* no id below it is free */
static size_t used_count;

static const char closed_text[] = "socketcore is closed";

bool sc_is_running(void)
{
    return table != NULL;
}

/* ---- slots ---- */

struct sc_socket *sc_socket_find(int id)
{
    return id >= 0 && (size_t)id < table_size ? table[id] : NULL;
}

struct sc_socket *sc_socket_at(int id)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s;

    SYS_ARCH_PROTECT(level);
    s = sc_socket_find(id);
    SYS_ARCH_UNPROTECT(level);
    return s;
}

/* The socket of an id in use, else NULL. */
static struct sc_socket *socket_in_use(int id)
{
    struct sc_socket *s = sc_socket_find(id);

    return s && s->host ? s : NULL;
}

/* The lowest free id, as on the device. One that still owes a CLOSE_CNF of its last use is passed
 * over: the message would look like the new socket's. */
static struct sc_socket *take_free(void)
{
    size_t id = lowest_free;

    while (id < table_size && table[id]->host)
        id++;
    lowest_free = id;
    while (id < table_size && (table[id]->host || table[id]->closes_owed))
        id++;
    return id < table_size ? table[id] : NULL;
}

static bool grow_table(size_t size)
{
    SYS_ARCH_DECL_PROTECT(level);
    size_t added = size - table_size;
    struct row *row = mem_calloc(1, (mem_size_t)(sizeof(*row) + added * sizeof(row->slots[0])));
    struct sc_socket **new_table = mem_calloc(1, (mem_size_t)(size * sizeof(*new_table)));

    if (!row || !new_table) {
        sc_free(row);
        sc_free(new_table);
        return false;
    }
    if (table)
        memcpy(new_table, table, table_size * sizeof(*table));
    for (size_t i = 0; i < added; i++) {
        struct sc_socket *s = &row->slots[i];
        s->task.run = sc_socket_run;
        s->id = (int)(table_size + i);
        s->sends_end = &s->sends;
        new_table[table_size + i] = s;
    }
    row->next = rows;
    rows = row;
    struct sc_socket **old_table = table;
    SYS_ARCH_PROTECT(level);
    table = new_table;
    table_size = size;
    SYS_ARCH_UNPROTECT(level);
    sc_free(old_table);
    return true;
}

/* Gives back everything that a CLOSED socket holds and makes the id free. */
static void free_socket(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_send_block *sends;
    struct pbuf *unread;
    struct sc_tls_info *tls;
    char *reason;

    SYS_ARCH_PROTECT(level);
    tls = s->tls;
    s->tls = NULL;
    sends = s->sends;
    s->sends = NULL;
    s->sends_end = &s->sends;
    s->to_write = NULL;
    s->to_confirm = NULL;
    unread = s->inbox;
    s->inbox = NULL;
    s->inbox_length = 0;
    s->inbox_room = 0;
    s->read_length = 0;
    s->read_wake = 0;
    reason = s->reason;
    s->reason = NULL;
    s->error = SC_OK;
    s->pending = 0;
    s->close_requested = false;
    s->was_connected = false;
    s->is_announced = false;
    s->last_read = 0;
    s->bytes_in = 0;
    s->bytes_out = 0;
    s->datagram_max = 0;
    s->options = (struct sc_options){ 0 };
    s->local = (struct sc_endpoint){ 0 };
    s->remote = (struct sc_endpoint){ 0 };
    s->state = SC_STATE_FREE;
    SYS_ARCH_UNPROTECT(level);
    sc_free(s->connect_reason);
    s->connect_reason = NULL;
    s->connect_error = SC_OK;
    s->has_ended = false;
    s->has_broken = false;
    s->break_error = SC_OK;
    s->is_up = false;
    s->may_destroy = false;
    s->recv_turn = false;
    s->send_used = 0;
    s->sends_used = 0;
    s->inbox_offset = 0;
    while (sends) {
        struct sc_send_block *next = sends->next;
        mem_free(sends);
        sends = next;
    }
    sc_socket_free_pbufs(unread);
    sc_free(reason);
    sc_free(tls);
    sc_tls_free_credentials(s->credentials);
    s->credentials = NULL;
    sc_free(s->spare);
    s->spare = NULL;
    sc_free(s->host);
    s->host = NULL;
    used_count--;
    if ((size_t)s->id < lowest_free)
        lowest_free = (size_t)s->id;
}

/* ---- open, close, destroy ---- */

static const struct sc_transport *transport_of(enum sc_type type)
{
    switch (type) {
    case SC_TCP:
        return &sc_tcp;
    case SC_UDP:
        return &sc_udp;
    case SC_SSL:
        return &sc_tls;
    case SC_RAW:
        break;
    }
    return &sc_raw;
}

static enum sc_error refuse(const char **reason, enum sc_error error, const char *text)
{
    *reason = text;
    return error;
}

enum sc_error sc_open(const struct sc_open_args *args, int *id, const char **reason)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_tls_credentials *credentials = NULL;
    size_t host_size = strlen(args->host) + 1;
    struct sc_socket *s = take_free();
    bool is_first;

    if (!sc_is_running())
        return refuse(reason, SC_ERR_CLSD, closed_text);
    if (!s)
        return refuse(reason, SC_ERR_NOMEM, "no free socket");
    if (args->type == SC_SSL) {
        enum sc_error error = sc_tls_read_credentials(args, &credentials, reason);
        if (error != SC_OK)
            return error;
    }
    char *host = mem_malloc((mem_size_t)host_size);
    if (!host) {
        sc_tls_free_credentials(credentials);
        return refuse(reason, SC_ERR_NOMEM, "out of memory");
    }
    memcpy(host, args->host, host_size);
    /* The dot of the root: there are no search domains that it could keep off. */
    if (host_size > 2 && host[host_size - 2] == '.')
        host[host_size - 2] = '\0';
    used_count++;
    s->host = host;
    s->type = args->type;
    s->transport = transport_of(args->type);
    s->credentials = credentials;
    s->port = args->port;
    s->local_port = args->local_port;
    s->recv_buffer = args->recv_buffer ? args->recv_buffer : config.recv_buffer;
    if (s->recv_buffer < RECV_BUFFER_MIN)
        s->recv_buffer = RECV_BUFFER_MIN;
    s->opened_at = sc_engine_now();
    s->deadline = s->opened_at + config.connect_timeout_ms;
    sc_resolve_start(&s->resolve, host, &s->task);
    SYS_ARCH_PROTECT(level);
    s->state = SC_STATE_RESOLVING;
    is_first = sc_task_make_ready(&s->task, SC_WAKE_OPEN);
    SYS_ARCH_UNPROTECT(level);
    if (is_first)
        sc_port_wake();
    *id = s->id;
    return SC_OK;
}

bool sc_close(int id)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = sc_socket_find(id);
    bool is_due = false;
    bool is_first = false;

    if (!s)
        return false;
    s->is_up = false;
    SYS_ARCH_PROTECT(level);
    s->closes_owed++;
    s->pending = 0;
    if (s->state != SC_STATE_FREE)
        s->close_requested = true;
    if (s->state == SC_STATE_FREE || s->state == SC_STATE_CLOSED)
        is_due = sc_announce_is_due(s);
    else
        is_first = sc_task_make_ready(&s->task, SC_WAKE_CLOSE);
    SYS_ARCH_UNPROTECT(level);
    if (is_due)
        sc_announce_post(s);
    if (is_first)
        sc_port_wake();
    return true;
}

bool sc_destroy(int id)
{
    struct sc_socket *s = socket_in_use(id);

    if (!s || !s->may_destroy)
        return false;
    free_socket(s);
    return true;
}

/* ---- sending ---- */

static size_t send_space(const struct sc_socket *s)
{
    if (!s->is_up || s->send_used >= config.send_buffer ||
        s->sends_used >= SENDS_MAX(config.send_buffer))
        return 0;
    size_t space = config.send_buffer - s->send_used;
    return s->datagram_max && space > s->datagram_max ? s->datagram_max : space;
}

size_t sc_send_space(int id)
{
    struct sc_socket *s = socket_in_use(id);

    return s ? send_space(s) : 0;
}

static void append_send(struct sc_socket *s, struct sc_send_block *block)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_first;

    SYS_ARCH_PROTECT(level);
    *s->sends_end = block;
    s->sends_end = &block->next;
    if (!s->to_write)
        s->to_write = block;
    if (!s->to_confirm)
        s->to_confirm = block;
    is_first = sc_task_make_ready(&s->task, SC_WAKE_SEND);
    SYS_ARCH_UNPROTECT(level);
    if (is_first)
        sc_port_wake();
}

/* Many refused sends in a row, as a script makes them that tries again and again, share a block. */
static bool merge_refused(struct sc_socket *s, size_t length, enum sc_error error)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_merged = false;

    SYS_ARCH_PROTECT(level);
    if (s->sends) {
        struct sc_send_block *last =
            (struct sc_send_block *)(void *)((char *)s->sends_end -
                                             offsetof(struct sc_send_block, next));
        is_merged = !last->is_accepted && last->length == length && last->error == error;
        if (is_merged)
            last->times++;
    }
    SYS_ARCH_UNPROTECT(level);
    return is_merged;
}

/* A refused send is confirmed too, in its turn: scripts do not look at what sock_send returns, and
 * wait. */
static enum sc_error refuse_send(struct sc_socket *s, size_t length, enum sc_error error)
{
    if (merge_refused(s, length, error))
        return error;
    struct sc_send_block *block = mem_calloc(1, sizeof(*block));
    if (!block)
        return SC_ERR_NOMEM;
    block->length = length;
    block->error = error;
    block->times = 1;
    append_send(s, block);
    return error;
}

/* With everything but the data. */
static struct sc_send_block *new_block(struct sc_socket *s, size_t length)
{
    struct sc_send_block *block = s->spare;
    size_t capacity = length;

    if (block && block->capacity >= length) {
        s->spare = NULL;
        capacity = block->capacity;
    } else {
        block = mem_malloc((mem_size_t)(sizeof(*block) + length));
    }
    if (block)
        *block = (struct sc_send_block){
            .is_accepted = true, .length = length, .capacity = capacity, .times = 1
        };
    return block;
}

void sc_socket_free_block(struct sc_socket *s, struct sc_send_block *block)
{
    if (block->capacity > SC_SPARE_MAX || s->spare) {
        mem_free(block);
        return;
    }
    s->spare = block;
}

enum sc_error sc_send(int id, const void *data, size_t length)
{
    struct sc_socket *s = socket_in_use(id);

    if (!s || !s->is_up)
        return SC_ERR_NOTCONN;
    if (s->datagram_max && length > s->datagram_max)
        return refuse_send(s, length, SC_ERR_ARG);
    size_t space = send_space(s);
    if (length > space || !space)
        return refuse_send(s, length, SC_ERR_NOBUFS);
    struct sc_send_block *block = new_block(s, length);
    if (!block)
        return refuse_send(s, length, SC_ERR_NOMEM);
    memcpy(block->data, data, length);
    s->send_used += length;
    s->sends_used++;
    append_send(s, block);
    return SC_OK;
}

/* ---- receiving ---- */

static bool may_read(const struct sc_socket *s)
{
    return s && !s->close_requested;
}

size_t sc_socket_readable(const struct sc_socket *s)
{
    if (s->inbox && s->transport->is_datagram)
        return s->inbox->tot_len;
    return s->inbox_length;
}

size_t sc_available(int id)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = socket_in_use(id);
    size_t length;

    if (!may_read(s))
        return 0;
    SYS_ARCH_PROTECT(level);
    length = sc_socket_readable(s);
    SYS_ARCH_UNPROTECT(level);
    return length;
}

size_t sc_peek(int id, size_t offset, const void **data)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = socket_in_use(id);
    size_t length = 0;

    if (!may_read(s))
        return 0;
    offset += s->inbox_offset;
    SYS_ARCH_PROTECT(level);
    for (struct pbuf *p = s->inbox; p; p = p->next) {
        if (offset < p->len) {
            *data = (const char *)p->payload + offset;
            length = p->len - offset;
            break;
        }
        if (s->transport->is_datagram && p->tot_len == p->len)
            break;
        offset -= p->len;
    }
    SYS_ARCH_UNPROTECT(level);
    return length;
}

/* Unlinks the pbufs that `length` bytes of a stream use up, and returns them. Under protection. */
static struct pbuf *unlink_stream(struct sc_socket *s, size_t length)
{
    struct pbuf *first = s->inbox;
    struct pbuf *last = NULL;

    s->inbox_length -= length;
    s->read_length += length;
    s->inbox_offset += length;
    while (s->inbox && s->inbox_offset >= s->inbox->len) {
        s->inbox_offset -= s->inbox->len;
        last = s->inbox;
        s->inbox = last->next;
    }
    if (!last)
        return NULL;
    last->next = NULL;
    return first;
}

/* Unlinks the first datagram. Under protection. */
static struct pbuf *unlink_datagram(struct sc_socket *s)
{
    struct pbuf *first = s->inbox;
    struct pbuf *last = first;

    s->inbox_length -= first->tot_len + SC_DATAGRAM_COST;
    while (last->tot_len != last->len)
        last = last->next;
    s->inbox = last->next;
    last->next = NULL;
    return first;
}

void sc_consume(int id, size_t length)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = socket_in_use(id);
    struct pbuf *used;
    bool is_due;
    bool is_first = false;

    if (!may_read(s))
        return;
    SYS_ARCH_PROTECT(level);
    if (!s->inbox || (!length && !s->transport->is_datagram)) {
        SYS_ARCH_UNPROTECT(level);
        return;
    }
    used = s->transport->is_datagram ? unlink_datagram(s) : unlink_stream(s, length);
    s->last_read = sc_engine_read_clock();
    s->is_announced = false;
    if (s->inbox)
        s->pending |= SC_PENDING_RECV_IND;
    is_due = sc_announce_is_due(s);
    if (s->read_length >= s->read_wake)
        is_first = sc_task_make_ready(&s->task, SC_WAKE_READ);
    SYS_ARCH_UNPROTECT(level);
    sc_socket_free_pbufs(used);
    if (is_due)
        sc_announce_post(s);
    if (is_first)
        sc_port_wake();
}

/* ---- options ---- */

static bool set_option(struct sc_options *options, bool is_tcp, int level, int name, int value)
{
    if (value < 0)
        return false;
    if (level == SC_SOL_SOCKET && name == SC_SO_REUSEADDR && value <= 1)
        options->reuse_address = value;
    else if (level == SC_SOL_SOCKET && name == SC_SO_KEEPALIVE && value <= 1)
        options->keepalive = value;
    else if (level != SC_IPPROTO_TCP || !is_tcp || value < 1 || value > TIME_LIMIT_MS / 1000)
        return false;
    else if (name == SC_TCP_KEEPIDLE)
        options->keep_idle = (unsigned)value;
    else if (name == SC_TCP_KEEPINTVL)
        options->keep_interval = (unsigned)value;
    else if (name == SC_TCP_KEEPCNT)
        options->keep_count = (unsigned)value;
    else
        return false;
    return true;
}

enum sc_error sc_setopt(int id, int level, int name, int value)
{
    SYS_ARCH_DECL_PROTECT(protect);
    struct sc_socket *s = socket_in_use(id);
    bool is_set;

    if (!s || s->close_requested)
        return SC_ERR_INVAL;
    SYS_ARCH_PROTECT(protect);
    is_set = s->state != SC_STATE_CLOSED &&
             set_option(&s->options, s->type == SC_TCP || s->type == SC_SSL, level, name, value);
    SYS_ARCH_UNPROTECT(protect);
    if (!is_set)
        return SC_ERR_INVAL;
    sc_task_wake(&s->task, SC_WAKE_OPTION);
    return SC_OK;
}

const struct sc_config *sc_get_config(void)
{
    return &config;
}

static const char *find_bad_value(const struct sc_config *c)
{
    if (c->max_sockets < table_size)
        return "max_sockets may only grow";
    if (c->max_sockets > MAX_SOCKETS_LIMIT)
        return "max_sockets is above 65535";
    if (c->recv_ind_max < 1)
        return "recv_ind_max must be at least 1";
    if (c->close_grace_ms > TIME_LIMIT_MS)
        return "close_grace_ms is above 2147483647";
    if (c->linger_ms > TIME_LIMIT_MS)
        return "linger_ms is above 2147483647";
    if (c->connect_timeout_ms < 1 || c->connect_timeout_ms > TIME_LIMIT_MS)
        return "connect_timeout_ms must be 1 to 2147483647";
    if (c->send_buffer < 1)
        return "send_buffer must be at least 1";
    if (c->recv_buffer < RECV_BUFFER_MIN)
        return "recv_buffer must be at least 1024";
    return NULL;
}

const char *sc_set_config(const struct sc_config *wanted)
{
    SYS_ARCH_DECL_PROTECT(level);
    const char *problem = sc_is_running() ? find_bad_value(wanted) : closed_text;

    if (problem)
        return problem;
    if (wanted->max_sockets > table_size && !grow_table(wanted->max_sockets))
        return "no memory for max_sockets";
    SYS_ARCH_PROTECT(level);
    config = *wanted;
    SYS_ARCH_UNPROTECT(level);
    return NULL;
}

/* ---- what is going on ---- */

static void format_endpoint(const struct sc_endpoint *endpoint, char *address, uint16_t *port)
{
    *port = endpoint->port;
    if (ip_addr_isany(&endpoint->address) ||
        !ipaddr_ntoa_r(&endpoint->address, address, SC_ADDRESS_MAX))
        address[0] = '\0';
}

bool sc_get_info(int id, struct sc_info *info)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = socket_in_use(id);
    struct sc_endpoint local;
    struct sc_endpoint remote;

    if (!s)
        return false;
    SYS_ARCH_PROTECT(level);
    info->type = s->type;
    info->state = s->state;
    local = s->local;
    remote = s->remote;
    info->bytes_in = s->bytes_in;
    info->bytes_out = s->bytes_out;
    info->error = s->error;
    info->reason = s->reason;
    SYS_ARCH_UNPROTECT(level);
    if (!info->reason && info->error != SC_OK)
        info->reason = sc_error_text(info->error);
    info->age_ms = sc_engine_now() - s->opened_at;
    format_endpoint(&local, info->local_address, &info->local_port);
    format_endpoint(&remote, info->remote_address, &info->remote_port);
    return true;
}

bool sc_get_tls_info(int id, struct sc_tls_info *info)
{
    struct sc_socket *s = socket_in_use(id);

    if (!s)
        return false;
    SYS_ARCH_DECL_PROTECT(level);
    const struct sc_tls_info *tls;
    SYS_ARCH_PROTECT(level);
    tls = s->tls; /* constant once it is there, and freed by this thread */
    SYS_ARCH_UNPROTECT(level);
    if (tls)
        *info = *tls;
    return tls != NULL;
}

void sc_get_totals(struct sc_totals *totals)
{
    totals->sockets = used_count;
    totals->lingering = sc_tcp_lingering();
}

/* ---- start and stop ---- */

static void free_rows(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket **old_table = table;

    SYS_ARCH_PROTECT(level);
    table = NULL;
    table_size = 0;
    SYS_ARCH_UNPROTECT(level);
    sc_free(old_table);
    while (rows) {
        struct row *next = rows->next;
        mem_free(rows);
        rows = next;
    }
    lowest_free = 0;
}

static enum sc_error start_core(void)
{
    sc_engine_start();
    enum sc_error error = sc_tls_start();
    if (error == SC_OK && !grow_table(config.max_sockets))
        error = SC_ERR_NOMEM;
    if (error != SC_OK) {
        sc_port_halt();
        sc_tls_stop();
        sc_port_stop();
    }
    return error;
}

enum sc_error sc_start(const char **reason)
{
    const char *why = NULL;

    config = default_config;
    enum sc_error error = sc_port_start(&why);
    if (error == SC_OK)
        error = start_core();
    if (error != SC_OK && reason)
        *reason = why ? why : sc_error_text(error);
    return error;
}

void sc_stop(void)
{
    sc_port_halt();
    for (size_t id = 0; id < table_size; id++)
        if (table[id]->host) {
            sc_socket_abandon(table[id]);
            free_socket(table[id]);
        }
    sc_resolve_stop();
    sc_tcp_abort_lingering();
    sc_engine_stop();
    sc_announce_stop();
    sc_tls_drop_sessions();
    sc_tls_stop();
    free_rows();
    sc_port_stop();
}
