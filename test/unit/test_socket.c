/*
 * The socket's state table, row by row, against a fake transport, a fake lookup and a fake clock:
 * every transition, its action and its messages. No network, no thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lwip_hooks.h"
#include "socket.h"
#include "socketcore.h"
#include "socketcore_port.h"
#include "transport.h"

#include "lwip/pbuf.h"
#include "lwip/sys.h"

/* ---- stand-ins for the platform ---- */

#define QUEUE_MAX 16

static uint32_t clock_now;
static int queue[QUEUE_MAX];
static size_t queue_count;
static size_t queue_room;
static long blocks_in_use;

u32_t sys_now(void)
{
    return clock_now;
}

void sc_core_lock(void)
{
}

void sc_core_unlock(void)
{
}

void sc_core_assert_locked(void)
{
}

void *sc_lwip_malloc(size_t size)
{
    blocks_in_use++;
    return malloc(size);
}

void *sc_lwip_calloc(size_t count, size_t size)
{
    blocks_in_use++;
    return calloc(count, size);
}

void sc_lwip_free(void *memory)
{
    if (memory)
        blocks_in_use--;
    free(memory);
}

void sc_lwip_abort(const char *message, const char *file, int line)
{
    print_error("%s:%d: %s\n", file, line, message);
    abort();
}

unsigned int sc_random(void)
{
    return 4;
}

struct netif *sc_route_ip4(const ip4_addr_t *destination)
{
    (void)destination;
    return NULL;
}

const ip6_addr_t *sc_gateway_ip6(struct netif *netif, const ip6_addr_t *destination)
{
    (void)netif;
    return destination;
}

bool sc_port_post(int socket)
{
    if (queue_count >= queue_room)
        return false;
    queue[queue_count++] = socket;
    return true;
}

static bool is_woken;

void sc_port_wake(void)
{
    is_woken = true;
}

enum sc_error sc_port_start(const char **reason)
{
    (void)reason;
    return SC_OK;
}

void sc_port_halt(void)
{
}

void sc_port_stop(void)
{
}

void sc_port_log(enum sc_log_level level, const char *text)
{
    (void)level;
    assert_non_null(text);
}

/* ---- a fake lookup ---- */

static struct {
    int addresses;         /* so many are still to be had */
    bool is_waiting;       /* the lookup takes its time */
    enum sc_error failure; /* when there is none */
} lookup;

void sc_resolve_start(struct sc_resolve *resolve, const char *host, struct sc_task *owner)
{
    memset(resolve, 0, sizeof(*resolve));
    resolve->host = host;
    resolve->owner = owner;
}

enum sc_error sc_resolve_next(struct sc_resolve *resolve, ip_addr_t *address)
{
    if (lookup.is_waiting)
        return SC_ERR_WOULDBLOCK;
    if (!lookup.addresses) {
        resolve->reason = "dns: name not found";
        return lookup.failure;
    }
    lookup.addresses--;
    resolve->next++;
    IP_ADDR4(address, 127, 0, 0, resolve->next);
    return SC_OK;
}

void sc_resolve_end(struct sc_resolve *resolve)
{
    (void)resolve;
}

void sc_resolve_stop(void)
{
}

/* ---- a fake transport: one channel at a time ---- */

static struct {
    struct sc_channel channel;
    int opened;
    int aborted;
    int released;
    bool is_open;
    enum sc_error open_result;
    enum sc_error connect_result;
    enum sc_error connect_results[3]; /* of the first channels, where they are set */
    const char *waiting_for;
    enum sc_error check_result;
    enum sc_error shutdown_result;
    enum sc_error write_result;
    size_t write_room;
    size_t written;
    size_t acked;
    size_t consumed;
    struct pbuf *input[8];
    size_t input_count;
    enum sc_error input_end; /* what `read` says once the input is empty */
    struct sc_options options;
    void (*on_reached)(void); /* once, as another thread would act just then */
} fake;

static enum sc_error fake_open(const struct sc_channel_args *args, struct sc_channel **out,
                               const char **reason)
{
    if (fake.open_result != SC_OK) {
        *reason = "connect: no route";
        return fake.open_result;
    }
    fake.opened++;
    fake.is_open = true;
    fake.channel.owner = args->owner;
    fake.channel.reason = "fake failure";
    fake.options = *args->options;
    *out = &fake.channel;
    return SC_OK;
}

static enum sc_error fake_connect(struct sc_channel *channel)
{
    channel->reason = "connect: refused";
    if (fake.opened <= 3 && fake.connect_results[fake.opened - 1] != SC_OK)
        return fake.connect_results[fake.opened - 1];
    return fake.connect_result;
}

static const char *fake_waiting_for(struct sc_channel *channel)
{
    (void)channel;
    return fake.waiting_for;
}

