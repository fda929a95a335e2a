/*
 * The one table of errors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "error.h"

enum sc_error sc_error_from_lwip(err_t err)
{
    if (err > 0 || err < ERR_ARG)
        return SC_ERR_UNKNOWN;
    return (enum sc_error) - err;
}

const char *sc_error_text(enum sc_error error)
{
    switch (error) {
    case SC_OK:
        return "ok";
    case SC_ERR_NOMEM:
        return "out of memory";
    case SC_ERR_NOBUFS:
        return "no buffer space";
    case SC_ERR_TIMEOUT:
        return "timed out";
    case SC_ERR_RTE:
        return "no route to the host";
    case SC_ERR_INPROGRESS:
        return "in progress";
    case SC_ERR_INVAL:
        return "not a valid value";
    case SC_ERR_WOULDBLOCK:
        return "would block";
    case SC_ERR_ADDRINUSE:
        return "the address is in use";
    case SC_ERR_ALREADY:
        return "already in progress";
    case SC_ERR_ISCONN:
        return "already connected";
    case SC_ERR_NOTCONN:
        return "not connected";
    case SC_ERR_IF:
        return "the network interface failed";
    case SC_ERR_ABORT:
        return "the connection was aborted";
    case SC_ERR_RST:
        return "the connection was reset by the peer";
    case SC_ERR_CLSD:
        return "the connection was closed by the peer";
    case SC_ERR_ARG:
        return "not a valid argument";
    case SC_ERR_IO:
        return "input/output error";
    case SC_ERR_SSL_HANDSHAKE:
        return "tls: the handshake failed";
    case SC_ERR_SSL_INIT:
        return "tls: setting up failed";
    case SC_ERR_SSL_INVALID:
        return "tls: not a valid certificate or key";
    case SC_ERR_UNKNOWN:
        break;
    }
    return "unknown error";
}

const char *sc_error_send_text(enum sc_error error)
{
    switch (error) {
    case SC_ERR_NOMEM:
        return "send: out of memory";
    case SC_ERR_NOBUFS:
        return "send: the send buffer is full, wait for SEND_CNF of earlier sends";
    case SC_ERR_ARG:
        return "send: larger than a datagram on this path";
    case SC_ERR_RTE:
        return "send: no route to the host";
    case SC_ERR_ABORT:
        return "send: not acknowledged within the linger time";
    default:
        return sc_error_text(error);
    }
}
