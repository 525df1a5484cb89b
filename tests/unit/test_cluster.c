/* SPDX-License-Identifier: BSD-2-Clause */
/* user/agent/nodes/cluster.c: other nodes into maps and routes, as they come, change, overlap and go. */
#include "clock.h"
#include "cluster_rig.h"

static void a_node_joins_over_ipv4(void **state)
{
	const struct dp_node *n;
	const struct route *route;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "fd02::/64 10.2.0.0/24", "192.0.2.2 2001:db8::2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.problem_count, 0);
	n = in_maps(&r, "b");
	assert_non_null(n);
	assert_true(ip_equal(&n->local, &(struct ip[]){ ip("192.0.2.1") }[0]));
	assert_true(ip_equal(&n->remote, &(struct ip[]){ ip("192.0.2.2") }[0]));
	assert_int_equal(n->address_count, 2);
	assert_int_equal(n->uplink, UPLINK);
	assert_int_equal(n->mtu, 1438);
	assert_false(n->direct);
	assert_true(hop_of(&r, "b")->resolved && hop_of(&r, "b")->dmac[5] == 2);
	/* both CIDRs are routed to warren0, with our own gateway addresses as source */
	assert_int_equal(r.k.route_count, 2);
	route = fake_route(&r.k, &(struct prefix[]){ prefix("10.2.0.0/24") }[0]);
	assert_non_null(route);
	assert_int_equal(route->ifindex, FAKE_GATEWAY_LINK);
	assert_int_equal(route->mtu, 1438);
	assert_true(ip_equal(&route->source, &(struct ip[]){ ip("10.1.0.1") }[0]));
	route = fake_route(&r.k, &(struct prefix[]){ prefix("fd02::/64") }[0]);
	assert_non_null(route);
	assert_true(ip_equal(&route->source, &(struct ip[]){ ip("fd01::1") }[0]));
	/* our own device, addresses and settings */
	assert_int_equal(r.k.cluster.flags, WR_CLUSTER_V4 | WR_CLUSTER_V6 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6 | WR_CLUSTER_SPORTS);
	assert_int_equal(r.k.cluster.cidr4.v4, inet_addr("10.1.0.0"));
	assert_int_equal(r.k.cluster.mask4.v4, inet_addr("255.255.255.0"));
	assert_int_equal(r.k.cluster.mask6.v6[1], 0xffffffff);
	assert_int_equal(r.k.cluster.mask6.v6[2], 0);
	assert_int_equal(r.k.cluster.host_ifindex, FAKE_GATEWAY_LINK);
	assert_int_equal(r.k.cluster.port, htons(6081));
	assert_int_equal(r.k.port, 6081);
	assert_int_equal(r.k.mtu, 1438);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.k.gateway_count, 2);
	assert_int_equal(r.k.kept_count, 1);
	assert_int_equal(fake_identity(&r.k, "192.0.2.2"), WR_ID_REMOTE_NODE);
	assert_int_equal(fake_identity(&r.k, "10.2.0.1"), WR_ID_REMOTE_NODE);
	assert_int_equal(fake_identity(&r.k, "fd02::1"), WR_ID_REMOTE_NODE);
	assert_int_equal(fake_identity(&r.k, "192.0.2.1"), WR_ID_UNKNOWN);
	assert_int_equal(r.k.uncommitted, 0);
	assert_int_equal(cluster_joins(r.c)->count, 1);
	rig_end(&r);
}

static void unchanged_nodes_are_not_written_again(void **state)
{
	unsigned long writes;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	writes = r.k.writes;
	look_again(&r, NEXTHOP_NEIGHBOUR);
	assert_true(cluster_pending(r.c));
	assert_int_equal(run(&r), 0);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.writes, writes);
	/* the next agent finds everything right, and writes nothing */
	rig_end(&r);
	rig_agent(&r);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.writes, writes);
	assert_non_null(in_maps(&r, "b"));
	rig_end(&r);
}

