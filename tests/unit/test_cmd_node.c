/* SPDX-License-Identifier: BSD-2-Clause */
/* node list, get and ping, ipcache: other nodes and their addresses, with and without an agent. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "three_nodes_rig.h"

/* --- nodes --- */

static void nodes_by_the_maps(void **state)
{
	json_auto_t *list = NULL;
	const json_t *b, *c;
	char line[64];

	needs_root();
	list = run_both("node list", 0, "no agent runs on this node: the maps hold no names");
	assert_int_equal(json_array_size(list), 3);
	assert_true(json_is_true(json_object_get(json_array_get(list, 0), "own")));
	b = json_array_get(list, 1);
	c = json_array_get(list, 2);
	assert_true(json_is_null(json_object_get(b, "name")));
	assert_int_equal(json_integer_value(json_object_get(b, "slot")), slot_b);
	assert_string_equal(json_text(b, "remote"), "192.0.2.2");
	assert_string_equal(json_text(b, "local"), "192.0.2.1");
	assert_string_equal(json_text(b, "uplink"), "up0");
	assert_string_equal(json_text(b, "mode"), "tunnel");
	assert_string_equal(json_text(b, "dmac"), "02:00:00:00:00:0b");
	assert_int_equal(json_integer_value(json_object_get(b, "mtu")), 1438);
	assert_int_equal(json_array_size(json_object_get(b, "cidrs")), 2);
	assert_int_equal(json_array_size(json_object_get(b, "addresses")), 2);
	assert_string_equal(json_text(c, "mode"), "direct");
	assert_true(json_is_false(json_object_get(c, "resolved")));
	assert_true(json_is_null(json_object_get(c, "dmac")));
	assert_string_equal(json_text(c, "state"), "unresolved");
	for (const char *const *by = (const char *[]){ "192.0.2.2", "2001:db8::2", "10.2.0.1", "fd00:2::1", NULL }; *by; by++) {
		snprintf(line, sizeof(line), "node get %s", *by);
		expect(line, 0, "remote:           192.0.2.2");
	}
	snprintf(line, sizeof(line), "node get %u", slot_c);
	expect(line, 0, "10.3.0.0/24");
	expect_failure("node get b", 1, "there is no node 'b' in the maps: no agent runs");
	expect_failure("node get 10.2.0.7", 1, "there is no node '10.2.0.7'");
	expect_failure("node get 0", 1, "there is no node '0'");
}

static void nodes_by_the_agent(void **state)
{
	pid_t agent;

	needs_root();
	agent = start_agent();
	expect("node list", 0, "\na        -  10.1.0.0/24 fd00:1::/64");
	expect("node list", 0, "this node");
	expect("node list", 0, "not programmed\n");
	expect("node list", 0, "node d: its pod CIDR 10.2.0.0/25 overlaps that of b");
	expect("node get b", 0, "slot:             1");
	expect("node get a", 0, "state:            this node");
	expect("node get d", 0, "problem:          its pod CIDR");
	expect_failure("node get e", 1, "there is no node 'e'");
	expect("status", 1, "Node d: its pod CIDR 10.2.0.0/25 overlaps that of b");
	expect("status", 1, "1 problem");
	expect("status", 1, "tunnels end at 192.0.2.1, 2001:db8::1 UDP port 6081, VNI 1; 2 other nodes: 1 by tunnel, 1 direct, 1 unresolved");
	agent_end(agent);
	expect("status", 0, "2 other nodes");
}

static void counters(void **state)
{
	const int cpus = libbpf_num_possible_cpus();
	struct wr_metric *metric = calloc((size_t)cpus, sizeof(*metric));
	const uint32_t key = wr_metric_key(slot_b, WR_INGRESS);
	_cleanup_fd_ int fd = -1;
	json_auto_t *json = NULL;

	needs_root();
	fd = dp_map_open("node_metrics", NULL);
	metric[0] = (struct wr_metric){ 3, 300 };
	metric[cpus - 1].packets += 4;
	assert_int_equal(bpf_map_update_elem(fd, &key, metric, BPF_ANY), 0);
	json = run_both("node get 192.0.2.2", 0, "packets received: 7");
	assert_int_equal(json_integer_value(json_object_get(json, "bytes_received")), 300);
	assert_int_equal(json_integer_value(json_object_get(json, "packets_sent")), 0);
	free(metric);
}

