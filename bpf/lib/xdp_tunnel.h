/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnel packets in XDP: packets that no node of the cluster has sent are dropped before the kernel allocates an skb.
 * Valid ones may be decapsulated, so that GRO sees the inner packets.
 */
#ifndef WARREN_LIB_XDP_TUNNEL_H
#define WARREN_LIB_XDP_TUNNEL_H

#include "lib/cluster.h"
#include "lib/geneve.h"
#include "lib/node.h"
#include "lib/sender_path.h"
#include "lib/xdp_frame.h"
#include "lib/xdp_meta.h"

/* Parsed options. */
struct xdp_options {
	__u64 identity;
	__u32 first, end; /* offsets in the frame */
	__be16 class;
	bool critical;	  /* the header's flag: there are critical options */
	bool beyond;	  /* not all are in the linear part */
	__u64 tag;	  /* the keyed tag; 0: none */
};

/* A packet that may be decapsulated. */
struct xdp_tunnel {
	struct xdp_origin origin;
	__u32 inner; /* offset of its Ethernet header */
	bool inner_v6;
	bool whole;  /* it has been checked in full, and is valid */
	bool unkeyed; /* without a valid keyed tag, which is not required */
};

#define XDP_OFF_MAX 0x1ff /* the options end below it */

/* Parses options other than nodes send. */
OUT_OF_LINE int xdp_options_follow(struct xdp_md *ctx, struct xdp_options *o)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	bool found = false;
	__u32 off;

	if (!o)
		return WR_REASON_TUNNEL_OPTION;
	off = o->first;
	for (int i = 0; i < GENEVE_WORDS_MAX && off < o->end; i++) {
		const struct geneve_option *opt = data + (off & XDP_OFF_MAX);
		const __be32 *identity = (const void *)(opt + 1);

		if ((const void *)(opt + 1) > end) {
			o->beyond = true;
			return WR_REASON_NONE;
		}
		off += sizeof(*opt) + geneve_data_size(opt);
		if (off > o->end)
			return WR_REASON_TUNNEL_MALFORMED;
		if (!geneve_option_allowed(opt, o->class, found))
			return WR_REASON_TUNNEL_OPTION;
		if (!geneve_is_identity(opt, o->class))
			continue;
		if ((const void *)(identity + 2) > end) {
			o->beyond = true;
			return WR_REASON_NONE;
		}
		o->identity = geneve_identity(identity);
		found = true;
	}
	if (!found)
		return WR_REASON_TUNNEL_OPTION;
	return o->critical ? WR_REASON_TUNNEL_MALFORMED : WR_REASON_NONE;
}

/* Whether the options are as nodes send them; then reads the identity. */
static __always_inline bool xdp_option_plain(const struct xdp_frame *f, struct xdp_options *o)
{
	const struct geneve_option *opt;
	const __u32 size = GENEVE_IDENTITY_WORDS * 4;

	if (o->critical || !geneve_options_plain(o->end - o->first, o->tag))
		return false;
	opt = f->data + (o->first & XDP_OFF_MAX);
	if ((void *)opt + size > f->end || !geneve_is_whole(opt, o->class))
		return false;
	o->identity = geneve_identity((const void *)(opt + 1));
	return true;
}

/* As tunnel_tag_check(). `beyond`: the tag is not in the linear part, so from_uplink checks it. */
static __always_inline enum wr_reason xdp_tag_check(const struct xdp_frame *f, const struct wr_cluster *c,
						    struct xdp_options *o, struct xdp_tunnel *t)
{
	const struct geneve_option *opt = f->data + (o->first & XDP_OFF_MAX) + GENEVE_IDENTITY_WORDS * 4;
	const struct wr_node *node = node_get(t->origin.slot);
	const __u32 size = o->end - o->first;

