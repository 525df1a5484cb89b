/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compares the policy compiler with an evaluator written from the specification, on random clusters.
 *
 * WARREN_CLUSTERS: number of clusters (20000); WARREN_SEED: seed of the first one (drawn, and printed).
 * WARREN_SEED=N WARREN_CLUSTERS=1 repeats a failure with seed N alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/seed.h"
#include "bench.h"
#include "bombs.h"
#include "check.h"
#include "explanation.h"
#include "faults.h"

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *value = getenv(name);

	return value && *value ? strtoul(value, NULL, 0) : otherwise;
}

static struct random random_of(unsigned long seed)
{
	return (struct random){ .state = seed * 0x9e3779b97f4a7c15ull };
}

/* --- one cluster, compiled once --- */

static const char *try_cluster(const struct cluster *c, unsigned long seed)
{
	struct random r = random_of(~seed);
	struct compiled k = { 0 };
	const char *wrong = check_compile(&k, c);

	/* More than once, because the ports are random. */
	for (int i = 0; !wrong && i < 2; i++)
		wrong = check_verdicts(&k, c, &r);
	compiled_free(&k);
	return wrong;
}

/* Simplifies the cluster as long as it still fails. */
static void shrink(struct cluster *c, unsigned long seed)
{
	for (size_t n = 0;;) {
		struct cluster simpler;

		cluster_copy(&simpler, c);
		if (!cluster_reduce(&simpler, n)) {
			cluster_free(&simpler);
			return;
		}
		if (try_cluster(&simpler, seed)) {
			cluster_free(c);
			*c = simpler;
			n = 0;
		} else {
			cluster_free(&simpler);
			n++;
		}
	}
}

static void verdicts_are_those_of_the_specification(void **state)
{
	unsigned long first = seed_of_run(), count = from_environment("WARREN_CLUSTERS", 20000);

	check_count = 0;
	for (unsigned long seed = first; seed < first + count; seed++) {
		struct random r = random_of(seed);
		struct cluster c;

		cluster_random(&c, &r);
		if (try_cluster(&c, seed)) {
			shrink(&c, seed);
			printf("seed %lu, the simplest cluster that fails:\n", seed);
			cluster_print(&c);
			fail_msg("%s; WARREN_SEED=%lu WARREN_CLUSTERS=1 %s repeats it", try_cluster(&c, seed), seed,
				 program_invocation_name);
		}
		cluster_free(&c);
	}
	printf("%lu clusters from seed %lu, %lu verdicts, %lu proposed changes\n", count, first, check_count,
	       explanation_changes);
}

/* --- a cluster that changes --- */

#define EDITS 12

/* The tables after the edits equal those of a new compiler, and those of compile_all. */
static const char *check_history(struct compiled *k, const struct cluster *c, bool all)
{
	struct policy_changes changes;
	struct compiled fresh;
	const char *wrong = check_compile(&fresh, c);

	if (!wrong)
		wrong = tables_differ(&k->tables, &fresh.tables);
	if (!wrong && all) {
		tables_clear(&k->tables);
		wrong = policy_compile_all(k->p, &changes, NULL) < 0 ? "no memory" : tables_apply(&k->tables, &changes);
		if (!wrong)
			wrong = tables_differ(&k->tables, &fresh.tables);
	}
	compiled_free(&fresh);
	return wrong;
}

static const char *try_history(unsigned long seed, unsigned edits, bool verbose)
{
	struct random r = random_of(seed), questions = random_of(~seed);
	struct compiled k = { 0 };
	const char *wrong;
	struct cluster c;

	cluster_random(&c, &r);
	wrong = check_compile(&k, &c);
	for (unsigned i = 0; !wrong && i < edits; i++) {
		struct cluster before;
		const char *edit = "";

		cluster_copy(&before, &c);
		for (uint32_t n = 1 + random_below(&r, 2); n; n--)
			edit = cluster_edit(&c, &r);
		if (verbose) {
			printf("edit %u: %s\n", i, edit);
			cluster_print(&c);
		}
		wrong = check_edit(&k, &before, &c);
		if (!wrong)
			wrong = check_history(&k, &c, random_chance(&r, 10));
		if (!wrong)
			wrong = check_verdicts(&k, &c, &questions);
		cluster_free(&before);
	}
	compiled_free(&k);
	cluster_free(&c);
	return wrong;
}

static void incremental_is_full(void **state)
{
	unsigned long first = seed_of_run();
	unsigned long count = (from_environment("WARREN_CLUSTERS", 20000) + EDITS - 1) / EDITS;

	check_count = 0;
	for (unsigned long seed = first; seed < first + count; seed++) {
		unsigned edits = 1;

		if (!try_history(seed, EDITS, false))
			continue;
		while (!try_history(seed, edits, false))
			edits++;
		printf("seed %lu fails after %u edits:\n", seed, edits);
		fail_msg("%s; WARREN_SEED=%lu WARREN_CLUSTERS=1 %s repeats it", try_history(seed, edits, true), seed,
			 program_invocation_name);
	}
	printf("%lu histories of %d edits from seed %lu, %lu verdicts\n", count, EDITS, first, check_count);
}

