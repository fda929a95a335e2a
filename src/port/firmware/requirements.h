/*
 * What the core needs of lwIP, checked at compile time: one clear message instead of a device that
 * hangs once a month. Included by service.c, so that it is in every firmware; it needs no other
 * file of this port and may be included wherever lwip/opt.h can be.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_REQUIREMENTS_H
#define SC_REQUIREMENTS_H

#include "lwip/opt.h"

#include "lwip/init.h"

#if LWIP_VERSION_MAJOR != 2 || LWIP_VERSION_MINOR < 2
#error "socketcore: lwIP 2.2 is needed"
#endif
#if NO_SYS
#error "socketcore: set NO_SYS to 0: the netconn API is needed"
#endif
#if !LWIP_NETCONN
#error "socketcore: set LWIP_NETCONN to 1"
#endif
#if !LWIP_TCP || !LWIP_UDP || !LWIP_RAW || !LWIP_DNS
#error "socketcore: set LWIP_TCP, LWIP_UDP, LWIP_RAW and LWIP_DNS to 1"
#endif
#if !LWIP_TCPIP_CORE_LOCKING
#error "socketcore: set LWIP_TCPIP_CORE_LOCKING to 1: pcbs are looked at under the core lock"
#endif
#if !SYS_LIGHTWEIGHT_PROT
#error "socketcore: set SYS_LIGHTWEIGHT_PROT to 1: it guards what two threads share"
#endif
#if LWIP_NETCONN_FULLDUPLEX
#error "socketcore: set LWIP_NETCONN_FULLDUPLEX to 0: netconn_delete would leave pcbs behind"
#endif
#if !LWIP_CALLBACK_API
#error "socketcore: set LWIP_CALLBACK_API to 1"
#endif
#if LWIP_SO_LINGER
#error "socketcore: set LWIP_SO_LINGER to 0: socketcore lingers by itself, netconn_delete must not"
#endif
#if !LWIP_TCP_KEEPALIVE
#error "socketcore: set LWIP_TCP_KEEPALIVE to 1, else TCP_KEEPINTVL and TCP_KEEPCNT do nothing"
#endif
#if !SO_REUSE
#error "socketcore: set SO_REUSE to 1, else SO_REUSEADDR does nothing"
#endif
#if !LWIP_SO_RCVBUF
#error "socketcore: set LWIP_SO_RCVBUF to 1: it bounds what a UDP socket that is not read may hold"
#endif
#if DEFAULT_UDP_RECVMBOX_SIZE < 1 || DEFAULT_RAW_RECVMBOX_SIZE < 1
#error "socketcore: set DEFAULT_UDP_RECVMBOX_SIZE and DEFAULT_RAW_RECVMBOX_SIZE (default: 0)"
#endif

#if MEMP_MEM_MALLOC && LWIP_TIMERS && !LWIP_TIMERS_CUSTOM && !defined(SC_TIMERS_MAY_FAIL)
#error                                                                                             \
    "socketcore: with MEMP_MEM_MALLOC lwIP's timers assert when memory is out: set it to 0, or \
LWIP_TIMERS_CUSTOM to 1 and build src/port/host/timeouts.c; or define SC_TIMERS_MAY_FAIL"
#endif

/* With MEMP_MEM_MALLOC there are no pools to be too small. */
#if !MEMP_MEM_MALLOC
#if MEMP_NUM_TCP_SEG < TCP_SND_QUEUELEN || MEMP_NUM_PBUF < TCP_SND_QUEUELEN
#error "socketcore: MEMP_NUM_TCP_SEG and MEMP_NUM_PBUF must allow for TCP_SND_QUEUELEN"
#endif
#ifdef SC_DEFAULT_MAX_SOCKETS
#define SC_REQUIRED_SOCKETS SC_DEFAULT_MAX_SOCKETS
#else
#define SC_REQUIRED_SOCKETS 10
#endif
#if MEMP_NUM_NETCONN < SC_REQUIRED_SOCKETS || MEMP_NUM_TCP_PCB < SC_REQUIRED_SOCKETS
#error "socketcore: MEMP_NUM_NETCONN and MEMP_NUM_TCP_PCB are below the number of sockets"
#endif
#if MEMP_NUM_UDP_PCB < SC_REQUIRED_SOCKETS + 1
#error "socketcore: MEMP_NUM_UDP_PCB is below the number of sockets and one for DHCP"
#endif
#if PBUF_POOL_SIZE * PBUF_POOL_BUFSIZE / TCP_WND <= SC_REQUIRED_SOCKETS
#error "socketcore: receive windows of all sockets exceed the pool: unread data would block all"
#endif
#undef SC_REQUIRED_SOCKETS
#endif

#endif
