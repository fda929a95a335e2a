/*
 * The core as firmware runs it: the script thread (this program's main thread, with a message queue
 * of two places), the service thread of src/port/firmware, and lwIP's tcpip thread. The peers use
 * lwIP's raw API, in the same lwIP, through its loopback interface.
 *
 * Every test ends with sc_stop and all of lwIP's pools and heap as they were before.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "socketcore.h"
#include "socketcore_port.h"
#include "tls_room.h"

#include "lwip/dns.h"
#include "lwip/memp.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/ip4.h"
#include "lwip/stats.h"
#include "lwip/tcp.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"

#include <mbedtls/platform.h>
#include <mbedtls/ssl.h>

#define PORT 4000
#define LONG 10000 /* ms; more than anything here takes */

/* ---- the platform's part ---- */

#define QUEUE_MAX 64

static pthread_mutex_t queue_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_changed = PTHREAD_COND_INITIALIZER;
static int queue[QUEUE_MAX];
static unsigned queue_first;
static unsigned queue_count;
static unsigned queue_limit;
static unsigned queue_refusals;

bool sc_port_post(int socket)
{
    bool is_posted;

    pthread_mutex_lock(&queue_mutex);
    is_posted = queue_count < queue_limit;
    if (is_posted) {
        queue[(queue_first + queue_count++) % QUEUE_MAX] = socket;
        pthread_cond_signal(&queue_changed);
    } else {
        queue_refusals++;
    }
    pthread_mutex_unlock(&queue_mutex);
    return is_posted;
}

/* The next socket number, -1 when none came in time. */
static int take_post(const struct timespec *until)
{
    int socket = -1;
    int error = 0;

    pthread_mutex_lock(&queue_mutex);
    while (!queue_count && !error)
        error = pthread_cond_timedwait(&queue_changed, &queue_mutex, until);
    if (queue_count) {
        socket = queue[queue_first];
        queue_first = (queue_first + 1) % QUEUE_MAX;
        queue_count--;
    }
    pthread_mutex_unlock(&queue_mutex);
    return socket;
}

static void clear_queue(unsigned limit)
{
    pthread_mutex_lock(&queue_mutex);
    queue_count = 0;
    queue_limit = limit;
    pthread_mutex_unlock(&queue_mutex);
}

void sc_port_log(enum sc_log_level level, const char *text)
{
    if (getenv("SOCKETCORE_LOG"))
        fprintf(stderr, "log %d: %s\n", (int)level, text);
}

bool sc_port_ca_bundle(const void **data, size_t *length)
{
    (void)data;
    (void)length;
    return false;
}

bool sc_port_key_log(const char *line)
{
    (void)line;
    return false;
}

bool sc_port_entropy(void *out, size_t length)
{
    memset(out, 7, length);
    return true;
}

int64_t sc_port_time(void)
{
    return 0;
}

unsigned int sc_port_random(void)
{
    static unsigned int state = 12345;

    return __atomic_add_fetch(&state, 2654435761U, __ATOMIC_RELAXED);
}

/* ---- time ---- */

static void sleep_ms(long ms)
{
    struct timespec left = { ms / 1000, (ms % 1000) * 1000000L };

    nanosleep(&left, NULL);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timespec real_time_in(long ms)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* ---- packets that get lost ---- */

static int lose_to;   /* server port, 0: none; what is sent to it */
static int lose_from; /* what is sent from it */

int test_lose_packet(struct pbuf *p, struct netif *netif)
{
    const unsigned char *packet = p->payload;
    size_t header = (size_t)(packet[0] & 15) * 4;
    int from, to;

    LWIP_UNUSED_ARG(netif);
    if (p->len < header + 4)
        return 0;
    from = packet[header] << 8 | packet[header + 1];
    to = packet[header + 2] << 8 | packet[header + 3];
    if (to != __atomic_load_n(&lose_to, __ATOMIC_RELAXED) &&
        from != __atomic_load_n(&lose_from, __ATOMIC_RELAXED))
        return 0;
    pbuf_free(p);
    return 1;
}

static void lose(int to, int from)
{
    __atomic_store_n(&lose_to, to, __ATOMIC_RELAXED);
    __atomic_store_n(&lose_from, from, __ATOMIC_RELAXED);
}

/* ---- peers ---- */

/* A server of one connection at a time; its fields are lwIP's: the core lock guards them. */
struct peer {
    struct tcp_pcb *listener;
    struct tcp_pcb *pcb;
    unsigned accepted;
    size_t received;
    bool is_damaged; /* what was received is not what send_pattern sends */
    bool has_fin;
    err_t error;
    bool holds; /* does not open its window again */
    size_t to_send;
    size_t sent;
    size_t piece; /* segments of this length, made in peer_send only; 0: as lwIP likes */
    bool closes;  /* once all is sent */
    bool resets;  /* instead */
    bool shuts;   /* its sending side only */
};

static unsigned char pattern_at(size_t position)
{
    return (unsigned char)(position * 31 + (position >> 8) + 7);
}

static void forget_pcb(struct peer *peer)
{
    tcp_arg(peer->pcb, NULL);
    tcp_recv(peer->pcb, NULL);
    tcp_sent(peer->pcb, NULL);
    tcp_err(peer->pcb, NULL);
    tcp_poll(peer->pcb, NULL, 0);
    peer->pcb = NULL;
}

static void peer_end(struct peer *peer)
{
    struct tcp_pcb *pcb = peer->pcb;

    if (peer->resets) {
        forget_pcb(peer);
        tcp_abort(pcb);
    } else if (peer->shuts) {
        peer->shuts = false;
        tcp_shutdown(pcb, 0, 1);
    } else if (peer->closes) {
        forget_pcb(peer);
        tcp_close(pcb);
    }
}

static bool push_piece(struct peer *peer)
{
    unsigned char data[TCP_MSS];
    size_t length = LWIP_MIN(peer->to_send - peer->sent, sizeof(data));

    if (peer->piece)
        length = LWIP_MIN(length, peer->piece);
    length = LWIP_MIN(length, tcp_sndbuf(peer->pcb));
    if (!length)
        return false;
    for (size_t i = 0; i < length; i++)
        data[i] = pattern_at(peer->sent + i);
    if (tcp_write(peer->pcb, data, (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK)
        return false;
    peer->sent += length;
    tcp_output(peer->pcb);
    return true;
}

/* Sends what it can. False when the connection was reset by this. */
static bool peer_push(struct peer *peer)
{
    bool resets = peer->resets;

    if (!peer->pcb)
        return true;
    while (push_piece(peer)) {
    }
    tcp_output(peer->pcb);
    if (peer->sent == peer->to_send)
        peer_end(peer);
    return !(resets && !peer->pcb);
}

static err_t on_peer_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct peer *peer = arg;

    LWIP_UNUSED_ARG(err);
    if (!peer) {
        if (p) {
            tcp_recved(pcb, p->tot_len);
            pbuf_free(p);
        }
        return ERR_OK;
    }
    if (!p) {
        peer->has_fin = true;
        return ERR_OK;
    }
    for (struct pbuf *q = p; q; q = q->next)
        for (size_t i = 0; i < q->len; i++)
            if (((unsigned char *)q->payload)[i] != pattern_at(peer->received++))
                peer->is_damaged = true;
    if (!peer->holds)
        tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

/* In a callback of the connection lwIP puts several writes into one segment. */
static bool push_unless_by_hand(struct peer *peer)
{
    return !peer || (peer->piece && peer->sent < peer->to_send) || peer_push(peer);
}

static err_t on_peer_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    LWIP_UNUSED_ARG(pcb);
    LWIP_UNUSED_ARG(length);
    return push_unless_by_hand(arg) ? ERR_OK : ERR_ABRT;
}

static err_t on_peer_poll(void *arg, struct tcp_pcb *pcb)
{
    LWIP_UNUSED_ARG(pcb);
    return push_unless_by_hand(arg) ? ERR_OK : ERR_ABRT;
}

static void on_peer_error(void *arg, err_t err)
{
    struct peer *peer = arg;

    if (peer) {
        peer->pcb = NULL;
        peer->error = err;
    }
}

static err_t on_peer_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct peer *peer = arg;

    if (err != ERR_OK || !pcb)
        return ERR_VAL;
    if (peer->pcb)
        forget_pcb(peer);
    peer->pcb = pcb;
    peer->accepted++;
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, peer);
    tcp_recv(pcb, on_peer_recv);
    tcp_sent(pcb, on_peer_sent);
    tcp_err(pcb, on_peer_error);
    tcp_poll(pcb, on_peer_poll, 1);
    return peer_push(peer) ? ERR_OK : ERR_ABRT;
}

