/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who gets how much (balancer_quota.h): a namespace of what the node has, a Service of what its namespace gets. What is
 * known of all of them decides, not who came first: so every node and every start of the agent decides the same.
 */
#include "balancer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool is_of_ports(int quota)
{
	return quota == QUOTA_PORTS4 || quota == QUOTA_PORTS6;
}

/* --- asked for --- */

static void count_ports(const struct service *s, size_t needs[QUOTAS])
{
	for (int i = 0; s->object && i < 2 && s->object->cluster_ips[i].family; i++)
		needs[s->object->cluster_ips[i].family == AF_INET6 ? QUOTA_PORTS6 : QUOTA_PORTS4] =
			s->object->port_count + s->ports_left_out;
}

static void count_backends(const struct join *j, size_t needs[QUOTAS], size_t asks[QUOTAS])
{
	for (size_t i = 0; i < j->port_count; i++) {
		const int quota = j->ports[i].v6 ? QUOTA_BACKENDS6 : QUOTA_BACKENDS4;

		if (i && join_same(&j->ports[i], &j->ports[i - 1]))
			continue;
		needs[quota] += j->ports[i].backends;
		asks[quota] += j->ports[i].gets;
	}
}

int service_measure(struct balancer *b, struct service *s)
{
	_cleanup_join_ struct join j = { 0 };
	size_t needs[QUOTAS] = { 0 }, asks[QUOTAS] = { 0 };

	if (join_make(b, s, &j) < 0)
		return -ENOMEM;
	count_ports(s, needs);
	count_ports(s, asks);
	count_backends(&j, needs, asks);
	s->slices_left_out = j.slices_left_out;
	for (int q = 0; q < QUOTAS; q++) {
		s->needs[q] = needs[q];
		asks[q] = smaller(asks[q], service_max[q]);
		if (asks[q] == s->asks[q])
			continue;
		s->tenant->asks[q] += asks[q] - s->asks[q];
		s->tenant->changed[q] = true;
		s->asks[q] = asks[q];
	}
	return 0;
}

/* --- shared out --- */

static void service_gets(struct balancer *b, struct service *s, int quota, size_t gets)
{
	if (s->gets[quota] == gets)
		return;
	s->gets[quota] = gets;
	if (is_of_ports(quota))
		list_mark(&b->dirty, &s->dirty);
	else
		service_queue(b, s);
}

static int share_tenant(struct balancer *b, struct tenant *t, int quota)
{
	_cleanup_free_ struct share *v = NULL;
	const bool bound = t->asks[quota] > t->gets[quota];
	size_t count = 0, room = 0;
	struct service *s;

	t->bound[quota] = bound;
	list_each(s, &t->services, of_tenant) {
		if (!bound)
			service_gets(b, s, quota, s->asks[quota]);
		else if (array_push(v, room, count, (struct share){ s->asks[quota], 0, s->name, s }) < 0)
			return -ENOMEM;
	}
	quota_share(v, count, t->gets[quota]);
	for (size_t i = 0; i < count; i++)
		service_gets(b, v[i].owner, quota, v[i].gets);
	t->changed[quota] = false;
	return 0;
}

static int share_node(struct balancer *b, int quota)
{
	_cleanup_free_ struct share *v = NULL;
	size_t count = 0, room = 0;
	struct tenant *t;

	table_each(t, &b->tenants, by_name) {
		const size_t asks = smaller(t->asks[quota], namespace_max[quota]);

		if (array_push(v, room, count, (struct share){ asks, 0, t->name, t }) < 0)
			return -ENOMEM;
	}
	quota_share(v, count, node_max[quota]);
	for (size_t i = 0; i < count; i++) {
		t = v[i].owner;
		t->changed[quota] |= t->gets[quota] != v[i].gets;
		t->gets[quota] = v[i].gets;
		if (t->changed[quota] && share_tenant(b, t, quota) < 0)
			return -ENOMEM;
	}
	return 0;
}

int share_all(struct balancer *b)
{
	int ret = 0;

	for (int q = 0; q < QUOTAS && ret == 0; q++)
		ret = share_node(b, q);
	return ret;
}

/* --- left out --- */

/* The bound by which it gets less than it needs. */
static size_t bound_of(const struct service *s, int quota, const char **whose)
{
	const bool of_namespace = s->tenant->gets[quota] == namespace_max[quota];

	if (s->gets[quota] < s->asks[quota]) {
		*whose = of_namespace ? "the Services of a namespace" : "all Services";
		return of_namespace ? namespace_max[quota] : node_max[quota];
	}
	*whose = s->asks[quota] == service_max[quota] ? "a Service" : "a port";
	return s->asks[quota] == service_max[quota] ? service_max[quota] : PORT_BACKENDS_MAX;
}

void share_problem(const struct service *s, char *text, size_t size)
{
	static const char *const what[QUOTAS] = { "IPv4 ports", "IPv6 ports", "IPv4 backends", "IPv6 backends" };

	*text = '\0';
	for (int q = 0; q < QUOTAS; q++) {
		const char *whose;
		size_t bound;

		if (s->needs[q] <= s->gets[q])
			continue;
		bound = bound_of(s, q, &whose);
		snprintf(text, size, "%zu of its %zu %s are programmed: %s may have %zu", s->gets[q], s->needs[q], what[q],
			 whose, bound);
		return;
	}
	if (s->slices_left_out)
		snprintf(text, size, "its EndpointSlices have more ports than are looked at for a Service; merge them");
}
