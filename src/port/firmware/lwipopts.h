/*
 * lwIP 2.2 on a small target: 256 KB of RAM, 10 sockets, a tcpip thread of its own, fixed pools.
 * Start from this file or carry its first two parts into your own; requirements.h says at compile
 * time what the core cannot do without.
 *
 * What it takes: 78 KB of receive buffers, 48 KB of heap (sends under way, headers, the sockets
 * themselves), 12 KB of pools. TLS takes its memory from mbedTLS's allocator, not from here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SC_FIRMWARE_LWIPOPTS_H
#define SC_FIRMWARE_LWIPOPTS_H

/* ---- what the core needs ---- */

#define NO_SYS 0
#define LWIP_NETCONN 1
#define LWIP_SOCKET 0
#define SYS_LIGHTWEIGHT_PROT 1
/* The engine looks at pcbs under the core lock, which exists only with this. */
#define LWIP_TCPIP_CORE_LOCKING 1
/* With it netconn_delete after a FIN can leave the pcb behind (netconn_delete, api/api_lib.c). */
#define LWIP_NETCONN_FULLDUPLEX 0
#define LWIP_CALLBACK_API 1
#define LWIP_TCP 1
#define LWIP_UDP 1
#define LWIP_RAW 1
#define LWIP_DNS 1
#define LWIP_TCP_KEEPALIVE 1
#define SO_REUSE 1
#define LWIP_SO_RCVBUF 1
/* Of your own netconns and sockets; socketcore's TCP has none. sent_tcp (api/api_msg.c) tells
 * nobody of an ACK while less than this is free, and the defaults leave half of the send buffer:
 * with a small one that is stop-and-wait. */
#define TCP_SNDLOWAT 1
#define TCP_SNDQUEUELOWAT (TCP_SND_QUEUELEN - 1)

/* ---- threads ---- */

/* Stack sizes in bytes, as lwIP's own port for FreeRTOS takes them (contrib/ports/freertos); where
 * sys_thread_new takes words (LWIP_FREERTOS_THREAD_STACKSIZE_IS_STACKWORDS, some vendors' ports)
 * divide them by 4. A TLS handshake needs most of the service thread's; without TLS 2048 will do.
 * The order of the priorities matters: the tcpip thread above the service thread, which for seconds
 * may be in a TLS handshake; the script thread where you like, but a script that computes for ever
 * must not starve the two. */
#define TCPIP_THREAD_STACKSIZE 2048
#define TCPIP_THREAD_PRIO 5
#define SC_SERVICE_STACKSIZE 8192
#define SC_SERVICE_PRIO 4
#define TCPIP_MBOX_SIZE 16
#define DEFAULT_THREAD_STACKSIZE 2048
#define DEFAULT_THREAD_PRIO 3

/* ---- TCP ---- */

#define TCP_MSS 1460
/* Also what socketcore.config().recv_buffer starts with: four segments. */
#define TCP_WND (4 * TCP_MSS)
#define TCP_SND_BUF (4 * TCP_MSS)
/* The engine writes without copying: each piece of a send is a header pbuf and one that points at
 * the script's data, and a send begins a new piece. */
#define TCP_SND_QUEUELEN 16
#define TCP_QUEUE_OOSEQ 1
/* One connection with holes in its data must not keep the others' receive buffers. */
#define TCP_OOSEQ_MAX_PBUFS 4
/* tcp_slowtmr (core/tcp.c) gives up after so many: about 20 s for a SYN, a minute for data. */
#define TCP_SYNMAXRTX 6
#define TCP_MAXRTX 8

/* ---- mailboxes: each slot is a pointer, in every connection ---- */

/* Of your own netconns and sockets; socketcore's TCP has no mailbox. Far more than the segments of
 * a window, because segments can be short: when it is full lwIP parks one pbuf, drops what follows
 * and looks again after up to 250 ms. */
#define DEFAULT_TCP_RECVMBOX_SIZE 32
/* A datagram that finds it full is lost. */
#define DEFAULT_UDP_RECVMBOX_SIZE 4
#define DEFAULT_RAW_RECVMBOX_SIZE 4
/* Of your own servers; socketcore has none. */
#define DEFAULT_ACCEPTMBOX_SIZE 2

/* ---- memory ---- */

#define MEM_ALIGNMENT 4
/* Sends that were accepted and not confirmed (send_buffer of each socket may well add up to more:
 * sock_send says ERR_ENOMEM then), headers of segments, slots and names of the sockets. */
#define MEM_SIZE (48 * 1024)
/* Receive buffers. All windows unread and full must leave some over, or no ACK gets in any more
 * and nothing moves: 10 sockets of 4 segments, and 12. */
#define PBUF_POOL_SIZE 52
#define PBUF_POOL_BUFSIZE LWIP_MEM_ALIGN_SIZE(TCP_MSS + 40 + PBUF_LINK_HLEN)
/* Pbufs that point at data elsewhere: what is written and not acknowledged. */
#define MEMP_NUM_PBUF 48
#define MEMP_NUM_TCP_SEG 48
/* Ten sockets, and four for those that are closed here and not yet by their peer; the core ends
 * the oldest of these when a new socket finds none left. Connections in TIME_WAIT need no room:
 * tcp_alloc (core/tcp.c) takes the oldest when there is none. */
#define MEMP_NUM_TCP_PCB 14
#define MEMP_NUM_TCP_PCB_LISTEN 2
/* Ten sockets, which look up their names before they open, and one for DHCP. */
#define MEMP_NUM_UDP_PCB 11
/* One is for the ICMP errors of DNS servers, while a lookup is under way. */
#define MEMP_NUM_RAW_PCB 2
#define MEMP_NUM_NETCONN 14
/* Received datagrams that were not read. */
#define MEMP_NUM_NETBUF 8
#define MEMP_NUM_TCPIP_MSG_API 4
#define MEMP_NUM_TCPIP_MSG_INPKT 16
/* lwIP asserts when there is no timer left (sys_timeout_abs, core/timeouts.c). The default has one
 * for each of lwIP's own; add one for each sys_timeout of yours that may be pending (SNTP, MDNS):
 * #define MEMP_NUM_SYS_TIMEOUT (LWIP_NUM_SYS_TIMEOUT_INTERNAL + 1) */

/* ---- the rest ---- */

#define LWIP_IPV4 1
#define LWIP_IPV6 0
#define LWIP_ICMP 1
#define LWIP_DHCP 1
/* Whether somebody else has the address is the server's affair; lwIP's check takes 7 s at each boot
 * before the interface is usable. */
#define LWIP_DHCP_DOES_ACD_CHECK 0
#define IP_REASSEMBLY 1
#define IP_REASS_MAX_PBUFS 8
#define MEMP_NUM_REASSDATA 2
#define IP_FRAG 1
#define ARP_QUEUEING 1
/* lwIP keeps the DNS servers, which socketcore asks by itself. The table is for other users of
 * lwIP's own DNS client. */
#define DNS_TABLE_SIZE 1
#define DNS_MAX_NAME_LENGTH 128
#define LWIP_STATS 0

/* Random numbers guard against forged DNS answers and TCP segments: supply your hardware's. */
#ifndef LWIP_RAND
unsigned int sc_port_random(void);
#define LWIP_RAND() sc_port_random()
#endif

#endif
