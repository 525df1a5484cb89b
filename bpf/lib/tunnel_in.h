/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets from other nodes: which packets of an uplink are tunnel packets, whether one is valid, and whether its sender
 * may use its inner source and identity. lib/tunnel_decap.h removes the outer headers.
 *
 * Only an unfragmented datagram directly behind an IP header without options or extension headers is decapsulated. A
 * first fragment is dropped with its own reason. Later ones, and packets with other extension headers, go to the stack,
 * which has no socket on the port.
 */
#ifndef WARREN_LIB_TUNNEL_IN_H
#define WARREN_LIB_TUNNEL_IN_H

#include <linux/udp.h>

#include "lib/cluster.h"
#include "lib/geneve.h"
#include "lib/ip.h"
#include "lib/node.h"
#include "lib/sender_path.h"
#include "lib/tunnel_sum.h"
#include "lib/verdict_address.h"

/* A parsed tunnel packet. Offsets count from the start of the frame. */
struct tunnel {
	__u32 slot; /* of the sending node */
	const struct wr_node *node;
	__u64 identity; /* as carried in the packet */
	__u32 udp;      /* offset of the outer UDP header */
	__u32 inner;    /* offset of the inner IP header */
	__u32 end;      /* of the outer IP packet, and of the inner one; the frame may be padded */
	__u8 ecn;       /* first the outer ECN; then the new inner one, 0: unchanged */
	bool summed;    /* the outer UDP header has a checksum */
	bool over6;     /* family of the outer packet ... */
	bool v6;        /* ... and of the inner one */
};

/* --- the outer headers --- */

/*
 * Checks the UDP header at t->udp; NONE with t->inner 0: it is not to this node's tunnel port. `valid`: the IP header
 * is as nodes send it.
 */
static __always_inline enum wr_reason tunnel_udp(const struct packet *p, const struct wr_cluster *c, struct tunnel *t,
						 bool fragment, bool valid)
{
	const struct udphdr *udp = packet_at(p, t->udp & PACKET_OFF_MAX, sizeof(*udp));

	if (!udp || udp->dest != c->port)
		return WR_REASON_NONE;
	t->inner = t->udp + sizeof(*udp);
	t->summed = udp->check;
	if (fragment)
		return WR_REASON_TUNNEL_FRAGMENT;
	if (!valid || t->end > p->skb->len || t->udp + bpf_ntohs(udp->len) != t->end)
		return WR_REASON_TUNNEL_MALFORMED;
	return cluster_has_sport(c, udp->source) ? WR_REASON_NONE : WR_REASON_TUNNEL_SPORT;
}

static __always_inline enum wr_reason tunnel4_outer(struct packet *p, const struct wr_cluster *c, struct tunnel *t)
{
	const struct iphdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	__u32 frag;

	if (!ip)
		return WR_REASON_NONE;
	p->at->saddr.a4.v4 = ip->saddr;
	frag = bpf_ntohs(ip->frag_off);
	if (ip->protocol != IPPROTO_UDP || ip->daddr != c->addr4.v4 || !(c->flags & WR_CLUSTER_V4) ||
	    (frag & IP4_FRAGMENT_OFFSET))
		return WR_REASON_NONE;
	t->udp = ETH_HLEN + ip->ihl * 4;
	t->end = ETH_HLEN + bpf_ntohs(ip->tot_len);
	t->ecn = ip->tos & ECN_MASK;
	return tunnel_udp(p, c, t, frag & IP4_MORE_FRAGMENTS, ip->version == 4 && ip->ihl == 5);
}

static __always_inline enum wr_reason tunnel6_outer(struct packet *p, const struct wr_cluster *c, struct tunnel *t)
{
	const struct ipv6hdr *ip = packet_at(p, ETH_HLEN, sizeof(*ip));
	const struct frag6_hdr *frag;
	bool fragment, valid;

	if (!ip)
		return WR_REASON_NONE;
	__builtin_memcpy(&p->at->saddr.a6, &ip->saddr, sizeof(p->at->saddr.a6));
	__builtin_memcpy(&p->at->daddr.a6, &ip->daddr, sizeof(p->at->daddr.a6));
	fragment = ip->nexthdr == IPPROTO_FRAGMENT;
	if ((ip->nexthdr != IPPROTO_UDP && !fragment) || !cluster_has_outer(c, &p->at->daddr, true))
		return WR_REASON_NONE;
	valid = ip->version == 6;
	t->udp = ETH_HLEN + sizeof(*ip);
	t->end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	t->ecn = ip6_ecn(ip);
	if (fragment) {
		frag = packet_at(p, ETH_HLEN + sizeof(*ip), sizeof(*frag));
		if (!frag || frag->nexthdr != IPPROTO_UDP || (frag->frag_off & bpf_htons(IP6_FRAGMENT_OFFSET)))
			return WR_REASON_NONE;
		t->udp += sizeof(*frag);
	}
	return tunnel_udp(p, c, t, fragment, valid);
}

/* --- Geneve --- */

/* State of parsing options other than nodes send. */
struct tunnel_options {
	__u64 identity;
	__u32 off, end;
	__be16 class;
	bool critical; /* the header's flag: there are critical options */
};

