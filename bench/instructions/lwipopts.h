/*
 * The firmware configuration as it is, with the sockets layer beside it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_LWIPOPTS_H
#define SC_INSTRUCTIONS_LWIPOPTS_H

#include "../../src/port/firmware/lwipopts.h"

#undef LWIP_SOCKET
#define LWIP_SOCKET 1
#define LWIP_COMPAT_SOCKETS 0

/* Pointers of 64 bits. */
#undef MEM_ALIGNMENT
#define MEM_ALIGNMENT 8

unsigned int sc_port_random(void);

#endif