static enum sc_error fake_write(struct sc_channel *channel, const void *data, size_t length,
                                size_t *taken)
{
    (void)data;
    if (fake.write_result != SC_OK) {
        channel->reason = "reset by the peer";
        return fake.write_result;
    }
    if (!fake.write_room)
        return SC_ERR_WOULDBLOCK;
    *taken = length < fake.write_room ? length : fake.write_room;
    fake.write_room -= *taken;
    fake.written += *taken;
    return SC_OK;
}

static uint32_t fake_mark(struct sc_channel *channel)
{
    (void)channel;
    return (uint32_t)fake.written;
}

static bool fake_reached(struct sc_channel *channel, uint32_t mark)
{
    void (*act)(void) = fake.on_reached;

    (void)channel;
    fake.on_reached = NULL;
    if (act)
        act();
    return fake.acked >= mark;
}

static enum sc_error fake_read(struct sc_channel *channel, struct pbuf **out)
{
    if (fake.input_count) {
        *out = fake.input[0];
        memmove(fake.input, fake.input + 1, --fake.input_count * sizeof(fake.input[0]));
        return SC_OK;
    }
    channel->reason = fake.input_end == SC_ERR_CLSD ? "closed by the peer" : "reset by the peer";
    return fake.input_end;
}

static void fake_consumed(struct sc_channel *channel, size_t length)
{
    (void)channel;
    fake.consumed += length;
}

static enum sc_error fake_check(struct sc_channel *channel)
{
    channel->reason = "reset by the peer";
    return fake.check_result;
}

static enum sc_error fake_shutdown(struct sc_channel *channel)
{
    (void)channel;
    return fake.shutdown_result;
}

static void fake_release(struct sc_channel *channel)
{
    (void)channel;
    fake.released++;
    fake.is_open = false;
}

static void fake_abort(struct sc_channel *channel)
{
    (void)channel;
    fake.aborted++;
    fake.is_open = false;
}

static void fake_set_options(struct sc_channel *channel, const struct sc_options *options)
{
    (void)channel;
    fake.options = *options;
}

static void fake_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                           struct sc_endpoint *remote)
{
    (void)channel;
    memset(local, 0, sizeof(*local));
    memset(remote, 0, sizeof(*remote));
}

#define FAKE_OPS                                                                                   \
    .open = fake_open, .connect = fake_connect, .write = fake_write, .mark = fake_mark,            \
    .reached = fake_reached, .read = fake_read, .consumed = fake_consumed, .check = fake_check,    \
    .shutdown = fake_shutdown, .release = fake_release, .abort = fake_abort,                       \
    .set_options = fake_set_options, .endpoints = fake_endpoints, .waiting_for = fake_waiting_for

const struct sc_transport sc_tcp = { FAKE_OPS };
const struct sc_transport sc_udp = { FAKE_OPS, .is_datagram = true };
const struct sc_transport sc_raw = { FAKE_OPS, .is_datagram = true };

size_t sc_tcp_lingering(void)
{
    return 0;
}

void sc_tcp_abort_lingering(void)
{
}

/* ---- steps ---- */

static int id;

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    memset(&lookup, 0, sizeof(lookup));
    fake.connect_result = SC_ERR_WOULDBLOCK;
    fake.shutdown_result = SC_ERR_WOULDBLOCK;
    fake.input_end = SC_ERR_WOULDBLOCK;
    fake.write_room = SIZE_MAX;
    lookup.addresses = 1;
    lookup.failure = SC_ERR_INVAL;
    queue_count = 0;
    queue_room = QUEUE_MAX;
    clock_now = 0xfffffff0; /* the clock wraps within every test */
    blocks_in_use = 0;
    return sc_start(NULL) == SC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    sc_stop();
    assert_int_equal(blocks_in_use, 0);
    assert_false(fake.is_open);
    return 0;
}

static void run(void)
{
    is_woken = false;
    uint32_t wait = sc_engine_run();
    /* Nothing is left lying without a word. */
    assert_true(wait == 0 || is_woken || !sc_engine_ready());
}

static void pass(uint32_t ms)
{
    clock_now += ms;
    run();
}

static int open_type(enum sc_type type)
{
    struct sc_open_args args = { .type = type, .host = "host.test", .port = 80 };
    const char *reason = NULL;
    int new_id = -1;

    assert_int_equal(sc_open(&args, &new_id, &reason), SC_OK);
    run();
    return new_id;
}

static void net(void)
{
    sc_task_wake(fake.channel.owner, SC_WAKE_NET);
    run();
}

/* The next message that is delivered, or false when the queue is empty. */
static bool take(struct sc_message *m)
{
    while (queue_count) {
        int socket = queue[0];
        memmove(queue, queue + 1, --queue_count * sizeof(queue[0]));
        if (sc_next_message(socket, m))
            return true;
    }
    return false;
}

