/*
 * lwIP on a PC. There is no tcpip thread: netconn_* calls run in the calling thread under the core
 * lock, and pump.c drives the timers and the link. Memory comes from malloc without limits by
 * pools; what one connection may hold is bounded by its window and its queues.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_HOST_LWIPOPTS_H
#define SC_HOST_LWIPOPTS_H

/* ---- threads and locks (sys_arch.c) ---- */

#define NO_SYS 0
#define SYS_LIGHTWEIGHT_PROT 1
#define LWIP_TCPIP_CORE_LOCKING 1
#define LWIP_TCPIP_CORE_LOCKING_INPUT 0

/* One recursive lock, cheap for the thread that has it already. */
void sc_core_lock(void);
void sc_core_unlock(void);
#define LOCK_TCPIP_CORE() sc_core_lock()
#define UNLOCK_TCPIP_CORE() sc_core_unlock()
void sc_core_assert_locked(void);
#ifdef SC_CHECK_LOCKS
#define LWIP_ASSERT_CORE_LOCKED() sc_core_assert_locked()
#endif

#define LWIP_NETCONN 1
#define LWIP_SOCKET 0
#define LWIP_NETCONN_FULLDUPLEX 0
#define LWIP_NETCONN_SEM_PER_THREAD 1
struct sc_semaphore *sc_thread_semaphore(void);
#define LWIP_NETCONN_THREAD_SEM_GET() sc_thread_semaphore()
#define LWIP_NETCONN_THREAD_SEM_ALLOC()
#define LWIP_NETCONN_THREAD_SEM_FREE()

/* ---- memory ---- */

#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC sc_lwip_malloc
#define MEM_CUSTOM_CALLOC sc_lwip_calloc
#define MEM_CUSTOM_FREE sc_lwip_free
#include <stddef.h>
void *sc_lwip_malloc(size_t size);
void *sc_lwip_calloc(size_t count, size_t size);
void sc_lwip_free(void *memory);
#define MEMP_MEM_MALLOC 1
/* timeouts.c: lwIP's own timers assert when memory is out. */
#define LWIP_TIMERS_CUSTOM 1
#define MEM_ALIGNMENT 8
/* Its emergency would go through the mbox of a tcpip thread. */
#define PBUF_POOL_FREE_OOSEQ 0
/* A pbuf is counted in every segment that refers to it; one byte is too small for a long queue of
 * segments that were cut from one block. */
#define LWIP_PBUF_REF_T u16_t
#define LWIP_STATS 0

/* Mailboxes grow as they are used (sys_arch.c), so these cost nothing until they fill. A full one
 * stalls a connection (recv_tcp in api/api_msg.c returns ERR_MEM), thus the room for a window of
 * small segments. */
#define DEFAULT_TCP_RECVMBOX_SIZE 4096
#define DEFAULT_UDP_RECVMBOX_SIZE 4096
#define DEFAULT_RAW_RECVMBOX_SIZE 4096
#define DEFAULT_ACCEPTMBOX_SIZE 16

/* ---- protocols ---- */

#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ARP 1
#define LWIP_ICMP 1
#define LWIP_ICMP6 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_RAW 1
#define LWIP_DNS 1
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_IGMP 0
#define LWIP_IPV6_MLD 0

/* Addresses are static. The link's own router advertisements have nothing to add. */
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_NUM_DESTINATIONS 100
#define LWIP_ND6_NUM_NEIGHBORS 32

/* 127.0.0.0/8 and ::1 are the host's, reached through the link like any other address. */
#define LWIP_NETIF_LOOPBACK 0
#define LWIP_HAVE_LOOPIF 0
#define LWIP_HOOK_FILENAME "lwip_hooks.h"
#define LWIP_HOOK_IP4_ROUTE(dest) sc_route_ip4(dest)
#define LWIP_HOOK_ND6_GET_GW(netif, dest) sc_gateway_ip6(netif, dest)

/* Datagrams of 65507 bytes over the smallest usual MTU, several at a time. */
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 1024
#define IP_REASS_MAXAGE 5
#define LWIP_IPV6_REASS 1
#define LWIP_IPV6_FRAG 1
/* With 64-bit pointers the bookkeeping does not fit into a fragment's own header. */
#define IPV6_FRAG_COPYHEADER 1

#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64
#define ARP_TABLE_SIZE 64

/* ---- checksums: generated here, and on a link inside this process not verified ---- */

#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
unsigned short sc_checksum(const void *data, int length);
#define LWIP_CHKSUM sc_checksum

/* ---- TCP ---- */

/* With the slirp link these sizes belong together: an MTU of 16424, an MSS that divides slirp's
 * buffers of 131072 bytes (any other makes slirp allocate and touch them for each connection). The
 * MSS exceeds what lwIP's sanity checks accept, because they compute a default for TCP_SNDLOWAT
 * that is not used here. */
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1
#define TCP_MSS 16384
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
#define TCP_WND (256 * 1024)
#define TCP_WND_UPDATE_THRESHOLD 8192
#define TCP_SND_BUF (256 * 1024)
#define TCP_SND_QUEUELEN 4096
/* The engine wants SENDPLUS on every ACK (sent_tcp in api/api_msg.c is silent below these). */
#define TCP_SNDLOWAT 1
#define TCP_SNDQUEUELOWAT (TCP_SND_QUEUELEN - 1)
/* Room that a copied write reserves behind itself for the next one. */
#define TCP_OVERSIZE 1024
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
/* Every connect looks through the pcbs in TIME_WAIT for a free port. */
#define TCP_MSL 100
#define LWIP_TCP_KEEPALIVE 1
#define SO_REUSE 1
#define LWIP_SO_RCVBUF 1

/* ---- DNS: lwIP keeps the servers and the host list, dns_all.c asks ---- */

#define DNS_TABLE_SIZE 1
#define DNS_MAX_SERVERS 3
#define DNS_MAX_NAME_LENGTH 256
#define DNS_LOCAL_HOSTLIST 1
#define DNS_LOCAL_HOSTLIST_IS_DYNAMIC 1

/* ---- randomness and complaints (sys_arch.c) ---- */

unsigned int sc_random(void);
#define LWIP_RAND() sc_random()
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) sc_random()
void sc_lwip_abort(const char *message, const char *file, int line);
#define LWIP_PLATFORM_ASSERT(message) sc_lwip_abort(message, __FILE__, __LINE__)

#endif
