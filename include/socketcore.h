/*
 * socketcore: asynchronous sockets for Lua firmware, on lwIP and mbedTLS.
 *
 * What an integrator calls. What the platform has to supply in return stands in
 * socketcore_port.h. Every function here is called from one thread, the script thread (the one
 * that runs Lua), and never blocks; the network work is done by the engine.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SOCKETCORE_H
#define SOCKETCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SC_VERSION "0.1.0"

#if defined(__GNUC__)
#define SC_API __attribute__((visibility("default")))
#else
#define SC_API
#endif

/* Numbers as scripts write them. 3 is taken as SC_RAW too. */
enum sc_type { SC_TCP = 0, SC_UDP = 1, SC_SSL = 2, SC_RAW = 4 };

/* Numbers as in the firmware; scripts see them as socketcore.ERR_*. */
enum sc_error {
    SC_ERR_UNKNOWN = -1,
    SC_OK = 0,
    SC_ERR_NOMEM = 1,
    SC_ERR_NOBUFS = 2,
    SC_ERR_TIMEOUT = 3,
    SC_ERR_RTE = 4,
    SC_ERR_INPROGRESS = 5,
    SC_ERR_INVAL = 6,
    SC_ERR_WOULDBLOCK = 7,
    SC_ERR_ADDRINUSE = 8,
    SC_ERR_ALREADY = 9,
    SC_ERR_ISCONN = 10,
    SC_ERR_NOTCONN = 11,
    SC_ERR_IF = 12,
    SC_ERR_ABORT = 13,
    SC_ERR_RST = 14,
    SC_ERR_CLSD = 15,
    SC_ERR_ARG = 16,
    SC_ERR_IO = 17,
    SC_ERR_SSL_HANDSHAKE = 18,
    SC_ERR_SSL_INIT = 19,
    SC_ERR_SSL_INVALID = 20,
};

/* Levels and options of sc_setopt. SC_SO_REUSEADDR and SC_TCP_KEEPINTVL are the same number: the
 * level decides. */
enum { SC_SOL_SOCKET = 0xfff, SC_IPPROTO_TCP = 6 };
enum { SC_SO_REUSEADDR = 4, SC_SO_KEEPALIVE = 8 };
enum { SC_TCP_KEEPIDLE = 3, SC_TCP_KEEPINTVL = 4, SC_TCP_KEEPCNT = 5 };

/* Message ids; rtos.MSG_SOCK_* on the host. A firmware whose rtos has its own numbers defines
 * SC_MSG_BASE to the first of five in a row. */
#ifndef SC_MSG_BASE
#define SC_MSG_BASE 40
#endif
enum sc_message_id {
    SC_MSG_CONN_CNF = SC_MSG_BASE,
    SC_MSG_SEND_CNF,
    SC_MSG_RECV_IND,
    SC_MSG_CLOSE_IND,
    SC_MSG_CLOSE_CNF,
};

/* One message to the script. */
struct sc_message {
    enum sc_message_id id;
    int socket;
    int result;          /* 0 ok, 1 failed */
    enum sc_error error; /* with result 1, and always with SC_MSG_CLOSE_IND */
    size_t length;       /* send_len of SEND_CNF, recv_len of RECV_IND, in bytes */
    const char *reason;  /* one line of English, or NULL; valid until the next sc_* call */
};

#define SC_REASON_MAX 256 /* the longest reason of a message or of sc_info, with its NUL */

/* Certificate material of one connection, each part optional (NULL): PEM text or DER bytes. */
struct sc_bytes {
    const void *data;
    size_t length;
};
struct sc_cert {
    const char *host_name;
    struct sc_bytes ca_cert;
    struct sc_bytes client_cert;
    struct sc_bytes client_key;
    struct sc_bytes client_password;
    struct sc_bytes psk; /* pre-shared key and its identity, both or none */
    struct sc_bytes psk_identity;
    struct sc_bytes pin;     /* SHA-256 of the server's public key: 32 bytes or 64 hex digits */
    const char *const *alpn; /* protocol names, the preferred one first */
    size_t alpn_count;
    bool no_resume; /* neither resumes a session nor keeps one */
};