static struct sc_message expect_message(enum sc_message_id message_id, int result)
{
    struct sc_message m;

    assert_true(take(&m));
    assert_int_equal(m.id, message_id);
    assert_int_equal(m.socket, id);
    assert_int_equal(m.result, result);
    return m;
}

static void expect_silence(void)
{
    struct sc_message m;

    run();
    assert_false(take(&m));
}

static void connect_type(enum sc_type type)
{
    fake.connect_result = SC_OK;
    id = open_type(type);
    expect_message(SC_MSG_CONN_CNF, 0);
}

static void receive(const char *text)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)strlen(text), PBUF_RAM);

    pbuf_take(p, text, (u16_t)strlen(text));
    fake.input[fake.input_count++] = p;
    net();
}

static void expect_read(const char *text)
{
    char got[256];
    size_t length = 0;
    const void *data;
    size_t piece;

    while ((piece = sc_peek(id, length, &data))) {
        memcpy(got + length, data, piece);
        length += piece;
    }
    assert_int_equal(length, strlen(text));
    assert_memory_equal(got, text, length);
    sc_consume(id, length);
    run();
}

static enum sc_state state_of(int socket)
{
    struct sc_info info;

    return sc_get_info(socket, &info) ? info.state : SC_STATE_FREE;
}

static void close_and_destroy(void)
{
    fake.shutdown_result = SC_OK;
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_true(sc_destroy(id));
    expect_silence();
}

/* ---- RESOLVING and CONNECTING ---- */

static void a_socket_that_connects_is_confirmed_once(void **state)
{
    (void)state;
    lookup.is_waiting = true;
    id = open_type(SC_TCP);
    assert_int_equal(state_of(id), SC_STATE_RESOLVING);
    lookup.is_waiting = false;
    sc_task_wake(&sc_socket_at(id)->task, SC_WAKE_DNS);
    run();
    assert_int_equal(state_of(id), SC_STATE_CONNECTING);
    expect_silence();
    fake.connect_result = SC_OK;
    net();
    assert_int_equal(state_of(id), SC_STATE_CONNECTED);
    expect_message(SC_MSG_CONN_CNF, 0);
    expect_silence();
    close_and_destroy();
}

static void a_name_without_address_fails_with_the_lookups_reason(void **state)
{
    struct sc_message m;

    (void)state;
    lookup.addresses = 0;
    id = open_type(SC_TCP);
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_INVAL);
    assert_string_equal(m.reason, "dns: name not found: host.test");
    assert_int_equal(state_of(id), SC_STATE_CLOSED);
    assert_true(sc_destroy(id));
    expect_silence();
}

static void every_address_is_tried_before_connecting_fails(void **state)
{
    struct sc_message m;

    (void)state;
    lookup.addresses = 3;
    fake.connect_result = SC_ERR_RST;
    id = open_type(SC_TCP);
    assert_int_equal(fake.opened, 3);
    assert_int_equal(fake.aborted, 3);
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_RST);
    assert_string_equal(m.reason, "connect: refused (127.0.0.1 port 80), 3 addresses tried");
    assert_true(sc_destroy(id));
}

static void of_several_failures_the_one_that_matters_most_is_told(void **state)
{
    static const struct {
        enum sc_error failures[3];
        enum sc_error told;
        const char *reason;
    } cases[] = {
        { { SC_ERR_RST, SC_ERR_TIMEOUT, SC_ERR_TIMEOUT }, SC_ERR_RST, "127.0.0.1" },
        { { SC_ERR_TIMEOUT, SC_ERR_RST, SC_ERR_RTE }, SC_ERR_RST, "127.0.0.2" },
        { { SC_ERR_RTE, SC_ERR_TIMEOUT, SC_ERR_RTE }, SC_ERR_TIMEOUT, "127.0.0.2" },
        { { SC_ERR_RTE, SC_ERR_RST, SC_ERR_ADDRINUSE }, SC_ERR_ADDRINUSE, "127.0.0.3" },
        { { SC_ERR_NOMEM, SC_ERR_RST, SC_ERR_TIMEOUT }, SC_ERR_NOMEM, "127.0.0.1" },
        { { SC_ERR_RST, SC_ERR_NOMEM, SC_ERR_RST }, SC_ERR_NOMEM, "127.0.0.2" },
        { { SC_ERR_RST, SC_ERR_TIMEOUT, SC_ERR_SSL_HANDSHAKE }, SC_ERR_SSL_HANDSHAKE, "127.0.0.3" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake.opened = 0;
        memcpy(fake.connect_results, cases[i].failures, sizeof(fake.connect_results));
        lookup.addresses = 3;
        id = open_type(SC_TCP);
        struct sc_message m = expect_message(SC_MSG_CONN_CNF, 1);
        assert_int_equal(m.error, cases[i].told);
        assert_non_null(strstr(m.reason, cases[i].reason));
        assert_non_null(strstr(m.reason, ", 3 addresses tried"));
        assert_true(sc_destroy(id));
    }
}

static void a_failure_within_tls_matters_more_than_a_refusal(void **state)
{
    struct sc_message m;

    (void)state;
    lookup.addresses = 2;
    fake.connect_results[1] = SC_ERR_RST;
    id = open_type(SC_TCP);
    fake.waiting_for = "tls: handshake not finished";
    fake.connect_results[0] = SC_ERR_TIMEOUT;
    net();
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_TIMEOUT);
    assert_non_null(strstr(m.reason, "(127.0.0.1 port 80), 2 addresses tried"));
    assert_true(sc_destroy(id));
}

