/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Rewrites one end of a packet: its address and, where it has a transport header, its port; in an ICMP error also that
 * of the quoted packet. Written by helpers, which handle all states of a checksum: complete, partial
 * (CHECKSUM_PARTIAL), or summed by the device (CHECKSUM_COMPLETE).
 */
#ifndef WARREN_LIB_NAT_H
#define WARREN_LIB_NAT_H

#include "lib/checksum.h"
#include "lib/crc32c.h"
#include "lib/l4.h"
#include "lib/offload.h"

/* The rewrite, for functions out of line. The addresses are separate arguments. */
struct nat {
	__u32 l4_off;  /* of the transport header; of an ICMP error: its ICMP header */
	__be16 from, to; /* port */
	__u8 l4_proto;
	bool v6;
	bool source;   /* rewrite the source, else the destination */
	bool first;    /* a first fragment */
	bool later;    /* a fragment without transport header */
	bool related;  /* an ICMP error; the address is that of its flow */
};

/* The difference that the change adds to a checksum. Not bpf_csum_diff(): a call costs more than these sums. */
static __always_inline __u32 nat_diff(const union addr *from, const union addr *to, const bool v6)
{
	__u64 sum = 0;

#pragma unroll
	for (int n = 0; n < (v6 ? 4 : 1); n++)
		sum += (__u64)(__u32)~from->a6.v6[n] + (__u32)to->a6.v6[n];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

/*
 * Writes an address. IPv4's header checksum, at `check`, is updated, which compensates the change in a sum over the
 * packet. IPv6 has none: with BPF_F_RECOMPUTE_CSUM the device's sum is updated.
 */
static __always_inline bool nat_address(struct __sk_buff *skb, __u32 off, __u32 check, const union addr *from,
					const union addr *to, __u64 how, const bool v6)
{
	if (v6)
		return !bpf_skb_store_bytes(skb, off, &to->a6, sizeof(to->a6), how);
	return !bpf_l3_csum_replace(skb, check, from->a4.v4, to->a4.v4, sizeof(to->a4)) &&
	       !bpf_skb_store_bytes(skb, off, &to->a4, sizeof(to->a4), 0);
}

/* Offset of the address in an IP header at `ip`. */
static __always_inline __u32 nat_address_at(__u32 ip, bool source, const bool v6)
{
	if (v6)
		return ip + (source ? 8 : 24);
	return ip + (source ? 12 : 16);
}
#define IP4_CHECK_OFFSET 10

/*
 * Updates the transport header's checksum. SCTP's does not cover addresses; its ports: nat_sctp(). A UDP checksum of 0
 * means none, and stays.
 */
static __always_inline bool nat_transport_sum(struct __sk_buff *skb, const union addr *from, const union addr *to,
					      const struct nat *n, const bool v6)
{
	const bool udp = n->l4_proto == IPPROTO_UDP;
	const __u32 check = n->l4_off + (udp ? UDP_CHECK_OFFSET : TCP_CHECK_OFFSET);
	const __u64 how = udp ? BPF_F_MARK_MANGLED_0 : 0;

	if (n->l4_proto != IPPROTO_TCP && !udp)
		return true;
	if (bpf_l4_csum_replace(skb, check, 0, nat_diff(from, to, v6), how | BPF_F_PSEUDO_HDR))
		return false;
	return n->from == n->to || !bpf_l4_csum_replace(skb, check, n->from, n->to, how | sizeof(n->to));
}

/*
 * Writes directly into the packet where that needs no helper: for IPv4 addresses and for ports. The checksums of the
 * IPv4 and the transport header compensate these changes in the device's sum.
 */
static __always_inline bool nat_address4(struct __sk_buff *skb, const union addr *from, const union addr *to,
					 bool source)
{
	const struct packet p = { .skb = skb };
	struct iphdr *ip = packet_at(&p, ETH_HLEN, sizeof(*ip));

	if (!ip)
		return false;
	ip->check = csum_fold((__u64)(__u16)~ip->check + nat_diff(from, to, false));
	if (source)
		ip->saddr = to->a4.v4;
	else
		ip->daddr = to->a4.v4;
	return true;
}

/* Length of the packet from its transport header on; the frame may be padded. */
static __always_inline __u16 nat_transport_length(struct __sk_buff *skb, const struct nat *n)
{
	__be16 len = 0;

	bpf_skb_load_bytes(skb, ETH_HLEN + (n->v6 ? __builtin_offsetof(struct ipv6hdr, payload_len) :
						    __builtin_offsetof(struct iphdr, tot_len)), &len, sizeof(len));
	return bpf_ntohs(len) + ETH_HLEN + (n->v6 ? sizeof(struct ipv6hdr) : 0) - n->l4_off;
}

/*
 * Length of the whole SCTP packet; 0: unknown. Its first fragment shows it if the chunk that is cut is the last one. So
 * it is in the fragments of stacks: only a chunk that became too large for the path makes them fragment a packet. If it
 * is not, the checksum will be wrong.
 */
static __always_inline __u32 nat_sctp_length(struct __sk_buff *skb, const struct nat *n)
{
	const __u32 len = nat_transport_length(skb, n);
	__u32 end = SCTP_HEADER_SIZE;
	struct {
		__u8 type, flags;
		__be16 len; /* without padding */
	} chunk;

	if (!n->first)
		return len;
#pragma clang loop unroll(disable)
	for (int i = 0; i < SCTP_CHUNKS_MAX && end <= len; i++) {
		if (end + sizeof(chunk) > len || bpf_skb_load_bytes(skb, n->l4_off + end, &chunk, sizeof(chunk)) ||
		    bpf_ntohs(chunk.len) < sizeof(chunk))
			return 0;
		end += (bpf_ntohs(chunk.len) + 3) & ~3;
	}
	return end > len && end <= 0xffff ? end : 0;
}

/* Whether the checksum is still to be completed, over the whole packet: until then its field must stay 0. */
static __always_inline bool nat_sctp_sum_is_partial(struct __sk_buff *skb, const struct nat *n)
{
	struct partial_checksum c;

	return partial_checksum_read(skb, &c, false) && c.start == (__s32)n->l4_off && c.offset == SCTP_CHECK_OFFSET;
}

/*
 * SCTP's port and the checksum, which covers the whole packet. Unlike others it does not compensate the change in the
 * device's sum.
 */
OUT_OF_LINE int nat_sctp(struct __sk_buff *skb, const struct nat *n)
{
	struct {
		__u32 ports; /* source, destination */
		__u32 tag;
		__u32 checksum;
	} header;
	__u32 change, len;

	_Static_assert(sizeof(header) == SCTP_HEADER_SIZE, "struct without padding");
	if (!n || bpf_skb_load_bytes(skb, n->l4_off, &header, sizeof(header)))
		return false;
	len = nat_sctp_length(skb, n);
	if (!len)
		return false;
	change = (__u32)(n->from ^ n->to) << (n->source ? 0 : 16);
	header.ports ^= change;
	if (!nat_sctp_sum_is_partial(skb, n))
		header.checksum ^= crc32c_difference(change, len);
	return !bpf_skb_store_bytes(skb, n->l4_off, &header, sizeof(header), BPF_F_RECOMPUTE_CSUM);
}

/* Whether the packet's port can be rewritten, before anything is written. */
static __always_inline enum wr_reason nat_check(struct __sk_buff *skb, const struct nat *n)
{
	if (!n || n->l4_proto != IPPROTO_SCTP || !n->first || n->from == n->to)
		return WR_REASON_NONE;
	return nat_sctp_length(skb, n) ? WR_REASON_NONE : WR_REASON_SERVICE_SCTP;
}

static __always_inline bool nat_port(struct __sk_buff *skb, const struct nat *n)
{
	const struct packet p = { .skb = skb };
	__be16 *ports;

	if (n->later || n->from == n->to)
		return true;
	if (n->l4_proto == IPPROTO_SCTP)
		return nat_sctp(skb, n);
	ports = packet_at(&p, n->l4_off & PACKET_OFF_MAX, 2 * sizeof(*ports));
	if (!ports)
		return false;
	if (n->source)
		ports[0] = n->to;
	else
		ports[1] = n->to;
	return true;
}

static __always_inline bool nat_packet(struct __sk_buff *skb, const union addr *from, const union addr *to,
				       const struct nat *n, const bool v6)
{
	const __u32 at = nat_address_at(ETH_HLEN, n->source, true);

	if (!n->later && !nat_transport_sum(skb, from, to, n, v6))
		return false;
	if (v6 ? bpf_skb_store_bytes(skb, at, &to->a6, sizeof(to->a6), BPF_F_RECOMPUTE_CSUM) != 0
	       : !nat_address4(skb, from, to, n->source))
		return false;
	return nat_port(skb, n);
}

/*
 * Rewrites the packet quoted in an ICMP error, whose direction is the opposite. The checksum of the quoted transport
 * header is left: it may not be included, and receivers use ports and sequence numbers only. The ICMP checksum covers
 * the quoted packet, but IPv4's address and header checksum compensate each other.
 */
static __always_inline bool nat_quoted(struct __sk_buff *skb, const union addr *from, const union addr *to,
				       const struct nat *n, const bool v6)
{
	const __u32 check = n->l4_off + __builtin_offsetof(struct icmp_start, checksum);
	const __u32 ip = n->l4_off + ICMP_HEADER_SIZE;
	const __u32 ports = ip + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));

	if (v6 && bpf_l4_csum_replace(skb, check, 0, nat_diff(from, to, v6), 0))
		return false;
	if (!nat_address(skb, nat_address_at(ip, !n->source, v6), ip + IP4_CHECK_OFFSET, from, to, 0, v6))
		return false;
	if (n->from == n->to)
		return true;
	return !bpf_l4_csum_replace(skb, check, n->from, n->to, sizeof(n->to)) &&
	       !bpf_skb_store_bytes(skb, ports + (n->source ? 2 : 0), &n->to, sizeof(n->to), 0);
}

