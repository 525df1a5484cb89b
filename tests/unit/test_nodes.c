/* SPDX-License-Identifier: BSD-2-Clause */
/* Other nodes in the maps of the real kernel: order of writes, conflicts, counters, this node's own part. */
#include "nodes_rig.h"

#include "cleanup.h"
#include "clock.h"

static void put_list_delete(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct err err = { 0 };
	struct listing l;
	uint32_t slot[3];

	assert_int_equal(list().count, 0);
	for (unsigned n = 0; n < 3; n++) {
		struct dp_node node = nth(n);

		node.direct = n == 2;
		slot[n] = put(nodes, 0, &node);
		l = list();
		assert_int_equal(l.count, n + 1);
		assert_int_equal(l.slot[n], slot[n]);
		assert_true(same(&l.node[n], &node));
		look(true);
	}
	/* One family only, and a CIDR that is given with host bits. */
	struct dp_node single = nth(9);
	single.cidrs[0] = prefix("10.77.5.9/16");
	single.cidrs[1] = (struct prefix){ 0 };
	put(nodes, 0, &single);
	single.cidrs[0] = prefix("10.77.0.0/16");
	assert_true(same(&list().node[3], &single));

	for (unsigned n = 0; n < 3; n++) {
		assert_ok(dp_node_delete(nodes, slot[n], &err));
		assert_ok(dp_node_delete(nodes, slot[n], &err)); /* empty already */
		look(false);
	}
	assert_int_equal(list().count, 1);
	dp_nodes_close(nodes);
}

/* Freed slots are reused last, and ids are new, also after the agent has restarted. */
static void slots_in_turn(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	uint32_t last = 0, id = 0;
	struct err err = { 0 };

	for (unsigned i = 0; i < WR_NODE_SLOTS + 10; i++) {
		uint32_t slot = put(nodes, 0, &node);

		assert_int_equal(slot, last == WR_NODE_SLOTS - 1 ? 1 : last + 1);
		assert_true(nodes->slots[slot]->raw.id > id);
		id = nodes->slots[slot]->raw.id;
		last = slot;
		assert_ok(dp_node_delete(nodes, slot, &err));
		if (i % 1000 == 999 || i == WR_NODE_SLOTS) {
			dp_nodes_close(nodes);
			nodes = open_nodes();
		}
	}
	dp_nodes_close(nodes);
}

static void conflicts(void **state)
{
	static const char *const overlapping[] = { "10.0.1.0/24", "10.0.0.0/16", "10.0.1.128/25", "fd00:0:0:1::/64",
						   "fd00::/48",	  "fd00:0:0:1:8000::/65", "0.0.0.0/0", "::/0" };
	struct dp_nodes *nodes = open_nodes();
	struct dp_node first = nth(1), second = nth(2);
	uint32_t one = put(nodes, 0, &first), two = put(nodes, 0, &second), other;
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(overlapping); i++) {
		const struct prefix cidr = prefix(overlapping[i]);
		struct dp_node node = nth(5);

		node.cidrs[cidr.ip.family == AF_INET6] = cidr;
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_true(other == one || (cidr.len <= 48 && other == two));
		assert_non_null(strstr(err.msg, "pod CIDR"));
	}
	for (size_t i = 0; i < first.address_count; i++) {
		struct dp_node node = nth(5);

		node.addresses[node.address_count++] = first.addresses[i];
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_int_equal(other, one);
		/* Nor may another node take it over. */
		node = second;
		node.addresses[node.address_count++] = first.addresses[i];
		assert_int_equal(dp_node_put(nodes, two, &node, &other, &err), -EEXIST);
	}
	assert_int_equal(list().count, 2);
	/* A node may change its own: a larger CIDR that contains the old one, an address less. */
	first.cidrs[0] = prefix("10.0.0.0/23");
	first.address_count = 3;
	one = put_for_good(nodes, one, &first);
	look(true);
	/* Freed CIDRs and addresses can be used again. */
	assert_ok(dp_node_delete(nodes, one, &err));
	second.cidrs[0] = prefix("10.0.0.0/22");
	put_for_good(nodes, two, &second);
	look(true);

	struct dp_node wrong = nth(8);
	wrong.remote = ip("192.0.2.1"); /* not one of its addresses */
	assert_int_equal(dp_node_put(nodes, 0, &wrong, &other, &err), -EINVAL);
	wrong = nth(8);
	wrong.local = ip("fc01::1");
	assert_int_equal(dp_node_put(nodes, 0, &wrong, &other, &err), -EINVAL);
	assert_int_equal(dp_node_put(nodes, 99, &second, &other, &err), -ENOENT);
	dp_nodes_close(nodes);
}

