/*
 * What the socket's state machine knows of a connection: one ops struct, whatever is below it.
 *
 * A channel is one connection (or one pair of datagram end points) of a transport: TCP, UDP and
 * RAW, TLS stacked on a TCP channel, or the unit tests' fake. All of it runs on the engine's
 * thread, never blocks, and may be called again after SC_ERR_WOULDBLOCK: the channel wakes its
 * owner with SC_WAKE_NET when it is worth it. A failure leaves one line of English in
 * `channel->reason`. Nothing here knows states, messages or the script.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TRANSPORT_H
#define SC_TRANSPORT_H

#include "engine.h"
#include "socketcore.h"

#include "lwip/ip_addr.h"

struct pbuf;
struct sc_channel;
struct sc_tls_credentials;

/* Socket options; a number is 0 as long as the script has not set it. */
struct sc_options {
    bool reuse_address;
    bool keepalive;
    unsigned keep_idle;     /* seconds */
    unsigned keep_interval; /* seconds */
    unsigned keep_count;
};

struct sc_endpoint {
    ip_addr_t address;
    uint16_t port; /* RAW: 0 */
};

/* What `open` needs; borrowed for the call only. */
struct sc_channel_args {
    struct sc_task *owner;
    struct sc_endpoint remote;
    uint8_t protocol; /* RAW only */
    uint16_t local_port;
    size_t recv_buffer; /* bytes */
    uint32_t linger_ms;
    const struct sc_options *options;
    const struct sc_tls_credentials *credentials; /* TLS only; stay while the channel lives */
    bool copies; /* TCP: copy what is written, so that the caller's need not stay */
};

/* Makes a channel and starts to connect it. The caller owns *out until `release` or `abort`.
 * On failure there is no channel and *reason says why, a constant text. */
typedef enum sc_error sc_channel_open(const struct sc_channel_args *args, struct sc_channel **out,
                                      const char **reason);

/* Fetches what has happened to the connection; to be called first when SC_WAKE_NET woke the owner.
 * The other functions go by what was fetched. False when there is nothing to read and the
 * connection is alive. */
typedef bool sc_channel_refresh(struct sc_channel *channel);

/* One step of connecting. SC_OK once the channel is usable; SC_ERR_INPROGRESS when it is not, but
 * a new one to the same end may be. */
typedef enum sc_error sc_channel_connect(struct sc_channel *channel);

/* What connecting waits for, a constant text, or NULL when it is nothing more than the peer's
 * answer. */
typedef const char *sc_channel_waiting_for(struct sc_channel *channel);

/* Sends as much as is taken now, `*taken` bytes of `length`; a datagram is taken whole. The data
 * stays the caller's and must stay where it is until `reached` says so for a later mark, or the
 * channel is gone. SC_ERR_WOULDBLOCK when nothing was taken. */
typedef enum sc_error sc_channel_write(struct sc_channel *channel, const void *data, size_t length,
                                       size_t *taken);

/* Names the end of everything written so far. */
typedef uint32_t sc_channel_mark(struct sc_channel *channel);

/* Has the peer acknowledged everything up to `mark`? Datagrams: always. */
typedef bool sc_channel_reached(struct sc_channel *channel, uint32_t mark);

/* The next received piece (a datagram whole), which is the caller's then. SC_ERR_WOULDBLOCK:
 * nothing now; SC_ERR_CLSD: the peer has closed, nothing comes any more. */
typedef enum sc_error sc_channel_read(struct sc_channel *channel, struct pbuf **out);

/* `length` bytes of what was read are done with: the peer may send as many more. */
typedef void sc_channel_consumed(struct sc_channel *channel, size_t length);

/* Has the connection broken? SC_OK, or why. Needed after SC_ERR_CLSD, when `read` has nothing more
 * to say. */
typedef enum sc_error sc_channel_check(struct sc_channel *channel);

/* One step of closing: tells the peer that nothing more comes, after all that was written. SC_OK
 * once that is on its way. Input must still be read and consumed until `release`. */
typedef enum sc_error sc_channel_shutdown(struct sc_channel *channel);

/* Gives a channel up after `shutdown` said SC_OK and all was `reached`: the owner is not woken any
 * more. The transport keeps it for a while (bounded by linger_ms) where the peer has not closed
 * yet, because ending it at once would answer what still comes with a reset. */
typedef void sc_channel_release(struct sc_channel *channel);

/* Ends a channel in whatever state, at once. */
typedef void sc_channel_abort(struct sc_channel *channel);

/* The options have changed. */
typedef void sc_channel_set_options(struct sc_channel *channel, const struct sc_options *options);

/* Both ends, as far as they are known. */
typedef void sc_channel_endpoints(struct sc_channel *channel, struct sc_endpoint *local,
                                  struct sc_endpoint *remote);

/* What TLS has agreed on. */
typedef void sc_channel_describe(struct sc_channel *channel, struct sc_tls_info *info);

struct sc_transport {
    sc_channel_open *open;
    sc_channel_refresh *refresh; /* or NULL */
    sc_channel_connect *connect;
    sc_channel_waiting_for *waiting_for; /* or NULL */
    sc_channel_write *write;
    sc_channel_mark *mark;
    sc_channel_reached *reached;
    sc_channel_read *read;
    sc_channel_consumed *consumed;
    sc_channel_check *check;
    sc_channel_shutdown *shutdown;
    sc_channel_release *release;
    sc_channel_abort *abort;
    sc_channel_set_options *set_options;
    sc_channel_endpoints *endpoints;
    sc_channel_describe *describe; /* or NULL */
    bool is_datagram;
};

/* The start of every transport's own struct. */
struct sc_channel {
    const struct sc_transport *ops;
    struct sc_task *owner;
    const char *reason; /* of the last failure; stays until the next call for the channel */
};

extern const struct sc_transport sc_tcp;
extern const struct sc_transport sc_tls;
extern const struct sc_transport sc_udp;
extern const struct sc_transport sc_raw;

/* Connections that were released and whose peer has not closed yet. */
size_t sc_tcp_lingering(void);
/* Aborts them all. */
void sc_tcp_abort_lingering(void);

#endif
