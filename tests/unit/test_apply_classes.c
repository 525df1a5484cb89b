/* SPDX-License-Identifier: BSD-2-Clause */
/* Policy into the maps, by classes and endpoints made by hand: those that wait for room, and late endpoints. */
#include <netinet/in.h>

#include "fake_tables.h"
#include "rig.h"

/* A class by hand: isolates ingress, allows `count` ports from any peer. */
static struct policy_class class_of(uint64_t key, size_t count, struct wr_policy_key *keys,
				    struct wr_policy_entry *entries)
{
	for (size_t i = 0; i < count; i++) {
		keys[i] = (struct wr_policy_key){ .peer = WR_PEER_ANY,
						  .port = (uint16_t)i,
						  .l4_proto = IPPROTO_TCP,
						  .shape = wr_policy_shape(WR_INGRESS, 16) };
		entries[i].rule = WR_RULE_FIRST;
	}
	return (struct policy_class){ .key = key,
				      .keys = keys,
				      .entries = entries,
				      .count = count,
				      .info = { .flags[WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_ANY_PEER,
						.port_bits[WR_INGRESS] = 1 << 16 } };
}

/* Room that one class leaves is another's at once, and endpoints of other classes stay as they are. */
static void room_goes_to_waiting_classes(void **state)
{
	struct fake fake = { .steps_left = -1,
			     .policy_count = 3,
			     .tables[APPLY_POLICY].limit = 10,
			     .policies = { { .ifindex = 1 }, { .ifindex = 2 }, { .ifindex = 3 } } };
	struct apply *a = apply_new(&fake_ops, &fake);
	struct wr_policy_key keys[3][8];
	struct wr_policy_entry entries[3][8];
	const struct policy_class classes[] = { class_of(100, 2, keys[0], entries[0]),
						class_of(200, 7, keys[1], entries[1]),
						class_of(300, 6, keys[2], entries[2]) };
	const struct policy_class gone = { .key = 200, .gone = true };
	const struct policy_endpoint endpoints[] = { { 1, 0, 100 }, { 2, 0, 200 }, { 3, 0, 300 } };
	const struct policy_endpoint freed = { 2, 0, WR_CLASS_NOT_ISOLATED };
	struct policy_changes changes = {
		.classes = classes, .class_count = 3, .endpoints = endpoints, .endpoint_count = 3
	};
	struct apply_counts counts;
	struct dp_endpoint_policy first;
	struct err err;
	bool denied;

	assert_int_equal(apply_load(a, &err), 0);
	assert_int_equal(apply_run(a, &changes, true, &err), 0);
	first = fake.policies[0];
	apply_count(a, &counts);
	assert_int_equal(counts.state.classes_denied, 1);
	assert_int_equal(fake.state.classes_denied, 1);
	assert_false(apply_again(a)); /* nothing has come free: it would fail again */
	assert_true(apply_class(a, 300, &denied) && denied);
	assert_true(apply_endpoint(a, 3)->denied && !apply_endpoint(a, 2)->denied);
	assert_int_equal(fake.tables[APPLY_POLICY].count, 9);

	changes =
	    (struct policy_changes){ .classes = &gone, .class_count = 1, .endpoints = &freed, .endpoint_count = 1 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_true(apply_again(a));
	changes = (struct policy_changes){ 0 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_true(apply_class(a, 300, &denied) && !denied);
	assert_false(apply_endpoint(a, 3)->denied || apply_again(a));
	assert_int_equal(fake.state.classes_denied, 0);
	assert_int_equal(fake.tables[APPLY_POLICY].count, 8);
	assert_memory_equal(&first, &fake.policies[0], sizeof(first));
	apply_free(a);
	fake_free(&fake);
}

/* A node of which endpoint 1 is in a class of two ports, and endpoint 2 in one that fills the table of ten. */
struct full_node {
	struct fake fake;
	struct apply *a;
	struct wr_policy_key keys[3][16];
	struct wr_policy_entry entries[3][16];
};

static void fill(struct full_node *n)
{
	struct policy_class classes[2];
	const struct policy_endpoint endpoints[] = { { 1, 0, 100 }, { 2, 0, 200 } };
	struct policy_changes changes = {
		.classes = classes, .class_count = 2, .endpoints = endpoints, .endpoint_count = 2
	};
	struct err err;

	*n = (struct full_node){ .fake = { .steps_left = -1,
					   .policy_count = 2,
					   .tables[APPLY_POLICY].limit = 10,
					   .policies = { { .ifindex = 1 }, { .ifindex = 2 } } } };
	n->a = apply_new(&fake_ops, &n->fake);
	classes[0] = class_of(100, 2, n->keys[0], n->entries[0]);
	classes[1] = class_of(200, 8, n->keys[1], n->entries[1]);
	assert_int_equal(apply_load(n->a, &err), 0);
	assert_int_equal(apply_run(n->a, &changes, true, &err), 0);
	assert_int_equal(n->fake.state.classes_denied, 0);
}

static void full_node_free(struct full_node *n)
{
	apply_free(n->a);
	fake_free(&n->fake);
}

static bool lets_in(struct full_node *n, uint32_t ifindex, uint16_t port)
{
	const struct lookup_query query = { .direction = WR_INGRESS,
					    .peer_identity = WR_ID_WORLD,
					    .protocol = IPPROTO_TCP,
					    .port = port };

	return fake_allows(&n->fake, fake_policy(&n->fake, ifindex), query);
}

/* Another program has filled the table. An added allow is not enforced; earlier allows stay. */
static void the_old_class_stays(void **state)
{
	const struct policy_class gone[] = { { .key = 100, .gone = true }, { .key = 200, .gone = true } };
	const struct policy_endpoint freed = { 2, 0, WR_CLASS_NOT_ISOLATED };

	/* The class itself has changed; or there is another one in its place: a policy was added. */
	for (uint64_t key = 100; key <= 300; key += 200) {
		const struct policy_endpoint endpoint = { 1, 0, key };
		struct full_node n;
		struct policy_class classes[2];
		struct policy_changes changes = { .classes = classes, .class_count = key == 100 ? 1 : 2 };
		struct dp_endpoint_policy before;
		struct err err;

		fill(&n);
		before = n.fake.policies[0];
		classes[0] = class_of(key, 3, n.keys[2], n.entries[2]);
		classes[1] = gone[0];
		changes.endpoints = &endpoint;
		changes.endpoint_count = key == 300;
		assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
		assert_true(lets_in(&n, 1, 0) && lets_in(&n, 1, 256) && !lets_in(&n, 1, 512));
		assert_memory_equal(&before, &n.fake.policies[0], sizeof(before));
		assert_int_equal(n.fake.state.classes_denied, 1);
		assert_int_equal(n.fake.tables[APPLY_POLICY].count, 10);

		/* A run without changes and without room changes nothing. */
		changes = (struct policy_changes){ 0 };
		assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
		assert_memory_equal(&before, &n.fake.policies[0], sizeof(before));

		/* Once there is room, the change is enforced; nothing of the old class is left. */
		changes = (struct policy_changes){
			.classes = &gone[1], .class_count = 1, .endpoints = &freed, .endpoint_count = 1
		};
		assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
		assert_true(apply_again(n.a));
		changes = (struct policy_changes){ 0 };
		while (apply_again(n.a))
			assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
		assert_true(lets_in(&n, 1, 0) && lets_in(&n, 1, 256) && lets_in(&n, 1, 512));
		assert_int_equal(n.fake.state.classes_denied, 0);
		assert_int_equal(n.fake.tables[APPLY_POLICY].count, 3);
		assert_int_equal(n.fake.tables[APPLY_CLASSES].count, 1);
		full_node_free(&n);
	}
}

/* An old class that isolates fewer directions does not stay: the pod is denied in the new direction. */
static void an_old_class_that_isolates_less_does_not_stay(void **state)
{
	const struct policy_class gone = { .key = 100, .gone = true };
	const struct policy_endpoint endpoint = { 1, 0, 300 };
	struct full_node n;
	struct policy_class classes[2];
	struct policy_changes changes = {
		.classes = classes, .class_count = 2, .endpoints = &endpoint, .endpoint_count = 1
	};
	struct lookup_query query = { .direction = WR_EGRESS, .peer_identity = WR_ID_WORLD, .protocol = IPPROTO_TCP };
	struct err err;

	fill(&n);
	assert_true(fake_allows(&n.fake, fake_policy(&n.fake, 1), query));
	classes[0] = class_of(300, 3, n.keys[2], n.entries[2]);
	classes[0].info.flags[WR_EGRESS] = WR_CLASS_ISOLATED;
	classes[1] = gone;
	assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
	assert_false(fake_allows(&n.fake, fake_policy(&n.fake, 1), query));
	assert_false(lets_in(&n, 1, 0));
	assert_true(apply_endpoint(n.a, 1)->denied);
	full_node_free(&n);
}

/* A class that the compiler marks as over a bound is denied, but for endpoints that had another one; also by the next agent. */
static void a_class_over_a_bound(void **state)
{
	for (int had = 0; had < 2; had++) {
		const struct policy_class refused = { .key = 300,
						      .refused = true,
						      .info.flags[WR_INGRESS] = WR_CLASS_ISOLATED | WR_CLASS_NO_ROOM };
		const struct policy_class classes[] = { refused, { .key = 100, .gone = true } };
		const struct policy_endpoint endpoint = { 1, 0, 300 };
		struct policy_changes changes = {
			.classes = classes, .class_count = 2, .endpoints = &endpoint, .endpoint_count = 1
		};
		struct full_node n;
		struct apply *next;
		struct dp_endpoint_policy before;
		struct err err;

		fill(&n);
		if (!had)
			n.fake.policies[0] = (struct dp_endpoint_policy){ .ifindex = 1 };
		if (!had) {
			assert_int_equal(apply_load(n.a, &err), 0);
			assert_int_equal(apply_run(n.a, &(struct policy_changes){ 0 }, true, &err), 0);
			changes.class_count = 1;
		}
		assert_int_equal(apply_run(n.a, &changes, false, &err), 0);
		assert_int_equal(lets_in(&n, 1, 0), had);
		assert_int_equal(apply_endpoint(n.a, 1)->denied, !had);
		assert_int_equal(n.fake.state.classes_denied, 1);

		before = n.fake.policies[0];
		next = apply_new(&fake_ops, &n.fake);
		assert_int_equal(apply_load(next, &err), 0);
		changes.class_count = 1;
		assert_int_equal(apply_run(next, &changes, true, &err), 0);
		assert_memory_equal(&before, &n.fake.policies[0], sizeof(before));
		assert_int_equal(lets_in(&n, 1, 0), had);
		apply_free(next);
		full_node_free(&n);
	}
}

/* An endpoint that the plugin has not put into the maps yet gets its policy as soon as it is there. */
static void endpoint_that_comes_late(void **state)
{
	struct fake fake = { .steps_left = -1 };
	struct apply *a = apply_new(&fake_ops, &fake);
	const struct policy_endpoint endpoint = { 7, 42, WR_CLASS_NOT_ISOLATED };
	struct policy_changes changes = { .endpoints = &endpoint, .endpoint_count = 1 };
	struct err err;

	assert_int_equal(apply_load(a, &err), 0);
	assert_int_equal(apply_run(a, &changes, true, &err), 0);
	assert_true(apply_endpoint(a, 7)->missing);
	fake.policies[fake.policy_count++] = (struct dp_endpoint_policy){ .ifindex = 7 };
	changes = (struct policy_changes){ 0 };
	assert_int_equal(apply_run(a, &changes, false, &err), 0);
	assert_false(apply_endpoint(a, 7)->missing);
	assert_int_equal(fake.policies[0].policy_class, WR_CLASS_NOT_ISOLATED);
	assert_int_equal(fake.policies[0].identity, 42);
	apply_free(a);
	fake_free(&fake);
}

/* The next agent sees by either direction that a class did not fit, and leaves its endpoints where they are. */
static void the_next_agent_recognizes_a_denied_class(void **state)
{
	for (int d = 0; d < WR_DIRECTIONS; d++) {
		struct fake fake = { .steps_left = -1, .policy_count = 1, .policies = { { .ifindex = 1 } } };
		struct wr_policy_key keys[4];
		struct wr_policy_entry entries[4];
		struct policy_class class = class_of(100, 4, keys, entries);
		const struct policy_endpoint endpoint = { 1, 0, 100 };
		const struct policy_changes changes = {
			.classes = &class, .class_count = 1, .endpoints = &endpoint, .endpoint_count = 1
		};
		struct dp_endpoint_policy first;
		struct err err;
		bool denied;

		fake.tables[APPLY_POLICY].limit = 3;
		class.info = (struct wr_class_info){ 0 };
		class.info.flags[d] = WR_CLASS_ISOLATED | WR_CLASS_ANY_PEER;
		class.info.port_bits[d] = 1 << 16;
		for (int i = 0; i < 4; i++)
			keys[i].shape = wr_policy_shape((uint32_t)d, 16);
		for (int agent = 0; agent < 2; agent++) {
			struct apply *a = apply_new(&fake_ops, &fake);

			assert_int_equal(apply_load(a, &err), 0);
			assert_int_equal(apply_run(a, &changes, true, &err), 0);
			assert_true(apply_class(a, 100, &denied) && denied);
			assert_int_equal(fake.state.classes_denied, 1);
			if (agent)
				assert_memory_equal(&first, &fake.policies[0], sizeof(first));
			first = fake.policies[0];
			apply_free(a);
		}
		fake_free(&fake);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_goes_to_waiting_classes),
		cmocka_unit_test(the_old_class_stays),
		cmocka_unit_test(an_old_class_that_isolates_less_does_not_stay),
		cmocka_unit_test(a_class_over_a_bound),
		cmocka_unit_test(endpoint_that_comes_late),
		cmocka_unit_test(the_next_agent_recognizes_a_denied_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
