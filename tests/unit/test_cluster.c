/* SPDX-License-Identifier: BSD-2-Clause */
/* user/agent/cluster.c: other nodes into maps, routes and devices, against a node in memory. */
#include <arpa/inet.h>
#include <stdio.h>

#include "cleanup.h"
#include "fake_cluster.h"
#include "rig.h"
#include "str.h"

#define UPLINK 2
#define UPLINK2 3

struct rig {
	struct fake_kernel k;
	struct cluster_options options;
	struct ipcache *ipcache;
	struct cluster *c;
	struct { char what[64], message[512]; } complaints[32];
	size_t complaint_count;
};

/* --- the rig --- */

static void on_complaint(void *arg, const char *what, const struct err *err)
{
	struct rig *r = arg;
	size_t i = 0;

	while (i < r->complaint_count && strcmp(r->complaints[i].what, what) != 0)
		i++;
	if (!err) {
		assert_true(i < r->complaint_count); /* it was complained about */
		r->complaints[i] = r->complaints[--r->complaint_count];
		return;
	}
	assert_true(i < 32);
	str_copy(r->complaints[i].what, sizeof(r->complaints[i].what), what);
	str_copy(r->complaints[i].message, sizeof(r->complaints[i].message), err->msg);
	if (i == r->complaint_count)
		r->complaint_count++;
}

static const char *complaint(const struct rig *r, const char *what)
{
	for (size_t i = 0; i < r->complaint_count; i++) {
		if (strcmp(r->complaints[i].what, what) == 0)
			return r->complaints[i].message;
	}
	return "";
}

static void rig_agent(struct rig *r)
{
	const struct cluster_events events = { on_complaint, r };

	r->ipcache = ipcache_new(&fake_ipcache_ops, &r->k);
	assert_non_null(r->ipcache);
	assert_int_equal(ipcache_load(r->ipcache, NULL), 0);
	r->c = cluster_open(&fake_cluster_ops, &r->k, &r->options, r->ipcache, &events);
	assert_non_null(r->c);
	r->complaint_count = 0;
}

/* As if all devices, or neighbours, that there are had changed. */
static void look_again(struct rig *r, enum hop_change change)
{
	struct hop_news news = { .changes = change };

	if (change == HOP_LINK) {
		news.places[news.count++].ifindex = UPLINK;
		news.places[news.count++].ifindex = UPLINK2;
	}
	for (size_t i = 0; i < r->k.hop_count && change == HOP_NEIGHBOUR; i++)
		news.places[news.count++] = (struct hop_place){ r->k.hops[i].hop.ifindex, r->k.hops[i].hop.next };
	cluster_look_again(r->c, &news);
}

static void rig_end(struct rig *r)
{
	cluster_close(r->c);
	ipcache_free(r->ipcache);
}

static void hop_to(struct rig *r, const char *to, const char *next, uint32_t uplink, uint32_t mtu, uint8_t mac)
{
	const struct ip address = ip(to);
	struct fake_hop *h = NULL;

	for (size_t i = 0; i < r->k.hop_count; i++) {
		if (ip_equal(&r->k.hops[i].to, &address))
			h = &r->k.hops[i];
	}
	if (!h)
		h = &r->k.hops[r->k.hop_count++];
	*h = (struct fake_hop){ .to = address };
	h->hop = (struct hop){ .ifindex = uplink, .mtu = mtu, .next = ip(next), .gateway = strcmp(to, next) != 0,
			       .resolved = mac, .dmac = { 2, 0, 0, 0, 0, mac }, .smac = { 2, 0, 0, 0, 1, 0 } };
}

static void no_hop_to(struct rig *r, const char *to)
{
	hop_to(r, to, to, UPLINK, 1500, 0);
	for (size_t i = 0; i < r->k.hop_count; i++) {
		if (ip_equal(&r->k.hops[i].to, &(struct ip[]){ ip(to) }[0]))
			r->k.hops[i].error = EHOSTUNREACH;
	}
}

static void device_has(struct rig *r, const char *address, uint32_t ifindex, uint32_t mtu)
{
	r->k.devices[r->k.device_count].ip = ip(address);
	r->k.devices[r->k.device_count++].info = (struct link_info){ .ifindex = ifindex, .mtu = mtu, .flags = IFF_UP };
}

