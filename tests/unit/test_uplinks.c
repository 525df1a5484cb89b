/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole node of the real kernel: programs on uplinks and on warren0, and the settings of a cluster's member. */
#include "dp_rig.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>

#include "cleanup.h"
#include "config.h"
#include "file.h"
#include "gateway.h"
#include "node.h"
#include "node_check.h"
#include "nodes.h"
#include "progs.h"
#include "sysctl.h"
#include "trace.h"
#include "uplink.h"

__attribute__((format(printf, 1, 2))) static void sh(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (system(line) != 0)
		fail_msg("%s", line);
}

/* As another build does: all programs are replaced. */
static void init(unsigned replaced)
{
	const struct node_options options = { .mark_shift = -1, .reload = true };
	struct node_report report;
	struct err err = { 0 };

	assert_ok(node_init(&options, &report, &err));
	assert_int_equal(report.replaced, replaced);
}

static int make(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	sh("ip link add up0 type veth peer name far0 && ip link add up1 type veth peer name far1");
	init(0);
	return 0;
}

static int end(void **state)
{
	struct err err = { 0 };

	assert_ok(node_down(true, &err));
	return private_run_again(NULL);
}

static uint32_t filter(const char *device, enum tc_hook hook)
{
	_cleanup_nl_ struct nl nl = { 0 };
	struct err err = { 0 };
	uint32_t id;

	assert_ok(nl_open(&nl, NETLINK_ROUTE, &err));
	assert_ok(tc_filter_get(&nl, if_nametoindex(device), hook, &id, &err));
	return id;
}

static uint32_t pinned(const char *program)
{
	struct err err = { 0 };
	_cleanup_fd_ int fd = prog_open(program, &err);

	assert_true(fd >= 0);
	return prog_id(fd);
}

static int sum(uint32_t ifindex, void *arg)
{
	*(uint32_t *)arg += ifindex;
	return 0;
}

/* Sum of the ifindexes of all devices with from_uplink. */
static uint32_t uplinks(void)
{
	struct err err = { 0 };
	uint32_t all = 0;

	assert_ok(dp_uplink_each(sum, &all, &err));
	return all;
}

static struct node_check check(void)
{
	struct node_check c;
	struct err err = { 0 };

	assert_ok(node_check(&c, &err));
	return c;
}

static bool has_clsact(const char *device)
{
	char line[128];

	snprintf(line, sizeof(line), "tc qdisc show dev %s | grep -q clsact", device);
	return system(line) == 0;
}

static void attached_replaced_detached(void **state)
{
	const uint32_t up0 = if_nametoindex("up0"), up1 = if_nametoindex("up1");
	struct err err = { 0 };
	uint32_t before;

	assert_int_equal(filter(WARREN_GATEWAY_LINK, TC_EGRESS), pinned("from_host"));
	assert_int_equal(uplinks(), 0);
	for (int again = 0; again < 2; again++) {
		assert_ok(dp_uplink_attach(up0, &err));
		assert_ok(dp_uplink_attach(up1, &err));
		assert_int_equal(filter("up0", TC_INGRESS), pinned("from_uplink"));
		assert_int_equal(filter("up0", TC_EGRESS), pinned("to_uplink"));
		assert_int_equal(uplinks(), up0 + up1);
	}
	/* An upgrade replaces them all. */
	before = pinned("from_uplink");
	init(2);
	assert_int_not_equal(pinned("from_uplink"), before);
	assert_int_equal(filter("up0", TC_INGRESS), pinned("from_uplink"));
	assert_int_equal(filter("up1", TC_INGRESS), pinned("from_uplink"));
	assert_int_equal(filter("up1", TC_EGRESS), pinned("to_uplink"));
	assert_int_equal(filter(WARREN_GATEWAY_LINK, TC_EGRESS), pinned("from_host"));
	assert_int_equal(filter(WARREN_GATEWAY_PEER, TC_INGRESS), pinned("from_host"));

	for (int again = 0; again < 2; again++) {
		assert_ok(dp_uplink_detach(up0, &err));
		assert_int_equal(uplinks(), up1);
		assert_false(has_clsact("up0"));
	}
	assert_int_equal(dp_uplink_attach(4711, &err), -ENODEV);
	assert_int_equal(dp_uplink_detach(4711, &err), -ENODEV);
	/* `node down` removes them. */
	assert_ok(node_down(false, &err));
	assert_int_equal(uplinks(), 0);
	assert_false(has_clsact("up1"));
}

static void filters_of_other_programs_stay(void **state)
{
	const uint32_t up0 = if_nametoindex("up0");
	struct err err = { 0 };
	uint32_t other_filter;

	/* At another priority both stay; only ours is removed. */
	sh("tc qdisc add dev up0 clsact && tc filter add dev up0 ingress prio 7 handle 1 protocol all bpf da pinned "
	   PIN_PROG_DIR "/to_pod");
	assert_ok(dp_uplink_attach(up0, &err));
	assert_ok(dp_uplink_detach(up0, &err));
	sh("tc filter show dev up0 ingress | grep -q 'pref 7 bpf'");
	/* At our priority and handle: attaching fails, and the filter is neither replaced nor removed. */
	sh("tc filter del dev up0 ingress && tc filter add dev up0 ingress prio 1 handle 1 protocol all bpf da pinned "
	   PIN_PROG_DIR "/to_pod");
	other_filter = filter("up0", TC_INGRESS);
	assert_int_equal(other_filter, pinned("to_pod"));
	assert_int_equal(dp_uplink_attach(up0, &err), -EBUSY);
	assert_int_equal(uplinks(), 0);
	assert_ok(dp_uplink_detach(up0, &err));
	assert_ok(node_down(false, &err));
	assert_int_equal(filter("up0", TC_INGRESS), other_filter);
}

