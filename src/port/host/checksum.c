/*
 * The Internet checksum of RFC 1071 with a 64-bit accumulator: lwIP's own, two bytes at a time, was
 * a fifth of the work of sending. Any thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "lwip/opt.h"

#include <stdint.h>
#include <string.h>

static uint64_t load(const unsigned char *at, size_t bytes)
{
    uint64_t word = 0;

    memcpy(&word, at, bytes);
    return word;
}

/* Adds with the carry back in at the bottom. */
static uint64_t add(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/* The sum, not inverted, in the machine's byte order (LWIP_CHKSUM in lwIP's core/inet_chksum.c).
 * One's complement addition does not care where the bytes stand as long as pairs stay pairs, so
 * `data` may be at any address. */
unsigned short sc_checksum(const void *data, int length)
{
    const unsigned char *at = data;
    size_t left = (size_t)length;
    uint64_t even = 0;
    uint64_t odd = 0;

    for (; left >= 32; at += 32, left -= 32) {
        even = add(even, load(at, 8));
        odd = add(odd, load(at + 8, 8));
        even = add(even, load(at + 16, 8));
        odd = add(odd, load(at + 24, 8));
    }
    for (; left >= 8; at += 8, left -= 8)
        even = add(even, load(at, 8));
    if (left)
        odd = add(odd, load(at, left));
    even = add(even, odd);
    even = (even & 0xffffffff) + (even >> 32);
    even = (even & 0xffff) + (even >> 16);
    even = (even & 0xffff) + (even >> 16);
    even = (even & 0xffff) + (even >> 16);
    return (unsigned short)even;
}