/* Words in each of the lists; no copy of the API's own checks. */
static void put(struct rig *r, const char *name, const char *cidrs, const char *addresses)
{
	struct node_object *o = calloc(1, sizeof(*o));
	char text[256], *rest = text, *word;
	size_t count = 0;

	o->name = strdup(name);
	str_copy(text, sizeof(text), cidrs);
	while ((word = strsep(&rest, " "))) {
		if (*word)
			o->cidrs[count++] = prefix(word);
	}
	rest = text;
	str_copy(text, sizeof(text), addresses);
	while ((word = strsep(&rest, " "))) {
		if (*word)
			o->addresses[o->address_count++] = ip(word);
	}
	assert_int_equal(cluster_put_node(r->c, o), 0);
}

static int run(struct rig *r)
{
	struct err err = { 0 };

	assert_true(cluster_resolve(r->c) >= 0);
	return cluster_run(r->c, &err);
}

static void rig_begin(struct rig *r)
{
	*r = (struct rig){ .options = { .node_name = "self" }, .k.writes_left = -1 };
	rig_agent(r);
	device_has(r, "192.0.2.1", UPLINK, 1500);
	device_has(r, "2001:db8::1", UPLINK, 1500);
	hop_to(r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	hop_to(r, "192.0.2.3", "192.0.2.254", UPLINK, 1500, 0xfe);
	hop_to(r, "2001:db8::2", "2001:db8::2", UPLINK, 1500, 2);
}

#define SELF "10.1.0.0/24 fd01::/64", "192.0.2.1 2001:db8::1"

static struct cluster_counts counts(const struct rig *r)
{
	struct cluster_counts c;

	cluster_count(r->c, &c);
	return c;
}

struct search {
	const char *name;
	struct cluster_node node;
	struct dp_node dp;
};

static int on_node(const struct cluster_node *node, void *arg)
{
	struct search *s = arg;

	if (strcmp(node->object->name, s->name) != 0)
		return 0;
	s->node = *node;
	if (node->node)
		s->dp = *node->node;
	return 1;
}

static struct search find(const struct rig *r, const char *name)
{
	struct search s = { .name = name };

	assert_int_equal(cluster_each(r->c, on_node, &s), 1);
	return s;
}

static const struct dp_node *in_maps(struct rig *r, const char *name)
{
	uint32_t slot = find(r, name).node.slot;

	return slot && r->k.used[slot] ? &r->k.nodes[slot] : NULL;
}

/* --- tests --- */

static void without_our_own_object_there_is_no_cluster(void **state)
{
	static const struct wr_cluster zeros;
	struct rig r;

	rig_begin(&r);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_false(counts(&r).on);
	assert_null(in_maps(&r, "b"));
	assert_int_equal(r.k.writes + r.complaint_count, 0);
	assert_memory_equal(&r.k.cluster, &zeros, sizeof(zeros));
	rig_end(&r);
}

static void a_node_joins_over_ipv4(void **state)
{
	const struct dp_node *n;
	const struct route *route;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "fd02::/64 10.2.0.0/24", "192.0.2.2 2001:db8::2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.complaint_count, 0);
	n = in_maps(&r, "b");
	assert_non_null(n);
	assert_true(ip_equal(&n->local, &(struct ip[]){ ip("192.0.2.1") }[0]));
	assert_true(ip_equal(&n->remote, &(struct ip[]){ ip("192.0.2.2") }[0]));
	assert_int_equal(n->address_count, 2);
	assert_int_equal(n->uplink, UPLINK);
	assert_int_equal(n->mtu, 1438);
	assert_true(n->resolved && !n->direct && n->dmac[5] == 2);
	/* both CIDRs lead to warren0, sent from our own gateway addresses */
	assert_int_equal(r.k.route_count, 2);
	route = fake_route(&r.k, &(struct prefix[]){ prefix("10.2.0.0/24") }[0]);
	assert_non_null(route);
	assert_int_equal(route->ifindex, FAKE_GATEWAY_LINK);
	assert_int_equal(route->mtu, 1438);
	assert_true(ip_equal(&route->source, &(struct ip[]){ ip("10.1.0.1") }[0]));
	route = fake_route(&r.k, &(struct prefix[]){ prefix("fd02::/64") }[0]);
	assert_non_null(route);
	assert_true(ip_equal(&route->source, &(struct ip[]){ ip("fd01::1") }[0]));
	/* our own place */
	assert_int_equal(r.k.cluster.flags, WR_CLUSTER_V4 | WR_CLUSTER_V6 | WR_CLUSTER_POD4 | WR_CLUSTER_POD6);
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
		assert_int_equal(*complaint(&r, "Node b") != '\0', rows[i].remote == NULL);
		if (n)
			assert_true(ip_equal(&n->remote, &(struct ip[]){ ip(rows[i].remote) }[0]));
		assert_int_equal(r.k.mtu, rows[i].mtu);
		rig_end(&r);
	}
}