static void peer_listen(struct peer *peer, uint16_t port)
{
    LOCK_TCPIP_CORE();
    struct tcp_pcb *pcb = tcp_new();
    assert_non_null(pcb);
    ip_set_option(pcb, SOF_REUSEADDR);
    assert_int_equal(tcp_bind(pcb, IP4_ADDR_ANY, port), ERR_OK);
    peer->listener = tcp_listen(pcb);
    assert_non_null(peer->listener);
    tcp_arg(peer->listener, peer);
    tcp_accept(peer->listener, on_peer_accept);
    UNLOCK_TCPIP_CORE();
}

/* Changes of a running peer. */
static void peer_send(struct peer *peer, size_t length)
{
    LOCK_TCPIP_CORE();
    peer->to_send += length;
    peer_push(peer);
    UNLOCK_TCPIP_CORE();
}

static void peer_close(struct peer *peer)
{
    LOCK_TCPIP_CORE();
    peer->closes = true;
    peer_push(peer);
    UNLOCK_TCPIP_CORE();
}

static size_t peer_received(struct peer *peer)
{
    LOCK_TCPIP_CORE();
    size_t received = peer->received;
    UNLOCK_TCPIP_CORE();
    return received;
}

static struct peer peer_now(struct peer *peer)
{
    LOCK_TCPIP_CORE();
    struct peer now = *peer;
    UNLOCK_TCPIP_CORE();
    return now;
}