static void uplink_in_place(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	uint32_t slot = put(nodes, 0, &node), id = nodes->slots[slot]->raw.id;

	for (int i = 0; i < 4; i++) {
		node.uplink++;
		assert_int_equal(put(nodes, slot, &node), slot);
		assert_int_equal(nodes->slots[slot]->raw.id, id);
		assert_true(same(&list().node[0], &node));
	}
	node.mtu--;
	assert_int_not_equal(put_for_good(nodes, slot, &node), slot);
	look(true);
	dp_nodes_close(nodes);
}

/* Of each slot, as the map has it. */
static struct wr_node raw_at(uint32_t slot)
{
	struct wr_node raw = { 0 };
	struct err err = { 0 };

	assert_ok(dp_map_lookup("nodes", &slot, &raw, &err));
	return raw;
}

/* Flows of the current generation still refer to the old slot: it stays complete until the next generation. */
static void replaced_slot_lasts_until_the_revision(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct wr_cluster before = { 0 }, after = { 0 };
	struct dp_node node = nth(1);
	const uint32_t first = put_for_good(nodes, 0, &node);
	struct err err = { 0 };
	uint32_t second;

	assert_ok(dp_cluster_get(&before, &err));
	node.mtu--;
	second = put(nodes, first, &node);
	assert_int_not_equal(second, first);
	assert_true(raw_at(first).id && raw_at(first).mtu == node.mtu + 1 && raw_at(second).mtu == node.mtu);
	node.mtu--;
	second = put(nodes, second, &node);
	assert_ok(dp_cluster_get(&after, &err));
	assert_int_equal(before.revision, after.revision);
	assert_ok(dp_nodes_commit(nodes, &err));
	assert_ok(dp_cluster_get(&after, &err));
	assert_int_not_equal(before.revision, after.revision);
	assert_int_equal(raw_at(first).id, 0);
	look(true);
	assert_int_equal(list().count, 1);
	/* A change that was not committed is found by the next process that opens the nodes. */
	node.mtu--;
	put(nodes, second, &node);
	dp_nodes_close(nodes);
	nodes = open_nodes();
	look(true);
	assert_int_equal(list().count, 1);
	assert_int_equal(list().node[0].mtu, node.mtu);
	dp_nodes_close(nodes);
}

/*
 * Changed tags are written in place, without another generation; whether packets need room for one belongs to the slot, as
 * the MTU does.
 */
static void keyed_tags(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct wr_cluster before = { 0 }, after = { 0 };
	struct dp_node node = nth(1);
	struct err err = { 0 };
	uint32_t slot, next;

	node.keyed = true;
	node.tx_tag[0] = 0x1111111111111111;
	node.rx_tag[0] = 0x2222222222222222;
	slot = put_for_good(nodes, 0, &node);
	assert_int_equal(raw_at(slot).flags & WR_NODE_KEYED, WR_NODE_KEYED);
	assert_true(raw_at(slot).tx_tag[0] == node.tx_tag[0] && raw_at(slot).rx_tag[0] == node.rx_tag[0]);
	assert_ok(dp_cluster_get(&before, &err));
	node.tx_tag[1] = 0x3333333333333333;
	node.rx_tag[1] = 0x4444444444444444;
	assert_int_equal(put_for_good(nodes, slot, &node), slot);
	assert_true(raw_at(slot).tx_tag[1] == node.tx_tag[1] && raw_at(slot).rx_tag[1] == node.rx_tag[1]);
	assert_true(raw_at(slot).tx_tag[0] == node.tx_tag[0]);
	assert_ok(dp_cluster_get(&after, &err));
	assert_int_equal(before.revision, after.revision);
	assert_true(same(&list().node[0], &node) && list().node[0].rx_tag[1] == node.rx_tag[1] && list().node[0].keyed);
	/* With the uplink, too. */
	node.uplink++;
	node.tx_tag[0] = node.rx_tag[0] = 0;
	assert_int_equal(put_for_good(nodes, slot, &node), slot);
	assert_true(!raw_at(slot).tx_tag[0] && raw_at(slot).uplink == node.uplink && raw_at(slot).tx_tag[1] == node.tx_tag[1]);
	node.keyed = false;
	next = put_for_good(nodes, slot, &node);
	assert_int_not_equal(next, slot);
	assert_int_equal(raw_at(next).flags & WR_NODE_KEYED, 0);
	dp_nodes_close(nodes);
}

