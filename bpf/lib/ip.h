/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * IP headers, up to the transport header.
 *
 * Of IPv6's extension headers, hop-by-hop options (first only), destination options and one fragment header are
 * accepted, four at most. A routing header of any type is dropped: its final destination is not the one that was
 * evaluated. So is a Home Address option: a receiver with mobile IPv6 replaces the source by its address. AH, ESP and
 * unknown headers are transport protocols without ports, as in IPv4.
 */
#ifndef WARREN_LIB_IP_H
#define WARREN_LIB_IP_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "lib/packet.h"

#define IP_HOP_LIMIT 64 /* of packets created here */
#define IP4_PLAIN 0x4500 /* the first 16 bits of a header without options */
#define IP4_DONT_FRAGMENT 0x4000
#define IP4_MORE_FRAGMENTS 0x2000
#define IP4_FRAGMENT_OFFSET 0x1fff
#define IP6_FRAGMENT_OFFSET 0xfff8
#define IP6_MORE_FRAGMENTS 1
#define IP6_EXT_HEADERS_MAX 4
#define IP6_OPTIONS_MAX 16 /* in one header, padding too: Linux takes 8, and 7 bytes of padding before each */
#define IP6_OPTION_PAD1 0
#define IP6_OPTION_HOME_ADDRESS 0xc9 /* RFC 6275 section 6.3 */
#define ECN_MASK 3 /* of the type of service, and of the traffic class */
#define ECN_ECT1 1
#define ECN_ECT0 2
#define ECN_CE 3

/* Size difference of the IP headers, which bpf_skb_change_proto() adds or removes. */
#define PROTO_CHANGE (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

static __always_inline __u8 ip6_ecn(const struct ipv6hdr *ip)
{
	return bpf_ntohl(*(const __be32 *)ip) >> 20 & ECN_MASK;
}

struct frag6_hdr {
	__u8 nexthdr;
	__u8 reserved;
	__be16 frag_off;
	__be32 id;
};

/*
 * A fragment has data, all but the last a multiple of 8 bytes. The reassembled datagram must not exceed its length
 * field (the "ping of death" did).
 */
static __always_inline bool fragment_valid(const struct transport *t, const bool v6)
{
	__u32 len = t->end - t->frag_data;
	__u32 headers = t->frag_data - ETH_HLEN - (v6 ? sizeof(struct ipv6hdr) + sizeof(struct frag6_hdr) : 0);

	return len && !(t->frag_more && len % 8) && headers + t->frag_off + len <= 0xffff;
}

static __always_inline enum wr_reason ip4_fragment(struct packet *p, const struct iphdr *ip)
{
	const __u32 frag = bpf_ntohs(ip->frag_off);

	p->later = frag & IP4_FRAGMENT_OFFSET;
	*p->rest = (struct transport){ .l4_off = p->l4_off,
				       .end = p->end,
				       .frag_data = p->l4_off,
				       .frag_off = (frag & IP4_FRAGMENT_OFFSET) * 8,
				       .frag_id = ip->id,
				       .frag_proto = p->l4_proto,
				       .frag_more = frag & IP4_MORE_FRAGMENTS,
				       .fragmented = true };
	return fragment_valid(p->rest, false) ? WR_REASON_NONE : WR_REASON_MALFORMED_IP;
}

static __always_inline enum wr_reason ip4_parse(struct packet *p)
{
	const struct iphdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	__u32 total;

	if (!ip)
		return WR_REASON_RUNT;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total < ip->ihl * 4u || total > p->skb->len - ETH_HLEN)
		return WR_REASON_MALFORMED_IP;
	if (ip->ihl > 5)
		return WR_REASON_IP_OPTIONS;
	p->at->saddr.a4.v4 = ip->saddr;
	p->at->daddr.a4.v4 = ip->daddr;
	p->l4_proto = ip->protocol;
	p->hop_limit = ip->ttl;
	p->l4_off = ETH_HLEN + sizeof(*ip);
	p->end = ETH_HLEN + total;
	p->fragmented = ip->frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_FRAGMENT_OFFSET);
	return p->fragmented ? ip4_fragment(p, ip) : WR_REASON_NONE;
}

static __always_inline bool is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_DSTOPTS || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_ROUTING;
}

/* Parses the fragment header at t->l4_off. An atomic fragment (RFC 6946) is treated as not fragmented. */
static __always_inline enum wr_reason ip6_fragment(struct __sk_buff *skb, struct transport *t)
{
	struct frag6_hdr frag;
	__u32 off;

	if (t->frag_data)
		return WR_REASON_EXT_HEADERS;
	if (t->l4_off + sizeof(frag) > t->end || bpf_skb_load_bytes(skb, t->l4_off, &frag, sizeof(frag)))
		return WR_REASON_MALFORMED_IP;
	off = bpf_ntohs(frag.frag_off);
	t->frag_more = off & IP6_MORE_FRAGMENTS;
	t->frag_off = off & IP6_FRAGMENT_OFFSET;
	t->fragmented = t->frag_more || t->frag_off;
	t->frag_id = frag.id;
	t->frag_proto = frag.nexthdr;
	t->l4_proto = frag.nexthdr;
	t->l4_off += sizeof(frag);
	t->frag_data = t->l4_off;
	return WR_REASON_NONE;
}

