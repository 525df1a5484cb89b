/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IP headers, up to the transport header.
 *
 * Of IPv6's extension headers, hop-by-hop options (first only), destination options and one fragment header are read
 * through, four at most. A routing header is dropped: its final destination is not the one that was judged. AH, ESP and
 * everything unknown is a transport protocol without ports, as in IPv4.
 */
#ifndef WARREN_LIB_IP_H
#define WARREN_LIB_IP_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "lib/packet.h"

#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_FRAGMENT_OFFSET 0x1fff
#define IP6_EXT_HEADERS_MAX 4

struct frag6_hdr {
	__u8 nexthdr;
	__u8 reserved;
	__be16 frag_off;
	__be32 id;
};

static __always_inline enum wr_reason ip4_parse(struct packet *p)
{
	const struct iphdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	__u32 total, frag;

	if (!ip)
		return WR_REASON_RUNT;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total < ip->ihl * 4u || total > p->skb->len - ETH_HLEN)
		return WR_REASON_MALFORMED_IP;
	if (ip->ihl > 5)
		return WR_REASON_IP_OPTIONS;
	p->saddr.a4.v4 = ip->saddr;
	p->daddr.a4.v4 = ip->daddr;
	p->l4_proto = ip->protocol;
	p->hop_limit = ip->ttl;
	p->l4_off = ETH_HLEN + sizeof(*ip);
	p->end = ETH_HLEN + total;
	frag = bpf_ntohs(ip->frag_off);
	p->fragmented = frag & (IP4_MORE_FRAGMENTS | IP4_FRAGMENT_OFFSET);
	p->frag_more = frag & IP4_MORE_FRAGMENTS;
	p->frag_off = (frag & IP4_FRAGMENT_OFFSET) * 8;
	p->frag_id = ip->id;
	p->frag_proto = ip->protocol;
	p->frag_data = p->l4_off;
	return WR_REASON_NONE;
}

/* The fragment header at p->l4_off. One that fragments nothing (RFC 6946) is no more than an option. */
static __always_inline enum wr_reason ip6_fragment(struct packet *p)
{
	struct frag6_hdr frag;
	__u32 off;

	if (p->frag_data)
		return WR_REASON_EXT_HEADERS;
	if (p->l4_off + sizeof(frag) > p->end || bpf_skb_load_bytes(p->skb, p->l4_off, &frag, sizeof(frag)))
		return WR_REASON_MALFORMED_IP;
	off = bpf_ntohs(frag.frag_off);
	p->frag_more = off & 1;
	p->frag_off = off & 0xfff8;
	p->fragmented = p->frag_more || p->frag_off;
	p->frag_id = frag.id;
	p->frag_proto = frag.nexthdr;
	p->l4_proto = frag.nexthdr;
	p->l4_off += sizeof(frag);
	p->frag_data = p->l4_off;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason ip6_options(struct packet *p)
{
	struct ipv6_opt_hdr opt;

	if (p->l4_off + 8 > p->end || bpf_skb_load_bytes(p->skb, p->l4_off, &opt, sizeof(opt)))
		return WR_REASON_MALFORMED_IP;
	p->l4_proto = opt.nexthdr;
	p->l4_off += (opt.hdrlen + 1) * 8;
	return p->l4_off > p->end ? WR_REASON_MALFORMED_IP : WR_REASON_NONE;
}

static __always_inline bool is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_DSTOPTS || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_ROUTING;
}

/* The extension header at p->l4_off. */
static __always_inline enum wr_reason ip6_extension(struct packet *p, bool first)
{
	if (p->l4_proto == IPPROTO_FRAGMENT)
		return ip6_fragment(p);
	if (p->l4_proto == IPPROTO_DSTOPTS || (p->l4_proto == IPPROTO_HOPOPTS && first))
		return ip6_options(p);
	return WR_REASON_EXT_HEADERS;
}

static __always_inline bool is_later_fragment(const struct packet *p)
{
	return p->fragmented && p->frag_off;
}

static __always_inline enum wr_reason ip6_parse(struct packet *p)
{
	const struct ipv6hdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	enum wr_reason reason;
	__u32 payload;
	int n;

	if (!ip)
		return WR_REASON_RUNT;
	payload = bpf_ntohs(ip->payload_len);
	/* No payload length means a jumbogram (RFC 2675), which no device here makes. */
	if (ip->version != 6 || !payload || payload > p->skb->len - ETH_HLEN - sizeof(*ip))
		return WR_REASON_MALFORMED_IP;
	__builtin_memcpy(&p->saddr.a6, &ip->saddr, sizeof(p->saddr.a6));
	__builtin_memcpy(&p->daddr.a6, &ip->daddr, sizeof(p->daddr.a6));
	p->l4_proto = ip->nexthdr;
	p->hop_limit = ip->hop_limit;
	p->l4_off = ETH_HLEN + sizeof(*ip);
	p->end = ETH_HLEN + sizeof(*ip) + payload;
	p->fragmented = false;
	p->frag_off = 0;
	p->frag_data = 0;
	for (n = 0; n < IP6_EXT_HEADERS_MAX; n++) {
		/* What follows in a later fragment is data. */
		if (!is_extension(p->l4_proto) || is_later_fragment(p))
			return WR_REASON_NONE;
		reason = ip6_extension(p, n == 0);
		if (reason)
			return reason;
	}
	return is_extension(p->l4_proto) && !is_later_fragment(p) ? WR_REASON_EXT_HEADERS : WR_REASON_NONE;
}

/*
 * A fragment has data, all but the last a multiple of 8 bytes of it, and the datagram fits its length field once it is
 * put together (the "ping of death" did not).
 */
static __always_inline bool fragment_valid(const struct packet *p, const bool v6)
{
	__u32 len = p->end - p->frag_data;
	__u32 headers = p->frag_data - ETH_HLEN - (v6 ? sizeof(struct ipv6hdr) + sizeof(struct frag6_hdr) : 0);

	return len && !(p->frag_more && len % 8) && headers + p->frag_off + len <= 0xffff;
}

static __always_inline enum wr_reason ip_parse(struct packet *p, const bool v6)
{
	enum wr_reason reason = v6 ? ip6_parse(p) : ip4_parse(p);

	if (!reason && p->fragmented && !fragment_valid(p, v6))
		return WR_REASON_MALFORMED_IP;
	return reason;
}

/* Neighbour discovery (RFC 4861): router and neighbour solicitation and advertisement, redirect. */
#define ND_FIRST 133
#define ND_SOLICIT 135
#define ND_ADVERT 136
#define ND_LAST 137
static __always_inline bool is_neighbour_discovery(const struct packet *p)
{
	const __u8 *type;

	if (p->l4_proto != IPPROTO_ICMPV6 || is_later_fragment(p) || p->l4_off >= p->end)
		return false;
	type = packet_at(p, p->l4_off & PACKET_OFF_MAX, 1);
	return type && *type >= ND_FIRST && *type <= ND_LAST;
}

static __always_inline bool is_multicast(const union addr *a, const bool v6)
{
	if (v6)
		return (a->a6.v6[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (a->a4.v4 & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || a->a4.v4 == bpf_htonl(0xffffffff);
}

#endif
