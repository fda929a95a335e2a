/*
 * The relay's packets: what is taken for TCP, copies that are whole whatever the sender's pbufs
 * look like, and chunks that live exactly as long as something refers to them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "relay_packet.h"

#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"

#define IP4_HEADERS (sizeof(struct ip_hdr) + sizeof(struct tcp_hdr))
#define IP6_HEADERS (sizeof(struct ip6_hdr) + sizeof(struct tcp_hdr))

static unsigned char pattern[SC_CHUNK_MAX];

static int fill_pattern(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (unsigned char)(i * 7 + i / 256);
    return 0;
}

static void fill_tcp(struct tcp_hdr *tcp)
{
    memset(tcp, 0, sizeof(*tcp));
    tcp->src = lwip_htons(49152);
    tcp->dest = lwip_htons(80);
    TCPH_HDRLEN_FLAGS_SET(tcp, 5, TCP_SYN | TCP_ECE);
}

/* An IPv4 packet's headers, and `length` bytes of room for data in the same pbuf. */
static struct pbuf *make_ip4(size_t length)
{
    struct pbuf *packet = pbuf_alloc(PBUF_RAW, (u16_t)(IP4_HEADERS + length), PBUF_RAM);
    struct ip_hdr *ip = packet->payload;

    memset(ip, 0, sizeof(*ip));
    IPH_VHL_SET(ip, 4, 5);
    IPH_PROTO_SET(ip, IP_PROTO_TCP);
    IP4_ADDR(&ip->src, 10, 0, 2, 15);
    IP4_ADDR(&ip->dest, 192, 0, 2, 1);
    fill_tcp((struct tcp_hdr *)(ip + 1));
    return packet;
}

static struct pbuf *make_ip6(void)
{
    struct pbuf *packet = pbuf_alloc(PBUF_RAW, IP6_HEADERS, PBUF_RAM);
    struct ip6_hdr *ip = packet->payload;

    memset(ip, 0, sizeof(*ip));
    IP6H_VTCFL_SET(ip, 6, 0, 0);
    IP6H_NEXTH_SET(ip, IP6_NEXTH_TCP);
    fill_tcp((struct tcp_hdr *)(ip + 1));
    return packet;
}

static void assert_same(const struct pbuf *a, const struct pbuf *b)
{
    static unsigned char flat_a[UINT16_MAX];
    static unsigned char flat_b[UINT16_MAX];

    assert_int_equal(a->tot_len, b->tot_len);
    pbuf_copy_partial(a, flat_a, a->tot_len, 0);
    pbuf_copy_partial(b, flat_b, b->tot_len, 0);
    assert_memory_equal(flat_a, flat_b, a->tot_len);
}

/* ---- looking ---- */

static void test_only_whole_tcp_packets_are_taken(void **unused)
{
    struct pbuf *ip4 = make_ip4(0);
    struct pbuf *ip6 = make_ip6();
    struct ip_hdr *header = ip4->payload;

    (void)unused;
    assert_true(sc_packet_is_tcp(ip4));
    assert_true(sc_packet_is_tcp(ip6));
    IPH_OFFSET_SET(header, PP_HTONS(IP_MF));
    assert_false(sc_packet_is_tcp(ip4));
    IPH_OFFSET_SET(header, PP_HTONS(100));
    assert_false(sc_packet_is_tcp(ip4));
    IPH_OFFSET_SET(header, PP_HTONS(IP_DF));
    assert_true(sc_packet_is_tcp(ip4));
    IPH_PROTO_SET(header, IP_PROTO_UDP);
    assert_false(sc_packet_is_tcp(ip4));
    IP6H_NEXTH_SET((struct ip6_hdr *)ip6->payload, IP6_NEXTH_ICMP6);
    assert_false(sc_packet_is_tcp(ip6));
    IPH_PROTO_SET(header, IP_PROTO_TCP);
    pbuf_realloc(ip4, IP4_HEADERS - 1);
    assert_false(sc_packet_is_tcp(ip4));
    pbuf_free(ip4);
    pbuf_free(ip6);
}

static void test_the_headers_are_read(void **unused)
{
    struct pbuf *packet = make_ip4(0);
    struct sc_packet_info info = sc_packet_inspect(packet);

    (void)unused;
    assert_int_equal(info.source_port, 49152);
    assert_int_equal(info.destination_port, 80);
    assert_int_equal(info.flags & (TCP_SYN | TCP_ACK), TCP_SYN);
    assert_string_equal(ipaddr_ntoa(&info.source), "10.0.2.15");
    assert_string_equal(ipaddr_ntoa(&info.destination), "192.0.2.1");
    pbuf_free(packet);
}

/* ---- copying ---- */

static void test_a_copy_is_whole_at_every_size(void **unused)
{
    static const size_t sizes[] = { 0, 1, 511, 8191, 8192, 8193, 16384, 40000, 65000 };

    (void)unused;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct pbuf *packet = make_ip4(sizes[i]);
        memcpy((char *)packet->payload + IP4_HEADERS, pattern, sizes[i]);
        struct pbuf *copy = sc_packet_copy(packet, NULL);
        assert_non_null(copy);
        assert_same(packet, copy);
        /* The headers stay in one piece: lwIP reads them through a pointer. */
        assert_true(copy->len >= IP4_HEADERS);
        pbuf_free(copy);
        pbuf_free(packet);
    }
    sc_packet_stop();
}

