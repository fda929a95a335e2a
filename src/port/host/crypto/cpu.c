/*
 * What the CPU of this PC can do, as far as TLS asks.
 *
 * SPDX-License-Identifier: MIT
 */
#include <mbedtls/build_info.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

int sc_host_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    unsigned long has = getauxval(AT_HWCAP);
    return (has & HWCAP_AES) && (has & HWCAP_PMULL);
#else
    return 0;
#endif
}