static void a_refusal_matters_more_than_the_silence_that_ends_it(void **state)
{
    struct sc_message m;

    (void)state;
    lookup.addresses = 2;
    fake.connect_results[0] = SC_ERR_RST;
    id = open_type(SC_TCP);
    pass(30000);
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_RST);
    assert_string_equal(m.reason, "connect: refused (127.0.0.1 port 80), 2 addresses tried");
    assert_true(sc_destroy(id));
}

static void a_reason_is_one_line(void **state)
{
    const char *reason;
    int broken;
    struct sc_open_args args = { .type = SC_TCP, .host = "a\nb\033", .port = 80 };

    (void)state;
    lookup.addresses = 0;
    assert_int_equal(sc_open(&args, &broken, &reason), SC_OK);
    run();
    id = broken;
    assert_string_equal(expect_message(SC_MSG_CONN_CNF, 1).reason, "dns: name not found: a?b?");
    assert_true(sc_destroy(id));
}

static void an_address_that_cannot_be_opened_leads_to_the_next(void **state)
{
    (void)state;
    lookup.addresses = 2;
    fake.open_result = SC_ERR_RTE;
    id = open_type(SC_TCP);
    assert_int_equal(lookup.addresses, 0);
    assert_int_equal(expect_message(SC_MSG_CONN_CNF, 1).error, SC_ERR_RTE);
    assert_true(sc_destroy(id));
}

static void the_deadline_ends_a_lookup(void **state)
{
    struct sc_message m;

    (void)state;
    lookup.is_waiting = true;
    id = open_type(SC_TCP);
    pass(29999);
    expect_silence();
    pass(1);
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_TIMEOUT);
    assert_string_equal(m.reason, "dns: no answer for host.test within 30000 ms");
    assert_true(sc_destroy(id));
}

static void the_deadline_ends_a_connect(void **state)
{
    struct sc_message m;

    (void)state;
    id = open_type(SC_TCP);
    pass(30000);
    m = expect_message(SC_MSG_CONN_CNF, 1);
    assert_int_equal(m.error, SC_ERR_TIMEOUT);
    assert_string_equal(m.reason, "connect: no answer from 127.0.0.1 within 30000 ms");
    assert_int_equal(fake.aborted, 1);
    assert_true(sc_destroy(id));
}

static void an_address_without_answer_gets_half_of_the_time_when_there_are_others(void **state)
{
    (void)state;
    lookup.addresses = 2;
    id = open_type(SC_TCP);
    pass(14999);
    assert_int_equal(fake.opened, 1);
    pass(1);
    assert_int_equal(fake.opened, 2);
    assert_int_equal(fake.aborted, 1);
    /* The last one has all that is left. */
    pass(14999);
    assert_int_equal(fake.opened, 2);
    expect_silence();
    fake.connect_result = SC_OK;
    net();
    expect_message(SC_MSG_CONN_CNF, 0);
    close_and_destroy();
}

static void an_only_address_has_all_the_time(void **state)
{
    (void)state;
    id = open_type(SC_TCP);
    pass(15000);
    pass(14999);
    assert_int_equal(fake.aborted, 0);
    expect_silence();
    pass(1);
    assert_int_equal(expect_message(SC_MSG_CONN_CNF, 1).error, SC_ERR_TIMEOUT);
    assert_true(sc_destroy(id));
}

static void a_close_while_resolving_has_no_conn_cnf(void **state)
{
    (void)state;
    lookup.is_waiting = true;
    id = open_type(SC_TCP);
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_silence();
    assert_true(sc_destroy(id));
}

static void a_close_while_connecting_aborts(void **state)
{
    (void)state;
    id = open_type(SC_TCP);
    assert_true(sc_close(id));
    run();
    assert_int_equal(fake.aborted, 1);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_silence();
    assert_true(sc_destroy(id));
}

