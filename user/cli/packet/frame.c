/* SPDX-License-Identifier: BSD-2-Clause */
#include "packet.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>

#define HOP_LIMIT 64

/* RFC 9260: common header and an INIT chunk. */
struct sctp_init {
	__be16 source, destination;
	__be32 tag, checksum;
	uint8_t type, flags;
	__be16 length;
	__be32 initiate_tag, window;
	__be16 streams_out, streams_in;
	__be32 tsn;
};
_Static_assert(sizeof(struct sctp_init) == 32, "SCTP INIT");

/* Returns its length. */
static size_t make_transport(const struct frame *f, void *at)
{
	const __be16 source = htons(f->source_port), destination = htons(f->destination_port);
	union {
		struct tcphdr tcp;
		struct udphdr udp;
		struct sctp_init sctp;
		struct icmphdr icmp; /* ICMPv6 has the same first eight bytes */
		uint8_t bytes[sizeof(struct sctp_init)];
	} header = { 0 };
	size_t size;

	switch (f->protocol) {
	case IPPROTO_TCP:
		size = sizeof(header.tcp);
		header.tcp = (struct tcphdr){ .source = source, .dest = destination, .seq = htonl(1),
					      .doff = sizeof(header.tcp) / 4, .window = htons(0xffff) };
		header.bytes[13] = f->tcp_flags;
		break;
	case IPPROTO_UDP:
		size = sizeof(header.udp);
		header.udp = (struct udphdr){ source, destination, htons(sizeof(header.udp)), 0 };
		break;
	case IPPROTO_SCTP:
		size = sizeof(header.sctp);
		header.sctp = (struct sctp_init){
			source, destination, .type = 1, .length = htons(20), .initiate_tag = htonl(1),
			.window = htonl(0xffff), .streams_out = htons(1), .streams_in = htons(1),
		};
		break;
	default:
		size = sizeof(header.icmp);
		header.icmp.type = f->protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
		header.icmp.un.echo.id = source;
		header.icmp.un.echo.sequence = htons(1);
	}
	memcpy(at, &header, size);
	return size;
}

uint16_t internet_checksum(const void *data, size_t size)
{
	uint32_t sum = 0;
	uint16_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		memcpy(&word, (const char *)data + i, sizeof(word));
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static void make_ipv4(const struct ip *source, const struct ip *destination, uint8_t protocol, size_t payload, void *at)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(sizeof(ip) + payload)),
		.frag_off = htons(0x4000), /* do not fragment */
		.ttl = HOP_LIMIT,
		.protocol = protocol,
	};

	memcpy(&ip.saddr, source->bytes, 4);
	memcpy(&ip.daddr, destination->bytes, 4);
	ip.check = internet_checksum(&ip, sizeof(ip));
	memcpy(at, &ip, sizeof(ip));
}

static void make_ipv6(const struct ip *source, const struct ip *destination, uint8_t protocol, size_t payload, void *at)
{
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = htons((uint16_t)payload),
		.nexthdr = protocol,
		.hop_limit = HOP_LIMIT,
	};

	memcpy(&ip.saddr, source->bytes, 16);
	memcpy(&ip.daddr, destination->bytes, 16);
	memcpy(at, &ip, sizeof(ip));
}

static size_t headers_length(const struct ip *source)
{
	return sizeof(struct ethhdr) + (source->family == AF_INET6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
}

/* Ethernet and IP. */
static void make_headers(const uint8_t mac_source[6], const uint8_t mac_destination[6], const struct ip *source,
			 const struct ip *destination, uint8_t protocol, size_t payload, uint8_t *at)
{
	const bool v6 = source->family == AF_INET6;
	struct ethhdr eth = { .h_proto = htons(v6 ? ETH_P_IPV6 : ETH_P_IP) };

	memcpy(eth.h_source, mac_source, 6);
	memcpy(eth.h_dest, mac_destination, 6);
	memcpy(at, &eth, sizeof(eth));
	if (v6)
		make_ipv6(source, destination, protocol, payload, at + sizeof(eth));
	else
		make_ipv4(source, destination, protocol, payload, at + sizeof(eth));
}

size_t frame_make(const struct frame *f, uint8_t buf[FRAME_MAX])
{
	size_t headers = headers_length(&f->source), payload;

	memset(buf, 0, FRAME_MAX);
	payload = make_transport(f, buf + headers);
	make_headers(f->mac_source, f->mac_destination, &f->source, &f->destination, f->protocol, payload, buf);
	return headers + payload;
}

/* --- encapsulation --- */

struct geneve {
	struct udphdr udp;
	uint8_t words, flags;
	__be16 proto;
	__be32 vni; /* the low byte is reserved */
	__be16 option_class;
	uint8_t option, option_words;
	__be32 identity[2];
} __attribute__((packed));
_Static_assert(sizeof(struct geneve) == WR_TUNNEL_HEADERS - sizeof(struct ethhdr), "geneve");

struct geneve_key {
	__be16 option_class;
	uint8_t option, option_words;
	__be32 tag[2];
};
_Static_assert(sizeof(struct geneve_key) == WR_TUNNEL_KEY_SIZE, "geneve_key");

#define SOURCE_PORT 50000 /* real ones derive from the flow's hash */

size_t frame_encapsulate(const struct frame_tunnel *t, const uint8_t *frame, size_t length,
			 uint8_t buf[FRAME_TUNNEL_MAX])
{
	const size_t headers = headers_length(&t->source), key_size = t->tag ? sizeof(struct geneve_key) : 0;
	const size_t payload = sizeof(struct geneve) + key_size + length;
	const struct geneve geneve = {
		.udp = { .source = htons(SOURCE_PORT), .dest = htons(t->port), .len = htons((uint16_t)payload) },
		.words = (uint8_t)((4 + WR_TUNNEL_IDENTITY_SIZE + key_size) / 4),
		.proto = htons(ETH_P_TEB),
		.vni = htonl(t->vni << 8),
		.option_class = htons(t->option_class),
		.option = WR_TUNNEL_OPTION,
		.option_words = WR_TUNNEL_IDENTITY_SIZE / 4,
		.identity = { htonl((uint32_t)(t->identity >> 32)), htonl((uint32_t)t->identity) },
	};
	const struct geneve_key key = {
		.option_class = htons(t->option_class),
		.option = WR_TUNNEL_OPTION_KEY,
		.option_words = WR_TUNNEL_TAG_SIZE / 4,
		.tag = { htonl((uint32_t)(t->tag >> 32)), htonl((uint32_t)t->tag) },
	};

	make_headers(t->mac_source, t->mac_destination, &t->source, &t->destination, IPPROTO_UDP, payload, buf);
	memcpy(buf + headers, &geneve, sizeof(geneve));
	memcpy(buf + headers + sizeof(geneve), &key, key_size);
	memcpy(buf + headers + sizeof(geneve) + key_size, frame, length);
	return headers + payload;
}