#define wait_for(condition)                                                                        \
    do {                                                                                           \
        uint64_t wait_until = now_ms() + LONG;                                                     \
        while (!(condition)) {                                                                     \
            if (now_ms() > wait_until)                                                             \
                fail_msg("waited in vain for %s", #condition);                                     \
            sleep_ms(1);                                                                           \
        }                                                                                          \
    } while (0)

/* Connected, nothing lost on the way to it: all it sent was acknowledged. */
static bool peer_is_acknowledged(struct peer *peer)
{
    LOCK_TCPIP_CORE();
    bool is_so = peer->pcb && !peer->pcb->unsent && !peer->pcb->unacked;
    UNLOCK_TCPIP_CORE();
    return is_so;
}

/* ---- the script's part ---- */

static bool was_closed[16]; /* sc_close was called for the id's present use */

static int open_socket(enum sc_type type, const char *host, uint16_t port)
{
    struct sc_open_args args = { .type = type, .host = host, .port = port };
    const char *reason = NULL;
    int id = -1;

    if (sc_open(&args, &id, &reason) != SC_OK)
        fail_msg("sc_open: %s", reason);
    was_closed[id] = false;
    return id;
}

static void close_socket(int id)
{
    assert_true(sc_close(id));
    was_closed[id] = true;
}

/* False when none came in time. What may not follow sc_close fails the test here. */
static bool next_message(struct sc_message *m, long ms)
{
    struct timespec until = real_time_in(ms);

    for (;;) {
        int socket = take_post(&until);
        if (socket < 0)
            return false;
        if (!sc_next_message(socket, m))
            continue;
        assert_int_equal(m->socket, socket);
        if (was_closed[socket] && m->id != SC_MSG_SEND_CNF && m->id != SC_MSG_CLOSE_CNF)
            fail_msg("message %d (40 is CONN_CNF) after sc_close", (int)m->id);
        return true;
    }
}

/* The next message, which must be this one. */
static struct sc_message expect(int socket, enum sc_message_id id, long ms)
{
    struct sc_message m;

    if (!next_message(&m, ms))
        fail_msg("no message within %ld ms instead of %d of socket %d", ms, (int)id, socket);
    if (m.id != id || m.socket != socket)
        fail_msg("message %d of socket %d (result %d, %s) instead of %d of %d", (int)m.id, m.socket,
                 m.result, m.reason ? m.reason : "-", (int)id, socket);
    return m;
}

static struct sc_message expect_ok(int socket, enum sc_message_id id)
{
    struct sc_message m = expect(socket, id, LONG);

    if (m.result != 0)
        fail_msg("message %d of socket %d failed: %s", (int)id, socket, m.reason);
    return m;
}

static struct sc_message expect_failed(int socket, enum sc_message_id id, enum sc_error error,
                                       const char *words)
{
    struct sc_message m = expect(socket, id, LONG);

    assert_int_equal(m.result, 1);
    assert_non_null(m.reason);
    if (m.error != error || !strstr(m.reason, words))
        fail_msg("error %d \"%s\" instead of %d \"%s\"", (int)m.error, m.reason, (int)error, words);
    return m;
}

static void expect_silence(long ms)
{
    struct sc_message m;

    if (next_message(&m, ms))
        fail_msg("message %d of socket %d, result %d", (int)m.id, m.socket, m.result);
}

static int connect_to(struct peer *peer, uint16_t port)
{
    unsigned before = peer_now(peer).accepted;
    int id = open_socket(SC_TCP, "127.0.0.1", port);

    expect_ok(id, SC_MSG_CONN_CNF);
    wait_for(peer_now(peer).accepted == before + 1);
    return id;
}

/* Reads at most `length` bytes that must continue the pattern at *position. */
static size_t read_some(int id, size_t length, size_t *position)
{
    size_t done = 0;

    while (done < length) {
        const void *data;
        size_t piece = sc_peek(id, done, &data);
        if (!piece)
            break;
        piece = LWIP_MIN(piece, length - done);
        for (size_t i = 0; i < piece; i++)
            if (((const unsigned char *)data)[i] != pattern_at(*position + i))
                fail_msg("byte %zu is wrong", *position + i);
        *position += piece;
        done += piece;
    }
    sc_consume(id, done);
    return done;
}

/* Reads what a RECV_IND announced. */
static void read_announced(const struct sc_message *m, size_t *position)
{
    assert_in_range(m->length, 1, 2048);
    assert_int_equal(read_some(m->socket, m->length, position), m->length);
}

static enum sc_error send_pattern(int id, size_t length, size_t *position)
{
    unsigned char *data = malloc(length);

    assert_non_null(data);
    for (size_t i = 0; i < length; i++)
        data[i] = pattern_at(*position + i);
    enum sc_error error = sc_send(id, data, length);
    free(data);
    if (error == SC_OK)
        *position += length;
    return error;
}

static void close_and_destroy(int id)
{
    close_socket(id);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    assert_true(sc_destroy(id));
    assert_false(sc_destroy(id));
}

static void set_limits(size_t send_buffer, uint32_t grace, uint32_t linger, uint32_t connect)
{
    struct sc_config config = *sc_get_config();

    config.send_buffer = send_buffer;
    config.close_grace_ms = grace;
    config.linger_ms = linger;
    config.connect_timeout_ms = connect;
    assert_null(sc_set_config(&config));
}

/* ---- around each test ---- */

static struct peer peers[8];

#define MEMORY_MAX 32
static size_t memory_before[MEMORY_MAX];

#ifdef SC_TEST_HEAP
size_t test_blocks(void);

static size_t memory_count(void)
{
    return 1;
}

static const char *memory_name(size_t i)
{
    LWIP_UNUSED_ARG(i);
    return "malloc";
}

static void measure_memory(size_t *used)
{
    used[0] = test_blocks();
}
#else
static size_t memory_count(void)
{
    return MEMP_MAX + 1;
}

static const char *memory_name(size_t i)
{
    static const char *const names[] = {
#define LWIP_MEMPOOL(name, num, size, desc) #name,
#include "lwip/priv/memp_std.h"
        "heap",
    };

    return names[i];
}

static void measure_memory(size_t *used)
{
    SYS_ARCH_DECL_PROTECT(level);

    SYS_ARCH_PROTECT(level);
    for (size_t i = 0; i < MEMP_MAX; i++)
        used[i] = lwip_stats.memp[i]->used;
    used[MEMP_MAX] = lwip_stats.mem.used;
    /* Those come and go with lwIP's own timers. */
    used[MEMP_SYS_TIMEOUT] = 0;
    used[MEMP_TCPIP_MSG_INPKT] = 0;
    SYS_ARCH_UNPROTECT(level);
}
#endif

/* The index of what differs, -1: nothing. */
static int compare_memory(void)
{
    size_t used[MEMORY_MAX];

    measure_memory(used);
    for (size_t i = 0; i < memory_count(); i++)
        if (used[i] != memory_before[i])
            return (int)i;
    return -1;
}

static void end_time_wait(void)
{
    LOCK_TCPIP_CORE();
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
    UNLOCK_TCPIP_CORE();
}

static void end_peers(void)
{
    LOCK_TCPIP_CORE();
    for (size_t i = 0; i < LWIP_ARRAYSIZE(peers); i++) {
        struct tcp_pcb *pcb = peers[i].pcb;
        if (pcb) {
            forget_pcb(&peers[i]);
            tcp_abort(pcb);
        }
        if (peers[i].listener)
            tcp_close(peers[i].listener);
        peers[i] = (struct peer){ 0 };
    }
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    UNLOCK_TCPIP_CORE();
}

static int start_test(void **state)
{
    LWIP_UNUSED_ARG(state);
    measure_memory(memory_before);
    clear_queue(2);
    memset(was_closed, 0, sizeof(was_closed));
    assert_int_equal(sc_start(NULL), SC_OK);
    set_limits(16384, 50, 5000, 30000);
    return 0;
}

static int end_test(void **state)
{
    uint64_t until = now_ms() + 3000;
    int wrong;

    LWIP_UNUSED_ARG(state);
    lose(0, 0);
    sc_stop();
    end_peers();
    do {
        sleep_ms(2);
        end_time_wait();
        wrong = compare_memory();
    } while (wrong >= 0 && now_ms() < until);
    if (wrong >= 0) {
        size_t used[MEMORY_MAX];
        measure_memory(used);
        print_error("%s: %zu in use, %zu before the test\n", memory_name((size_t)wrong),
                    used[wrong], memory_before[wrong]);
        return -1;
    }
    return 0;
}

/* ---- tests ---- */

static void test_exchange(void **state)
{
    size_t sent = 0;
    size_t got = 0;

    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    assert_int_equal(send_pattern(id, 3000, &sent), SC_OK);
    assert_int_equal(expect_ok(id, SC_MSG_SEND_CNF).length, 3000);
    assert_int_equal(peer_received(&peers[0]), 3000);
    assert_false(peer_now(&peers[0]).is_damaged);
    peer_send(&peers[0], 5000);
    while (got < 5000) {
        struct sc_message m = expect_ok(id, SC_MSG_RECV_IND);
        read_announced(&m, &got);
    }
    close_socket(id);
    wait_for(peer_now(&peers[0]).has_fin);
    peer_close(&peers[0]);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    assert_true(sc_destroy(id));
    expect_silence(50);
}

static void test_refused(void **state)
{
    LWIP_UNUSED_ARG(state);
    int id = open_socket(SC_TCP, "127.0.0.1", PORT + 1);
    expect_failed(id, SC_MSG_CONN_CNF, SC_ERR_RST, "refused");
    expect_silence(20);
    assert_true(sc_destroy(id));
}

static void read_until_close(int id, size_t total, long pause)
{
    size_t got = 0;
    struct sc_message m;

    while (got < total) {
        m = expect_ok(id, SC_MSG_RECV_IND);
        read_announced(&m, &got);
        if (pause)
            sleep_ms(pause);
    }
    m = expect(id, SC_MSG_CLOSE_IND, LONG);
    assert_int_equal(m.error, SC_ERR_CLSD);
    assert_int_equal(got, total);
    assert_int_equal(sc_available(id), 0);
}

static void test_close_after_much_data(void **state)
{
    LWIP_UNUSED_ARG(state);
    peers[0].to_send = 200 * 1024;
    peers[0].closes = true;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    read_until_close(id, 200 * 1024, 0);
    close_and_destroy(id);
}

/* The service thread stands still meanwhile, so that nobody takes what lwIP puts into the mbox. */
static void fill_recvmbox_and_close(unsigned segments)
{
    peers[0].piece = 10;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    sc_port_halt();
    peer_send(&peers[0], segments * 10);
    while (peer_now(&peers[0]).sent < segments * 10) {
        sleep_ms(1);
        peer_send(&peers[0], 0);
    }
    wait_for(peer_is_acknowledged(&peers[0]));
    peer_close(&peers[0]);
    sleep_ms(100);
    const char *reason;
    assert_int_equal(sc_port_start(&reason), SC_OK);
    read_until_close(id, segments * 10, 0);
    close_and_destroy(id);
}

static void test_fin_with_mbox_exactly_full(void **state)
{
    LWIP_UNUSED_ARG(state);
    fill_recvmbox_and_close(DEFAULT_TCP_RECVMBOX_SIZE);
}

static void test_fin_with_mbox_overfull(void **state)
{
    LWIP_UNUSED_ARG(state);
    fill_recvmbox_and_close(DEFAULT_TCP_RECVMBOX_SIZE + 1);
}

static void test_many_short_segments(void **state)
{
    struct sc_message m;
    size_t got = 0;

    LWIP_UNUSED_ARG(state);
    peers[0].piece = 1;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    peer_send(&peers[0], 12000);
    bool is_read = false;
    while (got < 12000) {
        peer_send(&peers[0], 0);
        /* First the window closes. */
        is_read |= sc_available(id) >= 5000;
        if (!is_read) {
            sleep_ms(1);
        } else if (next_message(&m, 1)) {
            assert_int_equal(m.id, SC_MSG_RECV_IND);
            read_announced(&m, &got);
        }
    }
    peer_close(&peers[0]);
    assert_int_equal(expect(id, SC_MSG_CLOSE_IND, LONG).error, SC_ERR_CLSD);
    close_and_destroy(id);
}

static void test_slow_reader(void **state)
{
    LWIP_UNUSED_ARG(state);
    peers[0].to_send = 40000;
    peers[0].closes = true;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    read_until_close(id, 40000, 10);
    close_and_destroy(id);
}

static void test_reset_after_data(void **state)
{
    size_t sent = 0;
    size_t got = 0;

    LWIP_UNUSED_ARG(state);
    peers[0].holds = true;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    peer_send(&peers[0], 3000);
    wait_for(sc_available(id) == 3000);
    /* More than the peer's window takes: the second one is under way when the reset comes. */
    assert_int_equal(send_pattern(id, 1000, &sent), SC_OK);
    assert_int_equal(send_pattern(id, 10000, &sent), SC_OK);
    /* Two RECV_INDs, of which the second is not followed, and the SEND_CNF between. */
    struct sc_message m;
    bool is_first = true;
    bool has_send = false;
    for (int i = 0; i < 3; i++) {
        assert_true(next_message(&m, LONG));
        assert_int_equal(m.result, 0);
        has_send |= m.id == SC_MSG_SEND_CNF && m.length == 1000;
        if (m.id == SC_MSG_RECV_IND && is_first) {
            read_announced(&m, &got);
            is_first = false;
        }
    }
    assert_true(has_send);
    LOCK_TCPIP_CORE();
    peers[0].resets = true;
    peer_push(&peers[0]);
    UNLOCK_TCPIP_CORE();
    m = expect_failed(id, SC_MSG_SEND_CNF, SC_ERR_RST, "reset");
    assert_int_equal(m.length, 10000);
    expect_silence(200); /* 952 bytes are unread */
    assert_int_equal(read_some(id, 5000, &got), 952);
    expect_failed(id, SC_MSG_CLOSE_IND, SC_ERR_RST, "reset");
    assert_int_equal(sc_send(id, "x", 1), SC_ERR_NOTCONN);
    close_and_destroy(id);
}

static void test_close_while_connecting(void **state)
{
    LWIP_UNUSED_ARG(state);
    lose(PORT, 0);
    peer_listen(&peers[0], PORT);
    int id = open_socket(SC_TCP, "127.0.0.1", PORT);
    expect_silence(100);
    close_socket(id);
    expect(id, SC_MSG_CLOSE_CNF, 200);
    assert_true(sc_destroy(id));
}

static void test_connect_time_out(void **state)
{
    LWIP_UNUSED_ARG(state);
    set_limits(16384, 50, 5000, 300);
    lose(PORT, 0);
    peer_listen(&peers[0], PORT);
    uint64_t start = now_ms();
    int id = open_socket(SC_TCP, "127.0.0.1", PORT);
    expect_failed(id, SC_MSG_CONN_CNF, SC_ERR_TIMEOUT, "no answer");
    assert_in_range(now_ms() - start, 290, 2000);
    assert_true(sc_destroy(id));
}

/* A close at any moment of connecting: one CLOSE_CNF, and no CONN_CNF after sc_close. */
static void test_close_races_with_connect(void **state)
{
    LWIP_UNUSED_ARG(state);
    peers[0].closes = true;
    peer_listen(&peers[0], PORT);
    for (int i = 0; i < 2000; i++) {
        int id = open_socket(SC_TCP, "127.0.0.1", PORT);
        uint64_t spin = (uint64_t)i % 400;
        for (volatile uint64_t n = 0; n < spin * 200; n++) {
        }
        close_socket(id);
        expect_ok(id, SC_MSG_CLOSE_CNF);
        assert_true(sc_destroy(id));
        if (i % 16 == 0)
            end_time_wait();
    }
}

static void test_graceful_close_with_unread_input(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    peers[0].to_send = 20000;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    wait_for(sc_available(id) >= 4000);
    assert_int_equal(send_pattern(id, 12000, &sent), SC_OK);
    close_socket(id);
    assert_int_equal(expect_ok(id, SC_MSG_SEND_CNF).length, 12000);
    wait_for(peer_now(&peers[0]).has_fin);
    wait_for(peer_now(&peers[0]).sent == 20000);
    peer_close(&peers[0]);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    assert_true(sc_destroy(id));
    assert_int_equal(peer_received(&peers[0]), 12000);
    assert_false(peer_now(&peers[0]).is_damaged);
    assert_int_equal(peer_now(&peers[0]).error, ERR_OK);
}

/* The peer's ACK of our FIN comes alone, and no FIN of its own follows. */
static void test_close_with_peer_that_stays_open(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    assert_int_equal(send_pattern(id, 100, &sent), SC_OK);
    expect_ok(id, SC_MSG_SEND_CNF);
    uint64_t start = now_ms();
    close_socket(id);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    if (now_ms() - start > 1000)
        fail_msg("CLOSE_CNF came after %u ms", (unsigned)(now_ms() - start));
    wait_for(peer_now(&peers[0]).has_fin);
    assert_int_equal(peer_now(&peers[0]).error, ERR_OK);
    assert_true(sc_destroy(id));
}

/* The peer has closed its side, and acknowledges our last data together with our FIN, which is when
 * lwIP frees the connection. */
static void test_send_and_close_after_half_close(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    set_limits(16384, 5000, 5000, 30000);
    peers[0].to_send = 10;
    peers[0].shuts = true;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    size_t got = 0;
    struct sc_message m = expect_ok(id, SC_MSG_RECV_IND);
    read_announced(&m, &got);
    sleep_ms(100);
    /* Both ACKs get lost, so one ACK answers for data and FIN. */
    lose(0, PORT);
    assert_int_equal(send_pattern(id, 100, &sent), SC_OK);
    close_socket(id);
    sleep_ms(100);
    lose(0, 0);
    assert_int_equal(expect_ok(id, SC_MSG_SEND_CNF).length, 100);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    assert_true(sc_destroy(id));
    assert_int_equal(peer_received(&peers[0]), 100);
}

static void test_close_is_bounded_by_linger(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    set_limits(16384, 50, 300, 30000);
    peers[0].holds = true;
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    assert_int_equal(send_pattern(id, 16000, &sent), SC_OK);
    uint64_t start = now_ms();
    close_socket(id);
    struct sc_message m = expect(id, SC_MSG_SEND_CNF, LONG);
    assert_int_equal(m.result, 1);
    assert_int_equal(m.length, 16000);
    expect_ok(id, SC_MSG_CLOSE_CNF);
    assert_in_range(now_ms() - start, 290, 2000);
    assert_true(sc_destroy(id));
}

static void test_ten_sockets(void **state)
{
    int ids[10];
    int id = 77;
    const char *reason = NULL;
    struct sc_open_args args = { .type = SC_TCP, .host = "127.0.0.1", .port = PORT };

    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    for (int i = 0; i < 10; i++)
        ids[i] = connect_to(&peers[0], PORT);
    assert_int_equal(sc_open(&args, &id, &reason), SC_ERR_NOMEM);
    assert_string_equal(reason, "no free socket");
    assert_int_equal(id, 77);
    close_and_destroy(ids[3]);
    assert_int_equal(connect_to(&peers[0], PORT), ids[3]);
    for (int i = 0; i < 10; i++)
        close_and_destroy(ids[i]);
}

static void test_several_sends_are_confirmed_in_order(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    for (size_t i = 1; i <= 30; i++)
        assert_int_equal(send_pattern(id, i * 17, &sent), SC_OK);
    for (size_t i = 1; i <= 30; i++)
        assert_int_equal(expect_ok(id, SC_MSG_SEND_CNF).length, i * 17);
    assert_int_equal(peer_received(&peers[0]), sent);
    assert_false(peer_now(&peers[0]).is_damaged);
    close_and_destroy(id);
}

static void test_send_buffer_is_full(void **state)
{
    size_t sent = 0;

    LWIP_UNUSED_ARG(state);
    set_limits(4096, 50, 5000, 30000);
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    assert_int_equal(sc_send_space(id), 4096);
    assert_int_equal(send_pattern(id, 5000, &sent), SC_ERR_NOBUFS);
    struct sc_message m = expect_failed(id, SC_MSG_SEND_CNF, SC_ERR_NOBUFS, "full");
    assert_int_equal(m.length, 5000);
    lose(0, PORT);
    assert_int_equal(send_pattern(id, 4096, &sent), SC_OK);
    assert_int_equal(sc_send_space(id), 0);
    assert_int_equal(send_pattern(id, 1, &sent), SC_ERR_NOBUFS);
    lose(0, 0);
    assert_int_equal(expect_ok(id, SC_MSG_SEND_CNF).length, 4096);
    expect_failed(id, SC_MSG_SEND_CNF, SC_ERR_NOBUFS, "full");
    assert_int_equal(sc_send_space(id), 4096);
    assert_int_equal(peer_received(&peers[0]), 4096);
    close_and_destroy(id);
}

/* The heap of a device is smaller than what ten sockets may have under way. */
static void test_send_without_memory(void **state)
{
    LWIP_UNUSED_ARG(state);
#ifdef SC_TEST_HEAP
    skip();
#else
    set_limits(1024 * 1024, 50, 5000, 30000);
    peer_listen(&peers[0], PORT);
    int id = connect_to(&peers[0], PORT);
    char *data = calloc(1, 60000);
    unsigned refused = 0;
    unsigned sends = 0;
    for (; sends < 8; sends++)
        refused += sc_send(id, data, 60000) == SC_ERR_NOMEM;
    free(data);
    assert_in_range(refused, 1, 7);
    for (unsigned i = 0; i < sends; i++)
        assert_int_equal(expect(id, SC_MSG_SEND_CNF, LONG).length, 60000);
    wait_for(peer_received(&peers[0]) == (sends - refused) * 60000);
    close_and_destroy(id);
#endif
}

/* The peer has no memory then either, and its silence is told when the time is up. */
static void test_connections_without_memory(void **state)
{
    LWIP_UNUSED_ARG(state);
#ifndef SC_TEST_HEAP
    skip();
#else
    static const enum sc_type types[] = { SC_TCP, SC_UDP };
    struct sc_message m;

    set_limits(16384, 50, 300, 200);
    peer_listen(&peers[0], PORT);
    close_and_destroy(connect_to(&peers[0], PORT));
    for (int made = 0; made < 24; made++) {
        for (size_t i = 0; i < LWIP_ARRAYSIZE(types); i++) {
            struct sc_open_args args = { .type = types[i], .host = "127.0.0.1", .port = PORT };
            const char *reason;
            int id;
            test_fail_heap(made);
            enum sc_error error = sc_open(&args, &id, &reason);
            if (error == SC_OK) {
                was_closed[id] = false;
                m = expect(id, SC_MSG_CONN_CNF, LONG);
                assert_true(!m.result || m.error == SC_ERR_NOMEM || m.error == SC_ERR_TIMEOUT);
            } else {
                assert_int_equal(error, SC_ERR_NOMEM);
            }
            test_fail_heap(-1);
            if (error == SC_OK)
                close_and_destroy(id);
        }
    }
    end_peers();
    peer_listen(&peers[0], PORT);
    close_and_destroy(connect_to(&peers[0], PORT));
#endif
}

/* Ten busy sockets and a queue with one place: every message arrives all the same. */
static void test_refused_posts_are_offered_again(void **state)
{
    size_t sent[10] = { 0 };
    size_t got[10] = { 0 };
    int ids[10];
    int open = 10;
    struct sc_message m;

    LWIP_UNUSED_ARG(state);
    for (int i = 0; i < 5; i++)
        peer_listen(&peers[i], (uint16_t)(PORT + i));
    clear_queue(1);
    queue_refusals = 0;
    for (int i = 0; i < 5; i++)
        ids[i] = connect_to(&peers[i], (uint16_t)(PORT + i));
    for (int i = 0; i < 5; i++)
        peer_send(&peers[i], 20000);
    open = 5;
    for (int i = 0; i < open; i++)
        for (int n = 0; n < 10; n++)
            assert_int_equal(send_pattern(ids[i], 200, &sent[i]), SC_OK);
    int confirmed = 0;
    for (;;) {
        size_t all = 0;
        for (int i = 0; i < open; i++)
            all += got[i];
        if (confirmed == 10 * open && all == (size_t)open * 20000)
            break;
        if (!next_message(&m, 3000))
            fail_msg("%d sends confirmed, %zu bytes received, and no message any more", confirmed,
                     all);
        assert_int_equal(m.result, 0);
        if (m.id == SC_MSG_SEND_CNF)
            confirmed++;
        else
            read_announced(&m, &got[m.socket]);
    }
    for (int i = 0; i < open; i++)
        close_socket(ids[i]);
    for (int i = 0; i < open; i++) {
        assert_true(next_message(&m, LONG));
        assert_int_equal(m.id, SC_MSG_CLOSE_CNF);
        assert_true(sc_destroy(m.socket));
    }
    assert_in_range(queue_refusals, 1, 1000000);
}

/* The script takes a message the moment that it is offered again, before the engine goes on. */
static void test_queue_that_is_often_full(void **state)
{
    size_t sent[2] = { 0 };
    struct sc_message m;

    LWIP_UNUSED_ARG(state);
    clear_queue(1);
    peer_listen(&peers[0], PORT);
    peer_listen(&peers[1], PORT + 1);
    int ids[2] = { connect_to(&peers[0], PORT), connect_to(&peers[1], PORT + 1) };
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 2; i++)
            for (int n = 0; n < 2; n++)
                assert_int_equal(send_pattern(ids[i], 20, &sent[i]), SC_OK);
        for (int i = 0; i < 4; i++) {
            if (!next_message(&m, 2000))
                fail_msg("round %d: a SEND_CNF never came", round);
            assert_int_equal(m.id, SC_MSG_SEND_CNF);
        }
    }
    close_and_destroy(ids[0]);
    close_and_destroy(ids[1]);
}