static void nothing_is_done_twice(void **state)
{
	unsigned long writes;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	assert_int_equal(run(&r), 0);
	writes = r.k.writes;
	look_again(&r, HOP_NEIGHBOUR);
	assert_true(cluster_pending(r.c));
	assert_int_equal(run(&r), 0);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.writes, writes);
	/* the next agent finds all as it should be, and leaves it */
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

static void what_an_earlier_agent_left_goes(void **state)
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
	/* what c had is another one's now, of another name and address */
	put(&r, "d", "10.3.0.0/25", "2001:db8::2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.complaint_count, 0);
	assert_non_null(in_maps(&r, "d"));
	assert_int_equal(counts(&r).in_maps, 2);
	assert_int_equal(r.k.route_count, 2);
	assert_int_equal(fake_identity(&r.k, "192.0.2.3"), WR_ID_UNKNOWN);
	rig_end(&r);
	/* without our own object all of it goes */
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

static void the_next_hop_changes(void **state)
{
	uint32_t slot;
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	slot = find(&r, "b").node.slot;
	/* another MAC address: the same slot */
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 9);
	look_again(&r, HOP_NEIGHBOUR);
	assert_int_equal(run(&r), 0);
	assert_int_equal(in_maps(&r, "b")->dmac[5], 9);
	assert_int_equal(find(&r, "b").node.slot, slot);
	/* not resolved */
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 0);
	look_again(&r, HOP_NEIGHBOUR);
	assert_int_equal(run(&r), 0);
	assert_false(in_maps(&r, "b")->resolved);
	assert_int_equal(counts(&r).unresolved, 1);
	/* its neighbour entry has gone with its link: it is asked for again */
	r.k.kept_count = 0;
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.kept_count, 1);
	/* another uplink, with a smaller MTU */
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(in_maps(&r, "b")->uplink, UPLINK2);
	assert_int_equal(r.k.mtu, 1338);
	assert_int_equal(r.k.uplink_count, 2);
	/* and back: the other uplink has no use any more */
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.k.uplinks[0], UPLINK);
	assert_int_equal(r.k.mtu, 1438);
	rig_end(&r);
}

/* Each uplink gets it once, after from_uplink, also those of an earlier agent; what fails is told, and holds up nothing. */
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
	assert_string_equal(complaint(&r, "XDP of device 2"), "it cannot run XDP");
	/* what nothing will announce is tried again */
	r.k.xdp_error = EIO;
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), -EAGAIN);
	assert_int_equal(r.k.xdp_count, 2);
	/* with any other change: now it can */
	r.k.xdp_error = 0;
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 3);
	assert_int_equal(r.complaint_count, 0);
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 3);
	/* another uplink, which fails; its complaint goes with it */
	r.k.xdp_error = EBUSY;
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.xdp_count, 4);
	assert_int_equal(r.k.xdp[3].ifindex, UPLINK2);
	assert_string_equal(complaint(&r, "XDP of device 3"), "it cannot run XDP");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.complaint_count, 0);
	/* one that works, until it is no uplink any more */
	r.k.xdp_error = 0;
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK2, 1400, 5);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.uplink_count, 1);
	assert_int_equal(r.k.xdp_count, 6);
	assert_int_equal(r.k.xdp[5].ifindex, UPLINK2);
	assert_int_equal(r.k.xdp[5].mode, DP_XDP_OFF);
	/* the next agent, which wants none */
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