enum sc_insist { SC_INSIST_DEFAULT = -1, SC_INSIST_NEVER = 0, SC_INSIST_ALWAYS = 1 };

/* Everything sc_open needs; borrowed for the call only. */
struct sc_open_args {
    enum sc_type type;
    const char *host;           /* name or IP literal; IPv6 also in brackets */
    uint16_t port;              /* RAW: the IP protocol number */
    uint16_t local_port;        /* 0: any */
    size_t recv_buffer;         /* bytes, 0: the default */
    enum sc_insist insist;      /* SSL only */
    const struct sc_cert *cert; /* SSL only, or NULL */
};

/* Run-time options, with the build's defaults. */
struct sc_config {
    size_t max_sockets;
    size_t recv_ind_max;
    uint32_t close_grace_ms;
    uint32_t linger_ms;
    uint32_t connect_timeout_ms;
    size_t send_buffer;
    size_t recv_buffer;
    size_t tls_record_max; /* asked of TLS 1.2 servers: 512, 1024, 2048 or 4096; 0: no limit */
};

enum sc_state {
    SC_STATE_FREE,
    SC_STATE_RESOLVING,
    SC_STATE_CONNECTING, /* TCP connect and TLS handshake */
    SC_STATE_CONNECTED,
    SC_STATE_CLOSING, /* draining what was sent */
    SC_STATE_LOST,    /* the peer closed or the connection broke, and the script was told */
    SC_STATE_CLOSED,
};

#define SC_ADDRESS_MAX 46 /* an IPv6 address as text, with its NUL */

struct sc_info {
    enum sc_type type;
    enum sc_state state;
    char local_address[SC_ADDRESS_MAX]; /* "" while there is none */
    char remote_address[SC_ADDRESS_MAX];
    uint16_t local_port;
    uint16_t remote_port;
    uint64_t bytes_in;  /* read by the peer's data, announced or not */
    uint64_t bytes_out; /* confirmed */
    uint64_t age_ms;
    enum sc_error error; /* of the last failure */
    const char *reason;  /* of the last failure, or NULL; valid until the next sc_* call */
};

/* What TLS has agreed on; texts are cut where they do not fit. */
struct sc_tls_info {
    char version[12];      /* "TLSv1.3" */
    char cipher_suite[64]; /* "TLS1-3-AES-128-GCM-SHA256" */
    char alpn[32];         /* "" when none was agreed on */
    bool is_verified;      /* the server's chain was verified, against caCert */
    bool is_resumed;
    bool has_no_clock; /* the platform has none: validity times were not checked */
    char subject[128]; /* of the server's certificate, "" when there is none */
    char issuer[128];
    char expires[20]; /* "2027-01-31 23:59:59", UTC */
};

/* Totals over all sockets, for tests and for scripts that watch their memory. */
struct sc_totals {
    size_t sockets;   /* ids in use */
    size_t lingering; /* closed connections whose peer has not closed yet */
};

/* Opens a socket and starts to connect it. The outcome is one SC_MSG_CONN_CNF.
 * Returns SC_OK and the id in *id, or an error and a constant text in *reason. */
SC_API enum sc_error sc_open(const struct sc_open_args *args, int *id, const char **reason);

/* Copies `length` bytes and sends them. On a connected socket one SC_MSG_SEND_CNF follows,
 * whatever is returned. SC_OK, SC_ERR_NOBUFS (does not fit now), SC_ERR_NOMEM, SC_ERR_ARG (a
 * datagram too large for the path), SC_ERR_NOTCONN (no message follows). */
SC_API enum sc_error sc_send(int id, const void *data, size_t length);

/* Bytes that sc_send would take now; 0 for a socket that is not connected. */
SC_API size_t sc_send_space(int id);