OUT_OF_LINE int tunnel_options_read(struct __sk_buff *skb, struct tunnel_options *o)
{
	struct geneve_option opt;
	bool found = false;
	__be32 data[2];

	if (!o)
		return WR_REASON_TUNNEL_OPTION;
	for (int n = 0; n < GENEVE_WORDS_MAX && o->off < o->end; n++) {
		if (bpf_skb_load_bytes(skb, o->off, &opt, sizeof(opt)))
			return WR_REASON_TUNNEL_MALFORMED;
		o->off += sizeof(opt) + geneve_data_size(&opt);
		if (o->off > o->end)
			return WR_REASON_TUNNEL_MALFORMED;
		if (!geneve_option_allowed(&opt, o->class, found))
			return WR_REASON_TUNNEL_OPTION;
		if (!geneve_is_identity(&opt, o->class))
			continue;
		if (bpf_skb_load_bytes(skb, o->off - sizeof(data), data, sizeof(data)))
			return WR_REASON_TUNNEL_OPTION;
		o->identity = geneve_identity(data);
		found = true;
	}
	if (!found)
		return WR_REASON_TUNNEL_OPTION;
	return o->critical ? WR_REASON_TUNNEL_MALFORMED : WR_REASON_NONE;
}

/* Checks the keyed tag, before the rest of the packet is parsed: whether its sender has the cluster's key. */
static __always_inline enum wr_reason tunnel_tag_check(const struct wr_cluster *c, const struct wr_node *node,
						       __u64 tag, __u32 bytes)
{
	if (node_sends_tag(node, tag))
		return WR_REASON_NONE;
	if (c->flags & WR_CLUSTER_KEY_REQUIRED)
		return WR_REASON_TUNNEL_KEY;
	if (node_is_keyed(node) && !dry_run)
		metric_count(WR_REASON_TUNNEL_UNKEYED, WR_INGRESS, bytes);
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason tunnel_geneve(const struct packet *p, const struct wr_cluster *c,
						    struct tunnel *t)
{
	/* Room for both options, whether or not they are present: without them, an inner packet follows. */
	const struct geneve_header *geneve = packet_at(
	    p, t->inner & PACKET_OFF_MAX, sizeof(*geneve) + (GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS) * 4);
	const struct geneve_option *opt = (const void *)(geneve + 1);
	struct tunnel_options o = { .class = c->option_class };
	enum wr_reason reason;
	__u64 tag;

	if (!geneve)
		return WR_REASON_TUNNEL_MALFORMED;
	reason = geneve_header_check(geneve, c->vni);
	if (reason)
		return reason;
	o.off = t->inner + sizeof(*geneve);
	o.end = o.off + geneve_options_size(geneve);
	o.critical = geneve->flags & GENEVE_CRITICAL;
	t->inner = o.end + ETH_HLEN;
	if (t->inner > t->end)
		return WR_REASON_TUNNEL_MALFORMED;
	tag = geneve_tag((const void *)opt + GENEVE_IDENTITY_WORDS * 4, o.end - o.off, c->option_class);
	reason = tunnel_tag_check(c, t->node, tag, p->skb->len);
	if (reason)
		return reason;
	if (geneve_options_plain(o.end - o.off, tag) && !o.critical && geneve_is_whole(opt, c->option_class))
		t->identity = geneve_identity((const void *)(opt + 1));
	else
		reason = tunnel_options_read(p->skb, &o);
	if (o.identity)
		t->identity = o.identity;
	return reason;
}

/* --- the inner packet --- */

/*
 * RFC 6040 section 4.2: sets the new inner ECN field; 0: unchanged. CE is copied inside; if the inner packet does not
 * support ECN, it is dropped, which signals congestion as well.
 */
static __always_inline enum wr_reason tunnel_ecn(struct tunnel *t, __u8 inner)
{
	const __u8 outer = t->ecn;

	t->ecn = 0;
	if (outer == ECN_CE && !inner)
		return WR_REASON_TUNNEL_MALFORMED;
	if (outer == ECN_CE && inner != ECN_CE)
		t->ecn = ECN_CE;
	if (outer == ECN_ECT1 && inner == ECN_ECT0)
		t->ecn = ECN_ECT1;
	return WR_REASON_NONE;
}

/* The inner packet must fill the rest of the outer one. Its source replaces the outer one in p->at. */
static __always_inline enum wr_reason tunnel4_inner(struct packet *p, struct tunnel *t)
{
	const struct iphdr *ip = packet_at(p, t->inner & PACKET_OFF_MAX, sizeof(*ip));

	if (!ip || ip->version != 4 || t->inner + bpf_ntohs(ip->tot_len) != t->end)
		return WR_REASON_TUNNEL_MALFORMED;
	p->at->saddr.a4.v4 = ip->saddr;
	return tunnel_ecn(t, ip->tos & ECN_MASK);
}

static __always_inline enum wr_reason tunnel6_inner(struct packet *p, struct tunnel *t)
{
	const struct ipv6hdr *ip = packet_at(p, t->inner & PACKET_OFF_MAX, sizeof(*ip));

	if (!ip || ip->version != 6 || t->inner + sizeof(*ip) + bpf_ntohs(ip->payload_len) != t->end)
		return WR_REASON_TUNNEL_MALFORMED;
	__builtin_memcpy(&p->at->saddr.a6, &ip->saddr, sizeof(p->at->saddr.a6));
	return tunnel_ecn(t, ip6_ecn(ip));
}

/* --- trust --- */

static __always_inline enum wr_reason unknown_peer_check(const union addr *source, __u32 slot, __u64 identity,
							 const bool v6)
{
	const struct wr_cluster *c = cluster_get();
	const struct wr_node *node = node_get(slot);
	bool good;

	if (!c || !node || (identity != WR_ID_REMOTE_NODE && identity != WR_ID_WORLD))
		return WR_REASON_TUNNEL_IDENTITY;
	if (identity == WR_ID_REMOTE_NODE)
		good = node_has_gateway(node, source, v6) || node_by_address(source, v6) == slot;
	else
		good = !addr_is_martian(source, v6) && !cluster_holds(c, source, v6) && !node_by_cidr(source, v6) &&
		       !node_by_address(source, v6);
	return good ? WR_REASON_NONE : WR_REASON_TUNNEL_SOURCE;
}

/*
 * A node may send two identities other than a pod's: its own, from one of its addresses; and world, from an address
 * that is not in the cluster.
 */
OUT_OF_LINE int tunnel_unknown_peer(const struct addresses *at, __u32 slot, __u64 identity, __u32 v6)
{
	if (!at)
		return WR_REASON_TUNNEL_IDENTITY;
	return IN_FAMILY(v6, unknown_peer_check, &at->saddr, slot, identity);
}

/* A node may send for the pods of its own CIDR. A pod identity with a hash of zero is not valid. */
static __always_inline enum wr_reason tunnel_source(const struct packet *p, const struct tunnel *t, const bool v6)
{
	if (t->identity >> WR_ID_KIND_SHIFT != WR_ID_KIND_POD)
		return tunnel_unknown_peer(p->at, t->slot, t->identity, v6);
	if (t->identity == WR_ID_SOME_POD)
		return WR_REASON_TUNNEL_IDENTITY;
	return node_holds(t->node, &p->at->saddr, v6) ? WR_REASON_NONE : WR_REASON_TUNNEL_SOURCE;
}

/* --- entry --- */

static __always_inline enum wr_reason tunnel_check(struct packet *p, struct tunnel *t)
{
	const struct ethhdr *eth = packet_at(p, (t->inner - ETH_HLEN) & PACKET_OFF_MAX, sizeof(*eth));
	enum wr_reason reason;

	if (!eth)
		return WR_REASON_TUNNEL_MALFORMED;
	t->v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	if (!t->v6 && eth->h_proto != bpf_htons(ETH_P_IP))
		return WR_REASON_TUNNEL_MALFORMED;
	reason = t->v6 ? tunnel6_inner(p, t) : tunnel4_inner(p, t);
	if (reason)
		return reason;
	return IN_FAMILY(t->v6, tunnel_source, p, t);
}

/* Slot of the node that has this address itself, or 0. Cached as long as the cluster's revision is the same. */
static __always_inline __u32 tunnel_sender(const union addr *source, __u32 revision, const bool v6)
{
	struct outer_place place = { 0 };
	__u32 slot = outer_cache_find(&place, OUTER_NODE, source, revision, v6);

	if (slot)
		return slot;
	slot = node_by_address(source, v6);
	if (slot)
		outer_cache_fill(&place, OUTER_NODE, source, revision, slot, v6);
	return slot;
}

/*
 * Checks a frame of that outer family. t->node is the sending node if it is a valid tunnel packet. NONE with t->node
 * NULL: it is not a tunnel packet; p->at->saddr is its source then.
 */
static __always_inline enum wr_reason tunnel_open(struct packet *p, const struct wr_cluster *c, struct tunnel *t,
						  const bool v6)
{
	enum wr_reason reason = v6 ? tunnel6_outer(p, c, t) : tunnel4_outer(p, c, t);

	t->over6 = v6;
	if (reason || !t->inner)
		return reason;
	t->slot = tunnel_sender(&p->at->saddr, p->cluster_revision, v6);
	t->node = node_get(t->slot);
	if (!t->node)
		return WR_REASON_TUNNEL_SENDER;
	p->peer_ifindex = WR_REMOTE | t->slot;
	reason = tunnel_geneve(p, c, t);
	if (reason)
		return reason;
	if (!path_is_usual(c, t->node, p->skb->ifindex, v6) &&
	    !skb_path_is_feasible(p->skb, t->slot, &p->at->saddr, v6))
		return WR_REASON_SPOOFED_OUTSIDE;
	/* After the check of the keyed tag: only nodes can make this one sum a whole packet. */
	if (t->summed && !tunnel_sum_is_right(p->skb, t->udp, t->end, v6))
		return WR_REASON_TUNNEL_MALFORMED;
	return tunnel_check(p, t);
}

#endif