static void no_way_there(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.77"); /* never was one */
	assert_int_equal(run(&r), 0);
	assert_string_equal(complaint(&r, "Node c"), "no route there");
	assert_null(in_maps(&r, "c"));
	assert_non_null(in_maps(&r, "b"));
	/* who was reachable stays, and so does its route */
	no_hop_to(&r, "192.0.2.2");
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_string_equal(complaint(&r, "Node b"), "no way there");
	assert_non_null(in_maps(&r, "b"));
	assert_false(in_maps(&r, "b")->resolved);
	assert_int_equal(r.k.route_count, 1);
	/* its address changes meanwhile: what is in the maps is not its own any more */
	no_hop_to(&r, "192.0.2.55");
	put(&r, "b", "10.2.0.0/24", "192.0.2.55");
	assert_int_equal(run(&r), 0);
	assert_null(in_maps(&r, "b"));
	assert_int_equal(fake_identity(&r.k, "192.0.2.2"), WR_ID_UNKNOWN);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	hop_to(&r, "192.0.2.77", "192.0.2.254", UPLINK, 1500, 3);
	look_again(&r, HOP_ROUTE);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.complaint_count, 0);
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
	/* two swap their CIDRs */
	put(&r, "c", "10.5.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	put(&r, "b", "10.5.0.0/24", "192.0.2.3");
	put(&r, "c", "10.4.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.complaint_count, 0);
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
	assert_int_equal(cluster_resolve(r.c), 1);
	assert_int_equal(run(&r), 0);
	assert_string_equal(complaint(&r, "Node self"), "this node's address 192.0.2.9 is on none of its devices");
	assert_int_equal(in_maps(&r, "b")->local.bytes[3], 9);
	assert_int_equal(r.k.cluster.cidr4.v4, inet_addr("10.7.0.0"));
	assert_int_equal(r.k.routes[0].source.bytes[1], 7);
	rig_end(&r);
}

static void overlaps(void **state)
{
	static const struct {
		const char *cidrs, *addresses; /* of node c */
		const char *message;	       /* what is said of it; b has 10.2.0.0/24 fd02::/64 at 192.0.2.2 */
	} rows[] = {
		{ "10.2.0.0/24", "192.0.2.3", "its pod CIDR 10.2.0.0/24 overlaps pod CIDR 10.2.0.0/24 of node b, which counts" },
		{ "10.2.0.128/25", "192.0.2.3", "its pod CIDR 10.2.0.128/25 overlaps pod CIDR 10.2.0.0/24 of node b, which counts" },
		{ "10.2.0.0/16", "192.0.2.3", "its pod CIDR 10.2.0.0/16 overlaps pod CIDR 10.2.0.0/24 of node b, which counts" },
		{ "10.3.0.0/24 fd02::/80", "192.0.2.3", "its pod CIDR fd02::/80 overlaps pod CIDR fd02::/64 of node b, which counts" },
		{ "10.1.0.0/16", "192.0.2.3", "its pod CIDR 10.1.0.0/16 overlaps pod CIDR 10.1.0.0/24 of node self, which counts" },
		{ "10.3.0.0/24", "192.0.2.2", "its address 192.0.2.2 overlaps address 192.0.2.2 of node b, which counts" },
		{ "10.3.0.0/24", "192.0.2.1", "its address 192.0.2.1 overlaps address 192.0.2.1 of node self, which counts" },
		{ "10.3.0.0/24", "10.2.0.9", "its address 10.2.0.9 overlaps pod CIDR 10.2.0.0/24 of node b, which counts" },
		{ "192.0.2.0/24", "192.0.2.3", "its address 192.0.2.3 is in its own pod CIDR 192.0.2.0/24" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		rig_begin(&r);
		put(&r, "c", rows[i].cidrs, rows[i].addresses);
		put(&r, "self", SELF);
		put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
		assert_int_equal(run(&r), 0);
		assert_string_equal(complaint(&r, "Node c"), rows[i].message);
		assert_null(in_maps(&r, "c"));
		assert_non_null(in_maps(&r, "b"));
		assert_int_equal(r.complaint_count, 1);
		/* mended */
		put(&r, "c", "10.3.0.0/24", "192.0.2.3");
		assert_int_equal(run(&r), 0);
		assert_int_equal(r.complaint_count, 0);
		assert_non_null(in_maps(&r, "c"));
		/* one that comes before it by name makes it give way, until that is gone */
		put(&r, "a", "10.3.0.0/25", "2001:db8::2");
		assert_int_equal(run(&r), 0);
		assert_non_null(in_maps(&r, "a"));
		assert_null(in_maps(&r, "c"));
		cluster_remove_node(r.c, "a");
		assert_int_equal(run(&r), 0);
		assert_non_null(in_maps(&r, "c"));
		assert_int_equal(r.complaint_count, 0);
		rig_end(&r);
	}
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
	put(&r, "d", "fd04::/64", "192.0.2.4");	  /* on link, but no way for its family without the tunnel */
	hop_to(&r, "192.0.2.4", "192.0.2.4", UPLINK, 1500, 4);
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
	hop_to(&r, "192.0.2.2", "192.0.2.254", UPLINK, 1500, 0xfe);
	look_again(&r, HOP_ROUTE);
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
	assert_string_equal(complaint(&r, "Node c"),
			    "192.0.2.3 is not on a link of this node for each of its pod CIDRs, and --routing-mode is direct");
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
	assert_string_equal(complaint(&r, "Node self"), "this node has no pod CIDR: it is in no cluster");
	assert_int_equal(r.complaint_count, 1);
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	assert_string_equal(complaint(&r, "Node b"), "it has no pod CIDR");
	assert_string_equal(complaint(&r, "Node c"), "it has no address of type InternalIP");
	assert_int_equal(r.complaint_count, 2);
	/* our own object goes: so does all else */
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	assert_int_equal(run(&r), 0);
	assert_int_equal(counts(&r).in_maps, 1);
	cluster_remove_node(r.c, "self");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.route_count + r.k.uplink_count + r.k.port + r.k.mtu + r.k.address_count + r.complaint_count, 0);
	assert_int_equal(r.k.cluster.flags, 0);
	rig_end(&r);
}

static void small_mtu(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1300, 2);
	assert_int_equal(run(&r), 0);
	assert_null(in_maps(&r, "b"));
	assert_string_equal(complaint(&r, "Node b"),
			    "the MTU on the way to it, 1300, is too small: its pods need 1280, and the tunnel 62");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1342, 2);
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 1280);
	rig_end(&r);
}

