/*
 * mbedTLS's memory on a device: the C library's, and a count of what that could not give. For
 * another heap change sc_firmware_calloc here, and MBEDTLS_PLATFORM_FREE_MACRO in mbedtls_config.h.
 * Both threads call it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "socketcore_port.h"

#include "lwip/sys.h"

#include <mbedtls/build_info.h>
#include <stdlib.h>

static size_t failed; /* under SYS_ARCH_PROTECT */

void *sc_firmware_calloc(size_t count, size_t size)
{
    SYS_ARCH_DECL_PROTECT(level);
    void *memory = calloc(count, size);

    if (!memory) {
        SYS_ARCH_PROTECT(level);
        failed++;
        SYS_ARCH_UNPROTECT(level);
    }
    return memory;
}

size_t sc_port_failed_allocations(void)
{
    SYS_ARCH_DECL_PROTECT(level);
    size_t copy;

    SYS_ARCH_PROTECT(level);
    copy = failed;
    SYS_ARCH_UNPROTECT(level);
    return copy;
}
