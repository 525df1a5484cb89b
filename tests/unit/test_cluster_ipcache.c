/* SPDX-License-Identifier: BSD-2-Clause */
/* user/agent/nodes/ipcache.c: identities of other nodes' addresses, from the compiler's changes; the compiler's part of it, too. */
#include <stdio.h>

#include "fake_cluster.h"
#include "rig.h"

static struct fake_kernel k;

static const uint8_t key[POLICY_KEY_SIZE] = { 7 };

static void set_cidrs(struct ipcache *c, const char *node, const char *cidr)
{
	const struct prefix cidrs[2] = { *cidr ? prefix(cidr) : (struct prefix){ .len = 0 } };

	assert_int_equal(ipcache_set_cidrs(c, node, cidrs), 0);
}

static struct ipcache *begin(void)
{
	struct ipcache *c = ipcache_new(&fake_ipcache_ops, &k);

	assert_non_null(c);
	assert_int_equal(ipcache_load(c, NULL), 0);
	assert_int_equal(ipcache_set_own(c, "self"), 0);
	set_cidrs(c, "n2", "10.2.0.0/24");
	set_cidrs(c, "n3", "10.3.0.0/24");
	return c;
}

static int fresh(void **state)
{
	memset(&k, 0, sizeof(k));
	k.writes_left = -1;
	return 0;
}

struct pod {
	const char *name, *node, *ip;
	uint64_t identity;
	bool terminating;
};

static int tell(struct ipcache *c, bool full, const struct pod *pods, size_t count)
{
	struct policy_pod pods_changed[16] = { 0 };
	struct policy_changes changes = { .pods = pods_changed, .pod_count = count };

	for (size_t i = 0; i < count; i++)
		pods_changed[i] = (struct policy_pod){ "default", pods[i].name, pods[i].node,
					       { *pods[i].ip ? ip(pods[i].ip) : (struct ip){ 0 } },
					       pods[i].terminating, pods[i].identity };
	return ipcache_run(c, &changes, full, NULL);
}

#define UPDATE(c, full, ...)                                                                                             \
	do {                                                                                                           \
		const struct pod pods_[] = { __VA_ARGS__ };                                                            \
		assert_int_equal(tell(c, full, pods_, sizeof(pods_) / sizeof(pods_[0])), 0);                           \
	} while (0)

#define RED 0x0200000000000011ull
#define BLUE 0x0200000000000022ull

/* --- entries --- */

static void pods_of_other_nodes(void **state)
{
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "self", "10.9.0.5", BLUE }, { "c", "n2", "", BLUE },
	     { "d", "", "10.2.0.7", BLUE }, { "e", "n3", "10.3.0.7", BLUE }, { "f", "n2", "10.2.0.8", WR_ID_UNKNOWN },
	     { "g", "n2", "10.1.0.9", RED });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	assert_int_equal(fake_identity(&k, "10.9.0.5"), WR_ID_UNKNOWN); /* ours by its node */
	assert_int_equal(fake_identity(&k, "10.2.0.7"), WR_ID_UNKNOWN); /* of no node */
	assert_int_equal(fake_identity(&k, "10.1.0.9"), WR_ID_UNKNOWN); /* not of its node */
	assert_int_equal(fake_identity(&k, "10.3.0.7"), BLUE);
	assert_int_equal(k.address_count, 2);
	assert_int_equal(k.uncommitted, 0);
	assert_int_equal(k.commits, 1);
	/* other labels; another address; gone */
	UPDATE(c, false, { "a", "n2", "10.2.0.5", BLUE });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), BLUE);
	assert_int_equal(k.writes, 3);
	UPDATE(c, false, { "a", "n2", "10.2.0.6", BLUE });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), WR_ID_UNKNOWN);
	assert_int_equal(fake_identity(&k, "10.2.0.6"), BLUE);
	UPDATE(c, false, { "a", "n2", "10.2.0.6", WR_ID_UNKNOWN });
	assert_int_equal(k.address_count, 1);
	/* it moves to this node */
	UPDATE(c, false, { "e", "self", "10.3.0.7", BLUE });
	assert_int_equal(k.address_count, 0);
	ipcache_free(c);
}

