/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets to other nodes: encapsulation and redirection. lib/tunnel_in.h handles packets from them. */
#ifndef WARREN_LIB_TUNNEL_OUT_H
#define WARREN_LIB_TUNNEL_OUT_H

#include <asm-generic/errno.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "lib/cluster.h"
#include "lib/geneve.h"
#include "lib/ip.h"
#include "lib/nexthop.h"
#include "lib/node.h"

#define TUNNEL_SPORT_BITS 14 /* WR_TUNNEL_SPORT_FIRST to the last port */

/* The headers behind the outer IP header: with the keyed tag (WR_NODE_KEYED), or without it. */
struct tunnel_payload {
	struct udphdr udp;
	struct geneve_header geneve;
	struct geneve_option option;
	__be32 identity[2];
	union {
		struct ethhdr eth;
		struct {
			struct geneve_option option;
			__be32 tag[2];
			struct ethhdr eth;
		} __attribute__((packed, aligned(2))) keyed;
	};
} __attribute__((packed, aligned(2)));
_Static_assert(sizeof(struct tunnel_payload) == WR_TUNNEL_HEADERS + WR_TUNNEL_KEY_SIZE, "tunnel_payload");
_Static_assert(__builtin_offsetof(struct tunnel_payload, eth) + ETH_HLEN == WR_TUNNEL_HEADERS, "tunnel_payload.eth");
_Static_assert(sizeof(struct iphdr) >= WR_TUNNEL_KEY_SIZE, "without a tag, the inner IP header stands in its place");

/* The fields from which a packet's outer headers are written. */
struct tunnel_out {
	const struct wr_node *node;
	const struct wr_nexthop *nexthop; /* NULL: a dry run */
	const struct wr_cluster *cluster;
	__u64 identity;
	__u32 hash;  /* of the inner flow */
	__u32 inner; /* length of the inner IP packet */
	__u32 headers; /* length of the headers between the outer and the inner IP header */
	__u8 tos;    /* the outer one */
	bool tunnelled; /* see struct packet */
};

/*
 * Hash of addresses and protocol, by multiplication; the caller adds ports. Not bpf_get_hash_recalc(), which dissects
 * every packet of a sender that sets no hash. Fragments are hashed without ports, which not all of them have, so they
 * use one path.
 */
static __always_inline __u32 tunnel_hash(const __be32 *s, const __be32 *d, __u8 l4_proto, const bool v6)
{
	__u64 from = s[0], to = d[0], h;

	if (v6) {
		from = ((__u64)(s[0] ^ s[2]) << 32) | (s[1] ^ s[3]);
		to = ((__u64)(d[0] ^ d[2]) << 32) | (d[1] ^ d[3]);
	}
	h = from * 0x9e3779b97f4a7c15ull;
	h = ((h ^ h >> 32) + to + l4_proto) * 0xbf58476d1ce4e5b9ull;
	return h >> 32;
}

/*
 * Reads the packet's end, its protocol (0 for a fragment), its hash, and the outer TOS: ECN as inside (RFC 6040 section
 * 4.1, normal mode), DSCP if the cluster is configured so (RFC 2983, uniform model).
 */
