/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The MSS that a SYN or a SYN-ACK offers through the tunnel. A pod's device has the tunnel's MTU, so its stack offers what
 * fits. A host's and a client's outside have not: without this they would have to learn it by ICMP errors, which a client
 * far away may never get.
 */
#ifndef WARREN_LIB_TCP_MSS_H
#define WARREN_LIB_TCP_MSS_H

#include "lib/checksum.h"
#include "lib/l4.h"
#include "lib/nexthop.h"
#include "lib/node.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTIONS_MAX 8 /* that are looked at: Linux, the BSDs and Windows send MSS first */

struct mss_option {
	__u8 kind, len;
	__be16 mss;
};

static __always_inline void mss_lower(struct __sk_buff *skb, __u32 l4_off, __u32 off, __be16 from, __u32 most)
{
	const __be16 to = bpf_htons(most);

	if (bpf_ntohs(from) <= most)
		return;
	/* Options are in words, but the MSS may be at an odd offset: then its bytes are swapped in the sum. */
	if (off & 1)
		bpf_l4_csum_replace(skb, l4_off + TCP_CHECK_OFFSET, __builtin_bswap16(from), __builtin_bswap16(to), sizeof(to));
	else
		bpf_l4_csum_replace(skb, l4_off + TCP_CHECK_OFFSET, from, to, sizeof(to));
	bpf_skb_store_bytes(skb, off, &to, sizeof(to), 0);
}

/* Lowers the MSS of a SYN to what fits through the tunnel to (or from) the node in that slot, if it offers more. */
OUT_OF_LINE int tcp_mss_clamp(struct __sk_buff *skb, __u32 l4_off, __u32 slot, __u32 v6)
{
	const struct wr_node *node = node_get(slot);
	struct mss_option option;
	__u32 off = l4_off + sizeof(struct tcphdr), most;
	__u8 doff;

	if (!node || dry_run || bpf_skb_load_bytes(skb, l4_off + 12, &doff, sizeof(doff)))
		return 0;
	most = nexthop_mtu(nexthop_element(slot), node, false) - sizeof(struct tcphdr) -
	       (v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
#pragma clang loop unroll(disable)
	for (int n = 0; n < TCP_OPTIONS_MAX && off + sizeof(option) <= l4_off + (doff >> 4) * 4u; n++) {
		if (bpf_skb_load_bytes(skb, off, &option, sizeof(option)) || option.kind == TCP_OPTION_END)
			return 0;
		if (option.kind == TCP_OPTION_MSS) {
			mss_lower(skb, l4_off, off + __builtin_offsetof(struct mss_option, mss), option.mss, most);
			return 0;
		}
		off += option.kind == TCP_OPTION_NOP ? 1 : option.len;
		if (option.kind != TCP_OPTION_NOP && option.len < 2)
			return 0;
	}
	return 0;
}

#endif
