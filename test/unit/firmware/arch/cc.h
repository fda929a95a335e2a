/*
 * Compiler and C library as lwIP wants to know them, for the firmware configuration on a PC.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TEST_ARCH_CC_H
#define SC_TEST_ARCH_CC_H

#include <limits.h>
#include <sys/types.h>

#ifndef SSIZE_MAX
#define SSIZE_MAX LONG_MAX
#endif
#define LWIP_NO_UNISTD_H 1
#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS

typedef int sys_prot_t;

void test_lwip_abort(const char *message, const char *file, int line);
#define LWIP_PLATFORM_ASSERT(message) test_lwip_abort(message, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(x)

#endif
