/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The denylist, for tc and XDP programs. The first program that processes an external packet looks up the packet's
 * source, before anything else is evaluated.
 */
#ifndef WARREN_LIB_DENY_H
#define WARREN_LIB_DENY_H

#include "lib/ct_clock.h"
#include "lib/ip.h"
#include "lib/maps.h"
#include "lib/trace.h"

enum deny {
	DENY_NO = 0,
	DENY_REPORT, /* drop and report: the prefix's first packet on this CPU in this tick (134 ms) */
	DENY_QUIET,  /* drop and count: in a flood, an event per packet would cost more than the packets */
};

static __always_inline enum deny deny_count(__u32 counter, __u32 bytes)
{
	struct wr_deny_hits *hits = bpf_map_lookup_elem(&deny_hits, &counter);
	const __u32 now = ct_now();
	bool first;

	if (dry_run || !hits)
		return DENY_REPORT;
	first = !hits->packets || hits->last != now;
	hits->packets++;
	hits->bytes += bytes;
	hits->last = now;
	return first ? DENY_REPORT : DENY_QUIET;
}

static __always_inline bool deny_is_empty(const bool v6)
{
	const __u32 zero = 0;
	const struct wr_deny_state *state = bpf_map_lookup_elem(&deny_state, &zero);

	return !state || !*(const volatile __u32 *)&state->prefixes[v6];
}

/* `bytes`: length of the frame. With an empty list this is a load and a comparison. */
static __always_inline enum deny deny_hit(const union addr *source, __u32 bytes, const bool v6)
{
	const struct wr_deny *deny;

	if (deny_is_empty(v6))
		return DENY_NO;
	deny = lookup_prefix(deny, source, v6);
	return deny ? deny_count(deny->counter, bytes) : DENY_NO;
}

static __always_inline enum deny deny_source(struct __sk_buff *skb, const bool v6)
{
	const __u32 off =
	    ETH_HLEN + (v6 ? __builtin_offsetof(struct ipv6hdr, saddr) : __builtin_offsetof(struct iphdr, saddr));
	union addr source;

	if (bpf_skb_load_bytes(skb, off, &source, v6 ? sizeof(source.a6) : sizeof(source.a4)))
		return DENY_NO;
	return deny_hit(&source, skb->len, v6);
}

OUT_OF_LINE int deny_frame(struct __sk_buff *skb, __u32 v6)
{
	return IN_FAMILY(v6, deny_source, skb);
}

/* The same before the packet is parsed. */
static __always_inline enum deny deny_packet(const struct packet *p, const bool v6)
{
	return deny_is_empty(v6) ? DENY_NO : deny_frame(p->skb, v6);
}

#endif
