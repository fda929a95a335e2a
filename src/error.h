/*
 * lwIP's error codes as the script sees them, and words for those that have no better ones.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_ERROR_H
#define SC_ERROR_H

#include "socketcore.h"

#include "lwip/err.h"

/* The firmware's numbers are lwIP's, positive. */
enum sc_error sc_error_from_lwip(err_t err);

/* A constant text: what the error means in general. */
const char *sc_error_text(enum sc_error error);

/* A constant text: why a send failed by itself, on a connection that goes on. */
const char *sc_error_send_text(enum sc_error error);

#endif
