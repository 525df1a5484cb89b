/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Transport headers: incomplete and inconsistent ones are dropped. Other protocols than these are evaluated by address
 * only.
 */
#ifndef WARREN_LIB_L4_H
#define WARREN_LIB_L4_H

#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "abi/conntrack.h"
#include "lib/ip.h"

#define SCTP_HEADER_SIZE 12 /* RFC 9260 section 3.1; UAPI has no struct for it */
#define SCTP_CHUNKS_MAX 8   /* in a first fragment of which the packet's length is needed */
#define ICMP_HEADER_SIZE 8  /* of both families */

/* <linux/icmp.h> needs a C library for the target. */
struct icmp_start {
	__u8 type;
	__u8 code;
	__u16 checksum;
};
#define ICMP_ID_OFFSET 4 /* of an echo */
enum icmp4_type {
	ICMP4_ECHO_REPLY = 0,
	ICMP4_DEST_UNREACH = 3,
	ICMP4_SOURCE_QUENCH = 4,
	ICMP4_REDIRECT = 5,
	ICMP4_ECHO_REQUEST = 8,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER_PROBLEM = 12,
};

#define TCP_FLAGS_OFFSET 13

/* Offset of the checksum in its header. */
#define TCP_CHECK_OFFSET 16
#define UDP_CHECK_OFFSET 6
#define SCTP_CHECK_OFFSET 8

static __always_inline bool has_ports(__u8 l4_proto)
{
	return l4_proto == IPPROTO_TCP || l4_proto == IPPROTO_UDP || l4_proto == IPPROTO_SCTP;
}

static __always_inline enum wr_reason tcp_parse(struct packet *p, __u32 len, enum wr_reason cut)
{
	const struct tcphdr *tcp = packet_at(p, p->l4_off & PACKET_OFF_MAX, sizeof(*tcp));
	__u32 flags, begins;

	if (len < sizeof(*tcp) || !tcp)
		return cut;
	if (tcp->doff < 5)
		return WR_REASON_MALFORMED_L4;
	p->sport = tcp->source;
	p->dport = tcp->dest;
	flags = ((const __u8 *)tcp)[TCP_FLAGS_OFFSET];
	/* Without a branch, which would make the verifier walk the rest of the program twice. */
	begins = ((__u64)((flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK)) ^ TCP_SYN) - 1) >> 63;
	p->flags = flags | (MIDDLE >> begins);
	return tcp->doff * 4u > len ? cut : WR_REASON_NONE;
}

/* The UDP length in a first fragment is the whole datagram's. */
static __always_inline enum wr_reason udp_parse(struct packet *p, __u32 len, enum wr_reason cut)
{
	const struct udphdr *udp = packet_at(p, p->l4_off & PACKET_OFF_MAX, sizeof(*udp));
	__u32 claimed;

	if (len < sizeof(*udp) || !udp)
		return cut;
	claimed = bpf_ntohs(udp->len);
	if (claimed < sizeof(*udp) || (claimed > len && !p->fragmented))
		return WR_REASON_MALFORMED_L4;
	p->sport = udp->source;
	p->dport = udp->dest;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason sctp_parse(struct packet *p, __u32 len, enum wr_reason cut)
{
	const __be16 *ports = packet_at(p, p->l4_off & PACKET_OFF_MAX, SCTP_HEADER_SIZE);

	if (len < SCTP_HEADER_SIZE || !ports)
		return cut;
	p->sport = ports[0];
	p->dport = ports[1];
	/* A verification tag of 0: INIT, the only chunk in its packet (RFC 9260 section 8.5.1). */
	p->flags = ports[2] | ports[3] ? 0 : ASSOCIATES;
	return WR_REASON_NONE;
}

static __always_inline bool is_icmp(const struct packet *p, const bool v6)
{
	return p->l4_proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

/* The ports of an echo flow (abi/conntrack.h); every other ICMP message has none. */
static __always_inline void icmp_ports(struct packet *p, const __u8 *icmp, const bool v6)
{
	const __be16 id = *(const __be16 *)(icmp + ICMP_ID_OFFSET);

	if (*icmp == (v6 ? ICMPV6_ECHO_REQUEST : ICMP4_ECHO_REQUEST)) {
		p->flags = BEGINS;
		p->sport = id;
		p->dport = WR_CT_ECHO_PORT;
	} else if (*icmp == (v6 ? ICMPV6_ECHO_REPLY : ICMP4_ECHO_REPLY)) {
		p->flags = MIDDLE;
		p->sport = WR_CT_ECHO_PORT;
		p->dport = id;
	}
}

static __always_inline enum wr_reason icmp_parse(struct packet *p, __u32 len, enum wr_reason cut, const bool v6)
{
	const __u8 *icmp = packet_at(p, p->l4_off & PACKET_OFF_MAX, ICMP_HEADER_SIZE);

	if (len < ICMP_HEADER_SIZE || !icmp)
		return cut;
	p->icmp_type = *icmp;
	icmp_ports(p, icmp, v6);
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason l4_parse(struct packet *p, const bool v6)
{
	enum wr_reason cut = p->fragmented ? WR_REASON_FRAGMENT : WR_REASON_MALFORMED_L4;
	__u32 len = p->end - p->l4_off;

	if (p->l4_proto == IPPROTO_TCP)
		return tcp_parse(p, len, cut);
	if (p->l4_proto == IPPROTO_UDP)
		return udp_parse(p, len, cut);
	if (is_icmp(p, v6))
		return icmp_parse(p, len, cut, v6);
	if (p->l4_proto == IPPROTO_SCTP)
		return sctp_parse(p, len, cut);
	return WR_REASON_NONE;
}

static __always_inline bool is_icmp_error(const struct packet *p, const bool v6)
{
	if (!is_icmp(p, v6))
		return false;
	if (v6)
		return p->icmp_type < ICMPV6_ECHO_REQUEST; /* RFC 4443 section 2.1: the top bit means information */
	return p->icmp_type == ICMP4_DEST_UNREACH || p->icmp_type == ICMP4_SOURCE_QUENCH ||
	       p->icmp_type == ICMP4_REDIRECT || p->icmp_type == ICMP4_TIME_EXCEEDED ||
	       p->icmp_type == ICMP4_PARAMETER_PROBLEM;
}

#endif
