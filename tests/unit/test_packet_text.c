/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets in, text out. Every packet is tried at every shorter length too. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "abi/event.h"
#include "codec.h"
#include "packet.h"
#include "rig.h"

#define MACS                                                                                                           \
	"020000000002"                                                                                                 \
	"020000000001"
#define SRC4 "0a010002"
#define DST4 "0a010003"
#define SRC6 "fd000000000000000000000000000002"
#define DST6 "fd000000000000000000000000000003"
/* version/ihl, tos, total length, id, fragment field, ttl, protocol, checksum */
#define IP4(ihl, len, id, frag, proto) MACS "0800" ihl "00" len id frag "40" proto "0000" SRC4 DST4
#define IP6(next)                                                                                                      \
	MACS "86dd"                                                                                                    \
	     "60000000"                                                                                                \
	     "0020" next "40" SRC6 DST6
#define TCP(flags)                                                                                                     \
	"1234"                                                                                                         \
	"0050"                                                                                                         \
	"00000001"                                                                                                     \
	"00000002"                                                                                                     \
	"50" flags "ffff"                                                                                              \
	"0000"                                                                                                         \
	"0000"
#define UDP                                                                                                            \
	"1234"                                                                                                         \
	"0035"                                                                                                         \
	"0008"                                                                                                         \
	"0000"