/* --- addresses --- */

static void addresses(void **state)
{
	static const struct {
		const char *ip, *what, *identity;
	} known[] = {
		{ "10.2.0.7", "a pod of another node", "0x02000000000000db" },
		{ "fd00:2::7", "a pod of another node", "0x02000000000000db" },
		{ "10.2.0.99", "a pod of another node", "some-pod" },
		{ "192.0.2.2", "another node", "remote-node" },
		{ "10.2.0.1", "another node", "remote-node" },
		{ "10.1.0.7", "a pod of this node", "0x02000000000000eb" },
		{ "fd00:1::7", "a pod of this node", "0x02000000000000eb" },
		{ "10.1.0.1", "this node", "host" },
		{ "192.0.2.1", "this node", "host" },
		{ "10.1.0.99", "no pod: a free address", "unknown" },
		{ "198.51.100.1", "outside the cluster", "world" },
	};
	json_auto_t *list = NULL;
	pid_t agent;

	needs_root();
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		json_auto_t *json = NULL;
		char line[64];

		snprintf(line, sizeof(line), "ipcache get %s", known[i].ip);
		json = run_both(line, 0, known[i].what);
		assert_string_equal(json_text(json, "identity"), known[i].identity);
	}
	list = run_both("ipcache list", 0, "no agent runs on this node: the maps hold no labels");
	assert_int_equal(json_array_size(list), 3);
	agent = start_agent();
	expect("ipcache list", 0, "10.2.0.7   0x02000000000000db  b     shop/db  app=db");
	expect("ipcache get 10.2.0.7", 0, "pod:      shop/db");
	expect("ipcache get 10.2.0.8", 0, "pod:      -"); /* two claim it */
	expect("ipcache get 10.1.0.7", 0, "pod:      default/web");
	expect("identity get some-pod", 1, "");
	agent_end(agent);
}

/* --- ping --- */

/* The other end of this uplink has no node. */
static void nodes_that_do_not_answer(void **state)
{
	json_auto_t *json = NULL;

	needs_root();
	json = run_both("node ping --count 2 --interval 1 --timeout 50", 1, "refused: Network is unreachable");
	assert_int_equal(json_array_size(json), 3);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json, 0), "sent")), 2);
	assert_true(json_is_false(json_object_get(json_array_get(json, 0), "answers")));
	expect("node ping 192.0.2.3 --count 1 --timeout 50", 1, "slot 2");
	expect_failure("node ping absent", 1, "there is no node 'absent'");
	expect_failure("node ping 10.1.0.1", 2, "10.1.0.1 is this node");
}

static void cluster_that_does_not_answer(void **state)
{
	json_auto_t *alone = NULL, *named = NULL;
	pid_t agent;

	needs_root();
	alone = run_both("status --cluster", 1, "2 other nodes: 0 ok, 0 faulty, 2 unreachable");
	assert_true(json_is_false(json_object_get(alone, "healthy")));
	assert_int_equal(json_array_size(json_object_get(alone, "nodes")), 3);
	expect("status --cluster", 1, "the maps hold no names");
	agent = start_agent();
	named = run_both("status --cluster", 1, "its pod CIDR 10.2.0.0/25 overlaps that of b");
	assert_string_equal(json_text(json_array_get(json_object_get(named, "nodes"), 0), "state"), "this node");
	assert_string_equal(json_text(json_array_get(json_object_get(named, "nodes"), 1), "node"), "b");
	agent_end(agent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_by_the_maps),
		cmocka_unit_test(nodes_by_the_agent),
		cmocka_unit_test(counters),
		cmocka_unit_test(addresses),
		cmocka_unit_test(nodes_that_do_not_answer),
		cmocka_unit_test(cluster_that_does_not_answer),
	};

	return cmocka_run_group_tests_name("cmd_node", tests, node_of_three, NULL);
}
