/*
 * The few functions of the C library that move or compare bytes, a word at a time as a small
 * device's library does it. The PC's own choose among variants by the processor at hand, and the
 * counts would differ from one PC to the next.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WORD sizeof(uint32_t)

static int are_aligned(const void *a, const void *b)
{
    return (((uintptr_t)a | (uintptr_t)b) & (WORD - 1)) == 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;

    if (are_aligned(out, in))
        for (; length >= WORD; length -= WORD, out += WORD, in += WORD)
            *(uint32_t *)(void *)out = *(const uint32_t *)(const void *)in;
    for (; length; length--)
        *out++ = *in++;
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    unsigned char *out = to;
    const unsigned char *in = from;

    if (out <= in)
        for (size_t i = 0; i < length; i++)
            out[i] = in[i];
    else
        while (length--)
            out[length] = in[length];
    return to;
}

void *memset(void *to, int value, size_t length)
{
    unsigned char *out = to;
    uint32_t word = (unsigned char)value * UINT32_C(0x01010101);

    if (are_aligned(out, out))
        for (; length >= WORD; length -= WORD, out += WORD)
            *(uint32_t *)(void *)out = word;
    for (; length; length--)
        *out++ = (unsigned char)value;
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const unsigned char *a = left;
    const unsigned char *b = right;

    for (size_t i = 0; i < length; i++)
        if (a[i] != b[i])
            return a[i] - b[i];
    return 0;
}

size_t strlen(const char *text)
{
    const char *end = text;

    while (*end)
        end++;
    return (size_t)(end - text);
}