static void test_500_connections(void **state)
{
    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    LOCK_TCPIP_CORE();
    peers[0].to_send = 100;
    UNLOCK_TCPIP_CORE();
    for (int i = 0; i < 500; i++) {
        size_t sent = 0;
        size_t got = 0;
        LOCK_TCPIP_CORE();
        struct tcp_pcb *old = peers[0].pcb;
        if (old) {
            forget_pcb(&peers[0]);
            tcp_close(old);
        }
        peers[0].sent = 0;
        peers[0].received = 0;
        peers[0].closes = i % 2;
        UNLOCK_TCPIP_CORE();
        int id = open_socket(SC_TCP, "127.0.0.1", PORT);
        expect_ok(id, SC_MSG_CONN_CNF);
        struct sc_message m = expect_ok(id, SC_MSG_RECV_IND);
        if (i % 3) {
            while (got < 100) {
                read_announced(&m, &got);
                if (got < 100)
                    m = expect_ok(id, SC_MSG_RECV_IND);
            }
        }
        if (i % 5 == 0 && sc_send_space(id))
            send_pattern(id, 50, &sent);
        close_socket(id);
        if (i % 7 == 0) {
            LOCK_TCPIP_CORE();
            peers[0].closes = true;
            peer_push(&peers[0]);
            UNLOCK_TCPIP_CORE();
        }
        do {
            if (!next_message(&m, LONG))
                fail_msg("connection %d: no CLOSE_CNF", i);
        } while (m.id != SC_MSG_CLOSE_CNF);
        assert_true(sc_destroy(id));
        if (i % 16 == 0)
            end_time_wait();
    }
    struct sc_totals totals;
    sc_get_totals(&totals);
    assert_int_equal(totals.sockets, 0);
}

