/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entries in ct4 and ct6, which evict nothing, and the quotas of their owners.
 *
 * A lookup's pointer may point to another flow's entry at any moment: the map reuses elements immediately. So an entry
 * is copied before any decision is based on it, and fields that decide over a flow are only written with the whole
 * entry, by key. Only `expires` and, by atomic operations, flags that affect nothing but the timeout are written in
 * place: a stale write of these changes no decision.
 */
#ifndef WARREN_LIB_CT_TABLE_H
#define WARREN_LIB_CT_TABLE_H

#include <asm-generic/errno-base.h>

#include "lib/conntrack.h"
#include "lib/endpoint.h"

static __always_inline struct wr_ct *ct_table_find(const void *key, const bool v6)
{
	return v6 ? bpf_map_lookup_elem(&ct6, key) : bpf_map_lookup_elem(&ct4, key);
}

static __always_inline int ct_table_write(const void *key, const struct wr_ct *ct, __u64 how, const bool v6)
{
	return v6 ? bpf_map_update_elem(&ct6, key, ct, how) : bpf_map_update_elem(&ct4, key, ct, how);
}

/* --- quotas ------------------------------------------------------------------------------------------------------- */

/* Flows without an endpoint at either end share one quota (owner 0), and so do services' entries of outside clients. */
static __always_inline __u32 ct_owner(const struct wr_ct *ct)
{
	return end_is_local(ct->initiator) ? ct->initiator : end_is_local(ct->responder) ? ct->responder : 0;
}

/*
 * The counter is in the endpoint's own slot, so that no other endpoint's ifindex collides with it. NULL: the endpoint has
 * been deleted; the gc clears its counter.
 */
static __always_inline struct wr_ct_usage *ct_usage_of(__u32 owner)
{
	__u32 slot = WR_CT_USAGE_UNOWNED;

	return !owner || endpoint_find(owner, &slot) ? bpf_map_lookup_elem(&ct_usage, &slot) : NULL;
}

static __always_inline struct wr_ct_totals *ct_totals_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&ct_totals, &zero);
}

/* The mask is for the verifier, which does not track a bool as 0 or 1. */
static __always_inline __u32 *ct_total(struct wr_ct_totals *totals, bool v6)
{
	__u32 family = v6;

	asm volatile("" : "+r"(family));
	return &totals->entries[family & 1];
}

/* Counts one entry more (`by` 1) or less (-1). */
static __always_inline void ct_account(__u32 owner, __s32 by, const bool v6)
{
	struct wr_ct_usage *usage = ct_usage_of(owner);
	struct wr_ct_totals *totals = ct_totals_get();

	if (usage)
		__sync_fetch_and_add(&usage->entries, by);
	if (totals)
		__sync_fetch_and_add(ct_total(totals, v6), by);
}

/*
 * Whether the owner may add an entry: it owns less than its quota, and less than the free space. So there is always
 * room for others: if k owners take all they can get, each gets 1/(k+1) of the table, and as much stays free.
 * Unestablished flows are limited to half of that, so that a flood of them leaves room for established ones.
 */
static __always_inline bool ct_quota_allows(__u32 owner, bool established, const bool v6)
{
	const struct wr_config *cfg = config_get();
	const struct wr_ct_usage *usage = ct_usage_of(owner);
	struct wr_ct_totals *totals = ct_totals_get();
	__u32 quota;

	if (!cfg || !usage || !totals)
		return false;
	quota = (owner ? cfg->ct_quota : cfg->ct_quota * WR_CT_NODE_QUOTA) >> !established;
	return usage->entries < quota &&
	       usage->entries + *ct_total(totals, v6) < cfg->ct_entries;
}

/* Adds an entry and counts it for its owner; false: the owner has reached its quota, or the map is full. */
static __always_inline bool ct_table_add(const void *key, const struct wr_ct *ct, bool established, const bool v6)
{
	const __u32 owner = ct_owner(ct);
	long r;

	if (!ct_quota_allows(owner, established, v6)) {
		ct_count(WR_CT_STAT_OVER_QUOTA);
		return false;
	}
	r = ct_table_write(key, ct, BPF_NOEXIST, v6);
	if (r == -EEXIST)
		return !ct_table_write(key, ct, BPF_EXIST, v6);
	if (r) {
		ct_count(WR_CT_STAT_FULL);
		return false;
	}
	ct_account(owner, 1, v6);
	ct_count(WR_CT_STAT_PROMOTED);
	return true;
}

/*
 * If several CPUs delete an entry only one succeeds, and that one updates the counters. `owner`: from a copy of the
 * entry.
 */
static __always_inline void ct_table_remove(const void *key, __u32 owner, const bool v6)
{
	if (!(v6 ? bpf_map_delete_elem(&ct6, key) : bpf_map_delete_elem(&ct4, key)))
		ct_account(owner, -1, v6);
}

/* Removes any entry with the key. */
static __always_inline void ct_table_delete(const union ct_key *key, const bool v6)
{
	const struct wr_ct *found = ct_table_find(key, v6);

	if (found)
		ct_table_remove(key, ct_owner(found), v6);
}

#endif
