/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes the compiler's output into the policy maps, as a difference, in an order that is safe at every step: no flow
 * is allowed that both the old and the new policy deny, and none denied that both allow. The maps are behind struct
 * apply_ops, so that a test can evaluate verdicts after every step.
 *
 * The steps, in order (apply.c uses these names):
 *
 *   rules     names of new rules, before entries refer to them
 *   extend    classes that are edited in place gain their new entries; new classes are written whole
 *   enter     identities move to their new peer class, new identities are added; obsolete ones stay for now
 *   identify  endpoints and other addresses (apply_on_identities()) gain their new identities
 *   leave     identities are deleted that no selector matches any more, or that are no longer in use
 *   cidrs, shrink  prefixes of classes edited in place; then their obsolete entries are deleted
 *   endpoints  endpoints gain {class, revision}
 *   settle, clean  transitional peer classes and obsolete classes are deleted
 *
 * Identities move for all classes at once, while endpoints change their class one by one. If an endpoint changes class
 * in the same run, neither order of the two is safe: the old class has entries for the old peer classes only, the new
 * class for the new ones only. In that case each identity moves through a transitional peer class, which represents
 * (old, new): classes with leaving endpoints gain copies of their entries for the old peer class, classes with entering
 * endpoints copies of those for the new one. A new identity that replaces another one of an endpoint starts in the
 * transitional class of that identity's peer class and its own. (If it replaces several identities with different peer
 * classes, there is no such class: some of their flows may be refused meanwhile.) If the transitional entries do not
 * fit, there are none: flows of the identities that move are denied until `settle`, after which all endpoints get
 * another revision.
 *
 * If a class does not fit, its endpoints keep their old entries, provided that these isolate as many directions: the
 * class is not edited, or the endpoints stay in their old class. Otherwise the isolated directions are denied. Both are
 * tried again when entries have been freed. (While identities move to other peer classes, a class that could not be
 * edited is not updated: it allows less, never more.)
 *
 * "Old" and "new" are relative to each enforcement point: it may evaluate the peer's new identity by its own old
 * policy, and the reverse, as if the objects had changed one after the other.
 */
#ifndef WARREN_AGENT_APPLY_H
#define WARREN_AGENT_APPLY_H

#include "policy.h"
#include "endpoint_policy.h"

enum apply_table {
	APPLY_POLICY,
	APPLY_CLASSES,
	APPLY_CIDRS4,
	APPLY_CIDRS6,
	APPLY_IDENTITIES,
	APPLY_RULES,
	APPLY_TABLES
};

/* Arrays of the keys and values of the map (abi/maps.h); elements are written in the order of the array. */
struct apply_ops {
	/* -ENOSPC or -ENOMEM: no room, and none of the new keys is in the table. */
	int (*put)(void *arg, enum apply_table table, const void *keys, const void *values, size_t count,
		   struct err *err);
	size_t (*room)(void *arg, enum apply_table table); /* free elements */
	int (*remove)(void *arg, enum apply_table table, const void *keys, size_t count, struct err *err);
	int (*each)(void *arg, enum apply_table table, int (*fn)(const void *key, const void *value, void *fn_arg),
		    void *fn_arg, struct err *err);
	/* missing[i]: set[i]'s endpoint does not exist */
	int (*set_endpoints)(void *arg, const struct dp_endpoint_policy *set, size_t count, bool *missing,
			     struct err *err);
	int (*each_endpoint)(void *arg, int (*fn)(const struct dp_endpoint_policy *policy, void *fn_arg), void *fn_arg,
			     struct err *err);
	int (*state_get)(void *arg, struct wr_policy_state *state, struct err *err);
	int (*state_set)(void *arg, const struct wr_policy_state *state, struct err *err);
};

struct apply;
struct apply *apply_new(const struct apply_ops *ops, void *arg); /* NULL without memory */
void apply_free(struct apply *a);

/* Discards the cached state and reads it from the tables. The next run must be a full one. */
int apply_load(struct apply *a, struct err *err);
/* The rules in the table, for policy_seed_rule(); stops at fn's first non-zero return. */
int apply_each_rule(struct apply *a, int (*fn)(uint32_t rule, const char *text, void *arg), void *arg, struct err *err);

/*
 * Writes the changes. `full`: they are complete (policy_compile_all()); everything else in the tables is deleted.
 * On failure the tables are in one of the safe states between old and new; call apply_load(), then do a full run.
 */
int apply_run(struct apply *a, const struct policy_changes *changes, bool full, struct err *err);
/* Whether a run without changes is useful: elements were freed, and a class or an identity did not fit before. */
bool apply_again(const struct apply *a);
/* `fn` is called in every run at the step `identify`: the tables then hold both the new and the old identities. */
void apply_on_identities(struct apply *a, void (*fn)(void *arg, const struct policy_changes *changes, bool full),
			 void *arg);
void apply_endpoint_gone(struct apply *a, uint32_t ifindex);

struct apply_endpoint {
	uint32_t ifindex;
	uint32_t policy_class, revision; /* in the maps */
	uint64_t identity;
	uint64_t class_key; /* as compiled */
	uint64_t desired_identity;
	bool compiled;	 /* class_key and desired_identity are valid */
	bool missing;	 /* not in the maps: every run tries again */
	bool identified; /* has its new identity, but not yet the new revision */
	bool denied;	 /* its class did not fit, and its old class isolates less */
};
const struct apply_endpoint *apply_endpoint(const struct apply *a, uint32_t ifindex); /* NULL: unknown */
const struct apply_endpoint *apply_endpoints(const struct apply *a, size_t *count);

/* The number in the maps of a compiled class (0: none), and whether it did not fit. */
uint32_t apply_class(const struct apply *a, uint64_t class_key, bool *denied);
uint64_t apply_class_key(const struct apply *a, uint32_t number); /* the reverse; 0: none */

struct apply_counts {
	struct wr_policy_state state;
	size_t identities_not_programmed;
	size_t rules_unnamed;	/* rules whose names did not fit */
	size_t stale_endpoints; /* in the maps, but without a record: put into quarantine (last full run) */
};
void apply_count(const struct apply *a, struct apply_counts *counts);

/* The number of invalid policies, for policy_state from the next run on. */
void apply_set_invalid(struct apply *a, uint32_t policies_invalid);

/* --- the node's maps as tables (apply_dp.c) --- */

struct apply_tables;
int apply_tables_open(struct apply_tables **tables, size_t max_policy_entries, struct err *err); /* 0: as many as fit */
void apply_tables_close(struct apply_tables *tables);
extern const struct apply_ops apply_tables_ops; /* their arg: struct apply_tables * */

/* Name, number of elements and limit of a table. */
const char *apply_table_name(enum apply_table table);
void apply_table_use(const struct apply_tables *tables, enum apply_table table, size_t *used, size_t *limit);

#endif