/* --- many ----------------------------------------------------------------------------------------------------------- */

static double seconds(void)
{
	return (double)clock_ns(CLOCK_MONOTONIC) / NS_PER_S;
}

static int count_nodes(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

static void five_thousand(void **state)
{
	enum { MANY = 5000 };
	struct dp_nodes *nodes = open_nodes();
	uint32_t other;
	double begin = seconds(), written, opened, walked;
	unsigned count = 0;
	struct err err = { 0 };

	for (unsigned n = 0; n < MANY; n++) {
		struct dp_node node = nth(n);

		put(nodes, 0, &node);
	}
	written = seconds();
	dp_nodes_close(nodes);
	nodes = open_nodes();
	opened = seconds();
	assert_ok(dp_node_each(count_nodes, &count, &err));
	walked = seconds();
	assert_int_equal(count, MANY);
	look(false);
	print_message("%d nodes: written in %.0f ms, opened in %.0f ms, walked in %.0f ms\n", MANY, 1e3 * (written - begin),
		      1e3 * (opened - written), 1e3 * (walked - opened));
	/* Each still has its own slot. */
	for (unsigned n = 0; n < MANY; n += 499) {
		struct dp_node node = nth(n);

		node.addresses[0] = ip("192.0.2.1");
		node.address_count = 1;
		node.remote = node.addresses[0];
		node.local = ip("172.31.0.1");
		assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -EEXIST);
		assert_int_equal(other, n + 1);
	}
	/* As many as there is room for, and one more: it is refused, and leaves no entries. */
	for (unsigned n = MANY; n < WR_MAX_NODES; n++) {
		struct dp_node node = nth(n);

		put(nodes, 0, &node);
	}
	struct dp_node more = nth(WR_MAX_NODES);
	assert_int_equal(dp_node_put(nodes, 0, &more, &other, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "is full"));
	count = 0;
	assert_ok(dp_node_each(count_nodes, &count, &err));
	assert_int_equal(count, WR_MAX_NODES);
	look(false);
	dp_nodes_close(nodes);
}

/* --- counters, addresses, this node's own part ---------------------------------------------------------------------- */

static void counters(void **state)
{
	_cleanup_fd_ int map = map_fd("node_metrics");
	struct dp_nodes *nodes = open_nodes();
	const int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct wr_metric *values = calloc((size_t)cpus, sizeof(*values));
	struct dp_node node = nth(1);
	uint32_t slot = put(nodes, 0, &node);
	struct err err = { 0 };
	struct listing l;

	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		const __u32 key = wr_metric_key(slot, direction);

		for (int cpu = 0; cpu < cpus; cpu++)
			values[cpu] = (struct wr_metric){ direction + 1, 100 };
		assert_int_equal(bpf_map_update_elem(map, &key, values, BPF_EXIST), 0); /* the node's counters exist */
	}
	l = list();
	for (uint32_t direction = 0; direction < WR_DIRECTIONS; direction++) {
		assert_int_equal(l.totals[0][direction].packets, (direction + 1) * (unsigned)cpus);
		assert_int_equal(l.totals[0][direction].bytes, 100 * cpus);
	}
	assert_ok(dp_node_delete(nodes, slot, &err));
	look(true); /* the counters were removed with the node */
	put(nodes, 0, &node);
	assert_int_equal(list().totals[0][WR_EGRESS].packets, 0);
	dp_nodes_close(nodes);
}

static uint32_t revision(void)
{
	struct wr_cluster cluster;
	struct err err = { 0 };

	assert_ok(dp_cluster_get(&cluster, &err));
	return cluster.revision;
}

/* Whether commit sets a new generation: it must if a node has changed. */
static bool commit_draws(struct dp_nodes *nodes)
{
	uint32_t before = revision();
	struct err err = { 0 };

	assert_ok(dp_nodes_commit(nodes, &err));
	assert_true(revision() == before || revision() == before + 1);
	return revision() != before;
}

