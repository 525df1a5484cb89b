/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From what the compiler says to what the maps hold, by difference, in an order that is safe at every single step: no
 * verdict is ever more open than the old policy or the new one makes it, and none that both allow is ever denied. The
 * tables are behind struct apply_ops, so that a test can stand at every step and look.
 *
 * The order, and why (apply.c has the steps by these names):
 *
 *   rules     names of rules, before anything can refer to them
 *   extend    classes that are edited in place get their new entries; new classes are written whole
 *   enter     identities move to their new peer class, new ones come in; those that go stay yet
 *   identify  endpoints get their new identities, and whoever else gives identities to addresses (apply_on_identities())
 *   leave     identities go that no selector matches, or nobody has, any more
 *   cidrs, shrink  prefixes of classes edited in place; then the entries that they have no longer
 *   words     endpoints get {class, revision}
 *   settle, clean  what is left of the old
 *
 * Identities move for all classes at once, while endpoints change their class one by one. So if an endpoint leaves a
 * class in the same change, neither order of the two is safe: the class it leaves knows only the old peer classes, the
 * one it enters only the new ones. Then each identity goes by way of a transitional peer class, which stands for (old,
 * new): classes that are left get for it the entries that they had for the old one, those that are entered what they
 * have for the new one. A new identity that endpoints get in the place of another one begins in such a class too: of
 * theirs and its own. (If they come from different ones it cannot: some flow of theirs may be refused meanwhile.)
 *
 * Where there is no room for a class, what its endpoints had stays, if that isolates them from as much: the class is not edited, or they
 * stay in the one that they were to leave. Else they are denied what they are to be isolated from. Either is tried again when room has
 * come free. (While identities move to other peer classes, a class that stays as it was does not follow: it allows less, never more.)
 *
 * What "old" and "new" mean is each enforcement point's own: it may judge by its own old policy the peer's new
 * identity, and the other way round, as if the objects that have changed had done so one after the other.
 */
#ifndef WARREN_AGENT_APPLY_H
#define WARREN_AGENT_APPLY_H

#include "policy.h"
#include "words.h"

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
	/* -ENOSPC or -ENOMEM: no room, and none of the new keys is there. */
	int (*put)(void *arg, enum apply_table table, const void *keys, const void *values, size_t count,
		   struct err *err);
	size_t (*room)(void *arg, enum apply_table table); /* elements that could be put besides those that are there */
	int (*remove)(void *arg, enum apply_table table, const void *keys, size_t count, struct err *err);
	int (*each)(void *arg, enum apply_table table, int (*fn)(const void *key, const void *value, void *fn_arg),
		    void *fn_arg, struct err *err);
	/* missing[i]: there is no such endpoint */
	int (*words)(void *arg, const struct dp_word *set, size_t count, bool *missing, struct err *err);
	int (*each_word)(void *arg, int (*fn)(const struct dp_word *word, void *fn_arg), void *fn_arg, struct err *err);
	int (*state_get)(void *arg, struct wr_policy_state *state, struct err *err);
	int (*state_set)(void *arg, const struct wr_policy_state *state, struct err *err);
};

struct apply;
struct apply *apply_new(const struct apply_ops *ops, void *arg); /* NULL without memory */
void apply_free(struct apply *a);

/* Forgets what it knows and reads it from the tables. The next run must be a full one. */
int apply_load(struct apply *a, struct err *err);
/* Rules that were loaded, for policy_seed_rule(); stops at fn's first non-zero return. */
int apply_each_rule(struct apply *a, int (*fn)(uint32_t rule, const char *text, void *arg), void *arg, struct err *err);

/*
 * Writes the changes. `full`: they are everything there is (policy_compile_all()); what else the tables hold goes.
 * On failure the tables are in one of the safe states between old and new: apply_load() and a full run come next.
 */
int apply_run(struct apply *a, const struct policy_changes *changes, bool full, struct err *err);
/* A run without changes would do something: room has come free that a class or an identity is waiting for. */
bool apply_again(const struct apply *a);
/* `fn` is called in every run at the step `identify`: identities that are new are known by then, old ones still are. */
void apply_on_identities(struct apply *a, void (*fn)(void *arg, const struct policy_changes *changes, bool full),
			 void *arg);
void apply_endpoint_gone(struct apply *a, uint32_t ifindex);

struct apply_endpoint {
	uint32_t ifindex;
	uint32_t policy_class, revision; /* in the maps */
	uint64_t identity;
	uint64_t class_key; /* what the compiler says */
	uint64_t wanted_identity;
	bool compiled; /* the compiler has spoken of it */
	bool missing;  /* not in the maps: every run tries again */
	bool identified; /* has its new identity, and not yet a revision to go with it */
	bool denied;   /* its class did not fit, and it had no other one that could stay */
};
const struct apply_endpoint *apply_endpoint(const struct apply *a, uint32_t ifindex); /* NULL: unknown */
const struct apply_endpoint *apply_endpoints(const struct apply *a, size_t *count);

/* The number of a class of the compiler's in the maps (0: none), and whether it did not fit. */
uint32_t apply_class(const struct apply *a, uint64_t class_key, bool *denied);

struct apply_counts {
	struct wr_policy_state state;
	size_t identities_left_out,
	    rules_unnamed, /* rules for whose names there was no room */
	    strays; /* strays: endpoints that nobody knows, put into quarantine (last full run) */
};
void apply_count(const struct apply *a, struct apply_counts *counts);

/* Says what the policies that could not be understood are to be counted as in policy_state, from the next run on. */
void apply_set_invalid(struct apply *a, uint32_t policies_invalid);

#endif