static __always_inline bool tunnel_read(struct packet *p, struct tunnel_out *out, const bool v6)
{
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	const void *frame = packet_at(p, 0, l4_off);
	const struct iphdr *ip4 = frame + ETH_HLEN;
	const struct ipv6hdr *ip6 = frame + ETH_HLEN;
	const __be32 *ports;
	__u8 tos;

	if (!frame)
		return false;
	p->l4_off = l4_off;
	p->end = v6 ? l4_off + bpf_ntohs(ip6->payload_len) : ETH_HLEN + bpf_ntohs(ip4->tot_len);
	p->l4_proto = v6 ? ip6->nexthdr : ip4->protocol;
	if (!v6 && (ip4->frag_off & bpf_htons(IP4_MORE_FRAGMENTS | IP4_FRAGMENT_OFFSET)))
		p->l4_proto = 0;
	tos = v6 ? bpf_ntohs(*(const __be16 *)ip6) >> 4 : ip4->tos;
	out->tos = out->cluster->flags & WR_CLUSTER_DSCP ? tos : tos & ECN_MASK;
	out->hash = v6 ? tunnel_hash((const __be32 *)&ip6->saddr, (const __be32 *)&ip6->daddr, p->l4_proto, true) :
			 tunnel_hash(&ip4->saddr, &ip4->daddr, p->l4_proto, false);
	if (p->l4_proto != IPPROTO_TCP && p->l4_proto != IPPROTO_UDP)
		return true;
	ports = packet_at(p, l4_off, sizeof(*ports));
	if (!ports)
		return false;
	out->hash = (((__u64)out->hash << 32) ^ *ports) * 0x9e3779b97f4a7c15ull >> 32;
	return true;
}

/*
 * Whether the packet, or each segment of a GSO packet, is no larger than `mtu`. GSO packets that cannot be encapsulated
 * pass here, and fail there.
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

/*
 * Makes room for the outer headers behind the Ethernet header. Packets from inside a sender's own tunnel have
 * skb->encapsulation set already. Then the kernel accepts no flags (-EALREADY), without which a GSO packet would not be
 * segmented correctly. A single packet needs them only for skb->protocol, which is changed as in tunnel_decap().
 */
static __always_inline bool tunnel_room(struct __sk_buff *skb, __u32 headers, const bool v6, const bool over6)
{
	const __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH |
			    BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
			    (over6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
	const __s32 room = (over6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + headers;
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
	struct ethhdr *eth = &at->eth;
	__u64 tag;

	at->udp.source = bpf_htons(WR_TUNNEL_SPORT_FIRST | out->hash >> (32 - TUNNEL_SPORT_BITS));
	at->udp.dest = out->cluster->port;
	at->udp.len = bpf_htons(out->headers + out->inner);
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
	if (out->headers != WR_TUNNEL_HEADERS) {
		tag = out->node->tx_tag[!!(out->cluster->flags & WR_CLUSTER_KEY_ODD)];
		at->geneve.version_words = GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS;
		at->keyed.option.class = out->cluster->option_class;
		at->keyed.option.type = WR_TUNNEL_OPTION_KEY;
		at->keyed.option.words = WR_TUNNEL_TAG_SIZE / 4;
		at->keyed.tag[0] = bpf_htonl(tag >> 32);
		at->keyed.tag[1] = bpf_htonl(tag);
		eth = &at->keyed.eth;
	}
	mac_copy(eth->h_dest, to);
	mac_copy(eth->h_source, from);
	eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
}

/* DF, so that no router fragments it: a fragment would not be decapsulated. So the id may be 0 (RFC 6864). */
static __always_inline void outer4_write(struct iphdr *ip, const struct tunnel_out *out)
{
	const __be32 from = out->node->local.v6[0], to = out->node->remote.v6[0];
	const __be16 len = bpf_htons(sizeof(*ip) + out->headers + out->inner);
	__u32 sum;

	*(__be16 *)ip = bpf_htons(IP4_PLAIN | out->tos);
	ip->tot_len = len;
	ip->id = 0;
	ip->frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	ip->ttl = IP_HOP_LIMIT;
	ip->protocol = IPPROTO_UDP;
	ip->saddr = from;
	ip->daddr = to;
	sum = bpf_htons(IP4_PLAIN | out->tos) + (__u32)len + bpf_htons(IP4_DONT_FRAGMENT) +
	      bpf_htons(IP_HOP_LIMIT << 8 | IPPROTO_UDP) + (from & 0xffff) + (from >> 16) + (to & 0xffff) +
	      (to >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
}

/* The flow label spreads flows if routers do not hash ports (RFC 6438). */
static __always_inline void outer6_write(struct ipv6hdr *ip, const struct tunnel_out *out)
{
	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)out->tos << 20 | (out->hash & 0xfffff));
	ip->payload_len = bpf_htons(out->headers + out->inner);
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = IP_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &out->node->local, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &out->node->remote, sizeof(ip->daddr));
}

