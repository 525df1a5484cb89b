/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cache of lookups of outer addresses, which depend only on the cluster's revision: that an address is external, or the
 * node that has it. The slots are as in the verdict cache: the whole key, and a sequence.
 */
#ifndef WARREN_LIB_VERDICT_ADDRESS_H
#define WARREN_LIB_VERDICT_ADDRESS_H

#include "lib/verdict_cache.h"

#define OUTER_CACHE_BITS 12

enum outer_kind {
	OUTER_EXTERNAL = 1 << 1, /* neither a pod's address nor this node's */
	OUTER_NODE = 2 << 1,	/* a node's own address: the source of tunnel packets */
};

struct outer_slot {
	__u32 sequence;
	__u32 revision; /* the cluster's */
	__u32 kind;	/* enum outer_kind, and 1 for IPv6; 0: empty */
	__u32 value;	/* the node's slot */
	__be32 addr[4];
};
_Static_assert(sizeof(struct outer_slot) == 32, "half a cache line");

CACHE(known_addresses, OUTER_CACHE_BITS, struct outer_slot)

struct outer_place {
	struct outer_slot *slot;
	__u32 sequence;
};

/* The cached value of the address; 0: not cached, and outer_cache_fill() may write to `place`. */
static __always_inline __u32 outer_cache_find(struct outer_place *place, const enum outer_kind kind,
					      const union addr *addr, __u32 revision, const bool v6)
{
	const __be32 *w = addr->a6.v6;
	const volatile struct outer_slot *s;
	__u64 h = verdict_nh(w[0], kind | v6, 0), differs;
	__u32 n, value;

	place->slot = NULL;
	if (dry_run || !verdict_secret.seed)
		return 0;
	if (v6)
		h += verdict_nh(w[1], w[2], 2) + verdict_nh(w[3], 0, 4);
	n = verdict_spread(h) >> (64 - OUTER_CACHE_BITS);
	place->slot = bpf_map_lookup_elem(&known_addresses, &n);
	if (!place->slot)
		return 0;
	place->sequence = sequence_read(&place->slot->sequence, 0);
	s = (void *)place->slot + after(place->sequence);
	value = s->value;
	differs = (s->revision ^ revision) | (s->kind ^ (kind | v6)) | (s->addr[0] ^ w[0]) | (place->sequence & 1);
	if (v6)
		differs |= (s->addr[1] ^ w[1]) | (s->addr[2] ^ w[2]) | (s->addr[3] ^ w[3]);
	differs |= sequence_read(&place->slot->sequence, differs | value) ^ place->sequence;
	return differs ? 0 : value;
}

/* `revision` was read, and outer_cache_find() called, before the address was looked up. */
static __always_inline void outer_cache_fill(const struct outer_place *place, const enum outer_kind kind,
					     const union addr *addr, __u32 revision, __u32 value, const bool v6)
{
	struct outer_slot *slot = place->slot;

	if (!slot || !sequence_lock(&slot->sequence, place->sequence))
		return;
	slot->revision = revision;
	slot->kind = kind | v6;
	slot->value = value;
#pragma unroll
	for (int n = 0; n < (v6 ? 4 : 1); n++)
		slot->addr[n] = addr->a6.v6[n];
	/* Slots of this cache are never invalidated. */
	sequence_unlock(&slot->sequence, place->sequence);
}

#endif
