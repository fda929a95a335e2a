/*
 * A socket as both threads see it: the script's half (api.c, announce.c) and the engine's half
 * (socket.c).
 *
 * Who owns what stands at each group of fields. "Shared" fields are read and written under
 * SYS_ARCH_PROTECT, which wraps pointer and bit moves only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_SOCKET_H
#define SC_SOCKET_H

#include "engine.h"
#include "resolve.h"
#include "socketcore.h"
#include "transport.h"

struct pbuf;

/* What a datagram counts beside its bytes, so that empty ones are bounded too. */
#define SC_DATAGRAM_COST 64

/* A block with room for so many bytes at most is kept for the socket's next send. */
#define SC_SPARE_MAX 256

/* One sc_send, from the call to its SEND_CNF. A refused send stands here without data, so that its
 * SEND_CNF comes in its turn. */
struct sc_send_block {
    struct sc_send_block *next; /* shared */
    bool is_done;               /* shared: the engine is through with it */
    bool is_accepted;           /* sc_send took it; else it was refused */
    enum sc_error error;        /* of a refused or failed send; final once is_done */
    size_t length;              /* of the script's data */
    size_t capacity;            /* what there is room for */
    unsigned times;             /* so many refused sends of this length in a row */
    size_t written;             /* engine: bytes that the channel has taken */
    bool is_written;            /* engine: the channel has taken all of it, or refused it */
    uint32_t mark;              /* engine: the channel's mark once all is written */
    unsigned char data[];
};

/* Messages that wait for their turn (announce.c); SEND_CNF and CLOSE_CNF follow from the sends and
 * the calls. */
enum {
    SC_PENDING_CONN_CNF = 1 << 0,
    SC_PENDING_RECV_IND = 1 << 1,
    SC_PENDING_CLOSE_IND = 1 << 2,
};

struct sc_socket {
    struct sc_task task; /* as engine.h says */
    int id;              /* constant */

    /* The script thread's. */
    bool is_up;          /* CONN_CNF was delivered, nothing after it that ends the connection */
    bool may_destroy;    /* CLOSE_CNF or a failed CONN_CNF was delivered */
    bool recv_turn;      /* RECV_IND goes before SEND_CNF this time */
    size_t send_used;    /* bytes accepted and not yet confirmed */
    size_t sends_used;   /* the same, counted in sends */
    size_t inbox_offset; /* bytes of the inbox's first pbuf that were consumed */
    struct sc_send_block *spare; /* kept for the next send, or NULL */
    char *host;                  /* owned; the engine may read it until the socket is CLOSED */
    struct sc_tls_credentials *credentials; /* owned by the engine until CLOSED; NULL without TLS */

    /* Set by sc_open before the engine sees the socket, constant from then on. */
    enum sc_type type;
    const struct sc_transport *transport;
    uint16_t port;
    uint16_t local_port;
    size_t recv_buffer;
    uint64_t opened_at;

    /* Shared. */
    enum sc_state state; /* FREE and CLOSED: the script thread may change it, else the engine */
    unsigned pending;    /* SC_PENDING_* */
    bool is_queued;      /* stands in the platform's queue */
    bool is_refused;     /* the platform's queue had no room */
    struct sc_socket *next_refused;
    bool close_requested;
    bool was_connected;          /* the connection was usable once */
    bool is_announced;           /* a RECV_IND was delivered and nothing was read since */
    unsigned closes_owed;        /* sc_close calls whose CLOSE_CNF was not delivered */
    enum sc_error error;         /* the first failure of this use; then constant, with its reason */
    char *reason;                /* owned, or NULL where memory was out */
    struct sc_send_block *sends; /* oldest first; the script thread frees the done ones */
    struct sc_send_block **sends_end;
    struct sc_send_block *to_write;   /* the first that is not written, NULL: none */
    struct sc_send_block *to_confirm; /* the first that is not done, NULL: none */
    /* Pbufs linked by `next`. Of a stream, tot_len means nothing; of datagrams it is as in lwIP's
     * packet queues: the last pbuf of a packet has tot_len == len. */
    struct pbuf *inbox;
    struct pbuf *inbox_last;
    size_t inbox_length; /* bytes not consumed, with SC_DATAGRAM_COST for each datagram */
    size_t inbox_room;   /* bytes that still fit into the last pbuf */
    size_t read_length;  /* bytes consumed, that the channel was not told of */
    size_t read_wake;    /* so many of them make it worth to wake the engine */
    uint64_t last_read;  /* when the script last read data */
    struct sc_options options;
    size_t datagram_max; /* largest datagram that the path takes; 0: not a datagram socket */
    struct sc_endpoint local;
    struct sc_endpoint remote;
    struct sc_tls_info *tls; /* owned; NULL without TLS */
    uint64_t bytes_in;
    uint64_t bytes_out;

    /* The engine's. */
    struct sc_channel *channel;
    struct sc_resolve resolve;   /* sc_open starts it */
    uint64_t deadline;           /* of connecting (set by sc_open), or of closing */
    uint64_t patience_at;        /* when to try another address, 0: never */
    enum sc_error connect_error; /* of the address whose failure says most so far */
    uint8_t connect_weight;      /* how much it says */
    char *connect_reason;        /* owned, NULL: memory was out */
    const char *logged_waiting;  /* what the log has said that connecting waits for */
    bool has_ended;              /* the peer has closed or the connection broke: no more input */
    bool has_broken;             /* no more output; read under protection by announce.c */
    enum sc_error break_error;
};

/* The socket of an id below max_sockets, in whatever state, else NULL. Any thread. */
struct sc_socket *sc_socket_at(int id);
/* The same for the script thread, which alone changes the table. */
struct sc_socket *sc_socket_find(int id);

/* Bytes that can be read now. Under protection. */
size_t sc_socket_readable(const struct sc_socket *socket);

/* Frees a block that is off the list, or keeps it for the next send. Script thread. */
void sc_socket_free_block(struct sc_socket *socket, struct sc_send_block *block);

/* lwIP's mem_free takes no NULL. */
void sc_free(void *memory);

/* Frees pbufs that are linked by `next` as an inbox is. Any thread. */
void sc_socket_free_pbufs(struct pbuf *first);

/* The engine's half: the task's run function. */
void sc_socket_run(struct sc_task *task, unsigned wake);

/* Frees what the engine holds, whatever the state. Only while the engine does not run. */
void sc_socket_abandon(struct sc_socket *socket);

/* Remembers why this use of the id failed. Only the first time counts: what comes later is a
 * consequence, and the script may be reading the reason. Engine. */
void sc_socket_fail(struct sc_socket *socket, enum sc_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
