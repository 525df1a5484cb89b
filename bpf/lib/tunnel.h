/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets to other nodes: encapsulation, and how they leave. What comes in is in lib/tunnel_in.h. */
#ifndef WARREN_LIB_TUNNEL_H
#define WARREN_LIB_TUNNEL_H

#include <asm-generic/errno.h>
#include <linux/udp.h>

#include "lib/geneve.h"
#include "lib/l4.h"
#include "lib/tunnel_in.h"

#define TUNNEL_HOP_LIMIT 64
#define IP4_DONT_FRAGMENT 0x4000

/* Source ports: the dynamic range (RFC 8926 section 3.3, RFC 6335). */
#define TUNNEL_SPORT_FIRST 0xc000
#define TUNNEL_SPORT_BITS 14

/* What stands behind the outer IP header. */
struct tunnel_payload {
	struct udphdr udp;
	struct geneve_header geneve;
	struct geneve_option option;
	__be32 identity[2];
	struct ethhdr eth;
} __attribute__((packed, aligned(2)));
_Static_assert(sizeof(struct tunnel_payload) == WR_TUNNEL_HEADERS, "tunnel_payload");

/* One packet's, as its headers are written. */
struct tunnel_out {
	const struct wr_node *node;
	const struct wr_cluster *cluster;
	__u64 identity;
	__u32 hash;  /* of the inner flow */
	__u32 inner; /* length of the inner IP packet */
	__u8 tos;    /* the outer one */
};

/*
 * Of addresses, protocol and ports, by multiplication; not bpf_get_hash_recalc(), which dissects every packet of a sender
 * that has set no hash. All fragments of a datagram have its ports (lib/transport.h), so they stay together.
 */
static __always_inline __u32 tunnel_hash(const struct packet *p, const bool v6)
{
	const __be32 *s = p->at->saddr.a6.v6, *d = p->at->daddr.a6.v6;
	__u64 from = p->at->saddr.a4.v4, to = p->at->daddr.a4.v4, h;

	if (v6) {
		from = ((__u64)(s[0] ^ s[2]) << 32) | (s[1] ^ s[3]);
		to = ((__u64)(d[0] ^ d[2]) << 32) | (d[1] ^ d[3]);
	}
	h = (from ^ (__u64)p->sport << 32 ^ (__u64)p->dport << 48) * 0x9e3779b97f4a7c15ull;
	h = ((h ^ h >> 32) + to + p->l4_proto) * 0xbf58476d1ce4e5b9ull;
	return h >> 32;
}

/*
 * Whether the packet, or what a super-packet will be cut into, is no larger than `mtu`. Super-packets that cannot be
 * encapsulated anyway pass here, and fail there.
 */
static __always_inline bool tunnel_fits(const struct packet *p, __u32 mtu)
{
	const struct tcphdr *tcp;

	if (p->end - ETH_HLEN <= mtu)
		return true;
	if (!p->skb->gso_size)
		return false;
	if (p->l4_proto != IPPROTO_TCP)
		return true;
	tcp = packet_at(p, p->l4_off & PACKET_OFF_MAX, sizeof(*tcp));
	return tcp && p->l4_off - ETH_HLEN + tcp->doff * 4 + p->skb->gso_size <= mtu;
}

/* ECN as it is inside (RFC 6040 section 4.1, normal mode); DSCP if the cluster is configured so (RFC 2983, uniform model). */
static __always_inline bool tunnel_tos(const struct packet *p, struct tunnel_out *out, const bool v6)
{
	const __be16 *word = packet_at(p, ETH_HLEN, sizeof(*word));
	__u8 tos;

	if (!word)
		return false;
	tos = v6 ? bpf_ntohs(*word) >> 4 : bpf_ntohs(*word);
	out->tos = out->cluster->flags & WR_CLUSTER_DSCP ? tos : tos & ECN_MASK;
	return true;
}