static void checked(void **state)
{
	struct dp_node node = { .address_count = 1, .mtu = 1438, .uplink = if_nametoindex("up0") };
	struct dp_nodes *nodes = NULL;
	struct err err = { 0 };
	uint32_t other;
	int slot;

	assert_true(check().from_host);
	assert_int_equal(check().uplinks, 0);
	assert_int_equal(ip_parse("192.0.2.2", &node.remote), 0);
	assert_int_equal(ip_parse("192.0.2.1", &node.local), 0);
	node.addresses[0] = node.remote;
	assert_ok(dp_nodes_open(&nodes, &err));
	slot = dp_node_put(nodes, 0, &node, &other, &err);
	assert_true(slot > 0);
	assert_int_equal(check().uplinks, 1);
	assert_int_equal(check().uplinks_faulty, 1); /* not attached yet */
	assert_ok(dp_uplink_attach(node.uplink, &err));
	assert_int_equal(check().uplinks_faulty, 0);
	sh("tc filter del dev up0 egress");
	assert_int_equal(check().uplinks_faulty, 1);
	assert_ok(dp_uplink_attach(node.uplink, &err));
	assert_int_equal(check().uplinks_faulty, 0);
	sh("tc qdisc del dev up0 clsact");
	assert_int_equal(check().uplinks_faulty, 1);
	assert_ok(dp_uplink_attach(node.uplink, &err));
	sh("ip link del up0");
	assert_int_equal(check().uplinks_faulty, 1);

	sh("tc filter del dev warren0 egress");
	assert_false(check().from_host);
	init(0);
	assert_true(check().from_host);
	sh("tc filter del dev warren1 ingress");
	assert_false(check().from_host);
	init(0);
	assert_true(check().from_host);
	sh("ethtool -k warren0 | grep -q 'tx-udp-segmentation: off'");
	/* Without warren0, `node init` sets up the whole node again. */
	sh("ip link del warren0");
	assert_false(check().from_host);
	init(0);
	assert_true(check().from_host);
	dp_nodes_close(nodes);
}

/* Another version's pods, or those whose pins were lost, are in no map of this version. */
static void down_refuses_pods_that_no_map_names(void **state)
{
	struct err err = { 0 };

	sh("ip link add wrpod group 0x5752 type veth peer name eth9");
	assert_ok(dir_remove(PIN_VERSION_DIR, &err));
	assert_int_equal(node_down(false, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "--force"));
	assert_int_not_equal(if_nametoindex("wrpod"), 0);
	assert_ok(node_down(true, &err));
	assert_int_equal(if_nametoindex("wrpod"), 0);
}

static void tunnel_port(void **state)
{
	struct err err = { 0 };
	struct wr_config config;

	for (int again = 0; again < 2; again++) {
		assert_ok(dp_tunnel_port_set(6081, &err));
		sh("nft list chain inet warren output | grep -q 'udp dport 6081 .* drop'");
		assert_true(check().nft_whole);
		init(0); /* an upgrade keeps it */
		assert_true(check().nft_whole);
		sh("nft list chain inet warren output > /dev/null");
	}
	/* Also if an administrator deletes it. */
	sh("nft delete table inet warren");
	init(0);
	sh("nft list chain inet warren output > /dev/null");
	assert_ok(dp_tunnel_port_set(0, &err));
	sh("! nft list chain inet warren output 2> /dev/null");
	assert_true(check().nft_whole);
	assert_ok(dp_tunnel_port_set(7000, &err));
	assert_ok(dp_pod_mtu_set(1400, &err));
	assert_ok(dp_value_get("config", &config, &err));
	assert_int_equal(config.tunnel_port, htobe16(7000));
	assert_int_equal(config.pod_mtu, 1400);
	assert_true(config.mark_pod != 0);
	/* After `node down` they are not set. */
	assert_ok(node_down(false, &err));
	assert_int_equal(dp_tunnel_port_set(6081, &err), -ENOENT);
	assert_int_equal(dp_pod_mtu_set(1400, &err), -ENOENT);
	init(0);
	assert_ok(dp_value_get("config", &config, &err));
	assert_int_equal(config.tunnel_port, 0);
	assert_int_equal(config.pod_mtu, 0);
}

static void every_program_has_a_dry_run_program(void **state)
{
	static const char *const programs[] = { "from_pod", "to_pod", "from_uplink", "from_host", "to_uplink" };

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		const uint8_t frame[64] = { 0 };
		struct wr_trace trace;
		struct err err = { 0 };
		int tc_verdict;

		assert_ok(dp_trace(programs[i], 1, 0, frame, sizeof(frame), &trace, &tc_verdict, &err));
	}
}

/* Reverse path filtering at warren0 is loose, wherever else it is strict, also after warren0 was recreated. */
static void loose_at_warren0(void **state)
{
	sh("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done");
	sh("ip link del warren0");
	init(0);
	assert_int_equal(sysctl_get("net/ipv4/conf/warren0/rp_filter"), 2);
	assert_int_equal(sysctl_get("net/ipv4/conf/up0/rp_filter"), 1);
	assert_int_equal(sysctl_get("net/ipv4/conf/all/rp_filter"), 1);
}

#define NODE(f) cmocka_unit_test_setup_teardown(f, make, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODE(attached_replaced_detached),
		NODE(filters_of_other_programs_stay),
		NODE(checked),
		NODE(down_refuses_pods_that_no_map_names),
		NODE(tunnel_port),
		NODE(every_program_has_a_dry_run_program),
		NODE(loose_at_warren0),
	};

	return cmocka_run_group_tests_name("uplinks", tests, dp_rig_make, NULL);
}