static void without_a_cluster_the_ipcache_is_empty(void **state)
{
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED });
	assert_int_equal(ipcache_set_own(c, NULL), 0);
	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED });
	assert_int_equal(k.address_count, 0);
	ipcache_free(c);
}

static void entries_of_an_earlier_agent(void **state)
{
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.6", RED }, { "c", "n2", "10.2.0.7", RED });
	ipcache_free(c);
	c = begin();
	k.writes = 0;
	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.6", BLUE });
	assert_int_equal(k.writes, 2);
	assert_int_equal(k.address_count, 2);
	assert_int_equal(fake_identity(&k, "10.2.0.6"), BLUE);
	/* a full run drops pods that it does not name */
	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED });
	assert_int_equal(k.address_count, 1);
	ipcache_free(c);
}

/* Nodes are listed long before all pods of a large cluster. */
static void entries_of_an_earlier_agent_stay_until_the_pods_are_listed(void **state)
{
	const struct ip node = ip("192.0.2.2"), gone = ip("10.2.0.6");
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.6", RED }, { "c", "n2", "10.2.0.7", RED });
	ipcache_free(c);
	c = begin();
	k.writes = 0;
	assert_int_equal(ipcache_add_node(c, &node), 0);
	assert_int_equal(ipcache_add_node(c, &gone), 0);
	assert_int_equal(ipcache_flush(c, NULL), 0);
	ipcache_remove_node(c, &gone);
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(fake_identity(&k, "192.0.2.2"), WR_ID_REMOTE_NODE);
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	assert_int_equal(fake_identity(&k, "10.2.0.6"), WR_ID_UNKNOWN); /* removed: its last owner is listed */
	assert_int_equal(fake_identity(&k, "10.2.0.7"), RED);
	assert_int_equal(k.writes, 3);
	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	assert_int_equal(k.writes, 4); /* the last one goes */
	assert_int_equal(k.address_count, 2);
	ipcache_free(c);
}

/* --- two pods with one address --- */

static void no_pod_gets_the_labels_of_another_pod(void **state)
{
	struct ipcache_counts counts;
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.5", BLUE });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), WR_ID_SOME_POD);
	ipcache_count(c, &counts);
	assert_int_equal(counts.disputed, 1);
	assert_string_equal(counts.example, "10.2.0.5: default/a, default/b");
	/* one of them is being deleted: the other one has it */
	UPDATE(c, false, { "a", "n2", "10.2.0.5", RED, true });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), BLUE);
	UPDATE(c, false, { "b", "n2", "10.2.0.5", BLUE, true });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), WR_ID_SOME_POD);
	/* the order does not matter */
	UPDATE(c, false, { "b", "n2", "10.2.0.5", BLUE, true }, { "a", "n2", "10.2.0.5", RED, false });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	/* with the same identity there is no dispute */
	UPDATE(c, false, { "b", "n2", "10.2.0.5", RED });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	ipcache_count(c, &counts);
	assert_int_equal(counts.disputed, 0);
	UPDATE(c, false, { "a", "n2", "10.2.0.5", WR_ID_UNKNOWN });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	ipcache_free(c);
}

static void a_nodes_address_is_no_pods(void **state)
{
	const struct ip address = ip("10.2.0.1");
	struct ipcache_counts counts;
	struct ipcache *c = begin();

	assert_int_equal(ipcache_add_node(c, &address), 0);
	assert_int_equal(ipcache_flush(c, NULL), 0);
	UPDATE(c, true, { "a", "n2", "10.2.0.1", RED });
	assert_int_equal(fake_identity(&k, "10.2.0.1"), WR_ID_REMOTE_NODE);
	ipcache_count(c, &counts);
	assert_string_equal(counts.example, "10.2.0.1: a node, default/a");
	ipcache_remove_node(c, &address);
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(fake_identity(&k, "10.2.0.1"), RED);
	ipcache_free(c);
}

/* --- addresses from kubelets --- */

