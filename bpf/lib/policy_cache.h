/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cache of allowed verdicts between two ends, for their next connections to the same port: rules, revisions and
 * identities. A conntrack entry is valid under the same conditions, so a rule from here is as good as that of an
 * established flow. Denials are not cached.
 *
 * As in the verdict cache (lib/verdict_cache.h), a slot has the whole key, all of which is compared, and a sequence.
 */
#ifndef WARREN_LIB_POLICY_CACHE_H
#define WARREN_LIB_POLICY_CACHE_H

#include "lib/flow.h"
#include "lib/verdict_cache.h"

#define POLICY_CACHE_BITS 12

struct policy_slot {
	__u32 sequence;
	__u32 port; /* the responder's; protocol above */
	__u32 revision[WR_DIRECTIONS], policy_class[WR_DIRECTIONS];
	__u64 peer[WR_DIRECTIONS]; /* identities: [WR_EGRESS] of the responder */
	__be32 addr[8];            /* initiator's, responder's; IPv4 in the first word of each four */
	__u32 rule[WR_DIRECTIONS];
	__u32 pad[12];
};
_Static_assert(sizeof(struct policy_slot) == 128, "two cache lines");

CACHE(policy_cache, POLICY_CACHE_BITS, struct policy_slot)

/* The slot of f's initiator, responder and port; NULL: f is not cached. */
static __always_inline struct policy_slot *policy_slot_get(const struct addresses *at, const struct flow *f)
{
	const __be32 *s = at->saddr.a6.v6, *d = at->daddr.a6.v6;
	__u64 h = verdict_nh(s[0], d[0], 0) + verdict_nh(f->dport, f->l4_proto, 2);
	__u32 slot;

	if (dry_run || !verdict_secret.seed || !f->forward)
		return NULL;
	if (f->v6)
		h += verdict_nh(s[1] ^ s[2], d[1] ^ d[2], 4) + verdict_nh(s[3], d[3], 6);
	slot = verdict_spread(h) >> (64 - POLICY_CACHE_BITS);
	return bpf_map_lookup_elem(&policy_cache, &slot);
}

static __always_inline __u32 policy_cache_port(const struct flow *f)
{
	return f->dport | (__u32)f->l4_proto << 16 | (__u32)f->v6 << 24;
}

static __always_inline __u64 policy_slot_differs(const volatile struct policy_slot *s, const struct addresses *at,
						 const struct flow *f, __u64 initiator, __u64 responder)
{
	const __be32 *source = at->saddr.a6.v6, *destination = at->daddr.a6.v6;
	__u64 differs = s->port ^ policy_cache_port(f);

	differs |= (s->revision[0] ^ f->ct.at[0].revision) | (s->revision[1] ^ f->ct.at[1].revision);
	differs |= (s->policy_class[0] ^ f->policy_class[0]) | (s->policy_class[1] ^ f->policy_class[1]);
	differs |= (s->peer[WR_EGRESS] ^ responder) | (s->peer[WR_INGRESS] ^ initiator);
	differs |= (s->addr[0] ^ source[0]) | (s->addr[4] ^ destination[0]);
	if (f->v6) {
#pragma unroll
		for (int n = 1; n < 4; n++)
			differs |= (s->addr[n] ^ source[n]) | (s->addr[n + 4] ^ destination[n]);
	}
	return differs;
}

/* Whether the cache has a verdict that allows f; then sets its rules. */
OUT_OF_LINE int policy_cached(const struct addresses *at, struct flow *f, __u64 initiator, __u64 responder)
{
	const struct policy_slot *slot = at && f ? policy_slot_get(at, f) : NULL;
	const volatile struct policy_slot *s;
	__u32 sequence, egress, ingress;
	__u64 differs;

	if (!slot || !at || !f)
		return false;
	sequence = sequence_read(&slot->sequence, 0);
	s = (const void *)slot + after(sequence);
	differs = policy_slot_differs(s, at, f, initiator, responder) | (sequence & 1);
	egress = s->rule[WR_EGRESS];
	ingress = s->rule[WR_INGRESS];
	if (differs | (sequence_read(&slot->sequence, differs | egress | ingress) ^ sequence))
		return false;
	f->ct.flags &= ~WR_CT_DENIED;
	f->ct.at[WR_EGRESS].rule = egress;
	f->ct.at[WR_INGRESS].rule = ingress;
	if (end_is_local(f->ct.initiator))
		f->ct.at[WR_EGRESS].peer = responder;
	if (end_is_local(f->ct.responder))
		f->ct.at[WR_INGRESS].peer = initiator;
	return true;
}

OUT_OF_LINE int policy_cache_fill(const struct addresses *at, const struct flow *f, __u64 initiator, __u64 responder)
{
	struct policy_slot *slot = at && f ? policy_slot_get(at, f) : NULL;
	__u32 sequence;

	if (!slot || !at || !f)
		return 0;
	sequence = sequence_read(&slot->sequence, 0);
	if (!sequence_lock(&slot->sequence, sequence))
		return 0;
	slot->port = policy_cache_port(f);
	slot->peer[WR_EGRESS] = responder;
	slot->peer[WR_INGRESS] = initiator;
#pragma unroll
	for (int n = 0; n < WR_DIRECTIONS; n++) {
		slot->revision[n] = f->ct.at[n].revision;
		slot->policy_class[n] = f->policy_class[n];
		slot->rule[n] = f->ct.at[n].rule;
	}
#pragma unroll
	for (int n = 0; n < 4; n++) {
		slot->addr[n] = at->saddr.a6.v6[n];
		slot->addr[n + 4] = at->daddr.a6.v6[n];
	}
	sequence_unlock(&slot->sequence, sequence);
	return 0;
}

#endif
