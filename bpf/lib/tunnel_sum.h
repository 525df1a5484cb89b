/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The outer UDP checksum of a tunnel packet. */
#ifndef WARREN_LIB_TUNNEL_SUM_H
#define WARREN_LIB_TUNNEL_SUM_H

#include <linux/in.h>

#include "lib/checksum.h"
#include "lib/packet.h"

/* bpf_csum_diff() sums the packet in chunks of the size that the stack has room for. */
#define SUM_CHUNK 64

struct sum {
	struct __sk_buff *skb;
	__u32 off, end;
	__s64 sum;
};

/* For bpf_loop(): sums the next chunk, up to the end. */
static int sum_chunk(__u32 n, struct sum *s)
{
	__be32 chunk[SUM_CHUNK / 4] = { 0 };
	__u32 last = s->end - s->off - 1; /* of the bytes that are left */

	if (s->off >= s->end)
		return 1;
	if (last >= SUM_CHUNK)
		last = SUM_CHUNK - 1;
	asm volatile("" : "+r"(last)); /* keeps the mask, which the verifier needs for the bounds */
	if (bpf_skb_load_bytes(s->skb, s->off, chunk, (last & (SUM_CHUNK - 1)) + 1))
		return 1;
	s->sum = bpf_csum_diff(NULL, 0, chunk, sizeof(chunk), s->sum);
	s->off += SUM_CHUNK;
	return 0;
}

/*
 * Whether the checksum has been verified already, or cannot be. The device has verified it (CHECKSUM_UNNECESSARY), or
 * GRO has. CHECKSUM_PARTIAL means that it is not complete: the packet has never been on a wire. No helper distinguishes
 * that from CHECKSUM_NONE, but only CHECKSUM_NONE can be set to "unnecessary", and only CHECKSUM_COMPLETE can be
 * updated.
 */
static __always_inline bool sum_is_trusted(struct __sk_buff *skb)
{
	if (skb->gso_size || bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0)
		return true;
	bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	if (bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0) {
		bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
		return false;
	}
	return bpf_csum_update(skb, 0) < 0;
}

/*
 * RFC 8926 section 3.3: a zero checksum is accepted (nodes send none, over IPv6 too: RFC 6935), any other must be
 * right. Other senders than nodes were rejected before, so this is for peers that use the kernel's Geneve device.
 *
 * The pseudo header's addresses are right before the UDP header, as there are no options or extension headers. (Copies
 * of them here, with the chunk there, would need more stack than kernel 6.1 has left.)
 */
OUT_OF_LINE int tunnel_sum_is_right(struct __sk_buff *skb, __u32 udp, __u32 end, __u32 v6)
{
	struct sum s = {
		.skb = skb, .off = udp - (v6 ? 32 : 8), .end = end, .sum = bpf_htonl(end - udp + IPPROTO_UDP)
	};

	if (sum_is_trusted(skb))
		return true;
	bpf_loop((0xffff + 32) / SUM_CHUNK + 1, sum_chunk, &s, 0);
	return s.off >= end && !csum_fold(s.sum);
}

#endif
