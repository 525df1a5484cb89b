/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Conntrack entries in windows or in ct: lookup, write, change, delete.
 *
 * A flow is looked up in the windows first and then in ct. When it is promoted to ct, it is written there before it is
 * deleted from its window, so a lookup in this order finds it. When it is demoted (closed), a lookup may find neither:
 * the packet then belongs to a closed connection.
 */
#ifndef WARREN_LIB_CT_ENTRY_H
#define WARREN_LIB_CT_ENTRY_H

#include "lib/ct_window.h"

/* Location of an entry: CT_NOWHERE, CT_IN_TABLE (ct4/6), or its slot in ct_new4/6 + 1. */
#define CT_NOWHERE 0u
#define CT_IN_TABLE (~0u)

/* --- lookup ------------------------------------------------------------------------------------------------------ */

/*
 * Looks in the windows of `own` and of its peer, in each first among the flows that the endpoint initiated. A denied
 * flow is returned only if there is no other one: if two packets cross, each end may have initiated a flow. CT_BUSY
 * ends the search, which is repeated as a whole: the entry may be in that set.
 */
static __always_inline __u32 ct_find_in_windows(const union ct_key *key, const struct ct_ends *ends, struct wr_ct *ct,
						const bool v6)
{
	const __u64 hash = ct_hash(key, v6);
	const __u32 tag = wr_ct_tag(hash);
	__u32 denied = 0, found;

#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < 4; n++) {
		const struct ct_window *w = n & 1 ? &ends->of_peer : &ends->of_own;
		const __u32 set = ct_set(w, hash, n < 2);

		if ((n & 1) && !ends->two)
			continue;
		found = ct_set_read(key, set, tag, ct, v6);
		if (found == CT_BUSY || (found && !(ct->flags & WR_CT_DENIED)))
			return found;
		if (found)
			denied = set + 1;
	}
	return denied ? ct_set_read(key, denied - 1, tag, ct, v6) : CT_NOWHERE;
}

/*
 * Copies the entry to *ct and returns its location, or CT_BUSY. The key must be on the stack or in a map: 6.1 accepts
 * no other key.
 */
static __always_inline __u32 ct_find(const union ct_key *key, const struct ct_ends *ends, struct wr_ct *ct,
				     const bool v6)
{
	const __u32 where = ct_find_in_windows(key, ends, ct, v6);
	const struct wr_ct *found;

	if (where)
		return where;
	found = ct_table_find(key, v6);
	if (!found)
		return CT_NOWHERE;
	ct_copy(ct, found);
	return CT_IN_TABLE;
}

/* Sets ct_query()->where: CT_BUSY if a writer was active in one of the sets. */
OUT_OF_LINE __u32 ct_lookup_once(void)
{
	struct ct_query *q = ct_query();

	if (!q)
		return CT_NOWHERE;
	q->where = IN_FAMILY(q->v6, ct_find, &q->key, &q->ends, &q->ct);
	return q->where;
}

#define CT_READ_TRIES 16

/*
 * Looks up ct_query()->key. Copies the entry to ct_query()->ct; returns its location and stores it in
 * ct_query()->where.
 */
static __always_inline __u32 ct_lookup(void)
{
	struct ct_query *q;

#pragma clang loop unroll(disable)
	for (int tries = 0; tries < CT_READ_TRIES; tries++) {
		const __u32 where = ct_lookup_once();

		if (where != CT_BUSY)
			return where;
	}
	q = ct_query();
	if (q)
		q->where = CT_NOWHERE;
	return CT_NOWHERE;
}

/* --- change ------------------------------------------------------------------------------------------------------ */

/* Deletes the entry from its location. `owner`: of an entry in ct. */
static __always_inline void ct_delete(const union ct_key *key, __u32 owner, __u32 where, const bool v6)
{
	struct ct_slot head, s;

	if (where == CT_IN_TABLE) {
		ct_table_remove(key, owner, v6);
	} else if (where && ct_slot_lock(&head, &s, key, where - 1, v6)) {
		*s.tag = 0;
		ct_unlock(head.sequence);
	}
}

/* Change of an entry: flags to set and clear, the new expiry, and the acknowledgement numbers. */
struct ct_change {
	__u32 set, clear;
	__u32 expires;
	__u32 ack[2];
};

static __always_inline void ct_change_time(struct wr_ct *ct, const struct ct_change *change)
{
	ct->expires = change->expires;
	ct->ack[0] = change->ack[0];
	ct->ack[1] = change->ack[1];
}

/* Returns the flags before the change: two packets may be processed at once. */
static __always_inline __u32 ct_modify(const union ct_key *key, __u32 where, const struct ct_change *change,
				       const bool v6)
{
	struct ct_slot head, s;
	struct wr_ct *ct;
	__u32 was = 0;

	if (where == CT_IN_TABLE) {
		ct = ct_table_find(key, v6);
		if (!ct)
			return 0;
		was = __sync_fetch_and_or(&ct->flags, change->set);
		__sync_fetch_and_and(&ct->flags, ~change->clear);
		ct_change_time(ct, change);
	} else if (where && ct_slot_lock(&head, &s, key, where - 1, v6)) {
		was = s.ct->flags;
		s.ct->flags = (was | change->set) & ~change->clear;
		ct_change_time(s.ct, change);
		ct_unlock(head.sequence);
	}
	return was;
}

/* Overwrites the entry, if it still exists; else the next packet is evaluated again. */
static __always_inline void ct_rewrite(const union ct_key *key, const struct wr_ct *ct, __u32 where, const bool v6)
{
	struct ct_slot head, s;

	if (where == CT_IN_TABLE) {
		ct_table_write(key, ct, BPF_EXIST, v6);
	} else if (where && ct_slot_lock(&head, &s, key, where - 1, v6)) {
		ct_copy(s.ct, ct);
		ct_unlock(head.sequence);
	}
}

/*
 * Moves an entry from its window to ct, where no flow evicts it, with the content of `ct`; false: it stays in the
 * window.
 */
static __always_inline bool ct_promote(const union ct_key *key, const struct wr_ct *ct, __u32 where, const bool v6)
{
	if (!ct_table_add(key, ct, true, v6))
		return false;
	ct_delete(key, 0, where, v6);
	return true;
}

#endif