/* lwIP keeps a SYN, a FIN and data, and writes into their headers when it sends them again. */
static void test_only_what_is_never_sent_again_is_passed_on_as_it_is(void **unused)
{
    static const struct {
        u8_t flags;
        size_t length;
        bool is_copied;
    } cases[] = {
        { TCP_ACK, 0, false },          { TCP_RST | TCP_ACK, 0, false }, { TCP_SYN, 0, true },
        { TCP_SYN | TCP_ACK, 0, true }, { TCP_FIN | TCP_ACK, 0, true },  { TCP_ACK, 1, true },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pbuf *packet = make_ip4(cases[i].length);
        memset((char *)packet->payload + IP4_HEADERS, 0, cases[i].length);
        TCPH_HDRLEN_FLAGS_SET((struct tcp_hdr *)((struct ip_hdr *)packet->payload + 1), 5,
                              cases[i].flags);
        struct pbuf *copy = sc_packet_copy(packet, NULL);
        assert_int_equal(copy != packet, cases[i].is_copied);
        assert_int_equal(packet->ref, cases[i].is_copied ? 1 : 2);
        pbuf_free(copy);
        pbuf_free(packet);
    }
}

static void test_copies_on_their_way_do_not_overwrite_each_other(void **unused)
{
    enum { COUNT = 40, SIZE = 11200 };
    struct pbuf *copies[COUNT];

    (void)unused;
    for (int i = 0; i < COUNT; i++) {
        struct pbuf *packet = make_ip4(SIZE);
        memset((char *)packet->payload + IP4_HEADERS, i, SIZE);
        copies[i] = sc_packet_copy(packet, NULL);
        pbuf_free(packet);
        /* Every third is done with at once: what it took may be used again, nothing else. */
        if (i % 3 == 0) {
            pbuf_free(copies[i]);
            copies[i] = NULL;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        if (!copies[i])
            continue;
        for (u16_t at = IP4_HEADERS; at < copies[i]->tot_len; at++)
            assert_int_equal(pbuf_get_at(copies[i], at), i);
        pbuf_free(copies[i]);
    }
    sc_packet_stop();
}

/* A packet as tcp_write makes them of memory that stays: headers, then references. */
static struct pbuf *refer(const void *data, size_t length)
{
    struct pbuf *packet = make_ip4(0);
    struct pbuf *reference = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_REF);

    reference->payload = (void *)(uintptr_t)data;
    pbuf_cat(packet, reference);
    return packet;
}

static void test_data_in_a_chunk_is_referred_to_and_keeps_it(void **unused)
{
    struct sc_chunk *first = sc_chunk_new(100);
    struct sc_chunk *second = sc_chunk_new(SC_CHUNK_MAX);

    (void)unused;
    first->next = second;
    first->length = 100;
    second->length = SC_CHUNK_MAX;
    memcpy(second->data, pattern, SC_CHUNK_MAX);
    struct pbuf *packet = refer(second->data + 1000, 2000);
    struct pbuf *copy = sc_packet_copy(packet, first);
    assert_same(packet, copy);
    assert_ptr_equal(copy->next->payload, second->data + 1000);
    assert_int_equal(second->refs, 2);
    pbuf_free(packet);
    /* The owner is through with it before the packet is. */
    sc_chunk_drop(first);
    sc_chunk_drop(second);
    assert_int_equal(second->refs, 1);
    assert_memory_equal(copy->next->payload, pattern + 1000, 2000);
    pbuf_free(copy);
    sc_packet_stop();
}

static void test_data_elsewhere_is_copied(void **unused)
{
    struct sc_chunk *chunk = sc_chunk_new(100);
    struct pbuf *packet = refer(pattern, 3000);
    struct pbuf *copy;

    (void)unused;
    chunk->length = 100;
    copy = sc_packet_copy(packet, chunk);
    assert_same(packet, copy);
    assert_int_equal(chunk->refs, 1);
    assert_null(copy->next);
    pbuf_free(copy);
    pbuf_free(packet);
    sc_chunk_drop(chunk);
    sc_packet_stop();
}

static void test_a_little_data_gets_a_little_memory(void **unused)
{
    struct sc_chunk *little = sc_chunk_new(64);
    struct sc_chunk *much = sc_chunk_new(30000);

    (void)unused;
    assert_int_equal(little->size, 64);
    assert_int_equal(much->size, SC_CHUNK_MAX);
    sc_chunk_drop(little);
    sc_chunk_drop(much);
    sc_packet_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_whole_tcp_packets_are_taken),
        cmocka_unit_test(test_the_headers_are_read),
        cmocka_unit_test(test_a_copy_is_whole_at_every_size),
        cmocka_unit_test(test_only_what_is_never_sent_again_is_passed_on_as_it_is),
        cmocka_unit_test(test_copies_on_their_way_do_not_overwrite_each_other),
        cmocka_unit_test(test_data_in_a_chunk_is_referred_to_and_keeps_it),
        cmocka_unit_test(test_data_elsewhere_is_copied),
        cmocka_unit_test(test_a_little_data_gets_a_little_memory),
    };

    return cmocka_run_group_tests(tests, fill_pattern, NULL);
}
