/*
 * The firmware configuration as it is, and what a test of it on a PC needs besides: room for the
 * peers, which live in the same lwIP, the loopback interface between the two, a hook that loses
 * packets, and numbers to compare.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_TEST_LWIPOPTS_H
#define SC_TEST_LWIPOPTS_H

#include "../../../src/port/firmware/lwipopts.h"

void test_lock_core(void);
void test_unlock_core(void);
void test_assert_core_locked(void);
#define LOCK_TCPIP_CORE() test_lock_core()
#define UNLOCK_TCPIP_CORE() test_unlock_core()
#define LWIP_ASSERT_CORE_LOCKED() test_assert_core_locked()
void test_mark_tcpip_thread(void);
#define LWIP_MARK_TCPIP_THREAD() test_mark_tcpip_thread()

#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 1
struct pbuf;
struct netif;
int test_lose_packet(struct pbuf *p, struct netif *netif);
#define LWIP_HOOK_IP4_INPUT(p, netif) test_lose_packet(p, netif)

#undef LWIP_STATS
#define LWIP_STATS 1
#define MEM_STATS 1
#define MEMP_STATS 1

#undef MEM_ALIGNMENT
#define MEM_ALIGNMENT 8
/* Structs are twice as large with pointers of 64 bits; packets on the loopback are in the heap,
 * while on a device they are in the driver's or in the pool. */
#undef MEM_SIZE
#define MEM_SIZE (256 * 1024)
#undef MEMP_NUM_TCP_PCB
#define MEMP_NUM_TCP_PCB 28
#undef MEMP_NUM_TCP_PCB_LISTEN
#define MEMP_NUM_TCP_PCB_LISTEN 8
#undef MEMP_NUM_TCP_SEG
#define MEMP_NUM_TCP_SEG 256
#undef MEMP_NUM_PBUF
#define MEMP_NUM_PBUF 128

/* SC_TEST_HEAP: everything by malloc, which is what AddressSanitizer can look into. */
#ifdef SC_TEST_HEAP
#include <stddef.h>
void *test_heap_malloc(size_t size);
void *test_heap_calloc(size_t count, size_t size);
void test_heap_free(void *memory);
#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC test_heap_malloc
#define MEM_CUSTOM_CALLOC test_heap_calloc
#define MEM_CUSTOM_FREE test_heap_free
#define MEMP_MEM_MALLOC 1
#define LWIP_TIMERS_CUSTOM 1
#undef LWIP_STATS
#define LWIP_STATS 0
#undef MEM_STATS
#undef MEMP_STATS
#endif

unsigned int sc_port_random(void);

#endif