/* ---- CONNECTED ---- */

static void data_is_announced_once_until_it_is_read(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    receive("one");
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 3);
    receive("two");
    expect_silence();
    sc_consume(id, 2);
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 4);
    expect_read("etwo");
    expect_silence();
    close_and_destroy();
}

static void connect_with_buffer(size_t recv_buffer)
{
    struct sc_config config = *sc_get_config();

    config.recv_buffer = recv_buffer;
    assert_null(sc_set_config(&config));
    connect_type(SC_TCP);
}

static void receive_bytes(size_t length)
{
    char text[1100];

    memset(text, 'x', length);
    text[length] = '\0';
    receive(text);
}

/* Waking the engine for every short piece would cost more than reading it. */
static void the_channel_hears_of_what_was_read_in_portions(void **state)
{
    (void)state;
    connect_with_buffer(8000);
    receive_bytes(1050);
    for (int i = 0; i < 9; i++) {
        sc_consume(id, 100);
        run();
        assert_int_equal(fake.consumed, 0);
    }
    sc_consume(id, 100);
    run();
    assert_int_equal(fake.consumed, 1000);
    sc_consume(id, 50);
    run();
    assert_int_equal(fake.consumed, 1000);
    receive("x"); /* the engine runs anyway */
    assert_int_equal(fake.consumed, 1050);
    close_and_destroy();
}

static void the_channel_hears_at_once_when_the_buffer_was_full(void **state)
{
    (void)state;
    connect_with_buffer(1024);
    receive_bytes(1024);
    receive_bytes(10);
    assert_int_equal(fake.input_count, 1);
    sc_consume(id, 1);
    run();
    assert_int_equal(fake.consumed, 1);
    assert_int_equal(fake.input_count, 0);
    close_and_destroy();
}

static void an_announcement_has_the_length_of_when_it_is_delivered(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    receive("one");
    receive("two");
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 6);
    expect_read("onetwo");
    receive("three");
    expect_read("three"); /* before the announcement was taken: it is void then */
    expect_silence();
    close_and_destroy();
}

static void a_datagram_is_announced_alone_and_its_rest_dropped(void **state)
{
    (void)state;
    connect_type(SC_UDP);
    fake.input_end = SC_ERR_WOULDBLOCK;
    receive("first");
    receive("");
    receive("third");
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 5);
    sc_consume(id, 2);
    run();
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 0);
    sc_consume(id, 0);
    run();
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 5);
    expect_read("third");
    expect_silence();
    close_and_destroy();
}

static void sends_are_confirmed_in_order_when_acknowledged(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.write_room = 5;
    assert_int_equal(sc_send(id, "abc", 3), SC_OK);
    assert_int_equal(sc_send(id, "defg", 4), SC_OK);
    assert_int_equal(sc_send(id, "", 0), SC_OK);
    expect_silence();
    assert_int_equal(fake.written, 5);
    fake.acked = 2;
    net();
    expect_silence();
    fake.acked = 5;
    fake.write_room = SIZE_MAX;
    net();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 3);
    expect_silence();
    fake.acked = 7;
    net();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 4);
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 0);
    expect_silence();
    close_and_destroy();
}

static void send_second(void)
{
    assert_int_equal(sc_send(id, "second", 6), SC_OK);
}

/* A block that was not written yet has no mark, and 0 may look like one that is acknowledged. */
static void a_send_that_comes_while_others_are_confirmed_is_written(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.write_room = SIZE_MAX;
    fake.acked = 5;
    fake.on_reached = send_second;
    assert_int_equal(sc_send(id, "first", 5), SC_OK);
    run();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 5);
    expect_silence();
    assert_int_equal(fake.written, 11);
    fake.acked = 11;
    net();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 6);
    close_and_destroy();
}

static void a_refused_send_is_confirmed_as_failed_in_its_turn(void **state)
{
    struct sc_config config = *sc_get_config();
    struct sc_message m;

    (void)state;
    config.send_buffer = 8;
    assert_null(sc_set_config(&config));
    connect_type(SC_TCP);
    assert_int_equal(sc_send_space(id), 8);
    assert_int_equal(sc_send(id, "12345678", 8), SC_OK);
    assert_int_equal(sc_send(id, "9", 1), SC_ERR_NOBUFS);
    assert_int_equal(sc_send(id, "9", 1), SC_ERR_NOBUFS);
    assert_int_equal(sc_send(id, "10", 2), SC_ERR_NOBUFS);
    expect_silence();
    fake.acked = 8;
    net();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 8);
    for (int i = 0; i < 2; i++) {
        m = expect_message(SC_MSG_SEND_CNF, 1);
        assert_int_equal(m.error, SC_ERR_NOBUFS);
        assert_int_equal(m.length, 1);
        assert_non_null(m.reason);
    }
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 1).length, 2);
    assert_int_equal(sc_send_space(id), 8);
    close_and_destroy();
}

