/* SPDX-License-Identifier: BSD-2-Clause */
/* Which backends a Service has. */
#include "balancer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "array.h"

static int backend_cmp(const void *pa, const void *pb)
{
	const struct dp_backend *a = pa, *b = pb;
	int c = ip_cmp(&a->ip, &b->ip);

	return c ? c : a->port - b->port;
}

/* The slice's port for the Service's, which goes by name; 0: it has none. */
static uint16_t target_port(const struct slice *slice, const struct service_port *port)
{
	for (size_t i = 0; i < slice->port_count; i++) {
		const struct slice_port *p = &slice->ports[i];

		if (strcmp(p->name, port->name) == 0)
			return p->protocol == port->protocol ? p->port : 0;
	}
	return 0;
}

static int collect(struct balancer *b, const struct front *f, bool draining, size_t *count)
{
	const struct service_object *object = f->service->object;
	struct slice *slice;

	list_each(slice, &f->service->slices, of_service) {
		uint16_t port = target_port(slice, &object->ports[f->index]);

		for (size_t i = 0; port && i < slice->count; i++) {
			const struct address *a = &slice->v[i];
			bool wanted = draining ? a->draining : a->ready;

			if (!wanted || a->ip.family != f->ip.family || (object->internal_local && !a->local))
				continue;
			if (array_push(b->backends, b->backend_room, *count, (struct dp_backend){ a->ip, port }) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

/* As kube-proxy chooses them (KEP-1669). An address may be in several slices while it moves from one to another. */
ssize_t front_join(struct balancer *b, const struct front *f)
{
	size_t count = 0;
	int ret = collect(b, f, false, &count);

	if (ret == 0 && !count)
		ret = collect(b, f, true, &count);
	if (ret < 0)
		return ret;
	return (ssize_t)array_sort_unique(b->backends, count, sizeof(*b->backends), backend_cmp, NULL);
}

/* Whatever the order of backends; never 0. */
uint64_t backends_fingerprint(const struct balancer *b, const struct dp_service *service)
{
	uint64_t sum = 0;
	struct siphash h;

	for (size_t i = 0; i < service->backend_count; i++) {
		siphash_begin(&h, b->key);
		siphash_bytes(&h, &service->backends[i].ip, sizeof(service->backends[i].ip));
		siphash_number(&h, service->backends[i].port);
		sum += siphash_end(&h);
	}
	siphash_begin(&h, b->key);
	siphash_number(&h, service->affinity_seconds);
	siphash_number(&h, service->backend_count);
	siphash_number(&h, sum);
	return siphash_end(&h) | 1;
}
