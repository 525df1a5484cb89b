/* SPDX-License-Identifier: BSD-2-Clause */
/* user/agent/nodes/cluster.c: this node's own part of the cluster: its uplinks, MTU, addresses, and stale ones. */
#include "cluster_rig.h"

#include "array.h"
#include "gateway.h"

static void without_our_own_object_there_is_no_cluster(void **state)
{
	static const struct wr_cluster zeros;
	struct rig r;

	rig_begin(&r);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_false(counts(&r).on);
	assert_null(in_maps(&r, "b"));
	assert_int_equal(r.k.writes + r.problem_count, 0);
	assert_memory_equal(&r.k.cluster, &zeros, sizeof(zeros));
	rig_end(&r);
}

static void the_family_underneath(void **state)
{
	static const struct {
		int underlay;
		const char *self, *other, *remote; /* remote NULL: none */
		uint32_t mtu;
	} rows[] = {
		{ 0, "192.0.2.1 2001:db8::1", "2001:db8::2 192.0.2.2", "192.0.2.2", 1438 },
		{ 0, "192.0.2.1 2001:db8::1", "2001:db8::2", "2001:db8::2", 1418 },
		{ 0, "2001:db8::1", "2001:db8::2 192.0.2.2", "2001:db8::2", 1418 },
		{ AF_INET6, "192.0.2.1 2001:db8::1", "192.0.2.2 2001:db8::2", "2001:db8::2", 1418 },
		{ AF_INET, "192.0.2.1 2001:db8::1", "192.0.2.2 2001:db8::2", "192.0.2.2", 1438 },
		{ AF_INET, "192.0.2.1 2001:db8::1", "2001:db8::2", NULL, 1438 },
		{ 0, "192.0.2.1", "2001:db8::2", NULL, 1438 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct dp_node *n;
		struct rig r;

		rig_begin(&r);
		r.options.underlay = rows[i].underlay;
		put(&r, "self", "10.1.0.0/24", rows[i].self);
		put(&r, "b", "10.2.0.0/24", rows[i].other);
		assert_int_equal(run(&r), 0);
		n = in_maps(&r, "b");
		assert_int_equal(n != NULL, rows[i].remote != NULL);
		assert_int_equal(*problem(&r, "Node b") != '\0', rows[i].remote == NULL);
		if (n)
			assert_true(ip_equal(&n->remote, &(struct ip[]){ ip(rows[i].remote) }[0]));
		assert_int_equal(r.k.mtu, rows[i].mtu);
		rig_end(&r);
	}
}

static void stale_nodes_are_removed(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	rig_end(&r);
	rig_agent(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	/* another node has c's CIDR now, with another name and address */
	put(&r, "d", "10.3.0.0/25", "2001:db8::2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.problem_count, 0);
	assert_non_null(in_maps(&r, "d"));
	assert_int_equal(counts(&r).in_maps, 2);
	assert_int_equal(r.k.route_count, 2);
	assert_int_equal(fake_identity(&r.k, "192.0.2.3"), WR_ID_UNKNOWN);
	rig_end(&r);
	/* without our own object everything is removed */
	rig_agent(&r);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.route_count + r.k.uplink_count + r.k.port + r.k.mtu + r.k.address_count, 0);
	for (int s = 0; s < FAKE_SLOTS; s++)
		assert_false(r.k.used[s]);
	rig_end(&r);
}

static void a_route_of_a_pod_is_not_ours_to_delete(void **state)
{
	const struct route pod = { .dst = prefix("10.1.0.9/32"), .ifindex = 9, .type = RTN_UNICAST, .protocol = WR_RTPROT };
	const struct route other = { .dst = prefix("10.9.0.0/24"), .ifindex = FAKE_GATEWAY_LINK, .type = RTN_UNICAST, .protocol = 4 };
	struct rig r;

	rig_begin(&r);
	r.k.routes[r.k.route_count++] = pod;
	r.k.routes[r.k.route_count++] = other;
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.route_count, 2);
	rig_end(&r);
}

/* The programs get the devices of the first address of each family, and the next one when an address moves. */
static void devices_of_our_addresses(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", "10.1.0.0/24", "192.0.2.1 2001:db8::1");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.cluster.addr4_ifindex, UPLINK);
	assert_int_equal(r.k.cluster.addr6_ifindex, UPLINK);
	for (size_t i = 0; i < r.k.device_count; i++) {
		if (r.k.devices[i].ip.family == AF_INET6)
			r.k.devices[i].info.ifindex = UPLINK2;
		else
			r.k.devices[i].info.flags |= IFF_LOOPBACK;
	}
	look_again(&r, NEXTHOP_ADDRESS);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.cluster.addr4_ifindex, 0);
	assert_int_equal(r.k.cluster.addr6_ifindex, UPLINK2);
	rig_end(&r);
}