static void a_datagram_too_large_is_refused(void **state)
{
    static char data[65508];

    (void)state;
    connect_type(SC_UDP);
    fake.acked = SIZE_MAX;
    assert_int_equal(sc_send(id, data, 65508), SC_ERR_ARG);
    run();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 1).error, SC_ERR_ARG);
    assert_int_equal(sc_send(id, data, 65507), SC_OK);
    run();
    assert_int_equal(expect_message(SC_MSG_SEND_CNF, 0).length, 65507);
    close_and_destroy();
}

static void a_send_that_is_not_connected_has_no_message(void **state)
{
    (void)state;
    fake.connect_result = SC_OK;
    id = open_type(SC_TCP);
    assert_int_equal(sc_send(id, "x", 1), SC_ERR_NOTCONN); /* the script does not know yet */
    expect_message(SC_MSG_CONN_CNF, 0);
    expect_silence();
    assert_int_equal(sc_send(id + 1, "x", 1), SC_ERR_NOTCONN);
    close_and_destroy();
    assert_int_equal(sc_send(id, "x", 1), SC_ERR_NOTCONN);
}

static void the_peers_close_is_told_after_all_data_and_the_grace_time(void **state)
{
    struct sc_message m;

    (void)state;
    connect_type(SC_TCP);
    fake.input_end = SC_ERR_CLSD;
    receive("last");
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 4);
    pass(10000);
    expect_silence(); /* not read yet */
    expect_read("last");
    pass(499);
    expect_silence();
    pass(1);
    m = expect_message(SC_MSG_CLOSE_IND, 0);
    assert_int_equal(m.error, SC_ERR_CLSD);
    assert_string_equal(m.reason, "closed by the peer");
    assert_int_equal(state_of(id), SC_STATE_LOST);
    assert_int_equal(sc_send(id, "x", 1), SC_ERR_NOTCONN);
    expect_silence();
    close_and_destroy();
}

static void the_peers_close_is_told_at_once_when_nothing_was_read(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.input_end = SC_ERR_CLSD;
    net();
    expect_message(SC_MSG_CLOSE_IND, 0);
    close_and_destroy();
}

static void a_broken_connection_fails_the_sends_before_close_ind(void **state)
{
    struct sc_message m;

    (void)state;
    connect_type(SC_TCP);
    assert_int_equal(sc_send(id, "abc", 3), SC_OK);
    assert_int_equal(sc_send(id, "de", 2), SC_OK);
    run();
    fake.input_end = SC_ERR_RST;
    fake.check_result = SC_ERR_RST;
    receive("before");
    m = expect_message(SC_MSG_SEND_CNF, 1);
    assert_int_equal(m.error, SC_ERR_RST);
    assert_string_equal(m.reason, "reset by the peer");
    assert_int_equal(expect_message(SC_MSG_RECV_IND, 0).length, 6);
    expect_message(SC_MSG_SEND_CNF, 1);
    expect_silence();
    expect_read("before");
    pass(500);
    assert_int_equal(expect_message(SC_MSG_CLOSE_IND, 1).error, SC_ERR_RST);
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_int_equal(fake.aborted, 1);
    assert_int_equal(fake.released, 0);
    assert_true(sc_destroy(id));
}

static void a_send_before_close_ind_is_delivered_still_gets_its_answer(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.input_end = SC_ERR_RST;
    fake.check_result = SC_ERR_RST;
    net();
    assert_int_equal(sc_send(id, "late", 4), SC_OK);
    run();
    expect_message(SC_MSG_SEND_CNF, 1);
    expect_message(SC_MSG_CLOSE_IND, 1);
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_true(sc_destroy(id));
}

static void options_reach_the_channel_before_and_after_connecting(void **state)
{
    (void)state;
    id = open_type(SC_TCP);
    assert_int_equal(sc_setopt(id, SC_SOL_SOCKET, SC_SO_KEEPALIVE, 1), SC_OK);
    run();
    assert_true(fake.options.keepalive);
    fake.connect_result = SC_OK;
    net();
    expect_message(SC_MSG_CONN_CNF, 0);
    assert_int_equal(sc_setopt(id, SC_IPPROTO_TCP, SC_TCP_KEEPINTVL, 7), SC_OK);
    run();
    assert_int_equal(fake.options.keep_interval, 7);
    assert_false(fake.options.reuse_address);
    assert_int_equal(sc_setopt(id, SC_SOL_SOCKET, SC_TCP_KEEPIDLE, 7), SC_ERR_INVAL);
    assert_int_equal(sc_setopt(id, SC_IPPROTO_TCP, SC_TCP_KEEPCNT, 0), SC_ERR_INVAL);
    close_and_destroy();
}