/*
 * Rewrites an ICMP error. Its own address is rewritten only if it is the flow's: a router on the path keeps its
 * address.
 */
static __always_inline bool nat_error(struct __sk_buff *skb, const union addr *from, const union addr *to,
				      const struct nat *n, const bool v6)
{
	const __u32 off = nat_address_at(ETH_HLEN, n->source, v6);
	const __u32 check = n->l4_off + __builtin_offsetof(struct icmp_start, checksum);
	union addr outer = { 0 };

	if (!nat_quoted(skb, from, to, n, v6) ||
	    bpf_skb_load_bytes(skb, off, &outer, v6 ? sizeof(outer.a6) : sizeof(outer.a4)))
		return false;
	if (!addr_equal(&outer, from, v6))
		return true;
	if (v6 && bpf_l4_csum_replace(skb, check, 0, nat_diff(from, to, v6), BPF_F_PSEUDO_HDR))
		return false;
	return nat_address(skb, off, ETH_HLEN + IP4_CHECK_OFFSET, from, to, BPF_F_RECOMPUTE_CSUM, v6);
}

static __always_inline bool nat_family(struct __sk_buff *skb, const union addr *from, const union addr *to,
				       const struct nat *n, const bool v6)
{
	return n->related ? nat_error(skb, from, to, n, v6) : nat_packet(skb, from, to, n, v6);
}