/* Each uplink gets it once, after from_uplink, also those of an earlier agent; a failure is reported, and delays nothing. */
static void xdp_on_uplinks(void **state)
{
	struct rig r;

	rig_begin(&r);
	r.options.xdp = DP_XDP_NATIVE;
	r.k.xdp_error = EOPNOTSUPP;
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_non_null(in_maps(&r, "b"));
	assert_int_equal(r.k.xdp_count, 1);
	assert_int_equal(r.k.xdp[0].ifindex, UPLINK);
	assert_int_equal(r.k.xdp[0].mode, DP_XDP_NATIVE);
	assert_string_equal(problem(&r, "XDP of device 2"), "it cannot run XDP");
	/* an error that no event will resolve is tried again */
	r.k.xdp_error = EIO;
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), -EAGAIN);
	assert_int_equal(r.k.xdp_count, 2);
	/* with any other change: now it can */
	r.k.xdp_error = 0;
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 3);
	assert_int_equal(r.problem_count, 0);
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 3);
	/* another uplink, which fails; its problem goes with it */
	r.k.xdp_error = EBUSY;
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 4);
	assert_int_equal(r.k.xdp[3].ifindex, UPLINK2);
	assert_string_equal(problem(&r, "XDP of device 3"), "it cannot run XDP");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.problem_count, 0);
	/* one that works, until it is no uplink any more */
	r.k.xdp_error = 0;
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.k.xdp_count, 6);
	assert_int_equal(r.k.xdp[5].ifindex, UPLINK2);
	assert_int_equal(r.k.xdp[5].mode, DP_XDP_OFF);
	/* the next agent, configured without XDP */
	rig_end(&r);
	r.options.xdp = DP_XDP_OFF;
	rig_agent(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 7);
	assert_int_equal(r.k.xdp[6].ifindex, UPLINK);
	assert_int_equal(r.k.xdp[6].mode, DP_XDP_OFF);
	rig_end(&r);
}

static void small_mtu(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1300, 2);
	assert_int_equal(run(&r), 0);
	assert_null(in_maps(&r, "b"));
	assert_string_equal(problem(&r, "Node b"),
			    "the MTU of the path to it, 1300, is too small: its pods need 1280, and the tunnel 62");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1342, 2);
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 1280);
	rig_end(&r);
}

/* Pods that are there follow; those that cannot be reached are reported, and tried again, without another look at the nodes. */
static void pods_follow(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.pods_mtu, 1438);
	assert_false(cluster_mtu_pending(r.c));
	r.k.pods_left = 2;
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1400, 2);
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.pods_mtu, 1338);
	assert_true(cluster_mtu_pending(r.c));
	assert_string_equal(problem(&r, "MTU of pods"), "2 pods do not have MTU 1338: a pod has gone astray");
	r.k.pods_left = 0;
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1300, 2); /* ignored by this run */
	cluster_retry(r.c);
	assert_true(cluster_pending(r.c));
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 1338);
	assert_string_equal(problem(&r, "MTU of pods"), "");
	assert_false(cluster_mtu_pending(r.c));
	/* Without a cluster they keep what they have. */
	cluster_remove_node(r.c, "self");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 0);
	assert_int_equal(r.k.pods_mtu, 1338);
	rig_end(&r);
}