/* ---- CLOSING and CLOSED ---- */

static void a_close_delivers_what_was_accepted_first(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.write_room = 1;
    assert_int_equal(sc_send(id, "abc", 3), SC_OK);
    fake.shutdown_result = SC_OK;
    assert_true(sc_close(id));
    run();
    assert_int_equal(state_of(id), SC_STATE_CLOSING);
    expect_silence();
    fake.write_room = SIZE_MAX;
    fake.acked = 3;
    net();
    assert_int_equal(fake.written, 3);
    expect_message(SC_MSG_SEND_CNF, 0);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_int_equal(fake.released, 1);
    assert_int_equal(fake.aborted, 0);
    assert_true(sc_destroy(id));
}

static void a_close_waits_until_the_end_is_on_its_way(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    assert_true(sc_close(id));
    run();
    expect_silence();
    assert_false(sc_destroy(id));
    fake.shutdown_result = SC_OK;
    net();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_true(sc_destroy(id));
}

static void the_linger_time_bounds_a_close(void **state)
{
    struct sc_message m;

    (void)state;
    connect_type(SC_TCP);
    assert_int_equal(sc_send(id, "abc", 3), SC_OK);
    run();
    assert_true(sc_close(id));
    run();
    pass(4999);
    expect_silence();
    pass(1);
    m = expect_message(SC_MSG_SEND_CNF, 1);
    assert_int_equal(m.error, SC_ERR_ABORT);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_int_equal(fake.aborted, 1);
    assert_true(sc_destroy(id));
}

static void unread_input_is_thrown_away_and_accounted_for(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    receive("unread");
    assert_true(sc_close(id));
    run();
    receive("more");
    assert_int_equal(fake.consumed, 10);
    expect_silence();
    assert_int_equal(sc_available(id), 0);
    fake.shutdown_result = SC_OK;
    net();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_true(sc_destroy(id));
}

static void every_close_has_its_close_cnf(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.shutdown_result = SC_OK;
    assert_true(sc_close(id));
    assert_true(sc_close(id));
    run();
    assert_true(sc_close(id));
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_silence();
    assert_true(sc_destroy(id));
    assert_false(sc_destroy(id));
    assert_true(sc_close(id));
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_silence();
}

static void a_never_used_id_has_its_close_cnf_and_an_impossible_one_none(void **state)
{
    (void)state;
    id = (int)sc_get_config()->max_sockets - 1;
    assert_true(sc_close(id));
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_false(sc_destroy(id));
    assert_false(sc_close(id + 1));
    assert_false(sc_close(-1));
    expect_silence();
}

static void an_id_that_owes_a_close_cnf_is_not_given_out(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.shutdown_result = SC_OK;
    assert_true(sc_close(id));
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    assert_true(sc_destroy(id));
    fake.connect_result = SC_ERR_WOULDBLOCK;
    lookup.addresses = 1;
    assert_int_not_equal(open_type(SC_TCP), id);
    expect_message(SC_MSG_CLOSE_CNF, 0);
    lookup.addresses = 1;
    assert_int_equal(open_type(SC_TCP), id);
}

static void a_close_takes_back_what_was_not_delivered(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    fake.input_end = SC_ERR_CLSD;
    receive("data");
    fake.shutdown_result = SC_OK;
    assert_true(sc_close(id));
    run();
    expect_message(SC_MSG_CLOSE_CNF, 0);
    expect_silence();
    assert_true(sc_destroy(id));
}

static void a_destroyed_id_has_no_message_of_its_old_life(void **state)
{
    (void)state;
    lookup.addresses = 0;
    id = open_type(SC_TCP);
    assert_false(sc_destroy(id)); /* CONN_CNF was not delivered */
    expect_message(SC_MSG_CONN_CNF, 1);
    assert_true(sc_close(id));
    assert_true(sc_destroy(id));
    lookup.addresses = 1;
    fake.connect_result = SC_OK;
    expect_message(SC_MSG_CLOSE_CNF, 0); /* the call's, not the socket's */
    assert_int_equal(open_type(SC_TCP), id);
    expect_message(SC_MSG_CONN_CNF, 0);
    expect_silence();
    close_and_destroy();
}

/* ---- limits and the platform's queue ---- */

static void the_last_socket_is_the_limit(void **state)
{
    struct sc_open_args args = { .type = SC_TCP, .host = "h", .port = 1 };
    const char *reason = NULL;

    (void)state;
    lookup.is_waiting = true;
    for (size_t i = 0; i < sc_get_config()->max_sockets; i++)
        assert_int_equal(sc_open(&args, &id, &reason), SC_OK);
    assert_int_equal(sc_open(&args, &id, &reason), SC_ERR_NOMEM);
    assert_string_equal(reason, "no free socket");
    run();
}

