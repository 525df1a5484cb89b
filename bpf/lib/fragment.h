/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragmented datagrams. The first fragment contains the whole transport header (l4_parse() checks that). Later ones
 * belong to the first one's flow, or are dropped.
 *
 * A first fragment is recorded after conntrack and policy have passed it (fragment_record()), so a denied sender writes
 * nothing. Each endpoint has one window for datagrams that it sends and one for those that it receives, so endpoints do
 * not evict each other's. In the latter, the sender's address selects the set: one sender evicts at most an eighth.
 * Datagrams between the world and another node's pods, through this node, have a window for each node and direction.
 *
 * A datagram is found by its whole key. Its slot is written under a sequence, as in the verdict cache (lib/sequence.h);
 * a program that cannot lock it drops the fragment.
 */
#ifndef WARREN_LIB_FRAGMENT_H
#define WARREN_LIB_FRAGMENT_H

#include "lib/endpoint.h"
#include "lib/maps.h"
#include "lib/packet.h"
#include "lib/verdict_cache.h"

/* The current fragment, from parsing until after its verdict. */
SCRATCH(fragment_memory, struct wr_fragment, fragment_memory_get)

/* Zeros to create a window from, for which a stack has no room. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wr_fragments);
} fragments_none SEC(".maps") __weak;

/*
 * --- the slot of a datagram ----------------------------------------------------------------------------------------
 */

/* Key of the owner's window; false: the endpoint has just been deleted. */
static __always_inline bool fragment_window(const struct wr_fragment *f, __u32 direction, __u32 *window)
{
	__u32 slot;

	if (f->owner & WR_REMOTE) {
		*window = wr_fragment_window(WR_ENDPOINT_SLOTS + (f->owner & (WR_NODE_SLOTS - 1)), direction);
		return true;
	}
	if (!endpoint_find(f->owner, &slot))
		return false;
	*window = wr_fragment_window(slot, direction);
	return true;
}

/* Sent datagrams are spread over all sets of the window. */
static __always_inline __u32 fragment_set(const struct wr_fragment *f, __u32 direction)
{
	const __be32 *w = f->saddr.v6;
	__u32 words = w[0] ^ w[1] ^ w[2] ^ w[3];

	if (direction == WR_EGRESS)
		words += f->id;
	return words * 0x9e3779b1u >> (32 - 3);
}
_Static_assert(WR_FRAGMENT_SETS == 1 << 3, "fragment_set() returns 3 bits");

/* Word by word: else clang reads all of them first, onto the stack, where 6.1 has no room. */
static __always_inline __u64 fragment_differs(const volatile struct wr_fragment *a,
					      const volatile struct wr_fragment *b)
{
	__u64 differs = (a->owner ^ b->owner) | (a->id ^ b->id);

	asm volatile("" : "+r"(differs));
	differs |= (a->v6 ^ b->v6) | (a->frag_proto ^ b->frag_proto);
#pragma unroll
	for (int n = 0; n < 4; n++) {
		asm volatile("" : "+r"(differs));
		differs |= (a->saddr.v6[n] ^ b->saddr.v6[n]) | (a->daddr.v6[n] ^ b->daddr.v6[n]);
	}
	return differs;
}

static __always_inline struct wr_fragment *fragment_at(struct wr_fragments *all, __u32 set, __u32 way)
{
	__u32 n = set * WR_FRAGMENT_WAYS + (way & (WR_FRAGMENT_WAYS - 1));

	asm volatile("" : "+r"(n)); /* or clang drops the mask, which the verifier needs */
	return &all->at[n & (WR_FRAGMENT_SETS * WR_FRAGMENT_WAYS - 1)];
}

/* The slot of the datagram in the set; NULL: not found. */
static __always_inline struct wr_fragment *fragment_find(struct wr_fragments *all, __u32 set,
							 const struct wr_fragment *f)
{
#pragma clang loop unroll(disable)
	for (__u32 way = 0; way < WR_FRAGMENT_WAYS; way++) {
		struct wr_fragment *at = fragment_at(all, set, way);

		if (!fragment_differs(at, f))
			return at;
	}
	return NULL;
}

/*
 * --- write ---------------------------------------------------------------------------------------------------------
 */

static __always_inline enum wr_reason fragment_write(struct wr_fragment *at, const struct wr_fragment *f)
{
	const __u32 seen = sequence_read(&at->sequence, 0);

	if (!sequence_lock(&at->sequence, seen))
		return WR_REASON_FRAGMENT;
	__builtin_memcpy(&at->owner, &f->owner, sizeof(*at) - __builtin_offsetof(struct wr_fragment, owner));
	return sequence_unlock(&at->sequence, seen) ? WR_REASON_NONE : WR_REASON_FRAGMENT;
}

/*
 * Records the current first fragment, which has passed. If the id was used before, it replaces the old datagram of that
 * key, which a lookup would find first.
 */