/* Checks the options from `off` to `end` (RFC 8200 section 4.2). */
OUT_OF_LINE int ip6_options_check(struct __sk_buff *skb, __u32 off, __u32 end)
{
	struct {
		__u8 type, len;
	} opt;

#pragma clang loop unroll(disable)
	for (int n = 0; n < IP6_OPTIONS_MAX && off < end; n++) {
		if (bpf_skb_load_bytes(skb, off, &opt, sizeof(opt)))
			return WR_REASON_MALFORMED_IP;
		if (opt.type == IP6_OPTION_HOME_ADDRESS)
			return WR_REASON_EXT_HEADERS;
		off += opt.type == IP6_OPTION_PAD1 ? 1 : sizeof(opt) + opt.len;
	}
	if (off < end)
		return WR_REASON_EXT_HEADERS;
	return off > end ? WR_REASON_MALFORMED_IP : WR_REASON_NONE;
}

static __always_inline enum wr_reason ip6_options(struct __sk_buff *skb, struct transport *t)
{
	const __u32 off = t->l4_off;
	struct ipv6_opt_hdr opt;

	if (off + 8 > t->end || bpf_skb_load_bytes(skb, off, &opt, sizeof(opt)))
		return WR_REASON_MALFORMED_IP;
	t->l4_proto = opt.nexthdr;
	t->l4_off += (opt.hdrlen + 1) * 8;
	return t->l4_off > t->end ? WR_REASON_MALFORMED_IP : ip6_options_check(skb, off + sizeof(opt), t->l4_off);
}

/* Parses the extension header at t->l4_off. */
static __always_inline enum wr_reason ip6_extension(struct __sk_buff *skb, struct transport *t, bool first)
{
	if (t->l4_proto == IPPROTO_FRAGMENT)
		return ip6_fragment(skb, t);
	if (t->l4_proto == IPPROTO_DSTOPTS || (t->l4_proto == IPPROTO_HOPOPTS && first))
		return ip6_options(skb, t);
	return WR_REASON_EXT_HEADERS;
}

OUT_OF_LINE int ip6_extensions(struct __sk_buff *skb, struct transport *t)
{
	enum wr_reason reason;

	if (!t)
		return WR_REASON_EXT_HEADERS;
	/* A later fragment has only data behind its fragment header. */
	for (int n = 0; n < IP6_EXT_HEADERS_MAX && is_extension(t->l4_proto) && !t->frag_off; n++) {
		reason = ip6_extension(skb, t, n == 0);
		if (reason)
			return reason;
	}
	if (is_extension(t->l4_proto) && !t->frag_off)
		return WR_REASON_EXT_HEADERS;
	return t->fragmented && !fragment_valid(t, true) ? WR_REASON_MALFORMED_IP : WR_REASON_NONE;
}

static __always_inline enum wr_reason ip6_follow_extensions(struct packet *p)
{
	struct transport *t = p->rest;
	enum wr_reason reason;

	*t = (struct transport){ .l4_off = p->l4_off, .end = p->end, .l4_proto = p->l4_proto };
	reason = ip6_extensions(p->skb, t);
	p->l4_off = t->l4_off;
	p->l4_proto = t->l4_proto;
	p->fragmented = t->fragmented;
	p->later = t->fragmented && t->frag_off;
	return reason;
}

static __always_inline enum wr_reason ip6_parse(struct packet *p)
{
	const struct ipv6hdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	__u32 payload;

	if (!ip)
		return WR_REASON_RUNT;
	payload = bpf_ntohs(ip->payload_len);
	/* A payload length of 0 is a jumbogram (RFC 2675), which no device here supports. */
	if (ip->version != 6 || !payload || payload > p->skb->len - ETH_HLEN - sizeof(*ip))
		return WR_REASON_MALFORMED_IP;
	__builtin_memcpy(&p->at->saddr.a6, &ip->saddr, sizeof(p->at->saddr.a6));
	__builtin_memcpy(&p->at->daddr.a6, &ip->daddr, sizeof(p->at->daddr.a6));
	p->l4_proto = ip->nexthdr;
	p->hop_limit = ip->hop_limit;
	p->l4_off = ETH_HLEN + sizeof(*ip);
	p->end = ETH_HLEN + sizeof(*ip) + payload;
	return is_extension(p->l4_proto) ? ip6_follow_extensions(p) : WR_REASON_NONE;
}

static __always_inline enum wr_reason ip_parse(struct packet *p, const bool v6)
{
	return v6 ? ip6_parse(p) : ip4_parse(p);
}

/* Neighbour discovery (RFC 4861): router and neighbour solicitation and advertisement, redirect. */
#define ND_FIRST 133
#define ND_SOLICIT 135
#define ND_ADVERT 136
#define ND_LAST 137
static __always_inline bool is_neighbour_discovery(const struct packet *p)
{
	const __u8 *type;

	if (p->l4_proto != IPPROTO_ICMPV6 || p->later || p->l4_off >= p->end)
		return false;
	type = packet_at(p, p->l4_off & PACKET_OFF_MAX, 1);
	return type && *type >= ND_FIRST && *type <= ND_LAST;
}

#endif