	if ((const void *)opt + WR_TUNNEL_KEY_SIZE <= f->end)
		o->tag = geneve_tag(opt, size, c->option_class);
	else
		o->beyond = size >= (GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS) * 4;
	if (!node)
		return WR_REASON_TUNNEL_SENDER;
	if (o->beyond || node_sends_tag(node, o->tag))
		return WR_REASON_NONE;
	t->unkeyed = node_is_keyed(node);
	return c->flags & WR_CLUSTER_KEY_REQUIRED ? WR_REASON_TUNNEL_KEY : WR_REASON_NONE;
}

/* The inner packet must fill the rest of the outer one. `len`: without its Ethernet header. */
static __always_inline enum wr_reason xdp_inner_check(const struct xdp_frame *f, struct xdp_tunnel *t, __u32 len)
{
	const struct ethhdr *eth = f->data + (t->inner & XDP_OFF_MAX);
	const struct iphdr *ip4 = (const void *)(eth + 1);
	const struct ipv6hdr *ip6 = (const void *)(eth + 1);
	__u32 ecn;

	if ((const void *)(ip4 + 1) > f->end)
		return len < sizeof(*ip4) ? WR_REASON_TUNNEL_MALFORMED : WR_REASON_NONE;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (ip4->version != 4 || bpf_ntohs(ip4->tot_len) != len)
			return WR_REASON_TUNNEL_MALFORMED;
		ecn = ip4->tos & ECN_MASK;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if (ip6->version != 6 || bpf_ntohs(ip6->payload_len) + sizeof(*ip6) != len)
			return WR_REASON_TUNNEL_MALFORMED;
		ecn = ip6_ecn(ip6);
		t->inner_v6 = true;
	} else {
		return WR_REASON_TUNNEL_MALFORMED;
	}
	/* If the ECN field must change (RFC 6040 section 4.2), which is rare, from_uplink decapsulates the packet. */
	t->whole = !f->outer_ecn || f->outer_ecn == ecn;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason xdp_sender_check(const struct xdp_frame *f, struct xdp_tunnel *t, const bool v6)
{
	t->origin.slot = node_by_address(&f->saddr, v6);
	return node_get(t->origin.slot) ? WR_REASON_NONE : WR_REASON_TUNNEL_SENDER;
}

static __always_inline enum wr_reason xdp_geneve_check(const struct xdp_frame *f, const struct wr_cluster *c,
						       struct xdp_tunnel *t, const bool v6)
{
	const __u32 at =
	    (v6 ? ETH_HLEN + sizeof(struct ipv6hdr) : ETH_HLEN + sizeof(struct iphdr)) + sizeof(struct udphdr);
	const struct geneve_header *geneve = xdp_at(f, at, sizeof(*geneve));
	struct xdp_options o = { .class = c->option_class, .first = at + sizeof(*geneve) };
	enum wr_reason reason;
	__u32 used;

	if (f->l4_len < sizeof(struct udphdr) + sizeof(*geneve))
		return WR_REASON_TUNNEL_MALFORMED;
	if (!geneve)
		return WR_REASON_NONE;
	reason = geneve_header_check(geneve, c->vni);
	if (reason)
		return reason;
	o.critical = geneve->flags & GENEVE_CRITICAL;
	o.end = o.first + geneve_options_size(geneve);
	t->inner = o.end;
	used = o.end + ETH_HLEN - f->l4_off;
	if (f->l4_len < used)
		return WR_REASON_TUNNEL_MALFORMED;
	reason = xdp_tag_check(f, c, &o, t);
	if (reason || o.beyond)
		return reason;
	if (!xdp_option_plain(f, &o)) {
		reason = xdp_options_follow(f->ctx, &o);
		if (reason || o.beyond)
			return reason;
	}
	t->origin.identity = o.identity;
	return xdp_inner_check(f, t, f->l4_len - used);
}

/*
 * Whether the packet arrived on a device that is allowed for its node. If not, from_uplink decides: XDP runs also on a
 * bond's ports, which have no routes.
 */
static __always_inline bool xdp_path_check(const struct xdp_frame *f, const struct wr_cluster *c,
					   const struct xdp_tunnel *t, const bool v6)
{
	const struct wr_node *node = node_get(t->origin.slot);

	return node && (path_is_usual(c, node, f->ctx->ingress_ifindex, v6) ||
			xdp_path_is_feasible(f->ctx, t->origin.slot, &f->saddr, v6));
}