/* While the nexthop is not resolved, bpf_redirect_neigh() writes the addresses. */
static __always_inline void link_write(struct ethhdr *eth, const struct wr_nexthop *nh, const bool v6)
{
	eth->h_proto = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (!nh || !(nh->flags & WR_NEXTHOP_RESOLVED))
		return;
	mac_copy(eth->h_dest, nh->dmac);
	mac_copy(eth->h_source, nh->smac);
}

static __always_inline enum wr_reason tunnel_encap(struct packet *p, struct tunnel_out *out, const bool v6,
						   const bool over6)
{
	const __u32 l3_size = over6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	struct __sk_buff *skb = p->skb;
	struct ethhdr *eth;

	out->inner = p->end - ETH_HLEN;
	out->headers = WR_TUNNEL_HEADERS + (out->node->flags & WR_NODE_KEYED ? WR_TUNNEL_KEY_SIZE : 0);
	/* UDP and SCTP GSO packets cannot be encapsulated: those of pods and of the host are segmented before. */
	if (out->inner + l3_size + out->headers > 0xffff || (skb->gso_size && p->l4_proto != IPPROTO_TCP))
		return WR_REASON_ENCAP_FAILED;
	if ((skb->len > p->end && bpf_skb_change_tail(skb, p->end, 0)) || !tunnel_room(skb, out->headers, v6, over6))
		return WR_REASON_ENCAP_FAILED;
	eth = packet_at(p, 0, ETH_HLEN + l3_size + sizeof(struct tunnel_payload));
	if (!eth)
		return WR_REASON_ENCAP_FAILED;
	link_write(eth, out->nexthop, over6);
	if (over6)
		outer6_write((void *)(eth + 1), out);
	else
		outer4_write((void *)(eth + 1), out);
	payload_write((void *)eth + ETH_HLEN + l3_size, out, v6);
	return WR_REASON_TO_NODE;
}

/*
 * Whether packets with that sender's identity go to the node without a tunnel. The world's never do: the tunnel names the
 * node that they came through, to which replies must return.
 */
static __always_inline bool tunnel_is_direct(const struct wr_node *node, __u64 identity)
{
	return (node->flags & WR_NODE_DIRECT) && identity != WR_ID_WORLD;
}

static __always_inline enum wr_reason tunnel_write(struct packet *p, struct tunnel_out *out, __u32 slot, const bool v6)
{
	const bool direct = !out->tunnelled && tunnel_is_direct(out->node, out->identity);
	const __u32 bytes = p->skb->len;
	enum wr_reason reason = WR_REASON_TO_NODE;
	struct ethhdr *eth;

	if (!tunnel_fits(p, nexthop_mtu(out->nexthop, out->node, direct)))
		return WR_REASON_TOO_BIG;
	if (dry_run)
		return WR_REASON_TO_NODE;
	if (direct) {
		eth = packet_at(p, 0, sizeof(*eth));
		if (!eth)
			return WR_REASON_RUNT;
		link_write(eth, out->nexthop, v6);
	} else {
		reason = IN_FAMILY(out->node->flags & WR_NODE_OVER6, tunnel_encap, p, out, v6);
	}
	if (reason == WR_REASON_TO_NODE)
		node_count(slot, WR_EGRESS, bytes);
	return reason;
}

