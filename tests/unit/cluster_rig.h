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
	struct { char what[64], message[512]; } complaints[32];
	size_t complaint_count;
};

static inline void on_complaint(void *arg, const char *what, const struct err *err)
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

static inline const char *complaint(const struct rig *r, const char *what)
{
	for (size_t i = 0; i < r->complaint_count; i++) {
		if (strcmp(r->complaints[i].what, what) == 0)
			return r->complaints[i].message;
	}
	return "";
}

static inline void rig_agent(struct rig *r)
{
	const struct cluster_events events = { on_complaint, on_complaint, r };

	r->ipcache = ipcache_new(&fake_ipcache_ops, &r->k);
	assert_non_null(r->ipcache);
	assert_int_equal(ipcache_load(r->ipcache, NULL), 0);
	r->c = cluster_open(&fake_cluster_ops, &r->k, &r->options, r->ipcache, &events);
	assert_non_null(r->c);
	r->complaint_count = 0;
}

/* As if all devices, or neighbours, that there are had changed. */
static inline void look_again(struct rig *r, enum hop_change change)
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

static inline void rig_end(struct rig *r)
{
	cluster_close(r->c);
	ipcache_free(r->ipcache);
}

static inline void hop_to(struct rig *r, const char *to, const char *next, uint32_t uplink, uint32_t mtu, uint8_t mac)
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

static inline void no_hop_to(struct rig *r, const char *to)
{
	hop_to(r, to, to, UPLINK, 1500, 0);
	for (size_t i = 0; i < r->k.hop_count; i++) {
		if (ip_equal(&r->k.hops[i].to, &(struct ip[]){ ip(to) }[0]))
			r->k.hops[i].error = EHOSTUNREACH;
	}
}

static inline void device_has(struct rig *r, const char *address, uint32_t ifindex, uint32_t mtu)
{
	r->k.devices[r->k.device_count].ip = ip(address);
	r->k.devices[r->k.device_count++].info = (struct link_info){ .ifindex = ifindex, .mtu = mtu, .flags = IFF_UP };
}

/* Words in each of the lists; no copy of the API's own checks. */
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
	hop_to(r, "192.0.2.2", "192.0.2.2", UPLINK, 1500, 2);
	hop_to(r, "192.0.2.3", "192.0.2.254", UPLINK, 1500, 0xfe);
	hop_to(r, "2001:db8::2", "2001:db8::2", UPLINK, 1500, 2);
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

static inline const struct hop *hop_of(struct rig *r, const char *name)
{
	const struct hop *hop = find(r, name).node.hop;

	assert_non_null(hop);
	return hop;
}

#endif