/*
 * NONE: the packet may pass. t->whole: it may be decapsulated here; not if it has a checksum, which from_uplink
 * verifies, or padding.
 */
static __always_inline enum wr_reason xdp_tunnel_check(struct xdp_frame *f, struct xdp_tunnel *t, const bool v6)
{
	const struct udphdr *udp =
	    xdp_at(f, v6 ? ETH_HLEN + sizeof(struct ipv6hdr) : ETH_HLEN + sizeof(struct iphdr), sizeof(*udp));
	const struct wr_cluster *c;
	enum wr_reason reason;

	if (!udp)
		return WR_REASON_NONE;
	c = cluster_get();
	if (!c || udp->dest != c->port || !cluster_has_outer(c, &f->daddr, v6))
		return WR_REASON_NONE;
	if (f->fragment)
		return WR_REASON_TUNNEL_FRAGMENT;
	if (bpf_ntohs(udp->len) != f->l4_len || f->len < f->l4_off + f->l4_len)
		return WR_REASON_TUNNEL_MALFORMED;
	if (!cluster_has_sport(c, udp->source))
		return WR_REASON_TUNNEL_SPORT;
	reason = xdp_sender_check(f, t, v6);
	if (!reason)
		reason = xdp_geneve_check(f, c, t, v6);
	t->whole = t->whole && !udp->check && f->len == f->l4_off + f->l4_len && xdp_path_check(f, c, t, v6);
	return reason;
}

enum xdp_decap_result { XDP_NOT_DECAPPED, XDP_DECAPPED, XDP_DECAP_FAILED };

/*
 * Decapsulates the packet, if from_uplink accepts the metadata. The outer Ethernet addresses stay: with the inner ones
 * the kernel would treat the packet as another host's. XDP_NOT_DECAPPED: it is unchanged.
 *
 * The headers are removed before the metadata is added: otherwise the kernel would move the metadata, in memory before
 * the frame that is not yet cached (seen: 8 % of a receiver's total cost of a stream).
 */
static __always_inline enum xdp_decap_result xdp_decap(struct xdp_frame *f, const struct xdp_tunnel *t)
{
	const __u32 ifindex = f->ctx->ingress_ifindex;
	const struct wr_uplink *uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	struct wr_xdp_meta *meta;
	struct ethhdr *eth, outer;
	__u64 magic;

	if (!uplink || !(uplink->flags & WR_UPLINK_DECAP) || !uplink->magic)
		return XDP_NOT_DECAPPED;
	magic = uplink->magic;
	eth = f->data;
	if ((void *)(eth + 1) > f->end)
		return XDP_NOT_DECAPPED;
	outer = *eth;
	outer.h_proto = bpf_htons(t->inner_v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (bpf_xdp_adjust_head(f->ctx, t->inner))
		return XDP_NOT_DECAPPED;
	/* Not every driver supports metadata. The removed headers are still there. */
	if (bpf_xdp_adjust_meta(f->ctx, xdp_meta_length(f->ctx) - (int)sizeof(*meta)))
		return bpf_xdp_adjust_head(f->ctx, -(int)t->inner) ? XDP_DECAP_FAILED : XDP_NOT_DECAPPED;
	meta = (void *)(long)f->ctx->data_meta;
	eth = (void *)(long)f->ctx->data;
	if ((void *)(meta + 1) > (void *)eth || (void *)(eth + 1) > (void *)(long)f->ctx->data_end)
		return XDP_DECAP_FAILED;
	*eth = outer;
	*meta = (struct wr_xdp_meta){ magic, t->origin.identity, t->origin.slot, 0 };
	/* Counted here, since from_uplink, which counts the others, does not see the tag. */
	if (t->unkeyed)
		metric_count(WR_REASON_TUNNEL_UNKEYED, WR_INGRESS, f->len);
	return XDP_DECAPPED;
}

#endif
