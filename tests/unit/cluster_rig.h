/* SPDX-License-Identifier: BSD-2-Clause */
/* A cluster's agent over a node in memory (fake_cluster.h): Node objects in, maps, routes and devices out. */
#ifndef WARREN_TEST_CLUSTER_RIG_H
#define WARREN_TEST_CLUSTER_RIG_H

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

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
	struct { char what[64], message[512]; } problems[32];
	size_t problem_count;
};

static inline void on_problem(void *arg, const char *what, const struct err *err)
{
	struct rig *r = arg;
	size_t i = 0;

	while (i < r->problem_count && strcmp(r->problems[i].what, what) != 0)
		i++;
	if (!err) {
		assert_true(i < r->problem_count); /* there was a problem with it */
		r->problems[i] = r->problems[--r->problem_count];
		return;
	}
	assert_true(i < 32);
	str_copy(r->problems[i].what, sizeof(r->problems[i].what), what);
	str_copy(r->problems[i].message, sizeof(r->problems[i].message), err->msg);
	if (i == r->problem_count)
		r->problem_count++;
}

static inline const char *problem(const struct rig *r, const char *what)
{
	for (size_t i = 0; i < r->problem_count; i++) {
		if (strcmp(r->problems[i].what, what) == 0)
			return r->problems[i].message;
	}
	return "";
}

static inline void rig_agent(struct rig *r)
{
	const struct cluster_events events = { on_problem, on_problem, r };

	r->ipcache = ipcache_new(&fake_ipcache_ops, &r->k);
	assert_non_null(r->ipcache);
	assert_int_equal(ipcache_load(r->ipcache, NULL), 0);
	r->c = cluster_open(&fake_cluster_ops, &r->k, &r->options, r->ipcache, &events);
	assert_non_null(r->c);
	r->problem_count = 0;
}

/* As if all devices, or all neighbours, had changed. */
static inline void look_again(struct rig *r, enum nexthop_changed what)
{
	struct nexthop_change change = { .changes = what };

	if (what == NEXTHOP_LINK) {
		change.places[change.count++].ifindex = UPLINK;
		change.places[change.count++].ifindex = UPLINK2;
	}
	for (size_t i = 0; i < r->k.nexthop_count && what == NEXTHOP_NEIGHBOUR; i++)
		change.places[change.count++] = (struct nexthop_index){ r->k.nexthops[i].nexthop.ifindex, r->k.nexthops[i].nexthop.next };
	cluster_look_again(r->c, &change);
}

static inline void rig_end(struct rig *r)
{
	cluster_close(r->c);
	ipcache_free(r->ipcache);
}

static inline void set_nexthop(struct rig *r, const char *to, const char *next, uint32_t uplink, uint32_t mtu, uint8_t mac)
{
	const struct ip address = ip(to);
	struct fake_nexthop_entry *h = NULL;

	for (size_t i = 0; i < r->k.nexthop_count; i++) {
		if (ip_equal(&r->k.nexthops[i].to, &address))
			h = &r->k.nexthops[i];
	}
	if (!h)
		h = &r->k.nexthops[r->k.nexthop_count++];
	*h = (struct fake_nexthop_entry){ .to = address };
	h->nexthop = (struct nexthop){ .ifindex = uplink, .mtu = mtu, .next = ip(next), .gateway = strcmp(to, next) != 0,
			       .resolved = mac, .dmac = { 2, 0, 0, 0, 0, mac }, .smac = { 2, 0, 0, 0, 1, 0 } };
}

static inline void set_unreachable(struct rig *r, const char *to)
{
	set_nexthop(r, to, to, UPLINK, 1500, 0);
	for (size_t i = 0; i < r->k.nexthop_count; i++) {
		if (ip_equal(&r->k.nexthops[i].to, &(struct ip[]){ ip(to) }[0]))
			r->k.nexthops[i].error = EHOSTUNREACH;
	}
}

static inline void device_has(struct rig *r, const char *address, uint32_t ifindex, uint32_t mtu)
{
	r->k.devices[r->k.device_count].ip = ip(address);
	r->k.devices[r->k.device_count++].info = (struct link_info){ .ifindex = ifindex, .mtu = mtu, .flags = IFF_UP };
}

/* Space-separated lists; without the API's own checks. */
static inline void put_created(struct rig *r, const char *name, const char *cidrs, const char *addresses, int64_t created)
{
	struct node_object *o = calloc(1, sizeof(*o));
	char text[256], *rest = text, *word;
	size_t count = 0;

	o->name = strdup(name);
	o->created = created;
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

static inline void put(struct rig *r, const char *name, const char *cidrs, const char *addresses)
{
	put_created(r, name, cidrs, addresses, 0);
}

static inline int run(struct rig *r)
{
	struct err err = { 0 };

	assert_true(cluster_resolve(r->c, &err) >= 0);
	return cluster_run(r->c, &err);
}

static inline void rig_begin(struct rig *r)
{
	*r = (struct rig){ .options = { .node_name = "self" }, .k.writes_left = -1 };
	rig_agent(r);
	device_has(r, "192.0.2.1", UPLINK, 1500);
	device_has(r, "2001:db8::1", UPLINK, 1500);
	set_nexthop(r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	set_nexthop(r, "192.0.2.3", "192.0.2.254", UPLINK, 1500, 0xfe);
	set_nexthop(r, "2001:db8::2", "2001:db8::2", UPLINK, 1500, 2);
}

#define SELF "10.1.0.0/24 fd01::/64", "192.0.2.1 2001:db8::1"

static inline struct cluster_counts counts(const struct rig *r)
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

static inline int on_node(const struct cluster_node *node, void *arg)
{
	struct search *s = arg;

	if (strcmp(node->object->name, s->name) != 0)
		return 0;
	s->node = *node;
	if (node->node)
		s->dp = *node->node;
	return 1;
}

static inline struct search find(const struct rig *r, const char *name)
{
	struct search s = { .name = name };

	assert_int_equal(cluster_each(r->c, on_node, &s), 1);
	return s;
}

static inline const struct dp_node *in_maps(struct rig *r, const char *name)
{
	uint32_t slot = find(r, name).node.slot;

	return slot && r->k.used[slot] ? &r->k.nodes[slot] : NULL;
}

static inline const struct nexthop *hop_of(struct rig *r, const char *name)
{
	const struct nexthop *nexthop = find(r, name).node.nexthop;

	assert_non_null(nexthop);
	return nexthop;
}

#endif