/* --- particular properties --- */

/* Number of the pods' label sets with this identity, of one bit. */
static size_t label_sets(const struct cluster *c, uint64_t number)
{
	size_t count = 0;

	for (size_t i = 0; i < c->pod_count; i++) {
		uint64_t identity = check_identity(c, &c->pods[i]);
		bool seen = (identity & 1) != (number & 1) || identity == WR_ID_WORLD;

		for (size_t j = 0; !seen && j < i; j++)
			seen = check_identity(c, &c->pods[j]) == identity;
		count += !seen;
	}
	return count;
}

static void compile_short(struct compiled *k, const struct cluster *c, struct policy_changes *changes)
{
	policy_set_identity_bits(k->p, 1);
	for (size_t i = 0; i < c->namespace_count; i++)
		policy_put_namespace(k->p, namespace_copy(c->namespaces[i]));
	for (size_t i = 0; i < c->pod_count; i++) {
		const struct pod_object *o = c->pods[i].object;

		policy_put_pod(k->p, pod_copy(o));
		policy_put_endpoint(k->p, c->pods[i].ifindex, o->namespace, o->name, NULL, NULL);
	}
	for (size_t i = 0; i < c->policy_count; i++)
		policy_put_policy(k->p, policy_copy(c->policies[i]));
	assert_int_equal(policy_compile(k->p, changes, NULL), 0);
	assert_null(tables_apply(&k->tables, changes));
}

/* A pod whose identity collides with another label set's is in quarantine, and no selector matches it. */
static void check_short(const struct cluster *c, const struct tables *t)
{
	for (size_t i = 0; i < t->endpoint_count; i++) {
		const struct policy_endpoint *ep = &t->endpoints[i];

		if (ep->identity != WR_ID_UNKNOWN)
			assert_int_equal(ep->class_key == WR_CLASS_QUARANTINE, label_sets(c, ep->identity) > 1);
	}
	for (size_t i = 0; i < t->identity_count; i++)
		assert_int_equal(label_sets(c, t->identities[i].identity), 1);
}

static void collisions_fail_closed(void **state)
{
	unsigned long first = seed_of_run();
	size_t collisions = 0;

	for (unsigned long seed = first; seed < first + 500; seed++) {
		struct random r = random_of(seed);
		struct policy_changes changes;
		struct policy_counts counts;
		struct compiled k = { .p = policy_new(check_key) };
		struct cluster c;

		cluster_random(&c, &r);
		for (size_t i = 0; i < c.pod_count; i++)
			c.pods[i].kind = POD_LOCAL;
		compile_short(&k, &c, &changes);
		check_short(&c, &k.tables);
		/* Pods are removed one by one: the last label set with a number no longer collides. */
		while (c.pod_count > 1) {
			struct cluster_pod *pod = &c.pods[--c.pod_count];

			policy_count(k.p, &counts);
			collisions += counts.collisions;
			policy_remove_endpoint(k.p, pod->ifindex);
			tables_forget_endpoint(&k.tables, pod->ifindex);
			policy_remove_pod(k.p, pod->object->namespace, pod->object->name);
			pod_object_free(pod->object);
			assert_int_equal(policy_compile(k.p, &changes, NULL), 0);
			assert_null(tables_apply(&k.tables, &changes));
			check_short(&c, &k.tables);
		}
		policy_count(k.p, &counts);
		assert_int_equal(counts.collisions, 0);
		compiled_free(&k);
		cluster_free(&c);
	}
	assert_true(collisions > 500);
}

static void entries_do_not_grow_with_pods(void **state)
{
	struct policy_counts few, many;

	bench_unique_pods(10, &few);
	bench_unique_pods(10000, &many);
	assert_true(few.entries > 0);
	assert_int_equal(many.entries, few.entries);
	assert_int_equal(many.peer_classes, few.peer_classes);
	assert_int_equal(many.identities, few.identities + 9990);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_are_those_of_the_specification),
		cmocka_unit_test(incremental_is_full),
		cmocka_unit_test(collisions_fail_closed),
		cmocka_unit_test(entries_do_not_grow_with_pods),
		cmocka_unit_test(what_fits_costs_little),
		cmocka_unit_test(many_large_classes_come_in_slices),
		cmocka_unit_test(pods_of_many_labels),
		cmocka_unit_test(a_selector_of_too_much_selects_all),
		cmocka_unit_test(large_policies_cost_little),
		cmocka_unit_test(without_memory_nothing_is_lost),
	};

	if (argc == 2 && strcmp(argv[1], "--bench") == 0)
		return bench();
	if (argc != 1) {
		fprintf(stderr, "usage: policytest [--bench]\n");
		return 2;
	}
	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