static void the_nexthop_changes(void **state)
{
	uint32_t slot;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	slot = find(&r, "b").node.slot;
	/* another MAC address: the same slot */
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 9);
	look_again(&r, NEXTHOP_NEIGHBOUR);
	assert_int_equal(run(&r), 0);
	assert_int_equal(hop_of(&r, "b")->dmac[5], 9);
	assert_int_equal(find(&r, "b").node.slot, slot);
	/* not resolved */
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 0);
	look_again(&r, NEXTHOP_NEIGHBOUR);
	assert_int_equal(run(&r), 0);
	assert_false(hop_of(&r, "b")->resolved);
	assert_int_equal(counts(&r).unresolved, 1);
	/* its neighbour entry was removed with its link: it is solicited again */
	r.k.kept_count = 0;
	look_again(&r, NEXTHOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.kept_count, 1);
	/* another uplink, with a smaller MTU */
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(in_maps(&r, "b")->uplink, UPLINK2);
	assert_int_equal(r.k.mtu, 1338);
	assert_int_equal(r.k.uplink_count, 2);
	/* and back: the other uplink is not used any more */
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.k.uplinks[0], UPLINK);
	assert_int_equal(r.k.mtu, 1438);
	rig_end(&r);
}

static void no_route(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.77"); /* never was one */
	assert_int_equal(run(&r), 0);
	assert_string_equal(problem(&r, "Node c"), "no route there");
	assert_null(in_maps(&r, "c"));
	assert_non_null(in_maps(&r, "b"));
	/* a node that was reachable stays, and so does its route */
	set_unreachable(&r, "192.0.2.2");
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_string_equal(problem(&r, "Node b"), "no route");
	assert_non_null(in_maps(&r, "b"));
	assert_false(hop_of(&r, "b")->resolved);
	assert_int_equal(r.k.route_count, 1);
	/* its address changes meanwhile: the one in the maps is not its own any more */
	set_unreachable(&r, "192.0.2.55");
	put(&r, "b", "10.2.0.0/24", "192.0.2.55");
	assert_int_equal(run(&r), 0);
	assert_null(in_maps(&r, "b"));
	assert_int_equal(fake_identity(&r.k, "192.0.2.2"), WR_ID_UNKNOWN);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	set_nexthop(&r, "192.0.2.77", "192.0.2.254", UPLINK, 1500, 3);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.problem_count, 0);
	assert_int_equal(counts(&r).in_maps, 2);
	rig_end(&r);
}

