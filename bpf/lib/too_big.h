/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Turns a packet that exceeds the path MTU to another node into an ICMP error to its sender: frag-needed (RFC 1191) or
 * Packet Too Big (RFC 4443 section 3.2), with the path MTU. One error for each packet, and smaller: no rate limit is
 * needed.
 *
 * IPv4 without DF is not fragmented here, and its sender gets the error, too: Linux stores the MTU of a destination
 * whatever DF is, and fragments from then on. Tunnel packets are never fragmented.
 */
#ifndef WARREN_LIB_TOO_BIG_H
#define WARREN_LIB_TOO_BIG_H

#include <linux/pkt_cls.h>

#include "lib/checksum.h"
#include "lib/cluster.h"
#include "lib/endpoint.h"
#include "lib/l4.h"
#include "lib/nexthop.h"
#include "lib/node.h"

#define ICMP4_FRAG_NEEDED 4 /* code of ICMP4_DEST_UNREACH */

struct icmp_too_big {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 mtu; /* IPv4: 16 bits, the others are 0 */
};

/* The length that one bpf_csum_diff() can sum: enough to quote the inner headers of a pod's own tunnel. */
#define TOO_BIG_MESSAGE 512
#define TOO_BIG_QUOTED (TOO_BIG_MESSAGE - sizeof(struct icmp_too_big))

/* RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e): no error about an ICMP error, or about a later fragment. */
static __always_inline bool icmp_error_allowed(const struct packet *p, const bool v6)
{
	const struct iphdr *ip4 = packet_at(p, ETH_HLEN, sizeof(*ip4));
	const struct ipv6hdr *ip6;
	const __u8 *type;

	if (v6) {
		ip6 = packet_at(p, ETH_HLEN, sizeof(*ip6) + 8);
		if (!ip6)
			return false;
		type = (const void *)(ip6 + 1);
		if (ip6->nexthdr == IPPROTO_FRAGMENT)
			return !(((const struct frag6_hdr *)type)->frag_off & bpf_htons(IP6_FRAGMENT_OFFSET));
		return ip6->nexthdr != IPPROTO_ICMPV6 || *type >= ICMPV6_ECHO_REQUEST;
	}
	if (!ip4 || (ip4->frag_off & bpf_htons(IP4_FRAGMENT_OFFSET)))
		return false;
	if (ip4->protocol != IPPROTO_ICMP)
		return true;
	type = packet_at(p, ETH_HLEN + sizeof(*ip4), 1);
	return type && (*type == ICMP4_ECHO_REQUEST || *type == ICMP4_ECHO_REPLY);
}

struct icmp_error {
	__u8 type, code;
	__be32 rest; /* the word before the quoted packet */
};

static __always_inline void icmp_error_write4(struct iphdr *ip, const struct iphdr *quoted, const struct icmp_error *e,
					      const __u32 message)
{
	struct icmp_too_big *icmp = (void *)(ip + 1);

	__builtin_memset(ip, 0, sizeof(*ip) + sizeof(*icmp));
	*(__be16 *)ip = bpf_htons(IP4_PLAIN);
	ip->tot_len = bpf_htons(sizeof(*ip) + message);
	ip->ttl = IP_HOP_LIMIT;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = quoted->daddr;
	ip->daddr = quoted->saddr;
	ip->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)ip, sizeof(*ip), 0));
	icmp->type = e->type;
	icmp->code = e->code;
	icmp->mtu = e->rest;
	icmp->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)icmp, message, 0));
}

static __always_inline void icmp_error_write6(struct ipv6hdr *ip, const struct ipv6hdr *quoted,
					      const struct icmp_error *e, const __u32 message)
{
	struct icmp_too_big *icmp = (void *)(ip + 1);
	__s64 sum;

	__builtin_memset(ip, 0, sizeof(*ip) + sizeof(*icmp));
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(message);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = IP_HOP_LIMIT;
	__builtin_memcpy(&ip->saddr, &quoted->daddr, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &quoted->saddr, sizeof(ip->daddr));
	icmp->type = e->type;
	icmp->code = e->code;
	icmp->mtu = e->rest;
	sum = bpf_csum_diff(NULL, 0, (void *)&ip->saddr, 32, bpf_htonl(message + IPPROTO_ICMPV6));
	icmp->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)icmp, message, sum));
}

/*
 * Turns the packet into the error, which quotes `quoted` bytes of it. Source: the packet's destination, the one address
 * that strict rp_filter accepts both in the pod and on warren0.
 */
static __always_inline bool icmp_error_make(const struct packet *p, const struct icmp_error *e, const __u32 quoted,
					    const bool v6)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const __u32 room = ip + sizeof(struct icmp_too_big);
	__u8 mac[6] __attribute__((aligned(2)));
	struct ethhdr *eth;

	if (bpf_skb_change_tail(p->skb, ETH_HLEN + quoted, 0) ||
	    bpf_skb_adjust_room(p->skb, room, BPF_ADJ_ROOM_MAC, 0))
		return false;
	eth = packet_at(p, 0, ETH_HLEN + room + quoted);
	if (!eth)
		return false;
	mac_copy(mac, eth->h_dest);
	mac_copy(eth->h_dest, eth->h_source);
	mac_copy(eth->h_source, mac);
	if (v6)
		icmp_error_write6((void *)(eth + 1), (void *)(eth + 1) + room, e, sizeof(struct icmp_too_big) + quoted);
	else
		icmp_error_write4((void *)(eth + 1), (void *)(eth + 1) + room, e, sizeof(struct icmp_too_big) + quoted);
	return true;
}

static __always_inline bool too_big_make(const struct packet *p, __u32 mtu, const bool v6)
{
	const struct icmp_error error = { .type = v6 ? ICMPV6_PKT_TOOBIG : ICMP4_DEST_UNREACH,
					  .code = v6 ? 0 : ICMP4_FRAG_NEEDED,
					  .rest = bpf_htonl(v6 ? mtu : mtu & 0xffff) };

	return icmp_error_make(p, &error, TOO_BIG_QUOTED, v6);
}

/* Returns the tc action for a packet that is too big for that node: into the pod that sent it, or to the stack. */
static __always_inline int too_big_reject(struct __sk_buff *skb, __u32 slot)
{
	const struct packet p = { .skb = skb };
	const struct wr_cluster *c = cluster_get();
	const struct wr_node *node = node_get(slot);
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	__u32 mtu;

	if (!c || !node || !IN_FAMILY(v6, icmp_error_allowed, &p))
		return TC_ACT_SHOT;
	mtu = nexthop_mtu(nexthop_element(slot), node);
	if (!IN_FAMILY(v6, too_big_make, &p, mtu))
		return TC_ACT_SHOT;
	if (endpoint_get(skb->ifindex))
		return bpf_redirect_peer(skb->ifindex, 0);
	return bpf_redirect(c->host_ifindex, BPF_F_INGRESS);
}

#endif
