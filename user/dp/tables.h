/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing policy into the maps. Who writes keeps the order (see ARCHITECTURE.md, "A policy change"): allows are added,
 * then identities moved, then allows removed, then endpoints given a new revision.
 */
#ifndef WARREN_DP_TABLES_H
#define WARREN_DP_TABLES_H

#include <stddef.h>

#include "abi/maps.h"
#include "err.h"

/* An open table: policy, identities, classes, cidrs4, cidrs6, rules. One writer at a time. */
struct dp_table;
int dp_table_open(const char *name, struct dp_table **table, struct err *err);
void dp_table_close(struct dp_table *table);

/*
 * Adds or replaces `count` elements (arrays of the map's key and value sizes). A growing map that lacks room is
 * replaced by one twice as large, or larger, up to its limit: readers see all of the old or all of the new one. -ENOSPC
 * (err set): no room; then none of the new keys is there, while elements that were there may have their new values.
 * Leave out what has not changed: see abi/policy.h, "judges once more".
 */
int dp_table_put(struct dp_table *table, const void *keys, const void *values, size_t count, struct err *err);
/* Absent keys are no error. */
int dp_table_delete(struct dp_table *table, const void *keys, size_t count, struct err *err);
int dp_table_each(struct dp_table *table, int (*fn)(const void *key, const void *value, void *arg), void *arg,
		  struct err *err);
/* Elements in it, as counted by this writer; room it could have at most. */
size_t dp_table_used(const struct dp_table *table);
size_t dp_table_limit(const struct dp_table *table);
void dp_table_limit_to(struct dp_table *table, size_t most); /* less room than it could have; 0: no less */

int dp_policy_state_get(struct wr_policy_state *state, struct err *err);
int dp_policy_state_set(const struct wr_policy_state *state, struct err *err);

#endif
