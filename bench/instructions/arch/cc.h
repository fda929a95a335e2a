/*
 * Compiler and C library as lwIP wants to know them, for counting instructions on a PC.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_INSTRUCTIONS_ARCH_CC_H
#define SC_INSTRUCTIONS_ARCH_CC_H

#include <limits.h>
#include <sys/time.h>
#include <sys/types.h>

#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif
#define LWIP_NO_UNISTD_H 1
#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS

typedef int sys_prot_t;

void machine_abort(const char *message);
#define LWIP_PLATFORM_ASSERT(message) machine_abort(message)
#define LWIP_PLATFORM_DIAG(x)

#endif