/* Pods that are there follow; those that cannot be reached are told, and tried again, without another look at the nodes. */
static void pods_follow(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24 fd02::/64", "192.0.2.2");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.pods_mtu, 1438);
	assert_false(cluster_pods_left(r.c));
	r.k.pods_left = 2;
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1400, 2);
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.pods_mtu, 1338);
	assert_true(cluster_pods_left(r.c));
	assert_string_equal(complaint(&r, "MTU of pods"), "2 do not have 1338: a pod has gone astray");
	r.k.pods_left = 0;
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1300, 2); /* which is not looked at */
	cluster_retry(r.c);
	assert_true(cluster_pending(r.c));
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 1338);
	assert_string_equal(complaint(&r, "MTU of pods"), "");
	assert_false(cluster_pods_left(r.c));
	/* Without a cluster they keep what they have. */
	cluster_remove_node(r.c, "self");
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.mtu, 0);
	assert_int_equal(r.k.pods_mtu, 1338);
	rig_end(&r);
}

/* The gateway address of a pod CIDR that is no longer ours goes. */
static void another_cidr(void **state)
{
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.gateway_count, 2);
	put(&r, "self", "10.9.0.0/24 fd01::/64", "192.0.2.1 2001:db8::1");
	r.k.gateway_count = 0; /* the fake adds them once more */
	assert_int_equal(fake_gateway_add(&r.k, 0, &(struct prefix[]){ prefix("10.1.0.0/24") }[0],
					  &(struct ip[]){ ip("10.1.0.1") }[0], NULL), 0);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.gateway_count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_false(ip_equal(&r.k.gateways[i].ip, &(struct ip[]){ ip("10.1.0.1") }[0]));
	rig_end(&r);
}

