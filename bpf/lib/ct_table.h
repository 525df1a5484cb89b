/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entries in ct4 and ct6, which evict nothing, and who owns how many.
 *
 * A lookup's pointer may come to point to another flow's entry at any moment: the map reuses elements at once. So an entry
 * is copied before anything is decided by it, and what decides over a flow is only ever written whole, by key. In place go
 * `expires` and, by atomic operations, flags that only say how long an entry lives: there a stray write changes no decision.
 */
#ifndef WARREN_LIB_CT_TABLE_H
#define WARREN_LIB_CT_TABLE_H

#include <asm-generic/errno-base.h>

#include "lib/conntrack.h"

static __always_inline struct wr_ct *ct_table_find(const void *key, const bool v6)
{
	return v6 ? bpf_map_lookup_elem(&ct6, key) : bpf_map_lookup_elem(&ct4, key);
}

static __always_inline int ct_table_write(const void *key, const struct wr_ct *ct, __u64 how, const bool v6)
{
	return v6 ? bpf_map_update_elem(&ct6, key, ct, how) : bpf_map_update_elem(&ct4, key, ct, how);
}

/* --- quotas ------------------------------------------------------------------------------------------------------- */

/* What neither end's endpoint owns has one quota together. */
static __always_inline __u32 ct_owner(const struct wr_ct *ct)
{
	return end_is_local(ct->initiator) ? ct->initiator : end_is_local(ct->responder) ? ct->responder : 0;
}

static __always_inline struct wr_ct_usage *ct_usage_of(__u32 owner)
{
	const __u32 slot = owner & (WR_ENDPOINT_SLOTS - 1);

	return bpf_map_lookup_elem(&ct_usage, &slot);
}

static __always_inline struct wr_ct_totals *ct_totals_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&ct_totals, &zero);
}

/* The verifier believes no bool to be 0 or 1. */
static __always_inline __u32 *ct_total(struct wr_ct_totals *totals, bool v6)
{
	__u32 family = v6;

	asm volatile("" : "+r"(family));
	return &totals->entries[family & 1];
}

/* One more (`by` 1) or one less (-1). */
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
 * Whether the owner may have one more: less than its quota, and less than is free. So whatever some take, there is always
 * room for others: of k owners that take all they can get, each gets 1/(k+1) of the table, and as much stays free. Of what is
 * not established it may have half as much, so that a flood of that leaves room for what is.
 */
static __always_inline bool ct_quota_allows(__u32 owner, bool established, const bool v6)
{
	const struct wr_config *cfg = config_get();
	const struct wr_ct_usage *usage = ct_usage_of(owner);
	struct wr_ct_totals *totals = ct_totals_get();

	if (!cfg || !usage || !totals)
		return false;
	return usage->entries < cfg->ct_share >> !established && usage->entries + *ct_total(totals, v6) < cfg->ct_entries;
}

/* Writes a new entry at its owner's expense; false: the owner has used up its quota, or there is no room. */
static __always_inline bool ct_table_add(const void *key, const struct wr_ct *ct, bool established, const bool v6)
{
	const __u32 owner = ct_owner(ct);
	long r;

	if (!ct_quota_allows(owner, established, v6)) {
		ct_count(WR_CT_STAT_OVER_SHARE);
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

/* Of several who remove an entry only one succeeds, and that one settles the account. `owner`: as a copy of it says. */
static __always_inline void ct_table_remove(const void *key, __u32 owner, const bool v6)
{
	if (!(v6 ? bpf_map_delete_elem(&ct6, key) : bpf_map_delete_elem(&ct4, key)))
		ct_account(owner, -1, v6);
}

/* Whatever stands there. */
static __always_inline void ct_table_forget(const union ct_key *key, const bool v6)
{
	const struct wr_ct *found = ct_table_find(key, v6);

	if (found)
		ct_table_remove(key, ct_owner(found), v6);
}

#endif