/*
 * Room for the outer headers behind the Ethernet header. Who sends from inside a tunnel of its own has skb->encapsulation set
 * already; then the kernel takes no flags (-EALREADY), without which a super-packet would not be cut right. A single packet
 * needs them for nothing but skb->protocol, which changes as in tunnel_decap().
 */
static __always_inline bool tunnel_room(struct __sk_buff *skb, const bool v6, const bool over6)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
			    BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
			    (over6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
	const __s32 room = over6 ? WR_TUNNEL_OVERHEAD6 : WR_TUNNEL_OVERHEAD4;
	const __s32 change = v6 == over6 ? 0 : over6 ? PROTO_CHANGE : -(__s32)PROTO_CHANGE;
	long r = bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags);

	if (r != -EALREADY || skb->gso_size)
		return !r;
	if (bpf_skb_adjust_room(skb, room - change, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return false;
	return !change || !bpf_skb_change_proto(skb, over6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
}

static __always_inline void payload_write(struct tunnel_payload *at, const struct tunnel_out *out, const bool v6)
{
	const __u8 from[6] __attribute__((aligned(2))) = GENEVE_SOURCE_MAC;
	const __u8 to[6] __attribute__((aligned(2))) = GENEVE_DEST_MAC;

	at->udp.source = bpf_htons(TUNNEL_SPORT_FIRST | out->hash >> (32 - TUNNEL_SPORT_BITS));
	at->udp.dest = out->cluster->port;
	at->udp.len = bpf_htons(sizeof(*at) + out->inner);
	at->udp.check = 0; /* RFC 6935: over IPv6 too, of a tunnel whose inner packets have checksums of their own */
	at->geneve.version_words = GENEVE_IDENTITY_WORDS;
	at->geneve.flags = 0;
	at->geneve.protocol = bpf_htons(GENEVE_ETHERNET);
	at->geneve.vni = bpf_htonl(out->cluster->vni << 8);
	at->option.class = out->cluster->option_class;
	at->option.type = WR_TUNNEL_OPTION;
	at->option.words = WR_TUNNEL_IDENTITY_SIZE / 4;
	at->identity[0] = bpf_htonl(out->identity >> 32);
	at->identity[1] = bpf_htonl(out->identity);
	mac_copy(at->eth.h_dest, to);
	mac_copy(at->eth.h_source, from);
	at->eth.h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

/* DF, so that nobody fragments it on the way: a fragment would not be decapsulated. So its id may be 0 (RFC 6864). */
static __always_inline void outer4_write(struct iphdr *ip, const struct tunnel_out *out)
{
	const __be32 from = out->node->local.v6[0], to = out->node->remote.v6[0];
	const __be16 len = bpf_htons(WR_TUNNEL_OVERHEAD4 + out->inner);
	__u32 sum;

	*(__be16 *)ip = bpf_htons(0x4500 | out->tos);
	ip->tot_len = len;
	ip->id = 0;
	ip->frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	ip->ttl = TUNNEL_HOP_LIMIT;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = from;
	ip->daddr = to;
	sum = bpf_htons(0x4500 | out->tos) + (__u32)len + bpf_htons(IP4_DONT_FRAGMENT) +
	      bpf_htons(TUNNEL_HOP_LIMIT << 8 | IPPROTO_UDP) + (from & 0xffff) + (from >> 16) + (to & 0xffff) + (to >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
}

/* The flow label spreads flows where routers do not look for ports (RFC 6438). */
static __always_inline void outer6_write(struct ipv6hdr *ip, const struct tunnel_out *out)
{
	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)out->tos << 20 | (out->hash & 0xfffff));
	ip->payload_len = bpf_htons(sizeof(struct tunnel_payload) + out->inner);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = TUNNEL_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &out->node->local, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &out->node->remote, sizeof(ip->daddr));
}

/* bpf_redirect_neigh() writes the addresses itself. */
static __always_inline void link_write(struct ethhdr *eth, const struct wr_node *node, const bool v6)
{
	mac_copy(eth->h_dest, node->dmac);
	mac_copy(eth->h_source, node->smac);
	eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

static __always_inline enum wr_reason tunnel_encap(struct packet *p, struct tunnel_out *out, const bool v6, const bool over6)
{
	const __u32 overhead = over6 ? WR_TUNNEL_OVERHEAD6 : WR_TUNNEL_OVERHEAD4;
	struct __sk_buff *skb = p->skb;
	struct ethhdr *eth;

	out->inner = p->end - ETH_HLEN;
	/* UDP and SCTP super-packets do not survive it: facts.md calls for a drop by name. */
	if (out->inner + overhead > 0xffff || (skb->gso_size && p->l4_proto != IPPROTO_TCP))
		return WR_REASON_ENCAP_FAILED;
	if (!tunnel_tos(p, out, v6) || (skb->len > p->end && bpf_skb_change_tail(skb, p->end, 0)) ||
	    !tunnel_room(skb, v6, over6))
		return WR_REASON_ENCAP_FAILED;
	eth = packet_at(p, 0, ETH_HLEN + overhead);
	if (!eth)
		return WR_REASON_ENCAP_FAILED;
	link_write(eth, out->node, over6);
	if (over6)
		outer6_write((void *)(eth + 1), out);
	else
		outer4_write((void *)(eth + 1), out);
	payload_write((void *)eth + ETH_HLEN + overhead - sizeof(struct tunnel_payload), out, v6);
	return WR_REASON_TO_NODE;
}

/*
 * Makes the packet, which ip_parse() has read, ready for the node that p->peer_ifindex names (WR_REMOTE | slot), with that
 * identity as its sender's; verdict() sends it there. Addresses, protocol and ports in p spread the flows. Whoever routes the
 * packet has counted its hop limit down.
 */
static __always_inline enum wr_reason tunnel_send(struct packet *p, __u64 identity, const bool v6)
{
	const __u32 slot = p->peer_ifindex & ~WR_REMOTE, bytes = p->skb->len;
	struct tunnel_out out = { .node = node_get(slot), .cluster = cluster_get(), .identity = identity };
	enum wr_reason reason = WR_REASON_TO_NODE;
	struct ethhdr *eth;

	if (!out.node || !out.cluster)
		return WR_REASON_ENCAP_FAILED;
	if (!tunnel_fits(p, out.node->mtu))
		return WR_REASON_TOO_BIG;
	if (out.node->flags & WR_NODE_DIRECT) {
		eth = packet_at(p, 0, sizeof(*eth));
		if (!eth)
			return WR_REASON_RUNT;
		link_write(eth, out.node, v6);
	} else {
		out.hash = tunnel_hash(p, v6);
		reason = out.node->flags & WR_NODE_OVER6 ? tunnel_encap(p, &out, v6, true) : tunnel_encap(p, &out, v6, false);
	}
	if (reason == WR_REASON_TO_NODE)
		node_count(slot, WR_EGRESS, bytes);
	return reason;
}

/* What tc is to do with what tunnel_send() has made. Without a node any more: nothing. */
static __always_inline int tunnel_redirect(const struct packet *p)
{
	const struct wr_node *node = node_get(p->peer_ifindex & ~WR_REMOTE);

	if (!node)
		return TC_ACT_SHOT;
	return node->flags & WR_NODE_RESOLVED ? bpf_redirect(node->uplink, 0) : bpf_redirect_neigh(node->uplink, NULL, 0, 0);
}

/* Into this node's own stack, as if it had come in by warren0, whose routes lead back to where it came from. */
static __always_inline int tunnel_redirect_host(void)
{
	const struct wr_cluster *c = cluster_get();

	return c ? bpf_redirect(c->host_ifindex, BPF_F_INGRESS) : TC_ACT_SHOT;
}

#endif