OUT_OF_LINE int fragment_record(__u32 direction)
{
	const struct wr_fragment *f = fragment_memory_get();
	const __u32 zero = 0;
	struct wr_fragments *all;
	struct wr_fragment *at;
	__u32 window, set;

	if (!f || !fragment_window(f, direction, &window))
		return WR_REASON_FRAGMENT;
	if (dry_run)
		return WR_REASON_NONE;
	all = bpf_map_lookup_elem(&fragments, &window);
	if (!all) {
		all = bpf_map_lookup_elem(&fragments_none, &zero);
		if (all)
			bpf_map_update_elem(&fragments, &window, all, BPF_NOEXIST);
		all = bpf_map_lookup_elem(&fragments, &window);
	}
	if (!all)
		return WR_REASON_FRAGMENT;
	set = fragment_set(f, direction) & (WR_FRAGMENT_SETS - 1);
	at = fragment_find(all, set, f);
	if (!at)
		at = fragment_at(all, set, __sync_fetch_and_add(&all->written[set], 1));
	return fragment_write(at, f);
}

/* After a packet has passed: if it is a first fragment, later ones may pass. */
static __always_inline enum wr_reason fragment_passes(const struct packet *p)
{
	return p->flags & FIRST_FRAGMENT ? fragment_record(p->direction) : WR_REASON_NONE;
}

/*
 * --- read ----------------------------------------------------------------------------------------------------------
 */

/* Copies the datagram's ports to f. `end`: end of this fragment, to which the datagram's seen part is extended. */
static __always_inline enum wr_reason fragment_follow(struct wr_fragment *at, struct wr_fragment *f,
						      const struct transport *t, __u32 end)
{
	const __u32 seen = sequence_read(&at->sequence, 0);
	const volatile struct wr_fragment *v = (void *)at + after(seen);
	const __u64 differs = fragment_differs(v, f) | (seen & 1);
	__u32 seen_end;

	f->sport = v->sport;
	f->dport = v->dport;
	f->l4_proto = v->l4_proto;
	seen_end = v->end;
	if (differs | (sequence_read(&at->sequence, differs | f->sport | f->dport | f->l4_proto | seen_end) ^ seen))
		return WR_REASON_FRAGMENT;
	if (t->frag_off < seen_end)
		return WR_REASON_FRAGMENT_OVERLAP;
	if (t->direction != WR_EGRESS || dry_run)
		return WR_REASON_NONE;
	if (!sequence_lock(&at->sequence, seen))
		return WR_REASON_FRAGMENT;
	at->end = end;
	return sequence_unlock(&at->sequence, seen) ? WR_REASON_NONE : WR_REASON_FRAGMENT;
}

/*
 * No fragment may overwrite the data that was evaluated. A pod's fragments must be in order (Linux sends them so;
 * others are dropped). Received ones may have been reordered on the path: they must only not overlap the first one.
 */
static __always_inline enum wr_reason fragment_later(struct wr_fragment *f, struct transport *t, __u32 end)
{
	struct wr_fragments *all;
	struct wr_fragment *at;
	enum wr_reason reason;
	__u32 window;

	if (!fragment_window(f, t->direction, &window))
		return WR_REASON_FRAGMENT;
	all = bpf_map_lookup_elem(&fragments, &window);
	if (!all)
		return WR_REASON_FRAGMENT;
	at = fragment_find(all, fragment_set(f, t->direction) & (WR_FRAGMENT_SETS - 1), f);
	if (!at)
		return WR_REASON_FRAGMENT;
	reason = fragment_follow(at, f, t, end);
	if (reason)
		return reason;
	t->sport = f->sport;
	t->dport = f->dport;
	t->l4_proto = f->l4_proto;
	t->flags = FOLLOWS;
	return WR_REASON_NONE;
}

/* Processes the current fragment. A later one gets the ports of its datagram. */
OUT_OF_LINE int transport_fragment(const struct addresses *at, struct transport *t)
{
	struct wr_fragment *f = fragment_memory_get();
	__u32 end;

	if (!at || !t || !f)
		return WR_REASON_FRAGMENT;
	end = t->frag_off + (t->end - t->frag_data);
	f->owner = t->owner;
	f->saddr = at->saddr.a6;
	f->daddr = at->daddr.a6;
	for (int n = 1; n < 4 && !t->v6; n++)
		f->saddr.v6[n] = f->daddr.v6[n] = 0;
	f->id = t->frag_id;
	f->v6 = t->v6;
	f->frag_proto = t->frag_proto;
	if (t->frag_off)
		return fragment_later(f, t, end);
	f->sport = t->sport;
	f->dport = t->dport;
	f->end = end;
	f->l4_proto = t->l4_proto;
	t->flags |= FIRST_FRAGMENT;
	return WR_REASON_NONE;
}

#endif
