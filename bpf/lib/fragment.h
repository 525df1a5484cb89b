/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments that a pod sends. The first one holds the whole transport header (l4_parse() saw to that) and makes an entry
 * with its ports; later ones need the entry and go strictly upwards, so that none of them can overwrite what was judged.
 * Linux sends them in order; one that comes out of order is dropped.
 */
#ifndef WARREN_LIB_FRAGMENT_H
#define WARREN_LIB_FRAGMENT_H

#include "lib/ip.h"
#include "lib/maps.h"

/* `map` and `key` are frag4's or frag6's. */
static __always_inline enum wr_reason fragment_follow(const struct packet *p, void *map, const void *key)
{
	__u32 end = p->frag_off + (p->end - p->frag_data);
	struct wr_frag *seen;

	if (!p->frag_off) {
		/* Ids come round again: a first fragment replaces an old entry. */
		const struct wr_frag first = { .sport = p->sport, .dport = p->dport, .end = end };

		return bpf_map_update_elem(map, key, &first, BPF_ANY) ? WR_REASON_FRAGMENT : WR_REASON_NONE;
	}
	seen = bpf_map_lookup_elem(map, key);
	if (!seen)
		return WR_REASON_FRAGMENT;
	if (p->frag_off < seen->end)
		return WR_REASON_FRAGMENT_OVERLAP;
	seen->end = end;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason fragment_check(const struct packet *p, const bool v6)
{
	if (v6) {
		struct wr_frag6_key key = {
			.saddr = p->saddr.a6, .daddr = p->daddr.a6, .id = p->frag_id, .l4_proto = p->frag_proto, .direction = p->direction
		};
		return fragment_follow(p, &frag6, &key);
	} else {
		struct wr_frag4_key key = {
			.saddr = p->saddr.a4.v4, .daddr = p->daddr.a4.v4, .id = p->frag_id, .l4_proto = p->frag_proto, .direction = p->direction
		};
		return fragment_follow(p, &frag4, &key);
	}
}

#endif