static void a_pods_address_is_one_of_its_node(void **state)
{
	struct ipcache_counts counts;
	struct ipcache *c = begin();

	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n3", "10.2.0.5", BLUE }, { "c", "n3", "10.1.0.5", BLUE },
	     { "d", "n3", "203.0.113.9", BLUE }, { "e", "n4", "10.4.0.5", BLUE }, { "f", "n3", "10.3.0.6", BLUE });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), RED);
	assert_int_equal(fake_identity(&k, "10.1.0.5"), WR_ID_UNKNOWN);
	assert_int_equal(fake_identity(&k, "203.0.113.9"), WR_ID_UNKNOWN);
	assert_int_equal(fake_identity(&k, "10.4.0.5"), WR_ID_UNKNOWN); /* of a node that is not known (yet): no problem */
	assert_int_equal(k.address_count, 2);
	ipcache_count(c, &counts);
	assert_int_equal(counts.refused, 3);
	assert_int_equal(counts.disputed, 0);
	assert_string_equal(counts.refused_example, "10.2.0.5 of Pod default/b, which is on node n3");
	/* its node comes, changes, and goes */
	set_cidrs(c, "n4", "10.4.0.0/24");
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(fake_identity(&k, "10.4.0.5"), BLUE);
	set_cidrs(c, "n4", "10.5.0.0/24");
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(fake_identity(&k, "10.4.0.5"), WR_ID_UNKNOWN);
	ipcache_count(c, &counts);
	assert_int_equal(counts.refused, 4);
	set_cidrs(c, "n4", "10.4.0.0/24");
	set_cidrs(c, "n4", "");
	set_cidrs(c, "n3", "");
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(k.address_count, 1);
	ipcache_count(c, &counts);
	assert_int_equal(counts.refused, 0);
	/* another node has its name now; another object, too */
	set_cidrs(c, "n3", "10.3.0.0/24");
	UPDATE(c, false, { "a", "n3", "10.2.0.5", RED }, { "b", "n3", "", BLUE }, { "c", "n3", "10.3.0.5", BLUE },
	     { "d", "n3", "203.0.113.9", WR_ID_UNKNOWN });
	assert_int_equal(fake_identity(&k, "10.2.0.5"), WR_ID_UNKNOWN);
	assert_int_equal(fake_identity(&k, "10.3.0.5"), BLUE);
	ipcache_count(c, &counts);
	assert_int_equal(counts.refused, 1);
	ipcache_free(c);
}

/* --- failures --- */