static void a_refused_post_is_offered_again(void **state)
{
    (void)state;
    queue_room = 0;
    fake.connect_result = SC_OK;
    id = open_type(SC_TCP);
    assert_int_equal(queue_count, 0);
    assert_int_not_equal(sc_engine_run(), SC_FOREVER);
    queue_room = QUEUE_MAX;
    pass(20);
    expect_message(SC_MSG_CONN_CNF, 0);
    close_and_destroy();
}

static void a_refused_post_is_offered_when_a_message_was_taken(void **state)
{
    struct sc_message m;

    (void)state;
    connect_type(SC_TCP);
    int first = id;
    queue_room = 1;
    receive("x");
    open_type(SC_TCP);
    queue_room = QUEUE_MAX;
    assert_int_equal(queue_count, 1);
    assert_true(take(&m));
    assert_int_equal(m.socket, first);
    run();
    assert_true(take(&m));
    assert_int_equal(m.id, SC_MSG_CONN_CNF);
}

static void a_socket_stands_in_the_queue_once(void **state)
{
    (void)state;
    connect_type(SC_TCP);
    receive("x");
    assert_int_equal(sc_send(id, "y", 1), SC_OK);
    fake.acked = 1;
    net();
    receive("z");
    assert_int_equal(queue_count, 1);
    expect_message(SC_MSG_SEND_CNF, 0);
    close_and_destroy();
}

static void stopping_frees_sockets_in_every_state(void **state)
{
    (void)state;
    lookup.is_waiting = true;
    open_type(SC_TCP);
    lookup.is_waiting = false;
    connect_type(SC_TCP);
    receive("unread");
    assert_int_equal(sc_send(id, "unsent", 6), SC_OK);
    fake.connect_result = SC_ERR_RST;
    fake.write_room = 0;
    run();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_socket_that_connects_is_confirmed_once),
        TEST(a_name_without_address_fails_with_the_lookups_reason),
        TEST(every_address_is_tried_before_connecting_fails),
        TEST(of_several_failures_the_one_that_matters_most_is_told),
        TEST(a_failure_within_tls_matters_more_than_a_refusal),
        TEST(a_refusal_matters_more_than_the_silence_that_ends_it),
        TEST(a_reason_is_one_line),
        TEST(an_address_that_cannot_be_opened_leads_to_the_next),
        TEST(the_deadline_ends_a_lookup),
        TEST(the_deadline_ends_a_connect),
        TEST(an_address_without_answer_gets_half_of_the_time_when_there_are_others),
        TEST(an_only_address_has_all_the_time),
        TEST(a_close_while_resolving_has_no_conn_cnf),
        TEST(a_close_while_connecting_aborts),
        TEST(data_is_announced_once_until_it_is_read),
        TEST(the_channel_hears_of_what_was_read_in_portions),
        TEST(the_channel_hears_at_once_when_the_buffer_was_full),
        TEST(an_announcement_has_the_length_of_when_it_is_delivered),
        TEST(a_datagram_is_announced_alone_and_its_rest_dropped),
        TEST(sends_are_confirmed_in_order_when_acknowledged),
        TEST(a_send_that_comes_while_others_are_confirmed_is_written),
        TEST(a_refused_send_is_confirmed_as_failed_in_its_turn),
        TEST(a_datagram_too_large_is_refused),
        TEST(a_send_that_is_not_connected_has_no_message),
        TEST(the_peers_close_is_told_after_all_data_and_the_grace_time),
        TEST(the_peers_close_is_told_at_once_when_nothing_was_read),
        TEST(a_broken_connection_fails_the_sends_before_close_ind),
        TEST(a_send_before_close_ind_is_delivered_still_gets_its_answer),
        TEST(options_reach_the_channel_before_and_after_connecting),
        TEST(a_close_delivers_what_was_accepted_first),
        TEST(a_close_waits_until_the_end_is_on_its_way),
        TEST(the_linger_time_bounds_a_close),
        TEST(unread_input_is_thrown_away_and_accounted_for),
        TEST(every_close_has_its_close_cnf),
        TEST(a_never_used_id_has_its_close_cnf_and_an_impossible_one_none),
        TEST(an_id_that_owes_a_close_cnf_is_not_given_out),
        TEST(a_close_takes_back_what_was_not_delivered),
        TEST(a_destroyed_id_has_no_message_of_its_old_life),
        TEST(the_last_socket_is_the_limit),
        TEST(a_refused_post_is_offered_again),
        TEST(a_refused_post_is_offered_when_a_message_was_taken),
        TEST(a_socket_stands_in_the_queue_once),
        TEST(stopping_frees_sockets_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