/* Bytes of received data that can be read now: of the stream, or of the next datagram. */
SC_API size_t sc_available(int id);

/* Points at received data, `offset` bytes from its start, without taking it. Returns how many
 * bytes stand there in one piece, 0 past the end. The data stays valid until sc_consume. */
SC_API size_t sc_peek(int id, size_t offset, const void **data);

/* Takes `length` bytes of received data; of a datagram the rest is dropped. */
SC_API void sc_consume(int id, size_t length);

/* Closes; one SC_MSG_CLOSE_CNF follows for each call that returned true. False only for a number
 * that can never be an id. */
SC_API bool sc_close(int id);

/* Frees the id. True only once SC_MSG_CLOSE_CNF or a failed SC_MSG_CONN_CNF was delivered. */
SC_API bool sc_destroy(int id);

/* SC_OK, or SC_ERR_INVAL and nothing changes. */
SC_API enum sc_error sc_setopt(int id, int level, int name, int value);

/* False when the id is not in use. */
SC_API bool sc_get_info(int id, struct sc_info *info);

/* False when the socket has no TLS that was agreed on. */
SC_API bool sc_get_tls_info(int id, struct sc_tls_info *info);

/* Writes the TLS sessions that are kept as one string of bytes, for sc_tls_load_sessions after a
 * restart. Returns its length, also when `size` is too small for it and nothing was written. It
 * holds keys: keep it as secret as those. */
SC_API size_t sc_tls_save_sessions(void *out, size_t size);

/* Adds sessions that were saved. SC_ERR_INVAL when the bytes are not what sc_tls_save_sessions
 * wrote, SC_ERR_NOMEM without memory: nothing changes then. */
SC_API enum sc_error sc_tls_load_sessions(const void *data, size_t length);

SC_API void sc_get_totals(struct sc_totals *totals);

/* The options in force. */
SC_API const struct sc_config *sc_get_config(void);

/* Sets all options. Returns NULL, or a constant text that says which value is bad: nothing changes
 * then. */
SC_API const char *sc_set_config(const struct sc_config *config);

/* Takes the next message of the socket that sc_port_post (socketcore_port.h) was given. False when
 * there is none any more: go on with the next item of your queue. */
SC_API bool sc_next_message(int socket, struct sc_message *message);

/* The same for a caller that needs memory for the reason before it can take the message. Takes the
 * message only if its reason is the pointer `reason` (NULL: the message has none). Otherwise
 * returns false and takes nothing: message->id is 0 if there is no message, else message->reason is
 * what to call with next. */
SC_API bool sc_take_message(int socket, const char *reason, struct sc_message *message);

/* Starts the core afresh and ends it. sc_stop aborts every connection, whatever its state, and
 * returns all memory. Both are called by luaopen_socketcore and by lua_close. When sc_start fails
 * nothing has been started, and *reason (unless `reason` is NULL) is one line that says why. While
 * the core is stopped no other function changes anything; sc_open and sc_set_config say so. */
SC_API enum sc_error sc_start(const char **reason);
SC_API void sc_stop(void);

/* True between the two. */
SC_API bool sc_is_running(void);

struct lua_State;

/* require "socketcore": pushes the module table and sets the global. When it fails, with a Lua
 * error, nothing has changed and it can be called again. */
SC_API int luaopen_socketcore(struct lua_State *L);

/* For the platform's rtos.receive: takes the next message of `socket` and pushes it as the table
 * that scripts expect. Returns 1, or 0 when there is none any more.
 *
 * It raises a Lua error when Lua has no memory for the table, and nothing is taken then. Finalizers
 * may run inside it and call rtos.receive. So the platform keeps the number that it took out of its
 * queue until this function has returned, and starts with a number that was kept
 * (src/port/firmware/post_example.c). */
SC_API int sc_push_message(struct lua_State *L, int socket);

#ifdef __cplusplus
}
#endif

#endif