/* warren0's gateway addresses, and the CIDRs with an unreachable route; "" for none. */
static void assert_gateways(const struct rig *r, const char *gateways, const char *cidrs)
{
	char text[128], *rest = text, *word;
	size_t count = 0;

	str_copy(text, sizeof(text), gateways);
	for (; (word = strsep(&rest, " ")); count++)
		assert_true(fake_has_gateway(&r->k, &(struct ip[]){ ip(word) }[0]));
	assert_int_equal(r->k.gateway_count, count);
	str_copy(text, sizeof(text), cidrs);
	rest = text;
	for (count = 0; (word = strsep(&rest, " ")); count++)
		assert_true(fake_has_rest(&r->k, &(struct prefix[]){ prefix(word) }[0]));
	assert_int_equal(r->k.rest_count, count);
}

/* The gateway address of a pod CIDR that is no longer ours is removed, unless another CIDR of ours has it too. */
static void another_cidr(void **state)
{
	static const struct {
		const char *cidrs, *gateways;
	} rows[] = {
		{ "10.1.0.0/24 fd01::/64", "10.1.0.1 fd01::1" },
		{ "10.9.0.0/24 fd01::/64", "10.9.0.1 fd01::1" },
		{ "10.9.0.0/23 fd01::/64", "10.9.0.1 fd01::1" },
		{ "10.9.0.0/24 fd01::/56", "10.9.0.1 fd01::1" },
		{ "fd01::/56", "fd01::1" },
		{ "10.9.0.0/24 fd01::/56", "10.9.0.1 fd01::1" },
		{ "10.9.0.0/24", "10.9.0.1" },
	};
	struct rig r;

	rig_begin(&r);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put(&r, "self", rows[i].cidrs, "192.0.2.1 2001:db8::1");
		assert_int_equal(run(&r), 0);
		assert_gateways(&r, rows[i].gateways, rows[i].cidrs);
	}
	rig_end(&r);
}

/* Nor is one removed that is the source of routes to pods, until those are gone. */
static void gateway_of_pods(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	r.k.pods = true;
	put(&r, "self", "10.9.0.0/24 fd01::/64", "192.0.2.1 2001:db8::1");
	for (int again = 0; again < 2; again++) {
		look_again(&r, NEXTHOP_ADDRESS);
		assert_int_equal(run(&r), 0);
		assert_gateways(&r, "10.1.0.1 10.9.0.1 fd01::1", "10.1.0.0/24 10.9.0.0/24 fd01::/64");
	}
	put(&r, "self", "10.8.0.0/24 fd01::/64", "192.0.2.1 2001:db8::1");
	assert_int_equal(run(&r), 0);
	assert_gateways(&r, "10.1.0.1 10.9.0.1 10.8.0.1 fd01::1", "10.1.0.0/24 10.9.0.0/24 10.8.0.0/24 fd01::/64");
	r.k.pods = false;
	look_again(&r, NEXTHOP_ADDRESS);
	assert_int_equal(run(&r), 0);
	assert_gateways(&r, "10.8.0.1 fd01::1", "10.8.0.0/24 fd01::/64");
	rig_end(&r);
}

/* Our addresses are announced to neighbours once, and whenever they move. */
static void addresses_are_announced(void **state)
{
	struct link_info *device;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	device = &r.k.devices[0].info;
	device->flags |= IFF_RUNNING;
	r.k.tentative = true;
	assert_int_equal(run(&r), 0);
	r.k.tentative = false;
	for (int again = 0; again < 2; again++) {
		look_again(&r, NEXTHOP_ADDRESS);
		assert_int_equal(run(&r), 0);
		assert_int_equal(r.k.announced, 1);
	}
	device->mac[5] = 7;
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 2);
	device->flags &= ~(uint32_t)IFF_RUNNING; /* no neighbour would receive it */
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 2);
	device->flags |= IFF_RUNNING;
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 3);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_our_own_object_there_is_no_cluster),
		cmocka_unit_test(the_family_underneath),
		cmocka_unit_test(stale_nodes_are_removed),
		cmocka_unit_test(a_route_of_a_pod_is_not_ours_to_delete),
		cmocka_unit_test(devices_of_our_addresses),
		cmocka_unit_test(xdp_on_uplinks),
		cmocka_unit_test(small_mtu),
		cmocka_unit_test(pods_follow),
		cmocka_unit_test(another_cidr),
		cmocka_unit_test(gateway_of_pods),
		cmocka_unit_test(addresses_are_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
