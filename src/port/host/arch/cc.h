/*
 * Compiler and C library as lwIP wants to know them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_ARCH_CC_H
#define SC_HOST_ARCH_CC_H

/* Before lwIP's own: BYTE_ORDER comes from there where the C library has it. */
#include <limits.h>
#include <sys/types.h>

/* lwip/arch.h takes a missing SSIZE_MAX, as in strict C11, for a missing ssize_t, and includes
 * unistd.h otherwise, whose names the core may not see. */
#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif
#define LWIP_NO_UNISTD_H 1

#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS
/* lwIP's own are calls, a dozen of them for each packet. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define lwip_htons(x) __builtin_bswap16(x)
#define lwip_htonl(x) __builtin_bswap32(x)
#endif

typedef unsigned int sys_prot_t;

#endif