static const struct {
	const char *name, *hex, *text, *json;
	bool macs;
} packets[] = {
	{ "tcp v4", IP4("45", "0028", "0000", "4000", "06") TCP("02"), "10.1.0.2:4660 > 10.1.0.3:80 TCP SYN",
	  "{\"source\": \"10.1.0.2\", \"source_port\": 4660, \"protocol\": \"tcp\", \"tcp_flags\": \"SYN\", "
	  "\"hop_limit\": 64}" },
	{ "tcp v6", IP6("06") TCP("12"), "[fd00::2]:4660 > [fd00::3]:80 TCP SYN,ACK",
	  "{\"destination\": \"fd00::3\", \"destination_port\": 80, \"ethertype\": \"0x86dd\"}" },
	{ "tcp no flags", IP4("45", "0028", "0000", "0000", "06") TCP("00"), "10.1.0.2:4660 > 10.1.0.3:80 TCP none",
	  "{}" },
	{ "tcp data offset",
	  IP6("06") "1234"
		    "0050"
		    "00000001"
		    "00000002"
		    "40"
		    "02"
		    "ffff"
		    "0000"
		    "0000",
	  "[fd00::2]:4660 > [fd00::3]:80 TCP SYN (TCP header contradicts itself)",
	  "{\"contradicts_itself\": \"TCP\"}" },
	{ "udp v4 with macs", IP4("45", "001c", "0000", "0000", "11") UDP,
	  "02:00:00:00:00:01 > 02:00:00:00:00:02 10.1.0.2:4660 > 10.1.0.3:53 UDP",
	  "{\"source_mac\": \"02:00:00:00:00:01\", \"destination_mac\": \"02:00:00:00:00:02\"}", true },
	{ "udp v6", IP6("11") UDP, "[fd00::2]:4660 > [fd00::3]:53 UDP", "{\"protocol\": \"udp\"}" },
	{ "sctp v4",
	  IP4("45", "0020", "0000", "0000", "84") "1234"
						  "0050"
						  "00000000"
						  "00000000",
	  "10.1.0.2:4660 > 10.1.0.3:80 SCTP", "{\"protocol\": \"sctp\"}" },
	{ "unknown protocol", IP4("45", "0020", "0000", "0000", "fe") "00", "10.1.0.2 > 10.1.0.3 protocol 254",
	  "{\"protocol\": 254}" },
	{ "echo v4",
	  IP4("45", "001c", "0000", "0000", "01") "0800"
						  "0000"
						  "0005"
						  "0001",
	  "10.1.0.2 > 10.1.0.3 ICMP echo request id 5 seq 1",
	  "{\"echo_id\": 5, \"echo_sequence\": 1, \"icmp_type\": 8}" },
	{ "echo v6",
	  IP6("3a") "8100"
		    "0000"
		    "0005"
		    "0001",
	  "fd00::2 > fd00::3 ICMPv6 echo reply id 5 seq 1", "{\"protocol\": \"icmpv6\", \"icmp_type\": 129}" },
	{ "unreachable v4",
	  IP4("45", "001c", "0000", "0000", "01") "0303"
						  "0000"
						  "00000000",
	  "10.1.0.2 > 10.1.0.3 ICMP destination unreachable code 3", "{\"icmp_code\": 3}" },
	{ "unknown icmp v6",
	  IP6("3a") "c800"
		    "0000"
		    "00000000",
	  "fd00::2 > fd00::3 ICMPv6 type 200", "{}" },
	{ "solicitation",
	  IP6("3a") "8700"
		    "0000"
		    "00000000"
		    "fe800000000000000000000000000001",
	  "fd00::2 > fd00::3 ICMPv6 neighbour solicitation for fe80::1", "{\"neighbour\": \"fe80::1\"}" },
	{ "first fragment v4", IP4("45", "001c", "1234", "2000", "11") UDP,
	  "10.1.0.2:4660 > 10.1.0.3:53 UDP, first fragment id 4660 offset 0",
	  "{\"fragment\": {\"id\": 4660, \"offset\": 0, \"more\": true}}" },
	{ "last fragment v4", IP4("45", "001c", "1234", "00b9", "11") UDP,
	  "10.1.0.2 > 10.1.0.3 UDP, last fragment id 4660 offset 1480",
	  "{\"fragment\": {\"id\": 4660, \"offset\": 1480, \"more\": false}}" },
	{ "middle fragment v6",
	  IP6("2c") "11"
		    "00"
		    "05a9"
		    "12345678"
		    "0011",
	  "fd00::2 > fd00::3 UDP, IPv6 headers fragment, middle fragment id 305419896 offset 1448",
	  "{\"ipv6_headers\": [\"fragment\"], \"fragment\": {\"id\": 305419896, \"offset\": 1448, \"more\": true}}" },
	{ "ipv4 options", IP4("47", "0030", "0000", "0000", "06") "0000000000000000" TCP("10"),
	  "10.1.0.2:4660 > 10.1.0.3:80 TCP ACK, 8 bytes of IPv4 options", "{\"ipv4_option_bytes\": 8}" },
	{ "chain of headers",
	  IP6("00") "2b00000000000000"
		    "3c00000000000000"
		    "0600000000000000" TCP("01"),
	  "[fd00::2]:4660 > [fd00::3]:80 TCP FIN, IPv6 headers hop-by-hop+routing+destination",
	  "{\"ipv6_headers\": [\"hop-by-hop\", \"routing\", \"destination\"]}" },
	{ "authentication header",
	  IP6("33") "0604000000000000"
		    "0000000000000000"
		    "0000000000000000" TCP("02"),
	  "[fd00::2]:4660 > [fd00::3]:80 TCP SYN, IPv6 headers authentication", "{}" },
	{ "ten headers",
	  IP6("3c") "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "3c00000000000000"
		    "1100000000000000" UDP,
	  "[fd00::2]:4660 > [fd00::3]:53 UDP, IPv6 headers destination+destination+destination+destination+destination+"
	  "destination+destination+destination",
	  "{}" },
	{ "arp request",
	  MACS "0806"
	       "0001"
	       "0800"
	       "06"
	       "04"
	       "0001"
	       "020000000001" SRC4 "000000000000" DST4,
	  "ARP request: who has 10.1.0.3? tell 10.1.0.2",
	  "{\"sender\": \"10.1.0.2\", \"target\": \"10.1.0.3\", \"arp_operation\": 1}" },
	{ "arp reply",
	  MACS "0806"
	       "0001"
	       "0800"
	       "06"
	       "04"
	       "0002"
	       "020000000009" SRC4 "000000000000" DST4,
	  "ARP reply: 10.1.0.2 is at 02:00:00:00:00:09", "{\"sender_mac\": \"02:00:00:00:00:09\"}" },
	{ "arp of something else",
	  MACS "0806"
	       "0006"
	       "0800"
	       "06"
	       "04"
	       "0001"
	       "020000000001" SRC4 "000000000000" DST4,
	  "02:00:00:00:00:01 > 02:00:00:00:00:02 ethertype 0x0806 (ARP header contradicts itself)", "{}" },
	{ "vlan",
	  MACS "8100"
	       "000c"
	       "0800"
	       "45000028"
	       "00000000"
	       "4006"
	       "0000" SRC4 DST4 TCP("02"),
	  "VLAN 12 10.1.0.2:4660 > 10.1.0.3:80 TCP SYN", "{\"vlan\": 12, \"ethertype\": \"0x0800\"}" },
	{ "unknown ethertype",
	  MACS "88cc"
	       "00",
	  "02:00:00:00:00:01 > 02:00:00:00:00:02 ethertype 0x88cc", "{}" },
	{ "ipv4 version", IP4("65", "0028", "0000", "0000", "06"),
	  "10.1.0.2 > 10.1.0.3 (IPv4 header contradicts itself)", "{}" },
	{ "ipv4 header length", IP4("44", "0028", "0000", "0000", "06"),
	  "10.1.0.2 > 10.1.0.3 (IPv4 header contradicts itself)", "{}" },
	{ "ipv4 total length", IP4("45", "0013", "0000", "0000", "06"),
	  "10.1.0.2 > 10.1.0.3 (IPv4 header contradicts itself)", "{}" },
	{ "ipv6 version",
	  MACS "86dd"
	       "40000000"
	       "0020"
	       "06"
	       "40" SRC6 DST6,
	  "fd00::2 > fd00::3 (IPv6 header contradicts itself)", "{\"contradicts_itself\": \"IPv6\"}" },
	{ "cut tcp", IP4("45", "0028", "0000", "0000", "06") "12340050", "10.1.0.2 > 10.1.0.3 TCP (ends within TCP)",
	  "{\"ends_within\": \"TCP\"}" },
	{ "cut extension header", IP6("00") "0604",
	  "fd00::2 > fd00::3, IPv6 headers hop-by-hop (ends within IPv6 extension header)", "{}" },
	{ "cut ethernet", "0200", "(ends within Ethernet)", "{\"ends_within\": \"Ethernet\"}" },
	{ "nothing", "", "(ends within Ethernet)", "{}" },
};
#define COUNT (sizeof(packets) / sizeof(packets[0]))