/* All fields are read from the packet, which passed ip_parse(): the callers' stacks have no room for them. */
OUT_OF_LINE int tunnel_push(struct __sk_buff *skb, __u64 identity, __u32 slot, __u32 v6, __u32 tunnelled)
{
	struct packet p = { .skb = skb };
	struct tunnel_out out = { .node = node_get(slot), .cluster = cluster_get(), .identity = identity,
				  .tunnelled = tunnelled };

	if (!out.node || !out.cluster || !IN_FAMILY(v6, tunnel_read, &p, &out))
		return WR_REASON_ENCAP_FAILED;
	if (!dry_run)
		out.nexthop = nexthop_get(skb, slot, out.node);
	return IN_FAMILY(v6, tunnel_write, &p, &out, slot);
}

/*
 * Prepares the packet for node p->peer_ifindex (WR_REMOTE | slot), with `identity` as its sender's; verdict() redirects
 * it. The caller or the stack has decremented its hop limit. A dry run leaves the packet unchanged.
 */
static __always_inline enum wr_reason tunnel_send(const struct packet *p, __u64 identity, const bool v6)
{
	return tunnel_push(p->skb, identity, p->peer_ifindex & ~WR_REMOTE, v6, p->tunnelled);
}

/*
 * Redirects by the kernel's neighbour entry, which the kernel creates, confirms and waits for: that of the nexthop to the
 * outer destination or, for direct packets, of the node's address, since the route to the inner destination leads to
 * warren0. The nexthop is named: the lookup of bpf_redirect_neigh() would include the outer flow label, and of several
 * paths might select the gateway of another device's.
 */
OUT_OF_LINE int tunnel_redirect_neigh(struct __sk_buff *skb, __u32 slot, __u32 ifindex)
{
	const struct wr_cluster *c = cluster_get();
	const struct wr_node *node = node_get(slot);
	struct bpf_fib_lookup fib = { 0 };
	struct bpf_redir_neigh next = { 0 };

	if (!c || !node)
		return TC_ACT_SHOT;
	fib_fill(&fib, c, node);
	if (!(node->flags & WR_NODE_DIRECT)) {
		if (!fib_has_route(bpf_fib_lookup(skb, &fib, sizeof(fib), 0)))
			return bpf_redirect_neigh(ifindex, NULL, 0, 0);
		ifindex = fib.ifindex;
	}
	fib_nexthop(&fib, &next);
	return bpf_redirect_neigh(ifindex, &next, sizeof(next), 0);
}

/*
 * bpf_redirect_neigh() accepts no IPv4 nexthop for an IPv6 packet (bpf_out_neigh_v6() in net/core/filter.c). Then the
 * MAC address of the FIB lookup is used, and IPv4 packets, or the agent, keep the neighbour confirmed.
 */
static __always_inline bool neigh_is_unusable(const struct packet *p, const struct wr_node *node)
{
	return (node->flags & (WR_NODE_DIRECT | WR_NODE_OVER6)) == WR_NODE_DIRECT &&
	       p->skb->protocol == bpf_htons(ETH_P_IPV6);
}

/* Returns the tc action for a packet that tunnel_send() has prepared; drops it if the node is gone. */
static __always_inline int tunnel_redirect(const struct packet *p)
{
	const __u32 slot = p->peer_ifindex & ~WR_REMOTE;
	const struct wr_node *node = node_get(slot);
	struct wr_nexthop *nh = nexthop_element(slot);

	if (!node || !nh)
		return TC_ACT_SHOT;
	if (dry_run)
		return TC_ACT_REDIRECT;
	if (nh->flags == WR_NEXTHOP_RESOLVED || ((nh->flags & WR_NEXTHOP_RESOLVED) && neigh_is_unusable(p, node)))
		return bpf_redirect(nh->ifindex, 0);
	nh->flags &= ~WR_NEXTHOP_CONFIRM;
	return tunnel_redirect_neigh(p->skb, slot, nh->ifindex);
}

/* Into this node's stack, as if received on warren0, whose routes lead back to the sender. */
static __always_inline int tunnel_redirect_host(void)
{
	const struct wr_cluster *c = cluster_get();

	return c ? bpf_redirect(c->host_ifindex, BPF_F_INGRESS) : TC_ACT_SHOT;
}

#endif
