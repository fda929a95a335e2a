/*
 * The choice of a socket's next message, for both threads; the taking of it is the script thread's
 * alone (sc_next_message).
 *
 * SPDX-License-Identifier: MIT
 */
#include "announce.h"

#include "engine.h"
#include "error.h"
#include "socket.h"
#include "socketcore_port.h"

#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/sys.h"

#define RETRY_MS 20

/* Sockets that the platform's queue had no room for, oldest first. Shared. */
static struct sc_socket *refused_first;
static struct sc_socket **refused_end = &refused_first;

/* The message whose turn it is, 0 for none. Under protection. The order for one socket: CONN_CNF
 * first, CLOSE_IND after all that was received and sent, CLOSE_CNF last. */
static inline enum sc_message_id next_message_id(const struct sc_socket *s)
{
    bool has_sent = s->sends && s->sends->is_done;
    bool has_data = (s->pending & SC_PENDING_RECV_IND) && s->inbox && !s->is_announced;

    if (s->pending & SC_PENDING_CONN_CNF)
        return SC_MSG_CONN_CNF;
    if (has_sent && !(has_data && s->recv_turn))
        return SC_MSG_SEND_CNF;
    if (has_data)
        return SC_MSG_RECV_IND;
    if ((s->pending & SC_PENDING_CLOSE_IND) && !s->inbox && !s->sends)
        return SC_MSG_CLOSE_IND;
    if (s->closes_owed && !s->sends && (s->state == SC_STATE_CLOSED || s->state == SC_STATE_FREE))
        return SC_MSG_CLOSE_CNF;
    return 0;
}

static void offer_again(struct sc_task *task, unsigned wake);

static struct sc_task offer = { .run = offer_again };

/* Under protection. */
static void link_refused(struct sc_socket *s)
{
    s->is_queued = false;
    if (s->is_refused)
        return;
    s->is_refused = true;
    s->next_refused = NULL;
    *refused_end = s;
    refused_end = &s->next_refused;
}

bool sc_announce_is_due(struct sc_socket *s)
{
    bool may_have = s->pending || s->sends || s->closes_owed;
    bool is_due = may_have && !s->is_queued && !s->is_refused && next_message_id(s);

    if (is_due)
        s->is_queued = true;
    return is_due;
}

void sc_announce_post(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_first;

    if (sc_port_post(s->id))
        return;
    SYS_ARCH_PROTECT(level);
    link_refused(s);
    is_first = sc_task_make_ready(&offer, SC_WAKE_SEND);
    SYS_ARCH_UNPROTECT(level);
    if (is_first)
        sc_port_wake();
}

void sc_announce(struct sc_socket *s)
{
    SYS_ARCH_DECL_PROTECT(level);
    bool is_due;

    SYS_ARCH_PROTECT(level);
    is_due = sc_announce_is_due(s);
    SYS_ARCH_UNPROTECT(level);
    if (is_due)
        sc_announce_post(s);
}

static struct sc_socket *pop_refused(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s;

    SYS_ARCH_PROTECT(level);
    s = refused_first;
    if (s) {
        refused_first = s->next_refused;
        if (!refused_first)
            refused_end = &refused_first;
        s->is_refused = false;
        /* Before the post: the script thread may take it out of the queue at once. */
        s->is_queued = true;
    }
    SYS_ARCH_UNPROTECT(level);
    return s;
}

/* Offers again what the platform's queue has refused: when the script has taken a message, and
 * after a while. */
static void offer_again(struct sc_task *task, unsigned wake)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s;

    LWIP_UNUSED_ARG(wake);
    while ((s = pop_refused())) {
        if (sc_port_post(s->id))
            continue;
        SYS_ARCH_PROTECT(level);
        link_refused(s);
        SYS_ARCH_UNPROTECT(level);
        sc_task_wake_at(task, sc_engine_now() + RETRY_MS);
        return;
    }
}

void sc_announce_stop(void)
{
    refused_first = NULL;
    refused_end = &refused_first;
    offer.wake = 0;
}