/*
 * The fast path for most packets: unfragmented TCP directly behind its IP header. It needs one helper, whose effect
 * shows the state of the checksum. A partial one is the pseudo header's sum, without ports: with IPv4 the helper adds
 * the change to it instead of subtracting it; with IPv6 it leaves it unchanged. (A device's sum of the packet changes
 * with IPv4 only: IPv6's address and the TCP checksum, both included, compensate each other.)
 */
static __always_inline bool nat_tcp(struct __sk_buff *skb, const union addr *to, const struct nat *n, __u32 diff,
				    const bool v6)
{
	const struct packet p = { .skb = skb };
	const __u32 l4_off = ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	void *frame = packet_at(&p, 0, l4_off + sizeof(struct tcphdr));
	__u16 was, pseudo;
	struct tcphdr *tcp;

	if (!frame)
		return false;
	was = ((struct tcphdr *)(frame + l4_off))->check;
	if (bpf_l4_csum_replace(skb, l4_off + TCP_CHECK_OFFSET, 0, diff, v6 ? 0 : BPF_F_PSEUDO_HDR))
		return false;
	frame = packet_at(&p, 0, l4_off + sizeof(struct tcphdr));
	if (!frame)
		return false;
	tcp = frame + l4_off;
	pseudo = ~csum_fold((__u64)was + diff);
	if (tcp->check == (v6 ? was : pseudo))
		tcp->check = pseudo;
	else
		tcp->check = csum_replace(tcp->check, n->from, n->to);
	if (n->source)
		tcp->source = n->to;
	else
		tcp->dest = n->to;
	if (v6) {
		__builtin_memcpy(frame + nat_address_at(ETH_HLEN, n->source, true), &to->a6, sizeof(to->a6));
	} else {
		struct iphdr *ip = frame + ETH_HLEN;

		ip->check = csum_fold((__u64)(__u16)~ip->check + diff);
		*(__be32 *)(frame + nat_address_at(ETH_HLEN, n->source, false)) = to->a4.v4;
	}
	return true;
}

OUT_OF_LINE int nat_rewrite(struct __sk_buff *skb, const union addr *from, const union addr *to, const struct nat *n)
{
	if (!from || !to || !n)
		return WR_REASON_RUNT;
	return IN_FAMILY(n->v6, nat_family, skb, from, to, n) ? WR_REASON_NONE : WR_REASON_RUNT;
}

/*
 * The same, by nat_tcp() where possible. If the change of the address is 0 in a checksum, the helper's effect does not
 * show the state of the checksum.
 */
static __always_inline bool nat_fast(struct __sk_buff *skb, const union addr *from, const union addr *to,
				     const struct nat *n, const bool v6)
{
	const __u32 diff = nat_diff(from, to, v6);

	if (n->l4_proto != IPPROTO_TCP || diff % 0xffff == 0 ||
	    n->l4_off != ETH_HLEN + (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))
		return !nat_rewrite(skb, from, to, n);
	return nat_tcp(skb, to, n, diff, v6);
}

#endif
