/*
 * TLS sessions that were established, kept for the next connection to the same server with the same
 * credentials: bounded, the least recently used one goes first. Both threads call it; its own mutex
 * is held for a copy of a kilobyte or two.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TLS_SESSIONS_H
#define SC_TLS_SESSIONS_H

#include "socketcore.h"

#include <mbedtls/ssl.h>

/* When all certificates are valid that the session's server was verified by, both ends included: in
 * seconds since 1970 UTC. */
struct sc_tls_validity {
    int64_t from;
    int64_t until;
};

/* Remembers `session` under the fingerprint of the credentials. What cannot be kept is not; a full
 * handshake is the worst that follows. */
void sc_tls_keep_session(const unsigned char *fingerprint, const struct sc_tls_validity *validity,
                         const mbedtls_ssl_session *session);

/* Gives `ssl` the session to resume, and *validity what it was kept with. False when there is none
 * whose certificates are valid now. */
bool sc_tls_offer_session(const unsigned char *fingerprint, mbedtls_ssl_context *ssl,
                          struct sc_tls_validity *validity);

/* Is there a session to resume? */
bool sc_tls_has_session(const unsigned char *fingerprint);

/* Forgets the session, which the server or the handshake did not accept. */
void sc_tls_drop_session(const unsigned char *fingerprint);

/* Forgets all. */
void sc_tls_drop_sessions(void);

#endif