static void nodes_change(void **state)
{
	uint32_t slot;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	slot = find(&r, "b").node.slot;
	/* another address */
	put(&r, "b", "10.2.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	assert_int_not_equal(find(&r, "b").node.slot, slot);
	assert_false(r.k.used[slot]);
	assert_int_equal(fake_identity(&r.k, "192.0.2.2"), WR_ID_UNKNOWN);
	assert_int_equal(fake_identity(&r.k, "192.0.2.3"), WR_ID_REMOTE_NODE);
	assert_int_equal(r.k.kept_count, 1);
	/* deleted, and made again with another CIDR in one go */
	cluster_remove_node(r.c, "b");
	put(&r, "b", "10.4.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	assert_null(fake_route(&r.k, &(struct prefix[]){ prefix("10.2.0.0/24") }[0]));
	assert_non_null(fake_route(&r.k, &(struct prefix[]){ prefix("10.4.0.0/24") }[0]));
	assert_int_equal(fake_identity(&r.k, "10.2.0.1"), WR_ID_UNKNOWN);
	/* two nodes swap their CIDRs */
	put(&r, "c", "10.5.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	put(&r, "b", "10.5.0.0/24", "192.0.2.3");
	put(&r, "c", "10.4.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.problem_count, 0);
	assert_int_equal(in_maps(&r, "b")->cidrs[0].ip.bytes[1], 5);
	assert_int_equal(in_maps(&r, "c")->cidrs[0].ip.bytes[1], 4);
	assert_int_equal(r.k.route_count, 2);
	/* gone for good */
	cluster_remove_node(r.c, "b");
	cluster_remove_node(r.c, "c");
	assert_int_equal(run(&r), 0);
	assert_int_equal(counts(&r).nodes, 0);
	assert_int_equal(r.k.route_count + r.k.address_count + r.k.kept_count, 0);
	/* our own address and CIDR */
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	put(&r, "self", "10.7.0.0/24", "192.0.2.9");
	assert_int_equal(cluster_resolve(r.c, NULL), 1);
	assert_int_equal(run(&r), 0);
	assert_string_equal(problem(&r, "Node self"), "this node's address 192.0.2.9 is on none of its devices");
	assert_int_equal(in_maps(&r, "b")->local.bytes[3], 9);
	assert_int_equal(r.k.cluster.cidr4.v4, inet_addr("10.7.0.0"));
	assert_int_equal(r.k.routes[0].source.bytes[1], 7);
	rig_end(&r);
}

static void overlaps(void **state)
{
	static const struct {
		const char *cidrs, *addresses; /* of node c */
		const char *message;	       /* the problem; b has 10.2.0.0/24 fd02::/64 at 192.0.2.2 */
	} rows[] = {
		{ "10.2.0.0/24", "192.0.2.3", "its pod CIDR 10.2.0.0/24 overlaps pod CIDR 10.2.0.0/24 of node b, which had it first" },
		{ "10.2.0.128/25", "192.0.2.3", "its pod CIDR 10.2.0.128/25 overlaps pod CIDR 10.2.0.0/24 of node b, which had it first" },
		{ "10.2.0.0/16", "192.0.2.3", "its pod CIDR 10.2.0.0/16 overlaps pod CIDR 10.2.0.0/24 of node b, which had it first" },
		{ "10.3.0.0/24 fd02::/80", "192.0.2.3", "its pod CIDR fd02::/80 overlaps pod CIDR fd02::/64 of node b, which had it first" },
		{ "10.1.0.0/16", "192.0.2.3", "its pod CIDR 10.1.0.0/16 overlaps pod CIDR 10.1.0.0/24 of node self, which had it first" },
		{ "10.3.0.0/24", "192.0.2.2", "its address 192.0.2.2 overlaps address 192.0.2.2 of node b, which had it first" },
		{ "10.3.0.0/24", "192.0.2.1", "its address 192.0.2.1 overlaps address 192.0.2.1 of node self, which had it first" },
		{ "10.3.0.0/24", "10.2.0.9", "its address 10.2.0.9 overlaps pod CIDR 10.2.0.0/24 of node b, which had it first" },
		{ "192.0.2.0/24", "192.0.2.3", "its address 192.0.2.3 is in its own pod CIDR 192.0.2.0/24" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		rig_begin(&r);
		put(&r, "c", rows[i].cidrs, rows[i].addresses);
		put(&r, "self", SELF);
		put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
		assert_int_equal(run(&r), 0);
		assert_string_equal(problem(&r, "Node c"), rows[i].message);
		assert_null(in_maps(&r, "c"));
		assert_non_null(in_maps(&r, "b"));
		assert_int_equal(r.problem_count, 1);
		/* repaired */
		put(&r, "c", "10.3.0.0/24", "192.0.2.3");
		assert_int_equal(run(&r), 0);
		assert_int_equal(r.problem_count, 0);
		assert_non_null(in_maps(&r, "c"));
		/* a node before it by name does not get its CIDR or address, until it releases them */
		put(&r, "a", "10.3.0.0/25", "2001:db8::2");
		assert_int_equal(run(&r), 0);
		assert_null(in_maps(&r, "a"));
		assert_non_null(in_maps(&r, "c"));
		put(&r, "c", "10.4.0.0/24", "192.0.2.3");
		assert_int_equal(run(&r), 0);
		assert_non_null(in_maps(&r, "a"));
		assert_non_null(in_maps(&r, "c"));
		assert_int_equal(r.problem_count, 0);
		rig_end(&r);
	}
}

/* b has 10.2.0.0/24 fd02::/64 at 192.0.2.2 2001:db8::2; a claims one of these, c does not. */
static void put_claimant(struct rig *r, const char *cidrs, const char *addresses)
{
	put(r, "self", SELF);
	put(r, "a", cidrs, addresses);
	put(r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2 2001:db8::2");
	put(r, "c", "10.3.0.0/24", "192.0.2.4");
	set_nexthop(r, "192.0.2.4", "192.0.2.4", UPLINK, 1500, 4);
}

static const struct lie {
	const char *cidrs, *addresses;
} false_claims[] = {
	{ "10.5.0.0/24", "192.0.2.2" },
	{ "10.5.0.0/24", "192.0.2.3 2001:db8::2" },
	{ "10.2.0.128/25", "192.0.2.3" },
	{ "10.5.0.0/24 fd02::/65", "192.0.2.3" },
	{ "10.2.0.0/24 fd02::/64", "192.0.2.3" },
	{ "8.0.0.0/6", "192.0.2.3" }, /* c is in it, too */
	{ "10.5.0.0/24", "10.2.0.9" },
};

#define TRUTH "10.5.0.0/24", "192.0.2.3"

static void established_claims_stand(void **state)
{
	for (size_t i = 0; i < sizeof(false_claims) / sizeof(false_claims[0]); i++) {
		uint32_t slot;
		struct rig r;

		rig_begin(&r);
		put_claimant(&r, TRUTH);
		assert_int_equal(run(&r), 0);
		assert_int_equal(r.problem_count, 0);
		slot = find(&r, "b").node.slot;
		put(&r, "a", false_claims[i].cidrs, false_claims[i].addresses);
		assert_int_equal(run(&r), 0);
		assert_null(in_maps(&r, "a"));
		assert_int_equal(find(&r, "b").node.slot, slot);
		assert_non_null(strstr(problem(&r, "Node a"), ", which had it first"));
		assert_int_equal(r.problem_count, 1);
		/* b changes, too, and keeps its claims */
		put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2 2001:db8::2 192.0.2.99");
		assert_int_equal(run(&r), 0);
		assert_non_null(in_maps(&r, "b"));
		assert_null(in_maps(&r, "a"));
		/* no other node gets the addresses of the false claimant */
		put(&r, "d", "10.5.0.0/24", "192.0.2.98");
		set_nexthop(&r, "192.0.2.98", "192.0.2.98", UPLINK, 1500, 9);
		assert_int_equal(run(&r), 0);
		assert_int_equal(in_maps(&r, "d") == NULL, strncmp(false_claims[i].cidrs, "10.5.", 5) == 0);
		cluster_remove_node(r.c, "d");
		put(&r, "a", TRUTH);
		assert_int_equal(run(&r), 0);
		assert_non_null(in_maps(&r, "a"));
		assert_int_equal(r.problem_count, 0);
		rig_end(&r);
	}
}

/* The false claim comes with a new agent. */
static void claims_in_the_maps_are_established(void **state)
{
	for (size_t i = 0; i < sizeof(false_claims) / sizeof(false_claims[0]); i++) {
		uint32_t slot;
		struct rig r;

		rig_begin(&r);
		put_claimant(&r, TRUTH);
		assert_int_equal(run(&r), 0);
		slot = find(&r, "b").node.slot;
		rig_end(&r);
		rig_agent(&r);
		put_claimant(&r, false_claims[i].cidrs, false_claims[i].addresses);
		assert_int_equal(run(&r), 0);
		assert_null(in_maps(&r, "a"));
		assert_int_equal(find(&r, "b").node.slot, slot);
		assert_non_null(in_maps(&r, "c"));
		assert_int_equal(r.problem_count, 1);
		/* deleted maps change nothing */
		cluster_lost(r.c);
		assert_int_equal(run(&r), 0);
		assert_int_equal(find(&r, "b").node.slot, slot);
		rig_end(&r);
	}
}

/* Without an established claim, the Node that was created first has it, whatever its name. */
static void of_new_claims_the_oldest_nodes_stand(void **state)
{
	struct rig r;

	rig_begin(&r);
	put_created(&r, "self", SELF, 9);
	put_created(&r, "a", "10.5.0.0/24", "192.0.2.2", 8);
	put_created(&r, "b", "10.2.0.0/24", "192.0.2.2", 7);
	put_created(&r, "0", "10.6.0.0/24", "192.0.2.2", 0); /* without a creation time */
	assert_int_equal(run(&r), 0);
	assert_non_null(in_maps(&r, "b"));
	assert_null(in_maps(&r, "a"));
	assert_null(in_maps(&r, "0"));
	rig_end(&r);
}

/* One prefix that contains the pod CIDRs of all the others: the decision is not quadratic. */
static void a_prefix_around_thousands(void **state)
{
	char name[16], cidr[24], address[24];
	uint64_t began;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", "192.168.0.0/24", "192.0.2.1");
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		snprintf(cidr, sizeof(cidr), "10.%u.%u.0/24", i >> 8, i & 255);
		snprintf(address, sizeof(address), "172.16.%u.%u", i >> 8, i & 255);
		put(&r, name, cidr, address);
	}
	assert_int_equal(cluster_resolve(r.c, NULL), 1);
	put(&r, "liar", "8.0.0.0/6", "192.0.2.99");
	began = clock_ns(CLOCK_MONOTONIC);
	assert_true(cluster_resolve(r.c, NULL) >= 0);
	began = clock_ns(CLOCK_MONOTONIC) - began;
	print_message("5000 nodes, and one that claims all: %llu us\n", (unsigned long long)began / 1000);
	assert_true(began < 500 * NS_PER_MS);
	assert_non_null(strstr(find(&r, "liar").node.problem, "which had it first"));
	assert_string_equal(find(&r, "n4999").node.problem, "");
	rig_end(&r);
}

/* Two nodes that swap addresses, one after the other. */
static void nodes_swap_addresses(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	put(&r, "b", "10.2.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	assert_null(in_maps(&r, "b"));
	put(&r, "c", "10.3.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_non_null(in_maps(&r, "b"));
	assert_non_null(in_maps(&r, "c"));
	assert_int_equal(r.problem_count, 0);
	rig_end(&r);
}

static void modes(void **state)
{
	const struct dp_node *n;
	const struct route *route;
	struct rig r;

	rig_begin(&r);
	r.options.mode = ROUTING_AUTO;
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2 2001:db8::2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3"); /* behind a gateway */
	put(&r, "d", "fd04::/64", "192.0.2.4");	  /* on link, but its family has no path without the tunnel */
	set_nexthop(&r, "192.0.2.4", "192.0.2.4", UPLINK, 1500, 4);
	assert_int_equal(run(&r), 0);
	n = in_maps(&r, "b");
	assert_true(n->direct && n->mtu == 1500);
	route = fake_route(&r.k, &(struct prefix[]){ prefix("fd02::/64") }[0]);
	assert_int_equal(route->ifindex, UPLINK);
	assert_true(ip_equal(&route->gateway, &(struct ip[]){ ip("2001:db8::2") }[0]));
	assert_true(ip_equal(&route->source, &(struct ip[]){ ip("fd01::1") }[0]));
	assert_false(in_maps(&r, "c")->direct);
	assert_false(in_maps(&r, "d")->direct);
	assert_int_equal(r.k.mtu, 1438);
	/* b moves behind the gateway */
	set_nexthop(&r, "192.0.2.2", "192.0.2.254", UPLINK, 1500, 0xfe);
	look_again(&r, NEXTHOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_false(in_maps(&r, "b")->direct);
	assert_int_equal(fake_route(&r.k, &(struct prefix[]){ prefix("fd02::/64") }[0])->ifindex, FAKE_GATEWAY_LINK);
	rig_end(&r);

	rig_begin(&r);
	r.options.mode = ROUTING_DIRECT;
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	assert_true(in_maps(&r, "b")->direct);
	assert_null(in_maps(&r, "c"));
	assert_string_equal(problem(&r, "Node c"),
			    "192.0.2.3 is not the nexthop of each of its pod CIDRs, which --routing-mode direct requires");
	assert_int_equal(r.k.mtu, 1500);
	rig_end(&r);
}

static void incomplete_nodes(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", "", "192.0.2.1");
	put(&r, "b", "", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "");
	assert_int_equal(run(&r), 0);
	assert_false(counts(&r).on);
	assert_string_equal(problem(&r, "Node self"), "this node has no pod CIDR: it is in no cluster");
	assert_int_equal(r.problem_count, 1);
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	assert_string_equal(problem(&r, "Node b"), "it has no pod CIDR");
	assert_string_equal(problem(&r, "Node c"), "it has no address of type InternalIP");
	assert_int_equal(r.problem_count, 2);
	/* our own object is deleted: so are all nodes */
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(counts(&r).in_maps, 1);
	cluster_remove_node(r.c, "self");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.route_count + r.k.uplink_count + r.k.port + r.k.mtu + r.k.address_count + r.problem_count, 0);
	assert_int_equal(r.k.cluster.flags, 0);
	rig_end(&r);
}

/* An event looks only at the nodes that it concerns. */
static void only_concerned_nodes_are_looked_at(void **state)
{
	static const struct {
		struct nexthop_change change;
		unsigned looks;
	} rows[] = {
		{ { NEXTHOP_NEIGHBOUR, { { UPLINK, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 1 },
		{ { NEXTHOP_NEIGHBOUR, { { UPLINK2, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 0 },
		{ { NEXTHOP_NEIGHBOUR, { { UPLINK, { AF_INET, { 192, 0, 2, 9 } } } }, 1 }, 0 },
		{ { NEXTHOP_LINK, { { UPLINK } }, 1 }, 3 },
		{ { NEXTHOP_LINK, { { 99 } }, 1 }, 1 }, /* d, to which there is no route */
		{ { NEXTHOP_ROUTE }, 3 },
		{ { NEXTHOP_NEIGHBOUR | NEXTHOP_LOST, { { UPLINK, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 3 },
	};
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	put(&r, "d", "10.4.0.0/24", "192.0.2.4");
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	set_nexthop(&r, "192.0.2.3", "192.0.2.3", UPLINK, 1500, 3);
	set_unreachable(&r, "192.0.2.4");
	assert_int_equal(run(&r), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.k.looks = 0;
		cluster_look_again(r.c, &rows[i].change);
		if (cluster_pending(r.c) != (rows[i].looks != 0))
			fail_msg("row %zu: %spending", i, cluster_pending(r.c) ? "" : "not ");
		if (cluster_pending(r.c))
			assert_int_equal(run(&r), 0);
		if (r.k.looks != rows[i].looks)
			fail_msg("row %zu: %u looks, not %u", i, r.k.looks, rows[i].looks);
	}
	rig_end(&r);
}

/* Whatever write fails, the next run repairs it. */
static void every_write_fails_once(void **state)
{
	for (long n = 0;; n++) {
		int ret;
		struct rig r;

		rig_begin(&r);
		put(&r, "self", SELF);
		put(&r, "b", "10.2.0.0/24", "192.0.2.2");
		put(&r, "c", "10.3.0.0/24", "192.0.2.3");
		assert_int_equal(run(&r), 0);
		put(&r, "b", "10.3.0.0/24", "192.0.2.2");
		put(&r, "c", "10.2.0.0/24", "2001:db8::2");
		cluster_remove_node(r.c, "self");
		put(&r, "self", "10.1.0.0/24", "192.0.2.1 2001:db8::1");
		r.k.writes_left = n;
		ret = run(&r);
		if (r.k.writes_left > 0) {
			assert_int_equal(ret, 0);
			rig_end(&r);
			assert_true(n > 8);
			break;
		}
		r.k.writes_left = -1;
		if (ret < 0)
			cluster_retry(r.c);
		assert_int_equal(run(&r), 0);
		assert_int_equal(counts(&r).in_maps, 2);
		assert_int_equal(in_maps(&r, "b")->cidrs[0].ip.bytes[1], 3);
		assert_int_equal(in_maps(&r, "c")->cidrs[0].ip.bytes[1], 2);
		assert_int_equal(r.k.route_count, 2);
		assert_int_equal(r.k.address_count, 4);
		assert_int_equal(r.k.cluster.flags & WR_CLUSTER_POD6, 0);
		rig_end(&r);
	}
}

/*
 * A run that failed before it had looked at the nodes leaves that to the next run, even if that concerns only one of them:
 * otherwise the other nodes would be removed as stale.
 */
static void nodes_that_were_not_looked_at_stay(void **state)
{
	const struct nexthop_change change = { .changes = NEXTHOP_NEIGHBOUR, .count = 1, .places = { { UPLINK, ip("192.0.2.254") } } };
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	r.k.cluster.flags = 0; /* changed by hand: it must be written again, and cannot be */
	cluster_lost(r.c);
	r.k.writes_left = 0;
	assert_int_equal(run(&r), -EIO);
	r.k.writes_left = -1;
	cluster_look_again(r.c, &change);
	assert_int_equal(run(&r), 0);
	assert_non_null(in_maps(&r, "b"));
	assert_non_null(in_maps(&r, "c"));
	assert_int_equal(r.k.route_count, 2);
	rig_end(&r);
}

/* Nor does a node lose its routes because it cannot be written: packets to its pods must not take the default route. */
static void a_node_that_cannot_be_written(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	set_nexthop(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1400, 2);
	r.k.node_error = EIO;
	for (int again = 0; again < 2; again++) {
		look_again(&r, NEXTHOP_ROUTE);
		assert_int_equal(run(&r), -EAGAIN);
		assert_string_equal(problem(&r, "Node b"), "it cannot be put");
		assert_int_equal(r.k.route_count, 1);
	}
	r.k.node_error = 0;
	cluster_retry(r.c);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.problem_count, 0);
	assert_int_equal(r.k.routes[0].mtu, 1338);
	rig_end(&r);
}

/* As soon as its object is deleted, not only after the run that removes it from the maps. */
static void a_node_that_is_gone_does_not_count(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(counts(&r).in_maps, 1);
	cluster_remove_node(r.c, "b");
	assert_int_equal(counts(&r).nodes, 0);
	assert_int_equal(counts(&r).in_maps, 0);
	rig_end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_joins_over_ipv4),
		cmocka_unit_test(unchanged_nodes_are_not_written_again),
		cmocka_unit_test(the_nexthop_changes),
		cmocka_unit_test(no_route),
		cmocka_unit_test(nodes_change),
		cmocka_unit_test(overlaps),
		cmocka_unit_test(established_claims_stand),
		cmocka_unit_test(claims_in_the_maps_are_established),
		cmocka_unit_test(of_new_claims_the_oldest_nodes_stand),
		cmocka_unit_test(a_prefix_around_thousands),
		cmocka_unit_test(nodes_swap_addresses),
		cmocka_unit_test(modes),
		cmocka_unit_test(incomplete_nodes),
		cmocka_unit_test(only_concerned_nodes_are_looked_at),
		cmocka_unit_test(every_write_fails_once),
		cmocka_unit_test(nodes_that_were_not_looked_at_stay),
		cmocka_unit_test(a_node_that_cannot_be_written),
		cmocka_unit_test(a_node_that_is_gone_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