static void test_stop_in_any_state(void **state)
{
    LWIP_UNUSED_ARG(state);
    for (int round = 0; round < 20; round++) {
        size_t sent = 0;
        peer_listen(&peers[0], PORT);
        peer_listen(&peers[1], PORT + 1);
        peer_listen(&peers[4], PORT + 4);
        /* Not one peer for both: of two lwIPs whose windows are closed each answers every ACK of
         * the other (the end of tcp_receive, core/tcp_in.c), for ever. */
        peers[4].holds = true;
        peers[1].to_send = 20000;
        peers[0].to_send = 10;
        open_socket(SC_TCP, "127.0.0.1", PORT + 7); /* about to be refused */
        int unread = open_socket(SC_TCP, "127.0.0.1", PORT + 1);
        int unsent = open_socket(SC_TCP, "127.0.0.1", PORT + 4);
        int fine = open_socket(SC_TCP, "127.0.0.1", PORT);
        int udp = open_socket(SC_UDP, "127.0.0.1", PORT + 2);
        struct sc_message m;
        while (next_message(&m, round)) {
            if (m.id == SC_MSG_CONN_CNF && m.socket == unsent)
                send_pattern(unsent, 16000, &sent);
            if (m.id == SC_MSG_CONN_CNF && m.socket == fine)
                close_socket(fine);
            if (m.id == SC_MSG_CONN_CNF && m.socket == udp)
                sc_send(udp, "x", 1);
        }
        if (round % 2) {
            close_socket(unread);
            close_socket(unsent);
        }
        lose(PORT + 5, 0);
        open_socket(SC_TCP, "127.0.0.1", PORT + 5);
        sleep_ms(round % 4);
        sc_stop();
        lose(0, 0);
        end_peers();
        clear_queue(2);
        memset(was_closed, 0, sizeof(was_closed));
        assert_int_equal(sc_start(NULL), SC_OK);
        peer_listen(&peers[2], PORT + 3);
        int again = connect_to(&peers[2], PORT + 3);
        close_and_destroy(again);
        end_peers();
        end_time_wait();
    }
}

