/* SPDX-License-Identifier: BSD-2-Clause */
#include "cluster_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "clock.h"

/* --- members --- */

static int name_cmp(const void *name, const void *member)
{
	return strcmp(name, (*(struct member *const *)member)->name);
}

/* *index: its position, or where to insert it. */
static struct member *member_find(const struct cluster *c, const char *name, size_t *index)
{
	*index = array_lower_bound(name, c->members, c->count, sizeof(*c->members), name_cmp);
	return *index < c->count && strcmp(c->members[*index]->name, name) == 0 ? c->members[*index] : NULL;
}

static void member_free(struct member *m)
{
	node_object_free(m->object);
	free(m->name);
	free(m);
}

static struct member *member_new(struct cluster *c, const char *name, size_t index)
{
	struct member *m;

	if (array_grow(&c->members, &c->room, c->count, sizeof(*c->members)) < 0)
		return NULL;
	m = calloc(1, sizeof(*m));
	if (m)
		m->name = strdup(name);
	if (!m || !m->name) {
		free(m);
		return NULL;
	}
	m->own = strcmp(name, c->options->node_name) == 0;
	memmove(&c->members[index + 1], &c->members[index], (c->count - index) * sizeof(*c->members));
	c->members[index] = m;
	c->count++;
	return m;
}

/* Without the status of the agent there. */
static bool same_object(const struct node_object *a, const struct node_object *b)
{
	return a && a->address_count == b->address_count && memcmp(a->cidrs, b->cidrs, sizeof(a->cidrs)) == 0 &&
	       memcmp(a->addresses, b->addresses, a->address_count * sizeof(*a->addresses)) == 0;
}

void cluster_set_keys(struct cluster *c, const struct tunnel_keys *keys)
{
	c->keys = *keys;
	c->keys_version++;
	c->own_changed = c->look_again = c->pending = true;
}

int cluster_put_node(struct cluster *c, struct node_object *object)
{
	size_t index;
	struct member *m = member_find(c, object->name, &index);

	if (!m)
		m = member_new(c, object->name, index);
	if (!m) {
		node_object_free(object);
		return -ENOMEM;
	}
	if (same_object(m->object, object)) {
		memcpy(m->object->agent, object->agent, sizeof(object->agent)); /* only shown */
		m->object->created = object->created;
		node_object_free(object);
		return 0;
	}
	if (!m->slot)
		m->since_ns = clock_ns(CLOCK_MONOTONIC);
	node_object_free(m->object);
	m->object = object;
	m->dirty = true;
	c->objects_changed = true;
	c->own_changed |= m->own;
	return 0;
}

void cluster_remove_node(struct cluster *c, const char *name)
{
	size_t index;
	struct member *m = member_find(c, name, &index);

	if (!m || !m->object)
		return;
	node_object_free(m->object);
	m->object = NULL;
	c->objects_changed = true;
	c->own_changed |= m->own;
}

/* --- members of the cluster --- */

/* Finds this node's object, if it can be a member. */
static void find_own(struct cluster *c)
{
	c->own = NULL;
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (!m->own || !m->object)
			continue;
		m->problem[0] = '\0';
		if (!m->object->address_count)
			member_problem(m, "this node has no address of type InternalIP: it is in no cluster");
		else if (!m->object->cidrs[0].ip.family && !m->object->cidrs[1].ip.family)
			member_problem(m, "this node has no pod CIDR: it is in no cluster");
		else
			c->own = m;
	}
}

/* Once per start: nodes in the maps precede all objects that this agent has read. */
static int adopt(struct cluster *c, struct err *err)
{
	int ret = c->adopted ? 0 : stale_nodes_load(c, err);

	if (ret == 0 && !c->adopted)
		ret = conflicts_adopt(c);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the nodes of the cluster");
	c->adopted |= ret == 0;
	return ret;
}

int cluster_resolve(struct cluster *c, struct err *err)
{
	static const struct prefix none[2];
	bool own_changed = c->own_changed;
	int ret;

	if (!c->objects_changed)
		return 0;
	ret = adopt(c, err);
	if (ret < 0)
		return ret;
	if (own_changed)
		find_own(c);
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->dirty |= c->members[i]->not_programmed || own_changed;
	if (conflicts_resolve(c) < 0)
		return err_set(err, ENOMEM, "no memory for the nodes of the cluster");
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->dirty |= c->members[i]->not_programmed;
	if (c->own && c->own->not_programmed)
		c->own = NULL;
	if (own_changed && ipcache_set_own(c->ipcache, c->own ? c->own->name : NULL) < 0)
		return err_set(err, ENOMEM, "no memory for the name of this node");
	for (size_t i = 0; i < c->count; i++) {
		const struct member *m = c->members[i];
		const bool remote = m->object && !m->not_programmed && !m->own;

		if (ipcache_set_cidrs(c->ipcache, m->name, remote ? m->object->cidrs : none) < 0)
			return err_set(err, ENOMEM, "no memory for the pods of node %.63s", m->name);
	}
	c->objects_changed = false;
	c->pending = true;
	return own_changed;
}

