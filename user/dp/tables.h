/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes policy into the maps. The caller keeps the order (user/agent/README.md, "The order of writes"): add allows, move
 * identities, remove allows, then write the endpoints' new revision.
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
 * Adds or replaces `count` elements (arrays of the map's key and value sizes). A growing map without room is replaced
 * by one at least twice as large, up to its limit: readers see all of the old or all of the new map. -ENOSPC (err set):
 * no room; no new key was added, but existing elements may have their new values. Omit unchanged elements: see
 * abi/policy.h, "evaluates once more".
 */
int dp_table_put(struct dp_table *table, const void *keys, const void *values, size_t count, struct err *err);
/* Absent keys are no error. */
int dp_table_delete(struct dp_table *table, const void *keys, size_t count, struct err *err);
int dp_table_each(struct dp_table *table, int (*fn)(const void *key, const void *value, void *arg), void *arg,
		  struct err *err);
/* Elements in it, as counted by this writer; the maximum that it can grow to. */
size_t dp_table_used(const struct dp_table *table);
size_t dp_table_limit(const struct dp_table *table);
void dp_table_limit_to(struct dp_table *table, size_t max); /* lowers that maximum; 0: as in the registry */

int dp_policy_state_get(struct wr_policy_state *state, struct err *err);
int dp_policy_state_set(const struct wr_policy_state *state, struct err *err);

#endif