static void test_keepalive_tells_a_dead_peer(void **state)
{
    LWIP_UNUSED_ARG(state);
    peer_listen(&peers[0], PORT);
    int id = open_socket(SC_TCP, "127.0.0.1", PORT);
    assert_int_equal(sc_setopt(id, SC_SOL_SOCKET, SC_SO_KEEPALIVE, 1), SC_OK);
    assert_int_equal(sc_setopt(id, SC_IPPROTO_TCP, SC_TCP_KEEPIDLE, 1), SC_OK);
    assert_int_equal(sc_setopt(id, SC_IPPROTO_TCP, SC_TCP_KEEPINTVL, 1), SC_OK);
    assert_int_equal(sc_setopt(id, SC_IPPROTO_TCP, SC_TCP_KEEPCNT, 2), SC_OK);
    expect_ok(id, SC_MSG_CONN_CNF);
    expect_silence(2500); /* it answers */
    lose(PORT, 0);
    uint64_t start = now_ms();
    expect_failed(id, SC_MSG_CLOSE_IND, SC_ERR_TIMEOUT, "keepalive");
    assert_in_range(now_ms() - start, 1000, 6000);
    close_and_destroy(id);
}

/* ---- datagrams and names ---- */

struct udp_peer {
    struct udp_pcb *pcb;
    unsigned received;
    bool is_held; /* answers later */
    struct pbuf *held;
    ip_addr_t from;
    u16_t port;
};

