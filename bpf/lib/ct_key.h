/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keys of conntrack entries. */
#ifndef WARREN_LIB_CT_KEY_H
#define WARREN_LIB_CT_KEY_H

#include "abi/conntrack.h"
#include "lib/packet.h"

union ct_key {
	struct wr_ct4_key k4;
	struct wr_ct6_key k6;
};

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

#endif
