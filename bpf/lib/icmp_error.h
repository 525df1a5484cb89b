/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Turns a packet into an ICMP error to its sender. */
#ifndef WARREN_LIB_ICMP_ERROR_H
#define WARREN_LIB_ICMP_ERROR_H

#include "lib/checksum.h"
#include "lib/l4.h"

struct icmp_error {
	__u8 type, code;
	__be32 rest; /* between the checksum and the quoted packet: an MTU, or 0 */
};

struct icmp_error_header {
	__u8 type;
	__u8 code;
	__u16 check;
	__be32 rest; /* struct icmp_error */
};

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

static __always_inline void icmp_error_write4(struct iphdr *ip, const struct iphdr *quoted, const struct icmp_error *e,
					      const __u32 message)
{
	struct icmp_error_header *icmp = (void *)(ip + 1);

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
	icmp->rest = e->rest;
	icmp->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)icmp, message, 0));
}

static __always_inline void icmp_error_write6(struct ipv6hdr *ip, const struct ipv6hdr *quoted,
					      const struct icmp_error *e, const __u32 message)
{
	struct icmp_error_header *icmp = (void *)(ip + 1);
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
	icmp->rest = e->rest;
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
	const __u32 room = ip + sizeof(struct icmp_error_header);
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
		icmp_error_write6((void *)(eth + 1), (void *)(eth + 1) + room, e, sizeof(struct icmp_error_header) + quoted);
	else
		icmp_error_write4((void *)(eth + 1), (void *)(eth + 1) + room, e, sizeof(struct icmp_error_header) + quoted);
	return true;
}

#endif
