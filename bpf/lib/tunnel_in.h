/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets from other nodes: which of an uplink's are tunnel packets, whether one is in order and its sender may say
 * what it says. Taking the outer headers off is in lib/tunnel_decap.h.
 *
 * Only a datagram in one piece, right behind an IP header without options or extension headers, is ever decapsulated. A
 * first fragment of one is dropped by name; later ones, and what hides the port behind other extension headers, go to
 * the stack, where nobody listens.
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

/* What is known of a tunnel packet. Offsets count from the start of the frame. */
struct tunnel {
	__u32 slot; /* of the node that has sent it */
	const struct wr_node *node;
	__u64 identity; /* as it says */
	__u32 udp;      /* where the outer UDP header is */
	__u32 inner;    /* where the inner IP header is */
	__u32 end;      /* of the outer IP packet, and of the inner one; the frame may be padded */
	__u8 ecn;       /* at first the outer one; then what the inner one is to become, 0: as it is */
	bool summed;    /* the outer UDP header has a checksum */
	bool over6;     /* family of the outer packet ... */
	bool v6;        /* ... and of the inner one */
};

/* --- the outer headers --- */

/* A datagram to this node's tunnel port begins at `udp`; `sound`: and its IP header is as a node's would be. */
static __always_inline enum wr_reason tunnel_udp(const struct packet *p, const struct wr_cluster *c, struct tunnel *t,
						 bool fragment, bool sound)
{
	const struct udphdr *udp = packet_at(p, t->udp & PACKET_OFF_MAX, sizeof(*udp));

	if (!udp || udp->dest != c->port)
		return WR_REASON_NONE;
	t->inner = t->udp + sizeof(*udp);
	t->summed = udp->check;
	if (fragment)
		return WR_REASON_TUNNEL_FRAGMENT;
	if (!sound || t->end > p->skb->len || t->udp + bpf_ntohs(udp->len) != t->end)
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
	bool fragment, sound;

	if (!ip)
		return WR_REASON_NONE;
	__builtin_memcpy(&p->at->saddr.a6, &ip->saddr, sizeof(p->at->saddr.a6));
	__builtin_memcpy(&p->at->daddr.a6, &ip->daddr, sizeof(p->at->daddr.a6));
	fragment = ip->nexthdr == IPPROTO_FRAGMENT;
	if ((ip->nexthdr != IPPROTO_UDP && !fragment) || !cluster_has_outer(c, &p->at->daddr, true))
		return WR_REASON_NONE;
	sound = ip->version == 6;
	t->udp = ETH_HLEN + sizeof(*ip);
	t->end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
	t->ecn = ip6_ecn(ip);
	if (fragment) {
		frag = packet_at(p, ETH_HLEN + sizeof(*ip), sizeof(*frag));
		if (!frag || frag->nexthdr != IPPROTO_UDP || (frag->frag_off & bpf_htons(IP6_FRAGMENT_OFFSET)))
			return WR_REASON_NONE;
		t->udp += sizeof(*frag);
	}
	return tunnel_udp(p, c, t, fragment, sound);
}

/* --- Geneve --- */

/* What the options say, where they are others than nodes send. */
struct tunnel_options {
	__u64 identity;
	__u32 off, end;
	__be16 class;
	bool critical; /* the header says that some are */
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

/* Before anything else of the packet counts: whether its sender knows the cluster's key. */
static __always_inline enum wr_reason tunnel_word_check(const struct wr_cluster *c, const struct wr_node *node,
							__u64 word, __u32 bytes)
{
	if (node_sends_word(node, word))
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
	/* Both options' room, whether they are there or not: without them an inner packet would be. */
	const struct geneve_header *geneve = packet_at(
	    p, t->inner & PACKET_OFF_MAX, sizeof(*geneve) + (GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS) * 4);
	const struct geneve_option *opt = (const void *)(geneve + 1);
	struct tunnel_options o = { .class = c->option_class };
	enum wr_reason reason;
	__u64 word;

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
	word = geneve_word((const void *)opt + GENEVE_IDENTITY_WORDS * 4, o.end - o.off, c->option_class);
	reason = tunnel_word_check(c, t->node, word, p->skb->len);
	if (reason)
		return reason;
	if (geneve_options_plain(o.end - o.off, word) && !o.critical && geneve_is_whole(opt, c->option_class))
		t->identity = geneve_identity((const void *)(opt + 1));
	else
		reason = tunnel_options_read(p->skb, &o);
	if (o.identity)
		t->identity = o.identity;
	return reason;
}

/* --- the inner packet --- */

/*
 * RFC 6040 section 4.2: what the inner ECN field becomes; 0: stays as it is. What was congested outside says so inside,
 * unless nobody there would understand it: then it is dropped, as congestion is told to such.
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

/* The inner packet fills what is left of the outer one. Its source replaces the outer one in p->at. */
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

static __always_inline enum wr_reason stranger_check(const union addr *source, __u32 slot, __u64 identity,
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
		good = !addr_is_strange(source, v6) && !cluster_holds(c, source, v6) && !node_by_cidr(source, v6) &&
		       !node_by_address(source, v6);
	return good ? WR_REASON_NONE : WR_REASON_TUNNEL_SOURCE;
}

/*
 * What a node may say of whom is no pod: that it is itself, by one of its addresses; or that it is nobody's of the
 * cluster.
 */
OUT_OF_LINE int tunnel_stranger(const struct addresses *at, __u32 slot, __u64 identity, __u32 v6)
{
	if (!at)
		return WR_REASON_TUNNEL_IDENTITY;
	return IN_FAMILY(v6, stranger_check, &at->saddr, slot, identity);
}

/* A node speaks for the pods of its own CIDR. The hash is nobody's if it is zero. */
static __always_inline enum wr_reason tunnel_source(const struct packet *p, const struct tunnel *t, const bool v6)
{
	if (t->identity >> WR_ID_KIND_SHIFT != WR_ID_KIND_POD)
		return tunnel_stranger(p->at, t->slot, t->identity, v6);
	if (t->identity == WR_ID_SOME_POD)
		return WR_REASON_TUNNEL_IDENTITY;
	return node_holds(t->node, &p->at->saddr, v6) ? WR_REASON_NONE : WR_REASON_TUNNEL_SOURCE;
}

/* --- all of it --- */

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

/* Slot of the node whose own address it is, or 0. Cached as long as the cluster's revision stands. */
static __always_inline __u32 tunnel_sender(const union addr *source, __u32 revision, const bool v6)
{
	struct known_place known = { 0 };
	__u32 slot = known_find(&known, KNOWN_SENDER, source, revision, v6);

	if (slot)
		return slot;
	slot = node_by_address(source, v6);
	if (slot)
		known_fill(&known, KNOWN_SENDER, source, revision, slot, v6);
	return slot;
}

/*
 * Whether the frame, of that outer family, is a tunnel packet (t->node then says whose) that may be believed. NONE with
 * no t->node: it is none; p->at->saddr is its source then.
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
	/* Behind the keyed word: a sum over the whole packet is work that nobody else can ask for. */
	if (t->summed && !tunnel_sum_is_right(p->skb, t->udp, t->end, v6))
		return WR_REASON_TUNNEL_MALFORMED;
	return tunnel_check(p, t);
}

#endif
