/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grants quotas (balancer_quota.h): the node's to namespaces, a namespace's to its Services. The grants depend on the
 * current requests only, not on the order of events, so all nodes, and the agent after a restart, compute the same.
 */
#include "balancer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

/* --- max-min fairness --- */

const size_t service_max[QUOTAS] = { SERVICE_PORTS_MAX, SERVICE_PORTS_MAX, SERVICE_BACKENDS_MAX, SERVICE_BACKENDS_MAX,
				     SERVICE_TABLES_MAX, SERVICE_RANGES_MAX, SERVICE_RANGES_MAX };
const size_t namespace_max[QUOTAS] = { NAMESPACE_PORTS_MAX, NAMESPACE_PORTS_MAX, NAMESPACE_BACKENDS_MAX,
				       NAMESPACE_BACKENDS_MAX, NAMESPACE_TABLES_MAX, NAMESPACE_RANGES_MAX,
				       NAMESPACE_RANGES_MAX };
const size_t node_max[QUOTAS] = { NODE_PORTS_MAX, NODE_PORTS_MAX, NODE_BACKENDS_MAX, NODE_BACKENDS_MAX,
				  NODE_TABLES_MAX, NODE_RANGES_MAX, NODE_RANGES_MAX };

static int request_cmp(const void *pa, const void *pb)
{
	const struct quota_request *a = pa, *b = pb;

	return a->requested != b->requested ? (a->requested < b->requested ? -1 : 1) : strcmp(b->name, a->name);
}