static void on_echo(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                    u16_t port)
{
    LWIP_UNUSED_ARG(arg);
    udp_sendto(pcb, p, from, port);
    pbuf_free(p);
}

static struct udp_pcb *udp_listen(uint16_t port, udp_recv_fn recv, void *arg)
{
    LOCK_TCPIP_CORE();
    struct udp_pcb *pcb = udp_new();
    assert_non_null(pcb);
    assert_int_equal(udp_bind(pcb, IP4_ADDR_ANY, port), ERR_OK);
    udp_recv(pcb, recv, arg);
    UNLOCK_TCPIP_CORE();
    return pcb;
}

static void udp_end(struct udp_pcb *pcb)
{
    LOCK_TCPIP_CORE();
    udp_remove(pcb);
    UNLOCK_TCPIP_CORE();
}

static void test_datagrams(void **state)
{
    size_t sent = 0;
    size_t got = 0;

    LWIP_UNUSED_ARG(state);
    struct udp_pcb *echo = udp_listen(PORT, on_echo, NULL);
    int id = open_socket(SC_UDP, "127.0.0.1", PORT);
    expect_ok(id, SC_MSG_CONN_CNF);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_pattern(id, 500, &sent), SC_OK);
        struct sc_message m;
        bool has_data = false;
        bool has_cnf = false;
        while (!has_data || !has_cnf) {
            assert_true(next_message(&m, LONG));
            assert_int_equal(m.result, 0);
            assert_int_equal(m.length, 500);
            has_cnf |= m.id == SC_MSG_SEND_CNF;
            has_data |= m.id == SC_MSG_RECV_IND;
        }
        assert_int_equal(read_some(id, 500, &got), 500);
    }
    udp_end(echo);
    close_and_destroy(id);
}

/* Answers a question for an address with 127.0.0.1, at once or when it is released. */
static void answer_name(struct udp_peer *dns)
{
    static const unsigned char answer[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1 };
    u16_t length = dns->held->tot_len;
    struct pbuf *reply = pbuf_alloc(PBUF_TRANSPORT, (u16_t)(length + sizeof(answer)), PBUF_RAM);

    pbuf_copy_partial(dns->held, reply->payload, length, 0);
    memcpy((char *)reply->payload + length, answer, sizeof(answer));
    ((unsigned char *)reply->payload)[2] = 0x81;
    ((unsigned char *)reply->payload)[3] = 0x80;
    ((unsigned char *)reply->payload)[7] = 1;
    udp_sendto(dns->pcb, reply, &dns->from, dns->port);
    pbuf_free(reply);
    pbuf_free(dns->held);
    dns->held = NULL;
}

static void on_question(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                        u16_t port)
{
    struct udp_peer *dns = arg;

    LWIP_UNUSED_ARG(pcb);
    dns->received++;
    if (dns->held)
        pbuf_free(dns->held);
    dns->held = p;
    dns->from = *from;
    dns->port = port;
    if (!dns->is_held)
        answer_name(dns);
}

static void start_dns(struct udp_peer *dns)
{
    dns->pcb = udp_listen(53, on_question, dns);
    LOCK_TCPIP_CORE();
    ip_addr_t address = IPADDR4_INIT_BYTES(127, 0, 0, 1);
    dns_setserver(0, &address);
    UNLOCK_TCPIP_CORE();
}

static unsigned questions(struct udp_peer *dns)
{
    LOCK_TCPIP_CORE();
    unsigned count = dns->received;
    UNLOCK_TCPIP_CORE();
    return count;
}

static void test_names(void **state)
{
    struct udp_peer dns = { 0 };

    LWIP_UNUSED_ARG(state);
    start_dns(&dns);
    peer_listen(&peers[0], PORT);
    int id = open_socket(SC_TCP, "device.example", PORT);
    expect_ok(id, SC_MSG_CONN_CNF);
    udp_end(dns.pcb);
    close_and_destroy(id);
}

/* lwIP tells by ICMP that nothing listens on the server's port. */
static void test_dead_name_server(void **state)
{
    ip_addr_t address = IPADDR4_INIT_BYTES(127, 0, 0, 1);
    struct sc_message m;

    LWIP_UNUSED_ARG(state);
    LOCK_TCPIP_CORE();
    dns_setserver(0, &address);
    UNLOCK_TCPIP_CORE();
    uint64_t start = now_ms();
    open_socket(SC_TCP, "device.example", PORT);
    assert_true(next_message(&m, LONG));
    assert_int_equal(m.id, SC_MSG_CONN_CNF);
    assert_int_equal(m.error, SC_ERR_TIMEOUT);
    assert_string_equal(m.reason,
                        "dns: no DNS server can be reached or knows the name: device.example");
    assert_true(now_ms() - start < 900);
    assert_true(sc_destroy(m.socket));
}

