/* SPDX-License-Identifier: BSD-2-Clause */
/* A node of a random cluster: its tables, and an agent that starts and dies. */
#ifndef WARREN_APPLY_NODE_H
#define WARREN_APPLY_NODE_H

#include <sys/random.h>

#include "../policy/check.h"
#include "fake_tables.h"
#include "rig.h"

#define QUERIES 192
#define OBSERVATIONS 20000
#define IDENTITIES 64
#define CHANGES 256

struct question {
	uint32_t ifindex;
	uint32_t peer;	/* ifindex of the peer endpoint, whatever its identity; 0: the query's identity */
	struct lookup_query query;
	uint64_t old_peer; /* the class of the peer endpoint's identity */
	bool was_known; /* the old policy had its identity */
	bool old_verdict;
	uint64_t next;	/* the next identity of `peer` */
	bool next_was_known, next_old_verdict; /* by the old policy, as if it had that identity */
	bool alone; /* all endpoints that get this identity have the same one now */
};

struct observation {
	uint64_t allowed[QUERIES / 64];
	uint32_t revisions[64]; /* of fake.policies */
};

struct node {
	unsigned long reports; /* runs that have reported identities */
	bool was_known[CHANGES]; /* identities of the changes, before they were applied */
	struct fake fake;
	struct policy *policy;
	struct apply *apply;
	struct cluster cluster;
	struct random random;
	struct question questions[QUERIES];
	size_t question_count;
	struct observation *observations;
	size_t observation_count;
	unsigned long seed;
};

static uint64_t hash_seed;

/* Instead of the C library's: hash maps' order decides what fits, and a seed must repeat it. */
ssize_t getrandom(void *to, size_t size, unsigned flags)
{
	memset(to, (int)(hash_seed % 251), size);
	return (ssize_t)size;
}

static inline int seed_rule(uint32_t rule, const char *text, void *arg)
{
	return policy_seed_rule(arg, rule, text);
}

static inline bool is_known(const struct node *n, uint64_t identity)
{
	bool found;

	fake_find(&n->fake, APPLY_IDENTITIES, &identity, &found);
	return found;
}

/*
 * Where the ipcache gives identities to addresses: added ones are in the maps by now, removed ones still are. (A run that
 * changes nothing reports too; its identities did not change.)
 */
static inline void on_identities(void *arg, const struct policy_changes *changes, bool full)
{
	struct node *n = arg;

	n->reports++;
	for (size_t i = 0; i < changes->identity_count && !n->fake.tables[APPLY_IDENTITIES].limit; i++) {
		const struct policy_identity *identity = &changes->identities[i];

		if (identity->peer != WR_PEER_NONE)
			assert_true(is_known(n, identity->identity));
		else if (i < CHANGES && n->was_known[i])
			assert_true(is_known(n, identity->identity));
	}
}

/* A new agent starts with the contents of the tables and of its sources. */
static inline void birth(struct node *n)
{
	const struct cluster nothing = { 0 };
	struct err err;

	n->policy = policy_new(check_key);
	n->apply = apply_new(&fake_ops, &n->fake);
	apply_on_identities(n->apply, on_identities, n);
	assert_int_equal(apply_load(n->apply, &err), 0);
	assert_int_equal(apply_each_rule(n->apply, seed_rule, n->policy, &err), 0);
	assert_int_equal(check_put(n->policy, &nothing, &n->cluster), 0);
}

static inline void death(struct node *n)
{
	policy_free(n->policy);
	apply_free(n->apply);
}

static inline void compile(struct node *n, bool full, struct policy_changes *changes)
{
	struct err err;

	assert_int_equal(full ? policy_compile_all(n->policy, changes, &err) : policy_compile(n->policy, changes, &err),
			 0);
}

static inline int apply(struct node *n, const struct policy_changes *changes, bool full)
{
	static const struct policy_changes none;
	unsigned long reports = n->reports;
	struct err err;
	int ret;

	for (size_t i = 0; i < changes->identity_count && i < CHANGES; i++)
		n->was_known[i] = is_known(n, changes->identities[i].identity);
	ret = apply_run(n->apply, changes, full, &err);
	if (ret == 0)
		assert_int_equal(n->reports, reports + 1);

	for (int i = 0; i < 3 && ret == 0 && apply_again(n->apply); i++)
		ret = apply_run(n->apply, &none, false, &err);
	return ret;
}

static inline int run(struct node *n, bool full)
{
	struct policy_changes changes;

	compile(n, full, &changes);
	return apply(n, &changes, full);
}

static inline void node_init(struct node *n, unsigned long seed)
{
	hash_seed = seed;
	*n = (struct node){ .seed = seed, .random = { seed * 0x9e3779b97f4a7c15u + 1 } };
	n->fake.steps_left = -1;
	n->observations = calloc(OBSERVATIONS + 1, sizeof(*n->observations));
	cluster_random(&n->cluster, &n->random);
}

static inline void node_free(struct node *n)
{
	death(n);
	cluster_free(&n->cluster);
	fake_free(&n->fake);
	free(n->observations);
}

/* The plugin's part: endpoints in quarantine. */
static inline void register_endpoints(struct node *n)
{
	for (size_t i = 0; i < n->cluster.pod_count; i++) {
		const struct cluster_pod *pod = &n->cluster.pods[i];

		if (pod->kind != POD_REMOTE && !fake_policy(&n->fake, pod->ifindex))
			n->fake.policies[n->fake.policy_count++] = (struct dp_endpoint_policy){ .ifindex = pod->ifindex };
	}
}

static inline void unregister_endpoint(struct node *n, uint32_t ifindex)
{
	struct dp_endpoint_policy *policy = fake_policy(&n->fake, ifindex);

	apply_endpoint_gone(n->apply, ifindex);
	if (policy)
		*policy = n->fake.policies[--n->fake.policy_count];
}

/* Some edits, passed to the compiler. */
static inline void edit(struct node *n)
{
	unsigned edits = 1 + random_below(&n->random, 4);
	struct cluster before;

	cluster_copy(&before, &n->cluster);
	while (edits--)
		cluster_edit(&n->cluster, &n->random);
	for (size_t i = 0; i < before.pod_count; i++) {
		if (before.pods[i].kind != POD_REMOTE && !check_endpoint_stays(&n->cluster, &before.pods[i]))
			unregister_endpoint(n, before.pods[i].ifindex);
	}
	assert_int_equal(check_put(n->policy, &before, &n->cluster), 0);
	cluster_free(&before);
	register_endpoints(n);
}

#endif
