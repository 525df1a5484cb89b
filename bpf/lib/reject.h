/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rejects a packet to a service without backends, or without the port: turns it into a TCP reset (RFC 9293 section 3.10.7.1), or else
 * ICMP port unreachable. One reply for each packet, and no larger than it.
 */
#ifndef WARREN_LIB_REJECT_H
#define WARREN_LIB_REJECT_H

#include "lib/client.h"
#include "lib/icmp_error.h"
#include "lib/too_big.h"

#define ICMP4_PORT_UNREACH 3
#define REJECT_QUOTED 8 /* bytes of the transport header (RFC 792) */

static __always_inline void tcp_reset_write(struct tcphdr *tcp, __u32 len)
{
	const __be16 port = tcp->source;
	const __u32 flags = ((const __u8 *)tcp)[TCP_FLAGS_OFFSET];
	const __be32 seq = tcp->seq, ack = tcp->ack_seq;

	len += (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
	__builtin_memset(&tcp->seq, 0, sizeof(*tcp) - __builtin_offsetof(struct tcphdr, seq));
	tcp->source = tcp->dest;
	tcp->dest = port;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	if (flags & TCP_ACK) {
		tcp->seq = ack;
	} else {
		tcp->ack = 1;
		tcp->ack_seq = bpf_htonl(bpf_ntohl(seq) + len);
	}
}

static __always_inline void reject_macs(struct ethhdr *eth)
{
	__u8 mac[6] __attribute__((aligned(2)));

	mac_copy(mac, eth->h_dest);
	mac_copy(eth->h_dest, eth->h_source);
	mac_copy(eth->h_source, mac);
}

static __always_inline void reset_write4(struct iphdr *ip)
{
	struct tcphdr *tcp = (void *)(ip + 1);
	const __u32 len = bpf_ntohs(ip->tot_len) - sizeof(*ip) - tcp->doff * 4;
	const __be32 saddr = ip->saddr;
	__s64 sum;

	tcp_reset_write(tcp, len);
	*(__be32 *)ip = bpf_htonl((__u32)IP4_PLAIN << 16 | (sizeof(*ip) + sizeof(*tcp)));
	ip->id = 0;
	ip->frag_off = bpf_htons(IP4_DONT_FRAGMENT);
	ip->ttl = IP_HOP_LIMIT;
	ip->saddr = ip->daddr;
	ip->daddr = saddr;
	ip->check = 0;
	ip->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)ip, sizeof(*ip), 0));
	sum = bpf_csum_diff(NULL, 0, (void *)&ip->saddr, 8, bpf_htonl(sizeof(*tcp) + IPPROTO_TCP));
	tcp->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)tcp, sizeof(*tcp), sum));
}

static __always_inline void reset_write6(struct ipv6hdr *ip)
{
	struct tcphdr *tcp = (void *)(ip + 1);
	const __u32 len = bpf_ntohs(ip->payload_len) - tcp->doff * 4;
	const struct in6_addr saddr = ip->saddr;
	__s64 sum;

	tcp_reset_write(tcp, len);
	*(__be32 *)ip = bpf_htonl(6u << 28);
	ip->payload_len = bpf_htons(sizeof(*tcp));
	ip->hop_limit = IP_HOP_LIMIT;
	ip->saddr = ip->daddr;
	ip->daddr = saddr;
	sum = bpf_csum_diff(NULL, 0, (void *)&ip->saddr, 32, bpf_htonl(sizeof(*tcp) + IPPROTO_TCP));
	tcp->check = csum_fold(bpf_csum_diff(NULL, 0, (void *)tcp, sizeof(*tcp), sum));
}

/* Only for a segment directly behind the IP header; a RST is never answered. */
static __always_inline bool reject_reset(const struct packet *p, const bool v6)
{
	const __u32 size = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct tcphdr);
	void *frame = packet_at(p, 0, size);
	struct tcphdr *tcp;

	if (!frame)
		return false;
	tcp = frame + size - sizeof(*tcp);
	if (tcp->rst || (p->skb->len > size && bpf_skb_change_tail(p->skb, size, 0)))
		return false;
	frame = packet_at(p, 0, size);
	if (!frame)
		return false;
	reject_macs(frame);
	if (v6)
		reset_write6(frame + ETH_HLEN);
	else
		reset_write4(frame + ETH_HLEN);
	return true;
}

static __always_inline bool reject_write(const struct packet *p, const bool v6)
{
	const __u32 ip = v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	const struct icmp_error error = { .type = v6 ? ICMPV6_DEST_UNREACH : ICMP4_DEST_UNREACH,
					  .code = v6 ? ICMPV6_PORT_UNREACH : ICMP4_PORT_UNREACH };
	const void *header = packet_at(p, ETH_HLEN, ip);
	__u8 l4_proto;

	if (!header)
		return false;
	l4_proto = v6 ? ((const struct ipv6hdr *)header)->nexthdr : ((const struct iphdr *)header)->protocol;
	if (l4_proto == IPPROTO_TCP)
		return reject_reset(p, v6);
	return icmp_error_make(p, &error, ip + REJECT_QUOTED, v6);
}

/*
 * Returns the tc action for a packet that is rejected with `reason`: into the pod that sent it, to the stack, or, with
 * `outside`, to the client outside the cluster. `tunnelled`: it did not fit into the tunnel, even to a direct node.
 */
OUT_OF_LINE int reject(struct __sk_buff *skb, __u32 slot, __u32 reason, __u32 outside, __u32 tunnelled)
{
	const struct packet p = { .skb = skb };
	const bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6);

	if (reason == WR_REASON_TOO_BIG ? !too_big_write(skb, slot, tunnelled) : !IN_FAMILY(v6, reject_write, &p))
		return TC_ACT_SHOT;
	if (outside)
		return client_look_up(skb, v6) == WR_REASON_TO_CLIENT ? client_redirect() : TC_ACT_SHOT;
	return reason == WR_REASON_TOO_BIG ? too_big_return(skb) : bpf_redirect_peer(skb->ifindex, 0);
}

#endif
