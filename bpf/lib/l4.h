/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Transport headers: whole and consistent, or dropped. A protocol that is not named here is judged by address only. */
#ifndef WARREN_LIB_L4_H
#define WARREN_LIB_L4_H

#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "lib/ip.h"

#define SCTP_HEADER_SIZE 12 /* RFC 9260 section 3.1; UAPI has no struct for it */
#define ICMP_HEADER_SIZE 8  /* of both families */

/* <linux/icmp.h> needs a C library for the target. */
struct icmp_start {
	__u8 type;
	__u8 code;
	__u16 checksum;
};
enum icmp4_type {
	ICMP4_ECHO_REPLY = 0,
	ICMP4_DEST_UNREACH = 3,
	ICMP4_SOURCE_QUENCH = 4,
	ICMP4_REDIRECT = 5,
	ICMP4_ECHO_REQUEST = 8,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER_PROBLEM = 12,
};

static __always_inline enum wr_reason tcp_parse(struct packet *p, __u32 len, enum wr_reason cut)
{
	const struct tcphdr *tcp = packet_at(p, p->l4_off & PACKET_OFF_MAX, sizeof(*tcp));

	if (len < sizeof(*tcp) || !tcp)
		return cut;
	if (tcp->doff < 5)
		return WR_REASON_MALFORMED_L4;
	p->sport = tcp->source;
	p->dport = tcp->dest;
	return tcp->doff * 4u > len ? cut : WR_REASON_NONE;
}

/* A first fragment says the whole datagram's length. */
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
	const __be16 *ports = packet_at(p, p->l4_off & PACKET_OFF_MAX, 2 * sizeof(*ports));

	if (len < SCTP_HEADER_SIZE || !ports)
		return cut;
	p->sport = ports[0];
	p->dport = ports[1];
	return WR_REASON_NONE;
}

static __always_inline bool is_icmp(const struct packet *p, const bool v6)
{
	return p->l4_proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static __always_inline enum wr_reason icmp_parse(struct packet *p, __u32 len, enum wr_reason cut)
{
	const __u8 *type = packet_at(p, p->l4_off & PACKET_OFF_MAX, ICMP_HEADER_SIZE);

	if (len < ICMP_HEADER_SIZE || !type)
		return cut;
	p->icmp_type = *type;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason l4_parse(struct packet *p, const bool v6)
{
	enum wr_reason cut = p->fragmented ? WR_REASON_FRAGMENT : WR_REASON_MALFORMED_L4;
	__u32 len = p->end - p->l4_off;

	p->sport = p->dport = 0;
	if (p->l4_proto == IPPROTO_TCP)
		return tcp_parse(p, len, cut);
	if (p->l4_proto == IPPROTO_UDP)
		return udp_parse(p, len, cut);
	if (is_icmp(p, v6))
		return icmp_parse(p, len, cut);
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

/*
 * Whether an error that the pod sends is about a packet which was addressed to the pod: an error about anybody else's
 * could cut connections that are not the pod's. Redirects never are: a pod is nobody's router.
 */
static __always_inline bool icmp_error_is_ours(struct packet *p, const bool v6)
{
	const __u32 size = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 off = p->l4_off + ICMP_HEADER_SIZE;
	union addr quoted;
	const __u8 *ip;

	if (off + size > p->end || (!v6 && p->icmp_type == ICMP4_REDIRECT))
		return false;
	ip = packet_at(p, off & PACKET_OFF_MAX, size);
	if (!ip || *ip >> 4 != (v6 ? 6 : 4))
		return false;
	if (v6)
		__builtin_memcpy(&quoted.a6, &((const struct ipv6hdr *)ip)->daddr, sizeof(quoted.a6));
	else
		quoted.a4.v4 = ((const struct iphdr *)ip)->daddr;
	return addr_is_endpoints(&quoted, p->ep, v6);
}

#endif