static size_t bytes_of(const char *hex, uint8_t *data)
{
	size_t size = strlen(hex) / 2;

	assert_int_equal(hex_parse(hex, data, size), 0);
	return size;
}

static void test_text(void **state)
{
	for (size_t i = 0; i < COUNT; i++) {
		uint8_t data[256];
		size_t size = bytes_of(packets[i].hex, data);
		json_auto_t *expected = json_loads(packets[i].json, 0, NULL), *have;
		char text[PACKET_TEXT_MAX];
		struct packet p;
		const char *key;
		json_t *value;

		packet_parse(&p, NULL, NULL, data, size);
		packet_format(&p, packets[i].macs, text, sizeof(text));
		if (strcmp(text, packets[i].text) != 0)
			fail_msg("%s: '%s', not '%s'", packets[i].name, text, packets[i].text);
		have = packet_json(&p);
		assert_non_null(expected);
		json_object_foreach(expected, key, value) {
			if (!json_equal(value, json_object_get(have, key)))
				fail_msg("%s: %s differs", packets[i].name, key);
		}
	}
}

/* The bytes are copied into a block of exactly their size, so that a sanitiser sees a read beyond them. */
static void test_every_length(void **state)
{
	for (size_t i = 0; i < COUNT; i++) {
		uint8_t data[256];
		size_t size = bytes_of(packets[i].hex, data);

		for (size_t n = 0; n <= size; n++) {
			uint8_t *exact = malloc(n ?: 1);
			char text[PACKET_TEXT_MAX];
			struct packet p;

			memcpy(exact, data, n);
			packet_parse(&p, NULL, NULL, exact, n);
			free(exact);
			packet_format(&p, true, text, sizeof(text));
			json_decref(packet_json(&p));
			if (n < 14)
				assert_string_equal(text, "(ends within Ethernet)");
		}
	}
}