static void describe_failure(const struct sc_socket *s, enum sc_error error, struct sc_message *m)
{
    m->error = error;
    m->result = m->id != SC_MSG_CLOSE_IND || error != SC_ERR_CLSD;
    /* A send that ended with the connection has the connection's reason. */
    if (m->id == SC_MSG_SEND_CNF && error != s->error)
        m->reason = sc_error_send_text(error);
    else
        m->reason = s->reason ? s->reason : sc_error_text(error);
}

/* The message whose turn it is, without taking it. Under protection. */
static void describe(const struct sc_socket *s, struct sc_message *m)
{
    m->id = next_message_id(s);
    switch (m->id) {
    case SC_MSG_CONN_CNF:
        if (!s->was_connected)
            describe_failure(s, s->error, m);
        break;
    case SC_MSG_SEND_CNF:
        m->length = s->sends->length;
        if (s->sends->error != SC_OK)
            describe_failure(s, s->sends->error, m);
        break;
    case SC_MSG_RECV_IND:
        m->length = sc_socket_readable(s);
        if (!s->transport->is_datagram && m->length > sc_get_config()->recv_ind_max)
            m->length = sc_get_config()->recv_ind_max;
        break;
    case SC_MSG_CLOSE_IND:
        describe_failure(s, s->error, m);
        break;
    case SC_MSG_CLOSE_CNF:
        break;
    }
}

/* Takes the oldest send off the list once its last SEND_CNF is due; the caller frees it. */
static struct sc_send_block *take_send_cnf(struct sc_socket *s)
{
    struct sc_send_block *block = s->sends;

    s->recv_turn = true;
    if (--block->times)
        return NULL;
    s->sends = block->next;
    if (!s->sends)
        s->sends_end = &s->sends;
    return block;
}

/* Takes the message that was described. Returns a send that is to be freed, or NULL. Under
 * protection. */
static struct sc_send_block *take(struct sc_socket *s, const struct sc_message *m)
{
    switch (m->id) {
    case SC_MSG_CONN_CNF:
        s->pending &= ~(unsigned)SC_PENDING_CONN_CNF;
        s->is_up = s->was_connected;
        s->may_destroy = !s->was_connected;
        break;
    case SC_MSG_SEND_CNF:
        return take_send_cnf(s);
    case SC_MSG_RECV_IND:
        s->pending &= ~(unsigned)SC_PENDING_RECV_IND;
        s->is_announced = true;
        s->recv_turn = false;
        break;
    case SC_MSG_CLOSE_IND:
        s->pending &= ~(unsigned)SC_PENDING_CLOSE_IND;
        s->is_up = false;
        break;
    case SC_MSG_CLOSE_CNF:
        s->closes_owed--;
        s->may_destroy = s->state == SC_STATE_CLOSED;
        break;
    }
    return NULL;
}

/* Takes the next message, or with `must_match` only one whose reason is `reason`. */
static bool take_next(int id, bool must_match, const char *reason, struct sc_message *m)
{
    SYS_ARCH_DECL_PROTECT(level);
    struct sc_socket *s = sc_socket_find(id);
    struct sc_send_block *done;
    bool is_due;
    bool is_first;

    *m = (struct sc_message){ .socket = id };
    if (!s)
        return false;
    SYS_ARCH_PROTECT(level);
    describe(s, m);
    if (m->id && must_match && m->reason != reason) {
        SYS_ARCH_UNPROTECT(level);
        return false;
    }
    s->is_queued = false;
    done = take(s, m);
    is_due = sc_announce_is_due(s);
    is_first = refused_first && sc_task_make_ready(&offer, SC_WAKE_READ);
    SYS_ARCH_UNPROTECT(level);
    if (done) {
        if (done->is_accepted) {
            s->send_used -= done->length;
            s->sends_used--;
        }
        sc_socket_free_block(s, done);
    }
    if (is_due)
        sc_announce_post(s);
    if (is_first)
        sc_port_wake();
    return m->id != 0;
}

bool sc_next_message(int id, struct sc_message *m)
{
    return take_next(id, false, NULL, m);
}

bool sc_take_message(int id, const char *reason, struct sc_message *m)
{
    return take_next(id, true, reason, m);
}
