/*
 * socketcore's side: what sock_conn, sock_send, sock_recv, sock_close, sock_destroy and a rtos
 * with a message queue (src/port/firmware/post_example.c) do, without Lua. Each send waits for its
 * SEND_CNF, that is for the peer's acknowledgement, and each close for its CLOSE_CNF.
 *
 * SPDX-License-Identifier: MIT
 */
#include "machine.h"
#include "peer.h"
#include "side.h"

#include "socketcore.h"
#include "socketcore_port.h"

#include "lwip/sys.h"

#include <string.h>

#define QUEUE_LENGTH 32

static sys_mbox_t queue;
static int id;

/* ---- the platform's part ---- */

bool sc_port_post(int socket)
{
    return sys_mbox_trypost(&queue, (void *)(uintptr_t)(socket + 1)) == ERR_OK;
}

void sc_port_log(enum sc_log_level level, const char *text)
{
    if (level >= SC_LOG_WARN)
        machine_abort(text);
}

bool sc_port_entropy(void *out, size_t length)
{
    (void)out;
    (void)length;
    return false;
}

int64_t sc_port_time(void)
{
    return 0;
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

/* ---- the script's part ---- */

/* Waits for the next message, which has to be this one. Returns its send_len or recv_len. */
static size_t expect(enum sc_message_id wanted)
{
    struct sc_message message;
    void *entry = NULL;

    do
        sys_arch_mbox_fetch(&queue, &entry, 0);
    while (!sc_next_message((int)(uintptr_t)entry - 1, &message));
    if (message.id != wanted || message.result)
        machine_abort(message.reason ? message.reason : "a message that was not expected");
    return message.length;
}

static void start(void)
{
    if (sys_mbox_new(&queue, QUEUE_LENGTH) != ERR_OK || sc_start(NULL) != SC_OK)
        machine_abort("sc_start failed");
}

static void open_connection(void)
{
    struct sc_open_args args = { .type = SC_TCP, .host = PEER_ADDRESS, .port = PEER_PORT };
    const char *reason;

    if (sc_open(&args, &id, &reason) != SC_OK)
        machine_abort(reason);
    expect(SC_MSG_CONN_CNF);
}

static void send_all(const void *data, size_t length)
{
    if (sc_send(id, data, length) != SC_OK)
        machine_abort("sc_send failed");
    if (expect(SC_MSG_SEND_CNF) != length)
        machine_abort("a SEND_CNF with a wrong length");
}

/* As sock_recv (lua_socketcore.c) with what RECV_IND announced. */
static size_t receive_some(void *data)
{
    size_t announced = expect(SC_MSG_RECV_IND);
    size_t length = sc_available(id);
    size_t done = 0;

    if (announced < length)
        length = announced;
    while (done < length) {
        const void *piece;
        size_t part = sc_peek(id, done, &piece);
        if (part > length - done)
            part = length - done;
        memcpy((char *)data + done, piece, part);
        done += part;
    }
    sc_consume(id, length);
    return length;
}

static void receive_all(void *data, size_t length)
{
    for (size_t done = 0; done < length;)
        done += receive_some((char *)data + done);
}

static void close_connection(void)
{
    if (!sc_close(id))
        machine_abort("sc_close failed");
    expect(SC_MSG_CLOSE_CNF);
    if (!sc_destroy(id))
        machine_abort("sc_destroy failed");
}

const struct side side_socketcore = {
    .name = "socketcore",
    .start = start,
    .open = open_connection,
    .send = send_all,
    .receive = receive_all,
    .close = close_connection,
};