/* The text is cut, never overrun, and always ends. */
static void test_small_buffers(void **state)
{
	uint8_t data[256];
	char whole[PACKET_TEXT_MAX];
	struct packet p;

	packet_parse(&p, NULL, NULL, data, bytes_of(packets[0].hex, data));
	packet_format(&p, true, whole, sizeof(whole));
	for (size_t n = 1; n <= strlen(whole) + 1; n++) {
		char *small = malloc(n);

		packet_format(&p, true, small, n);
		assert_int_equal(strlen(small), n - 1);
		assert_memory_equal(small, whole, n - 1);
		free(small);
	}
}

static void test_protocol_names(void **state)
{
	uint8_t proto;

	assert_int_equal(l4_proto_parse("tcp", &proto), 0);
	assert_int_equal(proto, 6);
	assert_int_equal(l4_proto_parse("254", &proto), 0);
	assert_int_equal(proto, 254);
	assert_int_equal(l4_proto_parse("256", &proto), -22);
	assert_int_equal(l4_proto_parse("", &proto), -22);
	assert_int_equal(l4_proto_parse("6x", &proto), -22);
	assert_null(l4_proto_name(254));
	assert_string_equal(icmp_type_name(AF_INET, 11), "time exceeded");
	assert_string_equal(icmp_type_name(AF_INET6, 3), "time exceeded");
}

static void test_flag_names(void **state)
{
	assert_int_equal(tcp_flag_parse("fin"), 0);
	assert_int_equal(tcp_flag_parse("SYN"), 1);
	assert_int_equal(tcp_flag_parse("cwr"), 7);
	assert_int_equal(tcp_flag_parse("sy"), -22);
	assert_int_equal(tcp_flag_parse(""), -22);
}

/* --- synthetic packets of `trace` --- */

/* The headers that another node adds to a frame, and the bytes that an event captures. */
static const struct {
	const char *outer[2], *inner[2];
	uint64_t identity;
	size_t captured; /* 0: all */
	const char *text;
} tunnels[] = {
	{ { "192.0.2.1", "192.0.2.2" }, { "10.1.0.2", "10.2.0.3" }, 0x0200000000000001ull, 0,
	  "192.0.2.1:50000 > 192.0.2.2:6081 UDP, Geneve VNI 5 identity 0x0200000000000001: 10.1.0.2:7 > 10.2.0.3:80 TCP SYN" },
	{ { "2001:db8::1", "2001:db8::2" }, { "fd00:1::2", "fd00:2::3" }, WR_ID_REMOTE_NODE, 0,
	  "[2001:db8::1]:50000 > [2001:db8::2]:6081 UDP, Geneve VNI 5 identity remote-node: [fd00:1::2]:7 > [fd00:2::3]:80 TCP SYN" },
	{ { "192.0.2.1", "192.0.2.2" }, { "10.1.0.2", "10.2.0.3" }, WR_ID_WORLD, 112,
	  "192.0.2.1:50000 > 192.0.2.2:6081 UDP, Geneve VNI 5 identity world: 10.1.0.2:7 > 10.2.0.3:80 TCP SYN"
	  " (ends within inner TCP)" },
	{ { "192.0.2.1", "192.0.2.2" }, { "fd00:1::2", "fd00:2::3" }, WR_ID_WORLD, 112,
	  "192.0.2.1:50000 > 192.0.2.2:6081 UDP, Geneve VNI 5 identity world: fd00:1::2 > ? TCP (ends within inner IPv6)" },
	{ { "2001:db8::1", "2001:db8::2" }, { "10.1.0.2", "10.2.0.3" }, WR_ID_WORLD, 112,
	  "[2001:db8::1]:50000 > [2001:db8::2]:6081 UDP, Geneve VNI 5 identity world: 10.1.0.2 > ? TCP (ends within inner IPv4)" },
	{ { "2001:db8::1", "2001:db8::2" }, { "fd00:1::2", "fd00:2::3" }, WR_ID_WORLD, 112,
	  "[2001:db8::1]:50000 > [2001:db8::2]:6081 UDP, Geneve VNI 5 identity world: 02:00:00:00:00:01 > 02:00:00:00:00:02"
	  " ethertype 0x86dd (ends within inner IPv6)" },
	{ { "192.0.2.1", "192.0.2.2" }, { "10.1.0.2", "10.2.0.3" }, WR_ID_WORLD, 14 + 20 + 8 + 8 + 4,
	  "192.0.2.1:50000 > 192.0.2.2:6081 UDP, Geneve VNI 5 (ends within Geneve option)" },
	{ { "192.0.2.1", "192.0.2.2" }, { "10.1.0.2", "10.2.0.3" }, WR_ID_WORLD, 14 + 20 + 8,
	  "192.0.2.1:50000 > 192.0.2.2:6081 UDP (ends within Geneve)" },
};

