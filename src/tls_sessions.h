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

/* Remembers `session` under the fingerprint of the credentials. What cannot be kept is not; a full
 * handshake is the worst that follows. */
void sc_tls_keep_session(const unsigned char *fingerprint, const mbedtls_ssl_session *session);

/* Gives `ssl` the session to resume. False when there is none. */
bool sc_tls_offer_session(const unsigned char *fingerprint, mbedtls_ssl_context *ssl);

/* Is there a session to resume? */
bool sc_tls_has_session(const unsigned char *fingerprint);

/* Forgets the session, which the server or the handshake did not accept. */
void sc_tls_drop_session(const unsigned char *fingerprint);

/* Forgets all. */
void sc_tls_drop_sessions(void);

#endif
