/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Conntrack: keys, states and timeouts. Where entries are stored: lib/ct_window.h, lib/ct_table.h, lib/ct_entry.h. */
#ifndef WARREN_LIB_CONNTRACK_H
#define WARREN_LIB_CONNTRACK_H

#include <linux/in.h>

#include "lib/maps.h"
#include "lib/packet.h"

/* An end of a flow is an endpoint of this node, or is on another node, or neither. */
static __always_inline bool end_is_local(__u32 end)
{
	return (__s32)end > 0;
}

static __always_inline bool end_is_remote(__u32 end)
{
	return end & WR_REMOTE;
}

union ct_key {
	struct wr_ct4_key k4;
	struct wr_ct6_key k6;
};

#define CT_DENIED (WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS)
#define CT_FIN_BOTH (WR_CT_FIN_INITIATOR | WR_CT_FIN_RESPONDER)
#define CT_ENDED (CT_FIN_BOTH | WR_CT_RESET)

/*
 * Set by the loader: the length of a jiffy, and the number of jiffies when CLOCK_MONOTONIC began. Jiffies advance with
 * that clock, and reading them is free, while bpf_ktime_get_coarse_ns() takes 15 ns.
 */
const volatile __u32 jiffy_ns __weak = 0;
const volatile __u64 jiffies_at_boot __weak = 0;

static __always_inline __u32 ct_now(void)
{
	if (!jiffy_ns)
		return bpf_ktime_get_coarse_ns() >> WR_CT_TICK_SHIFT;
	return (bpf_jiffies64() - jiffies_at_boot) * jiffy_ns >> WR_CT_TICK_SHIFT;
}

static __always_inline bool ct_expired(const struct wr_ct *ct, __u32 now)
{
	return (__s32)(ct->expires - now) < 0;
}

/* Whether the TCP connection is closed: only late segments may follow. */
static __always_inline bool ct_is_closed(__u8 l4_proto, __u32 flags)
{
	return l4_proto == IPPROTO_TCP && ((flags & WR_CT_RESET) || (flags & CT_FIN_BOTH) == CT_FIN_BOTH);
}

/* Whether both ends have sent packets, and the flow is open: a newer flow does not evict it (lib/ct_window.h). */
static __always_inline bool ct_is_established(__u8 l4_proto, __u32 flags)
{
	const __u32 required = l4_proto == IPPROTO_SCTP ? WR_CT_REPLIED : WR_CT_ESTABLISHED;

	return (flags & (required | CT_DENIED)) == required && !ct_is_closed(l4_proto, flags);
}

/* Whether the flow was denied from its first packet, so that no packet can be a reply to it. */
static __always_inline bool ct_is_denied_from_start(__u32 flags)
{
	return (flags & CT_DENIED) && !(flags & (WR_CT_REPLIED | WR_CT_ALLOWED_BEFORE));
}

static __always_inline __u32 ct_life(__u8 l4_proto, __u32 flags)
{
	if (flags & CT_DENIED)
		return WR_CT_LIFE_DENIED;
	if (ct_is_closed(l4_proto, flags))
		return WR_CT_LIFE_TCP_CLOSING;
	if (l4_proto == IPPROTO_TCP)
		return flags & WR_CT_ESTABLISHED ? WR_CT_LIFE_TCP : WR_CT_LIFE_TCP_NEW;
	if (!(flags & WR_CT_REPLIED))
		return WR_CT_LIFE_OTHER_NEW;
	if (l4_proto == IPPROTO_SCTP)
		return WR_CT_LIFE_SCTP;
	return flags & WR_CT_ESTABLISHED ? WR_CT_LIFE_OTHER : WR_CT_LIFE_OTHER_NEW;
}

/*
 * wr_ct4_swapped() and wr_ct6_swapped() without a branch on the result, here and below: a branch would make the
 * verifier walk the rest of the program twice.
 */
static __always_inline __u32 ct_swapped(const struct packet *p, const bool v6)
{
	__u64 from = p->sport, to = p->dport;

	if (!v6) {
		from |= (__u64)p->at->saddr.a4.v4 << 16;
		to |= (__u64)p->at->daddr.a4.v4 << 16;
	} else {
		const __be32 *s = p->at->saddr.a6.v6, *d = p->at->daddr.a6.v6;

#pragma unroll
		for (int n = 0; n < 4; n++) {
			if (s[n] != d[n]) {
				from = s[n];
				to = d[n];
			}
		}
	}
	return (to - from) >> 63;
}

/* Writes the packet's key; returns whether its source is the key's end 1. */
static __always_inline __u32 ct_key(const struct packet *p, union ct_key *key, const bool v6)
{
	const __u32 swapped = ct_swapped(p, v6), mask = -swapped;
	const __be16 port = (p->sport ^ p->dport) & mask;

	if (v6) {
#pragma unroll
		for (int n = 0; n < 4; n++) {
			const __be32 word = (p->at->saddr.a6.v6[n] ^ p->at->daddr.a6.v6[n]) & mask;

			key->k6.addr[0].v6[n] = p->at->saddr.a6.v6[n] ^ word;
			key->k6.addr[1].v6[n] = p->at->daddr.a6.v6[n] ^ word;
			/* Word by word: all at once need more registers than there are. */
			asm volatile("" : : : "memory");
		}
		key->k6.port[0] = p->sport ^ port;
		key->k6.port[1] = p->dport ^ port;
		key->k6.l4_proto = p->l4_proto;
		key->k6.kind = WR_CT_FLOW;
		__builtin_memset(key->k6.pad, 0, sizeof(key->k6.pad));
	} else {
		const __be32 word = (p->at->saddr.a4.v4 ^ p->at->daddr.a4.v4) & mask;

		key->k4.addr[0].v4 = p->at->saddr.a4.v4 ^ word;
		key->k4.addr[1].v4 = p->at->daddr.a4.v4 ^ word;
		key->k4.port[0] = p->sport ^ port;
		key->k4.port[1] = p->dport ^ port;
		key->k4.l4_proto = p->l4_proto;
		key->k4.kind = WR_CT_FLOW;
		__builtin_memset(key->k4.pad, 0, sizeof(key->k4.pad));
	}
	return swapped;
}

/* Makes it the key of another kind of entry (enum wr_ct_kind) between the same ends. */
static __always_inline void ct_key_set_kind(union ct_key *key, __u8 kind, bool v6)
{
	if (v6)
		key->k6.kind = kind;
	else
		key->k4.kind = kind;
}

static __always_inline void ct_count(__u32 stat)
{
	__u64 *n = bpf_map_lookup_elem(&ct_stats, &stat);

	if (n)
		(*n)++;
}

#endif