static const struct packet_tunnel form = { WR_TUNNEL_PORT, WR_TUNNEL_OPTION_CLASS };

static size_t make_tunnel(size_t i, uint8_t buf[FRAME_TUNNEL_MAX])
{
	struct frame_tunnel outer = { { 2, 0, 0, 0, 0, 3 },   { 2, 0, 0, 0, 0, 4 },	 .port = WR_TUNNEL_PORT,
				      .vni = 5,		      .option_class = WR_TUNNEL_OPTION_CLASS,
				      .identity = tunnels[i].identity };
	struct frame f = {
		.mac_source = { 2, 0, 0, 0, 0, 1 },
		.mac_destination = { 2, 0, 0, 0, 0, 2 },
		.protocol = IPPROTO_TCP,
		.tcp_flags = 0x02,
		.source_port = 7,
		.destination_port = 80,
	};
	uint8_t inner[FRAME_MAX];

	assert_int_equal(ip_parse(tunnels[i].outer[0], &outer.source) + ip_parse(tunnels[i].outer[1], &outer.destination), 0);
	assert_int_equal(ip_parse(tunnels[i].inner[0], &f.source) + ip_parse(tunnels[i].inner[1], &f.destination), 0);
	return frame_encapsulate(&outer, inner, frame_make(&f, inner), buf);
}

static void test_tunnels(void **state)
{
	for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++) {
		const bool over6 = strchr(tunnels[i].outer[0], ':'), v6 = strchr(tunnels[i].inner[0], ':');
		uint8_t bytes[FRAME_TUNNEL_MAX];
		size_t length = make_tunnel(i, bytes), used = tunnels[i].captured ?: length;
		char text[PACKET_TEXT_MAX];
		struct packet p, inner;

		assert_int_equal(length, (over6 ? WR_TUNNEL_OVERHEAD6 : WR_TUNNEL_OVERHEAD4) + (v6 ? 74 : 54));
		packet_parse(&p, &inner, &form, bytes, used);
		assert_string_equal(packet_format(&p, false, text, sizeof(text)), tunnels[i].text);
	}
}

/* Of every length, in a block of exactly that size; and with every byte of the tunnel's headers damaged. */
static void test_tunnels_cut_and_damaged(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[FRAME_TUNNEL_MAX], *exact;
		const size_t length = make_tunnel(i, bytes);
		char text[PACKET_TEXT_MAX];
		struct packet p, inner;

		for (size_t n = 0; n <= length; n++) {
			exact = malloc(n ?: 1);
			memcpy(exact, bytes, n);
			packet_parse(&p, &inner, &form, exact, n);
			free(exact);
			packet_format(&p, true, text, sizeof(text));
			json_decref(packet_json(&p));
			if ((n < length) != (strstr(text, "(ends within ") != NULL))
				fail_msg("%zu bytes of %zu: %s", n, length, text);
		}
		for (size_t n = 0; n < length; n++) {
			bytes[n] ^= 0xff;
			packet_parse(&p, &inner, &form, bytes, length);
			packet_format(&p, true, text, sizeof(text));
			json_decref(packet_json(&p));
			bytes[n] ^= 0xff;
		}
	}
}