/*
 * A change of a device that no node is reached by, and that has none of this node's addresses, matters only to nodes
 * that cannot be reached: they may be reachable by it now.
 */
static void other_device_changed(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m != c->own && m->object && !m->slot && !m->not_programmed)
			m->dirty = c->pending = true;
	}
}

static void neighbour_changed(struct cluster *c, const struct nexthop_index *at)
{
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m->nexthop.ifindex == at->ifindex && ip_equal(&m->nexthop.next, &at->ip))
			m->dirty = c->pending = true;
	}
}

void cluster_look_again(struct cluster *c, const struct nexthop_change *change)
{
	bool all = change->changes & ~(unsigned)(NEXTHOP_NEIGHBOUR | NEXTHOP_LINK);

	if (!c->own)
		return;
	for (size_t i = 0; i < change->count && !all; i++) {
		const struct nexthop_index *at = &change->places[i];

		if (at->ip.family)
			neighbour_changed(c, at);
		else if (at->ifindex == c->gateway_ifindex || is_uplink(c, at->ifindex))
			all = true;
		else
			other_device_changed(c);
	}
	if (all)
		c->look_again = c->pending = true;
}

void cluster_lost(struct cluster *c)
{
	c->loaded = false;
	c->own_changed = c->look_again = c->pending = true;
}

void cluster_retry(struct cluster *c)
{
	c->pending = true;
}

bool cluster_mtu_pending(const struct cluster *c)
{
	return c->pods_left > 0;
}

bool cluster_pending(const struct cluster *c)
{
	return c->pending;
}

/* --- runs --- */

static int load(struct cluster *c, struct err *err)
{
	int ret = c->ops->gateway_link(c->arg, &c->gateway_ifindex, err);

	c->written_mtu = c->written_port = -1;
	if (ret == 0)
		ret = c->ops->cluster_get(c->arg, &c->cluster, err);
	c->cluster.revision = 0;
	for (size_t i = 0; i < c->count && ret == 0; i++) {
		struct member *m = c->members[i];

		m->slot = 0;
		memset(m->routes, 0, sizeof(m->routes));
	}
	if (ret == 0)
		ret = stale_load(c, err);
	if (ret == 0)
		ret = uplinks_load(c, err);
	c->loaded = ret == 0;
	return ret;
}

/* Reads the routes again, since another program may have changed them. */
static int reload_routes(struct cluster *c, struct err *err)
{
	for (size_t i = 0; i < c->count; i++)
		memset(c->members[i]->routes, 0, sizeof(c->members[i]->routes));
	return stale_routes_load(c, err);
}

static void report_problem(struct cluster *c, struct member *m)
{
	struct err err = { .num = EINVAL };
	char what[300];

	if (strcmp(m->problem, m->reported) == 0)
		return;
	memcpy(m->reported, m->problem, sizeof(m->reported));
	snprintf(what, sizeof(what), "Node %s", m->name);
	snprintf(err.msg, sizeof(err.msg), "%s", m->problem);
	c->events.report_node_problem(c->events.arg, what, *m->problem ? &err : NULL);
}

/* Removes members whose object was deleted, and reports the end of their problem. */
static void drop_gone(struct cluster *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (!c->members[i]->object)
			member_withdraw(c, c->members[i]);
	}
	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (m->object || m->slot || m->cached_count) { /* could not be withdrawn: the next run tries again */
			c->members[kept++] = m;
			continue;
		}
		m->problem[0] = '\0';
		report_problem(c, m);
		member_free(m);
	}
	c->count = kept;
}

/* Two rounds, since put_node() may release another member's slot. */
static void update_members(struct cluster *c)
{
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < c->count; i++) {
			struct member *m = c->members[i];

			if (m != c->own && m->object && (m->dirty || (c->look_again && !round)))
				member_update(c, m);
		}
	}
	c->look_again = false;
}