static void a_new_revision_after_changes(void **state)
{
	const struct wr_cluster cluster = { .revision = 4711, .flags = WR_CLUSTER_V4, .vni = 1, .port = 0xc117 };
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	const struct ip pod = ip("10.9.9.9");
	struct wr_cluster got;
	struct err err = { 0 };
	uint32_t slot;

	assert_true(commit_draws(nodes)); /* after an opening */
	assert_false(commit_draws(nodes));
	slot = put(nodes, 0, &node);
	assert_true(commit_draws(nodes));
	put(nodes, slot, &node);
	assert_false(commit_draws(nodes));
	node.uplink++;
	put(nodes, slot, &node);
	assert_true(commit_draws(nodes));
	assert_ok(dp_node_delete(nodes, slot, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_SOME_POD, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_UNKNOWN, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_ipcache_put(nodes, &pod, WR_ID_UNKNOWN, &err)); /* it is not there */
	assert_true(commit_draws(nodes));
	assert_ok(dp_cluster_set(nodes, &cluster, &err));
	assert_true(commit_draws(nodes));
	assert_ok(dp_cluster_set(nodes, &cluster, &err));
	assert_false(commit_draws(nodes));
	assert_ok(dp_cluster_get(&got, &err));
	assert_true(got.revision < 100); /* the writer's own counter, not the caller's value */
	got.revision = 4711;
	assert_memory_equal(&got, &cluster, sizeof(got));
	dp_nodes_close(nodes);
}

static int see_ipcache(const struct ip *address, uint64_t identity, void *arg)
{
	*(uint64_t *)arg += identity * (address->family == AF_INET6 ? 1000 : 1);
	return 0;
}

static void addresses_of_nodes(void **state)
{
	const struct ip v4 = ip("10.1.2.3"), v6 = ip("fd00::9");
	struct dp_nodes *nodes = open_nodes();
	struct err err = { 0 };
	uint64_t sum = 0;

	assert_ok(dp_ipcache_put(nodes, &v4, 5, &err));
	assert_ok(dp_ipcache_put(nodes, &v4, 7, &err));
	assert_ok(dp_ipcache_put(nodes, &v6, 3, &err));
	assert_ok(dp_ipcache_each(see_ipcache, &sum, &err));
	assert_int_equal(sum, 3007);
	assert_ok(dp_ipcache_put(nodes, &v4, WR_ID_UNKNOWN, &err));
	sum = 0;
	assert_ok(dp_ipcache_each(see_ipcache, &sum, &err));
	assert_int_equal(sum, 3000);
	at_the_end = IS_REFUSED;
	writes_left = 0;
	assert_int_equal(dp_ipcache_put(nodes, &v4, 5, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "ipcache4"));
	at_the_end = CONTINUES;
	dp_nodes_close(nodes);
}

/* The counters of a slot are the first writes of a node: the kernel may have no memory for them at once (maps.c). */
static void counters_a_moment_later(void **state)
{
	struct dp_nodes *nodes = open_nodes();
	struct dp_node node = nth(1);
	uint32_t other;
	struct err err = { 0 };

	at_the_end = IS_PUT_OFF;
	writes_left = 1;
	put(nodes, 0, &node);
	assert_int_equal(at_the_end, CONTINUES);
	look(true);
	node = nth(2);
	at_the_end = IS_REFUSED;
	writes_left = 1;
	assert_int_equal(dp_node_put(nodes, 0, &node, &other, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "map node_metrics is full"));
	at_the_end = CONTINUES;
	assert_int_equal(list().count, 1);
	look(true);
	dp_nodes_close(nodes);
}

static void nothing_is_loaded(void **state)
{
	struct dp_nodes *nodes = NULL;
	struct wr_cluster cluster;
	struct listing l = { .count = 0 };
	struct err err = { 0 };

	assert_int_equal(dp_nodes_open(&nodes, &err), -ENOENT);
	assert_int_equal(dp_node_each(list_one, &l, &err), -ENOENT);
	assert_int_equal(dp_cluster_get(&cluster, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOADED(put_list_delete),
		LOADED(slots_in_turn),
		LOADED(conflicts),
		LOADED(uplink_in_place),
		LOADED(replaced_slot_lasts_until_the_revision),
		LOADED(keyed_tags),
		LOADED(five_thousand),
		LOADED(counters_a_moment_later),
		LOADED(counters),
		LOADED(a_new_revision_after_changes),
		LOADED(addresses_of_nodes),
		cmocka_unit_test(nothing_is_loaded),
	};

	return cmocka_run_group_tests_name("nodes", tests, dp_rig_make, NULL);
}