/* Other packets to that port, and tunnel packets to another one. */
static void test_no_tunnels(void **state)
{
	uint8_t bytes[FRAME_TUNNEL_MAX];
	const size_t length = make_tunnel(0, bytes), geneve = 14 + 20 + 8;
	const struct packet_tunnel other = { 4789, WR_TUNNEL_OPTION_CLASS }, other_class = { WR_TUNNEL_PORT, 0x0102 };
	struct packet p, inner;

	packet_parse(&p, &inner, &other, bytes, length);
	assert_false(p.tunnel);
	packet_parse(&p, &inner, &other_class, bytes, length);
	assert_true(p.tunnel && p.inner);
	assert_false(p.identified);
	bytes[geneve] |= 0x40; /* version 1 */
	packet_parse(&p, &inner, &form, bytes, length);
	assert_int_equal(p.end, PACKET_CONTRADICTION);
	assert_null(p.inner);
	bytes[geneve] = 2; /* words of options: less than the one that is there has */
	packet_parse(&p, &inner, &form, bytes, length);
	assert_int_equal(p.end, PACKET_CONTRADICTION);
	bytes[geneve] = 3;
	bytes[geneve + 1] = 0xc0;
	packet_parse(&p, &inner, &form, bytes, length);
	assert_true(p.control && p.critical && p.inner);
	bytes[geneve + 2] = 0x08; /* IP without Ethernet */
	packet_parse(&p, &inner, &form, bytes, length);
	assert_true(p.tunnel && p.identified);
	assert_null(p.inner);
}

static const struct {
	const char *source, *destination;
	uint8_t protocol, tcp_flags;
	const char *text;
	size_t length;
} frames[] = {
	{ "10.1.0.2", "10.1.0.3", IPPROTO_TCP, 0x12, "10.1.0.2:7 > 10.1.0.3:80 TCP SYN,ACK", 54 },
	{ "10.1.0.2", "10.1.0.3", IPPROTO_UDP, 0, "10.1.0.2:7 > 10.1.0.3:80 UDP", 42 },
	{ "10.1.0.2", "10.1.0.3", IPPROTO_SCTP, 0, "10.1.0.2:7 > 10.1.0.3:80 SCTP", 66 },
	{ "10.1.0.2", "10.1.0.3", IPPROTO_ICMP, 0, "10.1.0.2 > 10.1.0.3 ICMP echo request id 7 seq 1", 42 },
	{ "fd00::2", "fd00::3", IPPROTO_TCP, 0x02, "[fd00::2]:7 > [fd00::3]:80 TCP SYN", 74 },
	{ "fd00::2", "fd00::3", IPPROTO_UDP, 0, "[fd00::2]:7 > [fd00::3]:80 UDP", 62 },
	{ "fd00::2", "fd00::3", IPPROTO_SCTP, 0, "[fd00::2]:7 > [fd00::3]:80 SCTP", 86 },
	{ "fd00::2", "fd00::3", IPPROTO_ICMPV6, 0, "fd00::2 > fd00::3 ICMPv6 echo request id 7 seq 1", 62 },
};

/* RFC 1071: the sum over a right header is all ones. */
static uint16_t header_sum(const uint8_t *header)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static void test_frames(void **state)
{
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct frame f = {
			.mac_source = { 2, 0, 0, 0, 0, 1 },
			.mac_destination = { 2, 0, 0, 0, 0, 2 },
			.protocol = frames[i].protocol,
			.tcp_flags = frames[i].tcp_flags,
			.source_port = 7,
			.destination_port = 80,
		};
		char text[PACKET_TEXT_MAX];
		uint8_t bytes[FRAME_MAX];
		struct packet p;
		size_t length;

		assert_int_equal(ip_parse(frames[i].source, &f.source), 0);
		assert_int_equal(ip_parse(frames[i].destination, &f.destination), 0);
		length = frame_make(&f, bytes);
		assert_int_equal(length, frames[i].length);
		packet_parse(&p, NULL, NULL, bytes, length);
		assert_string_equal(packet_format(&p, false, text, sizeof(text)), frames[i].text);
		assert_memory_equal(p.mac_source, f.mac_source, 6);
		assert_memory_equal(p.mac_destination, f.mac_destination, 6);
		if (f.source.family == AF_INET) {
			assert_int_equal(header_sum(bytes + 14), 0xffff);
			assert_int_equal(bytes[16] << 8 | bytes[17], length - 14);
		} else {
			assert_int_equal(bytes[18] << 8 | bytes[19], length - 54);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_small_buffers),
		cmocka_unit_test(test_protocol_names),
		cmocka_unit_test(test_flag_names),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_tunnels_cut_and_damaged),
		cmocka_unit_test(test_no_tunnels),
	};

	return cmocka_run_group_tests_name("packet_text", tests, NULL, NULL);
}
