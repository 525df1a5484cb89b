/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policy into the maps, observed after every single step. Over random clusters and random edits, by the real
 * compiler: no verdict is more open than the old or the new policy, packets that both allow are not denied, and packets
 * evaluated under an endpoint's final revision get the new policy's verdict.
 */
#include "../lib/seed.h"
#include "apply_dump.h"
#include "apply_observer.h"

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static struct known learn_all(struct node *n)
{
	struct known known = { 0 };

	policy_each_identity(n->policy, learn, &known);
	return known;
}

/* One change under observation. */
static int observed_run(struct node *n, const struct known *old)
{
	struct policy_changes changes;
	struct known moved = { 0 };
	int ret;

	compile(n, false, &changes);
	for (; moved.count < changes.identity_count && moved.count < IDENTITIES; moved.count++)
		moved.v[moved.count] = changes.identities[moved.count].identity;
	make_questions(n, old, &moved, &changes);
	n->fake.observe = observe;
	n->fake.arg = n;
	ret = apply(n, &changes, false);
	n->fake.observe = NULL;
	return ret;
}

static void start(struct node *n, unsigned long seed)
{
	node_init(n, seed);
	register_endpoints(n);
	birth(n);
	assert_int_equal(run(n, true), 0);
}

/* Both are texts of sorted lines: prints the first that differs. */
static void check_same(const struct node *n, const char *is, const char *expected)
{
	size_t same = 0;

	while (is[same] && is[same] == expected[same])
		same++;
	if (is[same] == expected[same])
		return;
	while (same && is[same - 1] != '\n')
		same--;
	fail_msg("seed %lu: the tables hold\n%.*s\nand should hold\n%.*s", n->seed, (int)strcspn(is + same, "\n"),
		 is + same, (int)strcspn(expected + same, "\n"), expected + same);
}

/* The tables equal those of a new agent with the same objects on an empty node. */
static void check_fresh(struct node *n)
{
	struct node fresh = { .fake = { .steps_left = -1 }, .cluster = n->cluster };
	char *is, *expected;

	fresh.fake.policy_count = n->fake.policy_count;
	for (size_t i = 0; i < n->fake.policy_count; i++)
		fresh.fake.policies[i] = (struct dp_endpoint_policy){ .ifindex = n->fake.policies[i].ifindex };
	birth(&fresh);
	assert_int_equal(run(&fresh, true), 0);
	is = dump(&n->fake);
	expected = dump(&fresh.fake);
	check_same(n, is, expected);
	free(is);
	free(expected);
	death(&fresh);
	fake_free(&fresh.fake);
}

static void no_step_is_wrong(void **state)
{
	unsigned long clusters = from_environment("WARREN_CLUSTERS", 150), seed = seed_of_run(),
		      steps = 0;

	for (unsigned long i = 0; i < clusters; i++) {
		struct node n;

		start(&n, seed + i);
		for (int e = 0; e < 8; e++) {
			struct known old = learn_all(&n);

			edit(&n);
			assert_int_equal(observed_run(&n, &old), 0);
			check_observations(&n, false);
			check_fresh(&n);
		}
		steps += n.fake.steps;
		node_free(&n);
	}
	print_message("%lu steps observed\n", steps);
}

/* kill -9 (or an error of the kernel) at any step: the next agent continues from there. */
static void death_at_any_step(void **state)
{
	unsigned long clusters = from_environment("WARREN_CLUSTERS", 150), seed = seed_of_run(),
		      deaths = 0;

	for (unsigned long i = 0; i < clusters; i++) {
		struct node n;

		start(&n, 1000000 + seed + i);
		for (int e = 0; e < 8; e++) {
			struct known old = learn_all(&n);

			edit(&n);
			n.fake.steps_left = random_below(&n.random, 40);
			if (observed_run(&n, &old) < 0) {
				n.fake.steps_left = -1;
				n.fake.observe = observe;
				death(&n);
				birth(&n);
				assert_int_equal(run(&n, true), 0);
				n.fake.observe = NULL;
				deaths++;
			}
			n.fake.steps_left = -1;
			check_observations(&n, false);
			check_fresh(&n);
		}
		node_free(&n);
	}
	assert_in_range(deaths, clusters, 8 * clusters);
}

/* An agent that finds the maps as it would write them writes nothing: numbers and revisions stay. */
static void restart_changes_nothing(void **state)
{
	unsigned long first = seed_of_run();

	for (unsigned long seed = first; seed < first + 100; seed++) {
		struct dp_endpoint_policy policies[64];
		unsigned long steps;
		struct node n;

		start(&n, 2000000 + seed);
		edit(&n);
		assert_int_equal(run(&n, false), 0);
		memcpy(policies, n.fake.policies, sizeof(policies));
		death(&n);
		birth(&n);
		steps = n.fake.steps;
		assert_int_equal(run(&n, true), 0);
		assert_memory_equal(policies, n.fake.policies, sizeof(policies));
		assert_in_range(n.fake.steps - steps, 0, 2); /* policy_state */
		node_free(&n);
	}
}

struct shortage {
	unsigned long denied, not_programmed;
};

static void run_short_of_room(unsigned long seed, struct shortage *shortage)
{
	static const enum apply_table shorts[] = { APPLY_POLICY, APPLY_POLICY,	APPLY_IDENTITIES,
						   APPLY_CIDRS4, APPLY_CLASSES, APPLY_RULES };
	enum apply_table t = shorts[seed % 6];
	struct apply_counts counts;
	struct node n;

	node_init(&n, 3000000 + seed);
	n.fake.tables[t].limit = 1 + random_below(&n.random, t == APPLY_POLICY ? 30 : 4);
	register_endpoints(&n);
	birth(&n);
	assert_int_equal(run(&n, true), 0);
	for (int e = 0; e < 6; e++) {
		struct known old = learn_all(&n);

		edit(&n);
		assert_int_equal(observed_run(&n, &old), 0);
		check_observations(&n, true);
		apply_count(n.apply, &counts);
		shortage->denied += counts.state.classes_denied;
		shortage->not_programmed += counts.identities_not_programmed;
	}
	/* Room again, and a run that uses it: the waiting classes get it. */
	n.fake.tables[t].limit = 0;
	death(&n);
	birth(&n);
	assert_int_equal(run(&n, true), 0);
	apply_count(n.apply, &counts);
	assert_int_equal(counts.state.classes_denied, 0);
	check_fresh(&n);
	node_free(&n);
}

/* Full tables: nothing is opened, the other classes are complete, and all is complete again once there is room. */
static void short_of_room(void **state)
{
	unsigned long first = seed_of_run();
	struct shortage shortage = { 0 };

	for (unsigned long seed = first; seed < first + 1000; seed++)
		run_short_of_room(seed, &shortage);
	assert_in_range(shortage.denied, 50, 100000);
	assert_in_range(shortage.not_programmed, 20, 100000);
}

/* No room for transitional entries, and an old class that allows the new peer class of an identity. */
static void no_room_for_transitions(void **state)
{
	struct shortage shortage = { 0 };

	run_short_of_room(12552336, &shortage);
	assert_in_range(shortage.denied, 1, 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_step_is_wrong),
		cmocka_unit_test(death_at_any_step),
		cmocka_unit_test(restart_changes_nothing),
		cmocka_unit_test(short_of_room),
		cmocka_unit_test(no_room_for_transitions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
