/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parses the outer headers of a frame in XDP. Tunnel packets that cannot be parsed here (VLAN tags, IPv4 options,
 * extension headers, headers outside the linear part) pass unchanged to from_uplink. XDP drops only packets that
 * from_uplink would drop.
 */
#ifndef WARREN_LIB_XDP_FRAME_H
#define WARREN_LIB_XDP_FRAME_H

#include <linux/udp.h>

#include "lib/ip.h"

/* The bounds are read once; every helper that moves them invalidates these. */
struct xdp_frame {
	struct xdp_md *ctx;
	void *data, *end;
	__u32 len; /* fragments of the frame included */

	/* Set by xdp_outer_parse(). */
	union addr saddr, daddr;
	__u32 l4_off;  /* of UDP */
	__u32 l4_len;  /* by the IP header */
	__u32 outer_ecn;
	bool udp;      /* UDP directly behind the IP header */
	bool fragment; /* a first fragment */
};

/* The bytes at a constant offset, or NULL. */
#define xdp_at(f, off, size) ((f)->data + (off) + (size) <= (f)->end ? (f)->data + (off) : NULL)

/* Parses IPv4 as far as needed; false: it is not IPv4. */
static __always_inline bool xdp_ip4_parse(struct xdp_frame *f)
{
	const struct iphdr *ip = xdp_at(f, ETH_HLEN, sizeof(*ip));
	__u16 frag;

	if (!ip || ip->version != 4)
		return false;
	f->saddr.a4.v4 = ip->saddr;
	f->daddr.a4.v4 = ip->daddr;
	frag = bpf_ntohs(ip->frag_off);
	f->fragment = frag & IP4_MORE_FRAGMENTS;
	f->udp = ip->ihl == 5 && ip->protocol == IPPROTO_UDP && !(frag & IP4_FRAGMENT_OFFSET);
	f->outer_ecn = ip->tos & ECN_MASK;
	f->l4_off = ETH_HLEN + sizeof(*ip);
	f->l4_len = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	return true;
}

static __always_inline bool xdp_ip6_parse(struct xdp_frame *f)
{
	const struct ipv6hdr *ip = xdp_at(f, ETH_HLEN, sizeof(*ip));

	if (!ip || ip->version != 6)
		return false;
	__builtin_memcpy(&f->saddr.a6, &ip->saddr, sizeof(f->saddr.a6));
	__builtin_memcpy(&f->daddr.a6, &ip->daddr, sizeof(f->daddr.a6));
	f->udp = ip->nexthdr == IPPROTO_UDP;
	f->outer_ecn = ip6_ecn(ip);
	f->l4_off = ETH_HLEN + sizeof(*ip);
	f->l4_len = bpf_ntohs(ip->payload_len);
	return true;
}

static __always_inline bool xdp_outer_parse(struct xdp_frame *f, const bool v6)
{
	return v6 ? xdp_ip6_parse(f) : xdp_ip4_parse(f);
}

#endif
