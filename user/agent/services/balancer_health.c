/* SPDX-License-Identifier: BSD-2-Clause */
/* Services with a health check port, by which load balancers find the nodes that have endpoints. */
#include "balancer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

static int address_cmp(const void *a, const void *b)
{
	return ip_cmp(a, b);
}

/*
 * As kube-proxy counts them: ready ones, each address once. Counted up to what a Service may have, since a tenant can
 * write more. -ENOMEM
 */
static ssize_t count_local(const struct service *s, bool v6)
{
	_cleanup_free_ struct ip *found = NULL;
	const struct slice *slice;
	size_t room = 0, count = 0;

	list_each(slice, &s->slices, of_service) {
		for (size_t i = 0; slice->v6 == v6 && slice->port_count && i < slice->ends[ENDPOINTS_READY_HERE]; i++) {
			if (count == SERVICE_BACKENDS_MAX)
				break;
			if (array_push(found, room, count, slice_ip(slice, slice_addresses(slice), i)) < 0)
				return -ENOMEM;
		}
	}
	return (ssize_t)array_sort_unique(found, count, sizeof(*found), address_cmp, NULL);
}

void health_update(struct balancer *b, struct service *s)
{
	const struct service_object *o = s->object;
	const bool has = o && b->options.node_ports && !b->released && !o->other_proxy && o->cluster_ips[0].family &&
			 o->type == SERVICE_LOAD_BALANCER && o->external_local;
	const uint16_t port = has ? o->health_check_port : 0;

	b->healths_changed |= port != s->health_port;
	s->health_port = port;
	s->local_endpoints = 0;
	if (!port) {
		list_remove(&s->healths);
		return;
	}
	list_mark(&b->healths, &s->healths);
	/* A pod of both families is in a slice of each. Without memory the node says that it has none. */
	for (int v6 = 0; v6 < 2; v6++) {
		const ssize_t count = count_local(s, v6);

		if (count > (ssize_t)s->local_endpoints)
			s->local_endpoints = (uint32_t)count;
	}
}

void balancer_each_health(const struct balancer *b, void (*fn)(const struct balancer_health *health, void *arg), void *arg)
{
	const struct service *s;

	list_each(s, &b->healths, healths)
		fn(&(struct balancer_health){ s->namespace->name, s->name, s->health_port, s->local_endpoints }, arg);
}

size_t balancer_health_endpoints(const struct balancer *b, const char *namespace, const char *name)
{
	const struct service *s = service_find(b, namespace, name);

	return s ? s->local_endpoints : 0;
}

bool balancer_health_changed(struct balancer *b)
{
	const bool changed = b->healths_changed;

	b->healths_changed = false;
	return changed;
}
