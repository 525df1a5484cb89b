/* SPDX-License-Identifier: BSD-2-Clause */
/* Resolves the backends of a Service's ports, and which ports share a list. */
#include "balancer_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "maglev.h"

/* The maximum of EndpointSlice ports per Service. */
#define SLICE_PORTS_MAX 32768

void service_backends_free(struct service_backends *j)
{
	free(j->targets);
	free(j->starts);
	free(j->ports);
	*j = (struct service_backends){ 0 };
}

/* The index of the Service's port with this name; -1: it has none. */
static int port_find(const struct service *s, const char *name)
{
	size_t low = 0, high = s->object->port_count;

	while (low < high) {
		const size_t middle = (low + high) / 2;
		const uint16_t port = s->by_port_name ? s->by_port_name[middle] : 0;
		const int c = strcmp(name, s->object->ports[port].name);

		if (c == 0)
			return port;
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

/* How many, and their addresses. */
static size_t usable_endpoints(const struct slice *slice, enum backend_source source, bool here, const uint8_t **first)
{
	const bool draining = source == BACKENDS_DRAINING;
	const size_t begin = draining ? slice->ends[ENDPOINTS_READY] : 0;

	if (source >= BACKENDS_FOR_NODE) {
		*first = slice->hints ? slice->hints->hinted[source - BACKENDS_FOR_NODE] : NULL;
		return slice->hints ? slice->hints->count[source - BACKENDS_FOR_NODE] : 0;
	}
	*first = slice_addresses(slice) + begin * slice_address_size(slice);
	return slice->ends[2 * draining + !here] - begin;
}

/* As kube-proxy does: hints count if every ready endpoint has some, and one of them is for this node or zone. */
static enum backend_source choose_source(const size_t count[BACKEND_SOURCES], const bool unhinted[HINT_KINDS], bool here)
{
	if (!count[BACKENDS_READY])
		return BACKENDS_DRAINING;
	for (int kind = 0; kind < HINT_KINDS && !here; kind++) {
		if (!unhinted[kind] && count[BACKENDS_FOR_NODE + kind])
			return BACKENDS_FOR_NODE + kind;
	}
	return BACKENDS_READY;
}

/* In the order of slices, up to SLICE_PORTS_MAX. */
static int find_targets(const struct service *s, struct service_backends *j, struct target **found)
{
	const struct slice *slice;
	size_t room = 0, looked = 0;

	list_each(slice, &s->slices, of_service) {
		looked += slice->port_count + 1;
		if (looked > SLICE_PORTS_MAX) {
			j->slices_not_programmed = true;
			break;
		}
		for (size_t i = 0; i < slice->port_count; i++) {
			const struct slice_port *p = &slice->ports[i];
			const int index = p->port ? port_find(s, slice_text(slice) + p->name) : -1;

			if (index < 0 || s->object->ports[index].protocol != p->protocol)
				continue;
			if (array_push(*found, room, j->target_count,
				       (struct target){ slice, (uint16_t)index, p->port }) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static int sort_targets(const struct service *s, struct service_backends *j, const struct target *found)
{
	const size_t ports = s->object->port_count;

	j->starts = calloc(ports + 2, sizeof(*j->starts));
	j->targets = calloc(j->target_count + 1, sizeof(*j->targets));
	if (!j->starts || !j->targets)
		return -ENOMEM;
	for (size_t i = 0; found && i < j->target_count; i++)
		j->starts[found[i].index + 2]++;
	for (size_t p = 1; p <= ports; p++)
		j->starts[p + 1] += j->starts[p];
	/* A counting sort: each start moves up to the next port's. */
	for (size_t i = 0; found && i < j->target_count; i++)
		j->targets[j->starts[found[i].index + 1]++] = found[i];
	return 0;
}

static struct port_backends resolve_port(const struct balancer *b, const struct service *s,
					 const struct service_backends *j, size_t index, bool v6, bool here)
{
	struct port_backends port = { .index = (uint16_t)index,
				      .protocol = s->object->ports[index].protocol,
				      .v6 = v6,
				      .here = here };
	size_t count[BACKEND_SOURCES] = { 0 };
	bool unhinted[HINT_KINDS] = { 0 };
	const uint8_t *first;
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_number(&h, here);
	for (size_t i = j->starts[index]; i < j->starts[index + 1]; i++) {
		const struct target *t = &j->targets[i];

		if (t->slice->v6 != v6)
			continue;
		siphash_number(&h, (uintptr_t)t->slice);
		siphash_number(&h, t->port);
		for (int source = 0; source < BACKEND_SOURCES; source++)
			count[source] += usable_endpoints(t->slice, source, here, &first);
		for (int kind = 0; kind < HINT_KINDS; kind++)
			unhinted[kind] |= slice_is_unhinted(t->slice, kind);
	}
	port.same = siphash_end(&h);
	port.source = choose_source(count, unhinted, here);
	port.backends = count[port.source];
	port.granted = port.backends < PORT_BACKENDS_MAX ? port.backends : PORT_BACKENDS_MAX;
	return port;
}

static int port_cmp(const void *pa, const void *pb)
{
	const struct port_backends *a = pa, *b = pb;

	if (a->v6 != b->v6)
		return a->v6 - b->v6;
	if (a->protocol != b->protocol)
		return a->protocol - b->protocol;
	if (a->same != b->same)
		return a->same < b->same ? -1 : 1;
	return a->index - b->index;
}

bool port_backends_same(const struct port_backends *a, const struct port_backends *b)
{
	return a->v6 == b->v6 && a->protocol == b->protocol && a->same == b->same;
}

size_t port_backends_blocks(const struct balancer *b, const struct service_backends *j, size_t i)
{
	const struct port_backends *first = &j->ports[i];

	for (; i < j->port_count && port_backends_same(&j->ports[i], first); i++) {
		if (j->ports[i].external)
			return maglev_blocks(maglev_size((uint32_t)b->options.table_size, first->granted));
	}
	return 0;
}

/* Those of all ports at addresses of the family with these backends, if the Service has any. */
static void resolve_ports(const struct balancer *b, const struct service *s, struct service_backends *j, bool v6, bool here)
{
	bool nodes[2] = { false }, others[2] = { false }; /* [1]: for clients outside the cluster */

	for (size_t i = 0; i < s->address_count; i++) {
		const struct address *a = &s->addresses[i];

		if ((a->ip.family == AF_INET6) == v6 && a->here == here)
			(a->kind == ADDRESS_NODE ? nodes : others)[a->external] = true;
	}
	for (size_t p = 0; p < s->object->port_count; p++) {
		const bool node_port = s->object->ports[p].node_port;

		if (!others[0] && !others[1] && !(node_port && (nodes[0] || nodes[1])))
			continue;
		j->ports[j->port_count] = resolve_port(b, s, j, p, v6, here);
		j->ports[j->port_count++].external = !here && (others[1] || (node_port && nodes[1]));
	}
}

int service_backends_resolve(struct balancer *b, const struct service *s, struct service_backends *j)
{
	_cleanup_free_ struct target *found = NULL;

	if (!s->address_count)
		return 0;
	j->ports = calloc(4 * s->object->port_count + 1, sizeof(*j->ports));
	if (!j->ports || find_targets(s, j, &found) < 0 || sort_targets(s, j, found) < 0)
		return -ENOMEM;
	for (int kind = 0; kind < 4; kind++)
		resolve_ports(b, s, j, kind & 1, kind & 2);
	if (j->port_count)
		qsort(j->ports, j->port_count, sizeof(*j->ports), port_cmp);
	return 0;
}

static int backend_cmp(const void *pa, const void *pb)
{
	const struct dp_backend *a = pa, *b = pb;
	int c = ip_cmp(&a->ip, &b->ip);

	return c ? c : a->port - b->port;
}

/* As kube-proxy chooses them (KEP-1669). An address may be in several slices while it moves from one to another. */
ssize_t port_backends_list(struct balancer *b, const struct service *s, const struct service_backends *j,
			   const struct port_backends *port)
{
	const uint8_t *first;
	size_t count = 0;

	for (size_t i = j->starts[port->index]; i < j->starts[port->index + 1] && count < port->granted; i++) {
		const struct target *t = &j->targets[i];
		const size_t max = usable_endpoints(t->slice, port->source, port->here, &first);

		if (t->slice->v6 != port->v6)
			continue;
		for (size_t n = 0; n < max && count < port->granted; n++) {
			const struct dp_backend backend = { slice_ip(t->slice, first, n), t->port };

			if (array_push(b->v, b->room, count, backend) < 0)
				return -ENOMEM;
		}
	}
	return (ssize_t)array_sort_unique(b->v, count, sizeof(*b->v), backend_cmp, NULL);
}

/* Independent of their order. */
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
	return sum;
}

uint64_t service_fingerprint(const struct balancer *b, const struct dp_service *service, uint64_t backends)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_number(&h, (uint64_t)service->affinity_seconds << 4 | (uint64_t)service->released << 3 |
				   (uint64_t)service->moves << 2 |
				   (uint64_t)service->any_node << 1 | service->local);
	siphash_number(&h, service->table_size);
	siphash_number(&h, service->backend_count);
	siphash_number(&h, backends);
	return siphash_end(&h) | 1;
}