static int run_on(struct cluster *c, struct err *err)
{
	int ret = c->look_again ? reload_routes(c, err) : 0;

	if (ret == 0)
		ret = own_update(c, err);
	if (ret < 0)
		return ret;
	update_members(c);
	ret = own_update_keys(c, err);
	if (ret == 0)
		ret = stale_nodes_delete(c, err);
	/*
	 * If a node could not be written, its routes may be among the stale ones, or have a former gateway as their
	 * source.
	 */
	if (ret == 0 && !c->again)
		ret = stale_routes_delete(c, err);
	if (ret == 0 && !c->again)
		ret = own_delete_former(c, err);
	if (ret == 0)
		ret = uplinks_detach_unused(c, err);
	if (ret == 0)
		uplinks_xdp(c);
	return ret < 0 ? ret : own_update_mtu(c, err);
}

static int run_off(struct cluster *c, struct err *err)
{
	int ret = stale_nodes_delete(c, err);

	for (size_t i = 0; i < c->count; i++) {
		struct member *m = c->members[i];

		if (!m->own)
			m->problem[0] = '\0';
		member_withdraw(c, m);
	}
	if (ret == 0)
		ret = stale_routes_delete(c, err);
	return ret < 0 ? ret : own_withdraw(c, err);
}

int cluster_run(struct cluster *c, struct err *err)
{
	int ret = c->loaded ? 0 : load(c, err), flushed;

	c->again = c->pending = false;
	if (ret == 0 && c->options->tunnel_key != TUNNEL_KEY_OFF && !c->keys_version)
		ret = err_set(err, EAGAIN, "there is no tunnel key yet");
	if (ret == 0) {
		drop_gone(c);
		ret = c->own ? run_on(c, err) : run_off(c, err);
	}
	for (size_t i = 0; i < c->count; i++)
		report_problem(c, c->members[i]);
	/* Commit what was written, even if not all could be. */
	flushed = ipcache_flush(c->ipcache, ret < 0 ? NULL : err);
	ret = ret < 0 ? ret : flushed;
	flushed = c->ops->commit(c->arg, ret < 0 ? NULL : err);
	ret = ret < 0 ? ret : flushed;
	if (ret == 0 && c->again)
		ret = err_set(err, EAGAIN, "some nodes could not be written");
	/* The next run must update all members before it deletes stale nodes and routes. */
	c->look_again |= ret < 0;
	return ret;
}

/* --- queries --- */

const struct node_object *cluster_own(const struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->members[i]->own)
			return c->members[i]->object;
	}
	return NULL;
}

bool cluster_own_cidrs(const struct cluster *c, struct prefix cidrs[2])
{
	if (!c->own || c->own_changed)
		return false;
	memcpy(cidrs, c->own->object->cidrs, 2 * sizeof(*cidrs));
	return true;
}

int cluster_each(const struct cluster *c, int (*fn)(const struct cluster_node *node, void *arg), void *arg)
{
	int ret = 0;

	for (size_t i = 0; i < c->count && ret == 0; i++) {
		const struct member *m = c->members[i];
		const struct cluster_node node = {
			m->object, m->own, m->slot, m->slot ? &m->node : NULL, m->slot ? &m->nexthop : NULL, m->problem
		};

		if (m->object)
			ret = fn(&node, arg);
	}
	return ret;
}

void cluster_count(const struct cluster *c, struct cluster_counts *counts)
{
	*counts = (struct cluster_counts){ .on = c->own, .pod_mtu = c->written_mtu > 0 ? (uint32_t)c->written_mtu : 0 };
	for (size_t i = 0; i < c->count; i++) {
		const struct member *m = c->members[i];

		counts->problems += *m->problem != '\0';
		if (m->own || !m->object)
			continue;
		counts->nodes++;
		counts->in_maps += m->slot != 0;
		counts->unresolved += m->slot && !m->nexthop.resolved;
	}
}

const struct histogram *cluster_joins(const struct cluster *c)
{
	return &c->joins;
}

struct cluster *cluster_open(const struct cluster_ops *ops, void *arg, const struct cluster_options *options,
			     struct ipcache *ipcache, const struct cluster_events *events)
{
	struct cluster *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->ops = ops;
	c->arg = arg;
	c->options = options;
	c->ipcache = ipcache;
	c->events = *events;
	c->pending = true;
	return c;
}

void cluster_close(struct cluster *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		member_free(c->members[i]);
	free(c->members);
	free(c->uplinks);
	free(c->former);
	stale_free(&c->stale);
	free(c);
}