void quota_grant(struct quota_request *v, size_t count, size_t room)
{
	if (count)
		qsort(v, count, sizeof(*v), request_cmp);
	for (size_t i = 0; i < count; i++) {
		const size_t part = room / (count - i);

		v[i].granted = v[i].requested < part ? v[i].requested : part;
		room -= v[i].granted;
	}
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool is_of_ports(int quota)
{
	return quota == QUOTA_PORTS4 || quota == QUOTA_PORTS6;
}

/* --- requests --- */

static void count_ports(const struct service *s, size_t needed[QUOTAS])
{
	for (size_t i = 0; i < s->address_count; i++) {
		const struct address *a = &s->addresses[i];

		needed[a->ip.family == AF_INET6 ? QUOTA_PORTS6 : QUOTA_PORTS4] +=
		    a->kind == ADDRESS_NODE ? s->node_port_count : s->object->port_count + s->ports_not_programmed;
	}
}

static void count_backends(const struct balancer *b, const struct service_backends *j, size_t needed[QUOTAS], size_t requested[QUOTAS])
{
	for (size_t i = 0; i < j->port_count; i++) {
		const int quota = j->ports[i].v6 ? QUOTA_BACKENDS6 : QUOTA_BACKENDS4;

		if (i && port_backends_same(&j->ports[i], &j->ports[i - 1]))
			continue;
		needed[quota] += j->ports[i].backends;
		requested[quota] += j->ports[i].granted;
		needed[QUOTA_TABLES] += port_backends_blocks(b, j, i);
	}
}

static void count_ranges(const struct service *s, size_t needed[QUOTAS])
{
	const struct prefix *first;

	for (int v6 = 0; v6 < 2; v6++) {
		if (has_source_ranges(s, v6))
			needed[v6 ? QUOTA_RANGES6 : QUOTA_RANGES4] = source_ranges(s->object, v6, &first);
	}
}

int service_measure(struct balancer *b, struct service *s)
{
	_cleanup_service_backends_ struct service_backends j = { 0 };
	size_t needed[QUOTAS] = { 0 }, requested[QUOTAS] = { 0 };

	if (service_backends_resolve(b, s, &j) < 0)
		return -ENOMEM;
	count_ports(s, needed);
	count_ports(s, requested);
	count_ranges(s, needed);
	count_ranges(s, requested);
	count_backends(b, &j, needed, requested);
	requested[QUOTA_TABLES] = needed[QUOTA_TABLES];
	s->slices_not_programmed = j.slices_not_programmed;
	for (int q = 0; q < QUOTAS; q++) {
		s->needed[q] = (uint32_t)smaller(needed[q], UINT32_MAX);
		requested[q] = smaller(requested[q], service_max[q]);
		if (requested[q] == s->requested[q])
			continue;
		s->namespace->requested[q] += requested[q] - s->requested[q];
		s->namespace->changed[q] = true;
		s->requested[q] = (uint32_t)requested[q];
	}
	return 0;
}

/* --- grants --- */

static void service_grant(struct balancer *b, struct service *s, int quota, size_t granted)
{
	if (s->granted[quota] == granted)
		return;
	s->granted[quota] = (uint32_t)granted;
	if (is_of_ports(quota))
		list_mark(&b->dirty, &s->dirty);
	else
		service_queue(b, s);
}

static int grant_namespace(struct balancer *b, struct service_namespace *t, int quota)
{
	_cleanup_free_ struct quota_request *v = NULL;
	const bool bound = t->requested[quota] > t->granted[quota];
	size_t count = 0, room = 0;
	struct service *s;

	t->bound[quota] = bound;
	list_each(s, &t->services, of_namespace) {
		if (!bound)
			service_grant(b, s, quota, s->requested[quota]);
		else if (array_push(v, room, count, (struct quota_request){ s->requested[quota], 0, s->name, s }) < 0)
			return -ENOMEM;
	}
	quota_grant(v, count, t->granted[quota]);
	for (size_t i = 0; i < count; i++)
		service_grant(b, v[i].owner, quota, v[i].granted);
	t->changed[quota] = false;
	return 0;
}

static int grant_node(struct balancer *b, int quota)
{
	_cleanup_free_ struct quota_request *v = NULL;
	size_t count = 0, room = 0;
	struct service_namespace *t;

	table_each(t, &b->namespaces, by_name) {
		const size_t requested = smaller(t->requested[quota], namespace_max[quota]);

		if (array_push(v, room, count, (struct quota_request){ requested, 0, t->name, t }) < 0)
			return -ENOMEM;
	}
	quota_grant(v, count, node_max[quota]);
	for (size_t i = 0; i < count; i++) {
		t = v[i].owner;
		t->changed[quota] |= t->granted[quota] != v[i].granted;
		t->granted[quota] = v[i].granted;
		if (t->changed[quota] && grant_namespace(b, t, quota) < 0)
			return -ENOMEM;
	}
	return 0;
}

int quotas_grant(struct balancer *b)
{
	int ret = 0;

	for (int q = 0; q < QUOTAS && ret == 0; q++)
		ret = grant_node(b, q);
	return ret;
}

/* --- problems --- */

/* The limit by which it is granted less than it needs. */
static size_t bound_of(const struct service *s, int quota, const char **whose)
{
	const bool of_namespace = s->namespace->granted[quota] == namespace_max[quota];

	if (s->granted[quota] < s->requested[quota]) {
		*whose = of_namespace ? "the Services of a namespace" : "all Services";
		return of_namespace ? namespace_max[quota] : node_max[quota];
	}
	*whose = s->requested[quota] == service_max[quota] ? "a Service" : "a port";
	return s->requested[quota] == service_max[quota] ? service_max[quota] : PORT_BACKENDS_MAX;
}

void quota_problem(const struct service *s, char *text, size_t size)
{
	static const char *const what[QUOTAS] = { "IPv4 ports", "IPv6 ports", "IPv4 backends", "IPv6 backends",
						   "blocks of tables", "IPv4 source ranges", "IPv6 source ranges" };

	*text = '\0';
	for (int q = 0; q < QUOTAS; q++) {
		const char *whose;
		size_t bound;

		if (s->needed[q] <= s->granted[q])
			continue;
		bound = bound_of(s, q, &whose);
		snprintf(text, size, "%u of its %u %s are programmed: %s may have %zu", s->granted[q], s->needed[q],
			 what[q], whose, bound);
		return;
	}
	if (s->slices_not_programmed)
		snprintf(text, size, "its EndpointSlices have more ports than a Service may have; merge them");
}