/* An event costs as much as it is about. */
static void only_who_is_concerned(void **state)
{
	static const struct {
		struct hop_news news;
		unsigned looks;
	} rows[] = {
		{ { HOP_NEIGHBOUR, { { UPLINK, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 1 },
		{ { HOP_NEIGHBOUR, { { UPLINK2, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 0 },
		{ { HOP_NEIGHBOUR, { { UPLINK, { AF_INET, { 192, 0, 2, 9 } } } }, 1 }, 0 },
		{ { HOP_LINK, { { UPLINK } }, 1 }, 3 },
		{ { HOP_LINK, { { 99 } }, 1 }, 1 }, /* d, to which there is no way */
		{ { HOP_ROUTE }, 3 },
		{ { HOP_NEIGHBOUR | HOP_LOST, { { UPLINK, { AF_INET, { 192, 0, 2, 3 } } } }, 1 }, 3 },
	};
	struct rig r;

	rig_begin(&r);
	put(&r, "self", SELF);
	put(&r, "b", "10.2.0.0/24", "192.0.2.2");
	put(&r, "c", "10.3.0.0/24", "192.0.2.3");
	put(&r, "d", "10.4.0.0/24", "192.0.2.4");
	hop_to(&r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	hop_to(&r, "192.0.2.3", "192.0.2.3", UPLINK, 1500, 3);
	no_hop_to(&r, "192.0.2.4");
	assert_int_equal(run(&r), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.k.looks = 0;
		cluster_look_again(r.c, &rows[i].news);
		if (cluster_pending(r.c) != (rows[i].looks != 0))
			fail_msg("news %zu: %spending", i, cluster_pending(r.c) ? "" : "not ");
		if (cluster_pending(r.c))
			assert_int_equal(run(&r), 0);
		if (r.k.looks != rows[i].looks)
			fail_msg("news %zu: %u looks, not %u", i, r.k.looks, rows[i].looks);
	}
	rig_end(&r);
}

/* Neighbours hear where our addresses are: once, and whenever that changes. */
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
		look_again(&r, HOP_ADDRESS);
		assert_int_equal(run(&r), 0);
		assert_int_equal(r.k.announced, 1);
	}
	device->mac[5] = 7;
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 2);
	device->flags &= ~(uint32_t)IFF_RUNNING; /* nobody would hear it */
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 2);
	device->flags |= IFF_RUNNING;
	look_again(&r, HOP_LINK);
	assert_int_equal(run(&r), 0);
	assert_int_equal(r.k.announced, 3);
	rig_end(&r);
}

/* Whatever write fails, the next run mends it. */
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
		if (counts(&r).in_maps != 2 || r.complaint_count) fprintf(stderr, "n=%ld ret=%d b=%s c=%s\n", n, ret, find(&r, "b").node.problem, find(&r, "c").node.problem);
		assert_int_equal(in_maps(&r, "b")->cidrs[0].ip.bytes[1], 3);
		assert_int_equal(in_maps(&r, "c")->cidrs[0].ip.bytes[1], 2);
		assert_int_equal(r.k.route_count, 2);
		assert_int_equal(r.k.address_count, 4);
		assert_int_equal(r.k.cluster.flags & WR_CLUSTER_POD6, 0);
		rig_end(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_our_own_object_there_is_no_cluster),
		cmocka_unit_test(a_node_joins_over_ipv4),
		cmocka_unit_test(the_family_underneath),
		cmocka_unit_test(nothing_is_done_twice),
		cmocka_unit_test(what_an_earlier_agent_left_goes),
		cmocka_unit_test(a_route_of_a_pod_is_not_ours_to_delete),
		cmocka_unit_test(the_next_hop_changes),
		cmocka_unit_test(xdp_on_uplinks),
		cmocka_unit_test(no_way_there),
		cmocka_unit_test(nodes_change),
		cmocka_unit_test(overlaps),
		cmocka_unit_test(modes),
		cmocka_unit_test(incomplete_nodes),
		cmocka_unit_test(small_mtu),
		cmocka_unit_test(pods_follow),
		cmocka_unit_test(another_cidr),
		cmocka_unit_test(only_who_is_concerned),
		cmocka_unit_test(addresses_are_announced),
		cmocka_unit_test(every_write_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