static void entries_without_room_wait(void **state)
{
	struct ipcache_counts counts;
	struct ipcache *c = begin();

	k.address_limit = 1;
	UPDATE(c, true, { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.6", BLUE });
	ipcache_count(c, &counts);
	assert_int_equal(counts.not_programmed, 1);
	assert_int_equal(counts.entries, 1);
	UPDATE(c, false, { "a", "n2", "10.2.0.5", WR_ID_UNKNOWN });
	assert_int_equal(fake_identity(&k, "10.2.0.6"), BLUE);
	ipcache_count(c, &counts);
	assert_int_equal(counts.not_programmed, 0);
	/* not programmed, and removed before there was room */
	UPDATE(c, false, { "c", "n2", "10.2.0.7", RED });
	UPDATE(c, false, { "c", "n2", "10.2.0.7", WR_ID_UNKNOWN });
	ipcache_count(c, &counts);
	assert_int_equal(counts.not_programmed, 0);
	ipcache_free(c);
}

static void a_write_that_failed_is_done_by_the_next_flush(void **state)
{
	const struct pod pods[] = { { "a", "n2", "10.2.0.5", RED }, { "b", "n2", "10.2.0.6", BLUE } };
	struct ipcache *c = begin();

	k.writes_left = 1;
	assert_int_equal(tell(c, true, pods, 2), -EIO);
	assert_int_equal(k.address_count, 1);
	k.writes_left = -1;
	assert_int_equal(ipcache_flush(c, NULL), 0);
	assert_int_equal(k.address_count, 2);
	assert_int_equal(k.uncommitted, 0);
	ipcache_free(c);
}

/* --- the compiler --- */

static struct pod_object *pod_object(const char *name, const char *label, const char *address)
{
	struct pod_object *pod = calloc(1, sizeof(*pod));

	pod->namespace = strdup("shop");
	pod->name = strdup(name);
	pod->uid = strdup("");
	pod->node = strdup("n2");
	pod->labels.v = calloc(1, sizeof(*pod->labels.v));
	pod->labels.v[pod->labels.count++] = (struct label){ strdup("app"), strdup(label) };
	pod->ips[0] = ip(address);
	return pod;
}

static struct policy_changes compile(struct policy *p)
{
	struct policy_changes changes;

	assert_int_equal(policy_compile(p, &changes, NULL), 0);
	return changes;
}

static void the_compiler_reports_pod_identities(void **state)
{
	struct namespace_object *ns = calloc(1, sizeof(*ns));
	struct policy *p = policy_new(key);
	struct policy_changes changes;
	struct pod_object *pod;
	uint64_t web;

	policy_put_pod(p, pod_object("a", "web", "10.2.0.5"));
	policy_put_pod(p, pod_object("b", "web", "10.2.0.6"));
	changes = compile(p);
	assert_int_equal(changes.pod_count, 2);
	web = changes.pods[0].identity;
	assert_int_equal(web >> WR_ID_KIND_SHIFT, WR_ID_KIND_POD);
	assert_int_equal(changes.pods[1].identity, web);
	assert_string_equal(changes.pods[0].node, "n2");
	/* the same again; another address; other labels */
	policy_put_pod(p, pod_object("a", "web", "10.2.0.5"));
	assert_int_equal(compile(p).pod_count, 0);
	policy_put_pod(p, pod_object("a", "web", "10.2.0.7"));
	changes = compile(p);
	assert_int_equal(changes.pod_count, 1);
	assert_int_equal(changes.pods[0].identity, web);
	policy_put_pod(p, pod_object("a", "db", "10.2.0.7"));
	changes = compile(p);
	assert_int_equal(changes.pod_count, 1);
	assert_int_not_equal(changes.pods[0].identity, web);
	/* other labels of their namespace change all identities */
	ns->name = strdup("shop");
	policy_put_namespace(p, ns);
	changes = compile(p);
	assert_int_equal(changes.pod_count, 2);
	/* completed; deleted; deleted before it was ever compiled */
	pod = pod_object("a", "db", "10.2.0.7");
	pod->completed = true;
	policy_put_pod(p, pod);
	changes = compile(p);
	assert_int_equal(changes.pod_count, 1);
	assert_int_equal(changes.pods[0].identity, WR_ID_UNKNOWN);
	policy_remove_pod(p, "shop", "a");
	policy_put_pod(p, pod_object("c", "web", "10.2.0.8"));
	policy_remove_pod(p, "shop", "c");
	changes = compile(p);
	assert_int_equal(changes.pod_count, 1);
	assert_string_equal(changes.pods[0].name, "a");
	assert_int_equal(changes.pods[0].identity, WR_ID_UNKNOWN);
	assert_int_equal(compile(p).pod_count, 0);
	/* everything: the pods there are, and no others */
	assert_int_equal(policy_compile_all(p, &changes, NULL), 0);
	assert_int_equal(changes.pod_count, 1);
	assert_string_equal(changes.pods[0].name, "b");
	/* gone and here again in one go */
	policy_remove_pod(p, "shop", "b");
	policy_put_pod(p, pod_object("b", "web", "10.2.0.9"));
	changes = compile(p);
	assert_int_equal(changes.pod_count, 1);
	assert_int_not_equal(changes.pods[0].identity, WR_ID_UNKNOWN);
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pods_of_other_nodes, fresh),
		cmocka_unit_test_setup(without_a_cluster_the_ipcache_is_empty, fresh),
		cmocka_unit_test_setup(entries_of_an_earlier_agent, fresh),
		cmocka_unit_test_setup(entries_of_an_earlier_agent_stay_until_the_pods_are_listed, fresh),
		cmocka_unit_test_setup(no_pod_gets_the_labels_of_another_pod, fresh),
		cmocka_unit_test_setup(a_nodes_address_is_no_pods, fresh),
		cmocka_unit_test_setup(a_pods_address_is_one_of_its_node, fresh),
		cmocka_unit_test_setup(entries_without_room_wait, fresh),
		cmocka_unit_test_setup(a_write_that_failed_is_done_by_the_next_flush, fresh),
		cmocka_unit_test(the_compiler_reports_pod_identities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