/* An answer for the time before sc_stop must not be taken for that of a socket after it. */
static void test_late_answer_after_restart(void **state)
{
    struct udp_peer dns = { .is_held = true };
    struct udp_peer other = { 0 };

    LWIP_UNUSED_ARG(state);
    start_dns(&dns);
    peer_listen(&peers[0], PORT);
    open_socket(SC_TCP, "one.example", PORT);
    wait_for(questions(&dns) == 1);
    sc_stop();
    clear_queue(2);
    assert_int_equal(sc_start(NULL), SC_OK);
    LOCK_TCPIP_CORE();
    other.held = dns.held;
    other.from = dns.from;
    other.port = dns.port;
    other.pcb = dns.pcb;
    dns.held = NULL;
    UNLOCK_TCPIP_CORE();
    int id = open_socket(SC_TCP, "two.example", PORT);
    wait_for(questions(&dns) == 2);
    LOCK_TCPIP_CORE();
    answer_name(&other);
    UNLOCK_TCPIP_CORE();
    expect_silence(300);
    LOCK_TCPIP_CORE();
    answer_name(&dns);
    UNLOCK_TCPIP_CORE();
    expect_ok(id, SC_MSG_CONN_CNF);
    udp_end(dns.pcb);
    close_and_destroy(id);
}

/* ---- memory that runs out ---- */

static bool can_start(void)
{
    const char *reason = NULL;
    enum sc_error error = sc_start(&reason);

    if (error == SC_OK)
        sc_stop();
    else
        assert_int_equal(error, SC_ERR_NOMEM);
    return error == SC_OK || !strstr(reason, "memory");
}

/* The first test, because the thread stays. */
static void test_start_without_memory(void **state)
{
    LWIP_UNUSED_ARG(state);
    for (int made = 0; made < 3; made++) {
        test_fail_semaphores(made);
        assert_false(can_start());
    }
    test_fail_semaphores(-1);
    test_fail_threads(TEST_THREAD_MISSING);
    assert_false(can_start());
    /* One that runs when nobody waits for it any more does nothing. */
    test_fail_threads(TEST_THREAD_LATE);
    assert_false(can_start());
    test_fail_threads(TEST_THREAD_FINE);
    assert_true(can_start());
    sleep_ms(600);
    assert_true(can_start());
}

/* ---- all of them ---- */

/* lwIP changes a netconn's flags on the tcpip thread (sent_tcp and err_tcp, api/api_msg.c) while
 * the engine looks at others of them (netconn_recv_data, netconn_write, api/api_lib.c), with no
 * lock. Visible, because the sanitizer's library looks for it. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:sent_tcp\nrace:err_tcp\nrace:netconn_recv_data\n";
}

/* A sanitizer ends the program where calloc returns NULL. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void on_tcpip_ready(void *arg)
{
    sys_sem_signal(arg);
}

static int start_lwip(void **state)
{
    sys_sem_t ready;

    LWIP_UNUSED_ARG(state);
    if (sys_sem_new(&ready, 0) != ERR_OK)
        return -1;
    tcpip_init(on_tcpip_ready, &ready);
    sys_arch_sem_wait(&ready, 0);
    sys_sem_free(&ready);
    return 0;
}

/* ---- TLS ---- */

static void test_memory_that_mbedtls_has_not_is_counted(void **state)
{
    size_t before = sc_port_failed_allocations();

    (void)state;
    void *memory = mbedtls_calloc(1, 100);
    assert_non_null(memory);
    mbedtls_free(memory);
    assert_int_equal(sc_port_failed_allocations(), before);
    volatile size_t too_much = SIZE_MAX / 2;
    assert_null(mbedtls_calloc(1, too_much));
    assert_int_equal(sc_port_failed_allocations(), before + 1);
}

/* What mbedTLS leaves behind when a record of a message does not fit behind those before it. */
static void test_a_handshake_message_that_is_too_large_is_told_with_both_sizes(void **state)
{
    static unsigned char buffer[MBEDTLS_SSL_IN_CONTENT_LEN + 400];
    mbedtls_ssl_context ssl;
    char text[200] = "";

    (void)state;
    mbedtls_ssl_init(&ssl);
    ssl.MBEDTLS_PRIVATE(in_buf) = buffer;
    ssl.MBEDTLS_PRIVATE(in_buf_len) = sizeof(buffer);
    ssl.MBEDTLS_PRIVATE(in_hdr) = buffer + 13 + 16000;
    ssl.MBEDTLS_PRIVATE(badmac_seen_or_in_hsfraglen) = 16000;
    ssl.MBEDTLS_PRIVATE(in_hslen) = 70000;
    ssl.MBEDTLS_PRIVATE(in_left) = 5;
    memcpy(ssl.MBEDTLS_PRIVATE(in_hdr), "\x16\x03\x03\x2b\x73", 5);
    int ret = sc_tls_make_room(&ssl, MBEDTLS_ERR_SSL_BAD_INPUT_DATA);
    assert_int_equal(ret, MBEDTLS_ERR_SSL_BAD_INPUT_DATA);
    assert_true(sc_tls_explain_room(text, sizeof(text), &ssl, ret));
    assert_string_equal(text, "tls: a handshake message of 70000 bytes is too large: "
                              "at most 65791 are taken here");
    assert_false(sc_tls_explain_room(text, sizeof(text), &ssl, MBEDTLS_ERR_SSL_INTERNAL_ERROR));
    ssl.MBEDTLS_PRIVATE(in_hdr) = buffer + 8; /* a record that would fit */
    assert_false(sc_tls_explain_room(text, sizeof(text), &ssl, ret));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_test, end_test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_without_memory),
        TEST(test_exchange),
        TEST(test_refused),
        TEST(test_close_after_much_data),
        TEST(test_fin_with_mbox_exactly_full),
        TEST(test_fin_with_mbox_overfull),
        TEST(test_many_short_segments),
        TEST(test_slow_reader),
        TEST(test_reset_after_data),
        TEST(test_close_while_connecting),
        TEST(test_connect_time_out),
        TEST(test_close_races_with_connect),
        TEST(test_graceful_close_with_unread_input),
        TEST(test_close_with_peer_that_stays_open),
        TEST(test_send_and_close_after_half_close),
        TEST(test_close_is_bounded_by_linger),
        TEST(test_ten_sockets),
        TEST(test_several_sends_are_confirmed_in_order),
        TEST(test_send_buffer_is_full),
        TEST(test_send_without_memory),
        TEST(test_connections_without_memory),
        TEST(test_refused_posts_are_offered_again),
        TEST(test_queue_that_is_often_full),
        TEST(test_500_connections),
        TEST(test_stop_in_any_state),
        TEST(test_keepalive_tells_a_dead_peer),
        TEST(test_datagrams),
        TEST(test_names),
        TEST(test_dead_name_server),
        TEST(test_late_answer_after_restart),
        TEST(test_memory_that_mbedtls_has_not_is_counted),
        TEST(test_a_handshake_message_that_is_too_large_is_told_with_both_sizes),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, start_lwip, NULL);
}
