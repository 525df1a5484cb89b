/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

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

static size_t make_tcp(const struct frame *f, void *at)
{
	struct tcphdr tcp = {
		.source = htons(f->source_port),
		.dest = htons(f->destination_port),
		.seq = htonl(1),
		.doff = sizeof(tcp) / 4,
		.window = htons(0xffff),
	};

	((uint8_t *)&tcp)[13] = f->tcp_flags;
	memcpy(at, &tcp, sizeof(tcp));
	return sizeof(tcp);
}

static size_t make_udp(const struct frame *f, void *at)
{
	const struct udphdr udp = {
		.source = htons(f->source_port),
		.dest = htons(f->destination_port),
		.len = htons(sizeof(udp)),
	};

	memcpy(at, &udp, sizeof(udp));
	return sizeof(udp);
}

/* RFC 9260: common header and an INIT chunk. */
static size_t make_sctp(const struct frame *f, void *at)
{
	const struct {
		__be16 source, destination;
		__be32 tag, checksum;
		uint8_t type, flags;
		__be16 length;
		__be32 initiate_tag, window;
		__be16 streams_out, streams_in;
		__be32 tsn;
	} init = {
		.source = htons(f->source_port),
		.destination = htons(f->destination_port),
		.type = 1,
		.length = htons(20),
		.initiate_tag = htonl(1),
		.window = htonl(0xffff),
		.streams_out = htons(1),
		.streams_in = htons(1),
	};
	_Static_assert(sizeof(init) == 32, "SCTP INIT");

	memcpy(at, &init, sizeof(init));
	return sizeof(init);
}

static size_t make_echo(const struct frame *f, void *at)
{
	const struct icmphdr icmp = { /* ICMPv6 has the same first eight bytes */
		.type = f->protocol == IPPROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO_REQUEST,
		.un.echo = { .id = htons(f->source_port), .sequence = htons(1) },
	};

	memcpy(at, &icmp, sizeof(icmp));
	return sizeof(icmp);
}

static size_t make_transport(const struct frame *f, void *at)
{
	switch (f->protocol) {
	case IPPROTO_TCP:
		return make_tcp(f, at);
	case IPPROTO_UDP:
		return make_udp(f, at);
	case IPPROTO_SCTP:
		return make_sctp(f, at);
	default:
		return make_echo(f, at);
	}
}

static uint16_t header_checksum(const struct iphdr *ip)
{
	const uint16_t *word = (const uint16_t *)ip;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static void make_ipv4(const struct frame *f, size_t payload, void *at)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)(sizeof(ip) + payload)),
		.frag_off = htons(0x4000), /* do not fragment */
		.ttl = HOP_LIMIT,
		.protocol = f->protocol,
	};

	memcpy(&ip.saddr, f->source.bytes, 4);
	memcpy(&ip.daddr, f->destination.bytes, 4);
	ip.check = header_checksum(&ip);
	memcpy(at, &ip, sizeof(ip));
}

static void make_ipv6(const struct frame *f, size_t payload, void *at)
{
	struct ipv6hdr ip = {
		.version = 6,
		.payload_len = htons((uint16_t)payload),
		.nexthdr = f->protocol,
		.hop_limit = HOP_LIMIT,
	};

	memcpy(&ip.saddr, f->source.bytes, 16);
	memcpy(&ip.daddr, f->destination.bytes, 16);
	memcpy(at, &ip, sizeof(ip));
}

size_t frame_make(const struct frame *f, uint8_t buf[FRAME_MAX])
{
	bool v6 = f->source.family == AF_INET6;
	size_t transport = sizeof(struct ethhdr) + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)), payload;
	struct ethhdr eth = { .h_proto = htons(v6 ? ETH_P_IPV6 : ETH_P_IP) };

	memset(buf, 0, FRAME_MAX);
	memcpy(eth.h_source, f->mac_source, 6);
	memcpy(eth.h_dest, f->mac_destination, 6);
	memcpy(buf, &eth, sizeof(eth));
	payload = make_transport(f, buf + transport);
	if (v6)
		make_ipv6(f, payload, buf + sizeof(eth));
	else
		make_ipv4(f, payload, buf + sizeof(eth));
	return transport + payload;
}
