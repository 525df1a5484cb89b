/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores objects, and marks what the next run must update. */
#include "balancer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

/* --- namespaces --- */

static struct service_namespace *namespace_get(struct balancer *b, const char *name)
{
	const uint64_t hash = name_hash(b, name, "");
	struct service_namespace *t;

	table_each_hash(t, &b->namespaces, hash, by_name) {
		if (strcmp(t->name, name) == 0)
			return t;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->name = strdup(name);
	if (!t->name) {
		free(t);
		return NULL;
	}
	table_add(&b->namespaces, &t->by_name, hash);
	return t;
}

/* Frees it if it has no Service. */
static void namespace_release(struct balancer *b, struct service_namespace *t)
{
	if (!list_empty(&t->services))
		return;
	table_remove(&b->namespaces, &t->by_name);
	list_remove(&t->busy);
	free(t->name);
	free(t);
}

/* --- Services --- */

int service_cmp(const struct service *a, const struct service *b)
{
	int c = strcmp(a->namespace->name, b->namespace->name);

	return c ? c : strcmp(a->name, b->name);
}

struct service *service_find(const struct balancer *b, const char *namespace, const char *name)
{
	struct service *s;

	table_each_hash(s, &b->services, name_hash(b, namespace, name), by_name) {
		if (strcmp(s->namespace->name, namespace) == 0 && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static struct service *service_get(struct balancer *b, const char *namespace, const char *name)
{
	struct service *s = service_find(b, namespace, name);
	struct service_namespace *t = s ? s->namespace : namespace_get(b, namespace);

	if (s || !t)
		return s;
	s = calloc(1, offsetof(struct service, name) + strlen(name) + 1);
	if (!s) {
		namespace_release(b, t);
		return NULL;
	}
	memcpy(s->name, name, strlen(name) + 1);
	s->namespace = t;
	list_append(&t->services, &s->of_namespace);
	table_add(&b->services, &s->by_name, name_hash(b, namespace, name));
	return s;
}

static void service_set_object(struct balancer *b, struct service *s, struct service_object *object,
			       uint16_t *by_port_name, struct claims claims)
{
	claims_replace(b, s, claims);
	b->object_count += (size_t)(object != NULL) - (s->object != NULL);
	service_object_free(s->object);
	free(s->by_port_name);
	s->object = object;
	s->by_port_name = by_port_name;
	s->ports_not_programmed = 0;
}

void service_free(struct balancer *b, struct service *s)
{
	service_set_object(b, s, NULL, NULL, (struct claims){ 0 });
	addresses_free(s);
	table_remove(&b->services, &s->by_name);
	list_remove(&s->of_namespace);
	list_remove(&s->dirty);
	list_remove(&s->queued);
	list_remove(&s->failed);
	list_remove(&s->problems);
	list_remove(&s->healths);
	writing_stop(s);
	namespace_release(b, s->namespace);
	free(s->problem);
	free(s);
}

static int port_name_cmp(const void *pa, const void *pb, void *arg)
{
	const struct service_port *ports = arg;

	return strcmp(ports[*(const uint16_t *)pa].name, ports[*(const uint16_t *)pb].name);
}

/* Cuts the ports to the maximum. Returns how many were cut. */
static uint32_t ports_cut(struct service_object *object)
{
	const size_t count = object->port_count, kept = count < SERVICE_PORTS_MAX ? count : SERVICE_PORTS_MAX;
	struct service_port *fewer;

	if (count == kept)
		return 0;
	for (size_t i = kept; i < count; i++)
		free(object->ports[i].name);
	object->port_count = kept;
	fewer = realloc(object->ports, kept * sizeof(*fewer));
	object->ports = fewer ?: object->ports;
	return (uint32_t)(count - kept);
}

/* Indices of the ports, sorted by name; *sorted NULL: there are fewer than two. -ENOMEM */
static int ports_sort(const struct service_object *object, uint16_t **sorted)
{
	uint16_t *v;

	*sorted = NULL;
	if (object->port_count < 2)
		return 0;
	v = calloc(object->port_count, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < object->port_count; i++)
		v[i] = (uint16_t)i;
	qsort_r(v, object->port_count, sizeof(*v), port_name_cmp, object->ports);
	*sorted = v;
	return 0;
}

int balancer_put_service(struct balancer *b, struct service_object *object)
{
	const uint32_t not_programmed = ports_cut(object);
	_cleanup_free_ uint16_t *by_port_name = NULL;
	struct claims claims = { 0 };
	struct service *s = NULL;

	if (ports_sort(object, &by_port_name) == 0 && claims_make(b, object, &claims) == 0)
		s = service_get(b, object->namespace, object->name);
	if (!s) {
		free(claims.v);
		service_object_free(object);
		return -ENOMEM;
	}
	service_set_object(b, s, service_object_pack(object), take_ptr(by_port_name), claims);
	s->ports_not_programmed = not_programmed;
	service_changed(b, s);
	return 0;
}

void balancer_remove_service(struct balancer *b, const char *namespace, const char *name)
{
	struct service *s = service_find(b, namespace, name);

	if (!s)
		return;
	service_set_object(b, s, NULL, NULL, (struct claims){ 0 });
	service_changed(b, s);
}

/* --- slices --- */

static struct slice *slice_find(const struct balancer *b, const char *namespace, const char *name)
{
	struct slice *s;

	table_each_hash(s, &b->slices, name_hash(b, namespace, name), by_name) {
		if (strcmp(s->service->namespace->name, namespace) == 0 && strcmp(slice_text(s), name) == 0)
			return s;
	}
	return NULL;
}

static void hints_free(struct slice_hints *hints)
{
	if (!hints)
		return;
	for (int kind = 0; kind < HINT_KINDS; kind++)
		free(hints->hinted[kind]);
	slice_object_free(hints->object);
	free(hints);
}

void slice_free(struct balancer *b, struct slice *slice)
{
	table_remove(&b->slices, &slice->by_name);
	list_remove(&slice->of_service);
	service_changed(b, slice->service);
	hints_free(slice->hints);
	free(slice);
}

static int endpoint_kind(const struct balancer *b, const struct slice_endpoint *ep)
{
	const bool here = *ep->node && strcmp(ep->node, b->node_name) == 0;

	if (ep->ready)
		return here ? ENDPOINTS_READY_HERE : ENDPOINTS_READY;
	if (!ep->serving || !ep->terminating)
		return ENDPOINTS_NOT_READY;
	return here ? ENDPOINTS_DRAINING_HERE : ENDPOINTS_DRAINING;
}

static const char *hints_of(const struct slice_endpoint *ep, int kind)
{
	return kind == HINTS_NODE ? ep->for_nodes : ep->for_zones;
}

static bool has_hints(const struct slice_object *object)
{
	for (size_t i = 0; i < object->endpoint_count; i++) {
		if (object->endpoints[i].for_nodes || object->endpoints[i].for_zones)
			return true;
	}
	return false;
}

/* Selects the endpoints that hints name this node or its zone for. -ENOMEM: as before. */
static int hints_select(const struct balancer *b, const struct slice *slice, struct slice_hints *hints, int kind)
{
	const struct slice_object *object = hints->object;
	const size_t size = slice_address_size(slice);
	uint8_t *found = calloc(slice->ends[ENDPOINTS_READY] + 1, size);
	const char *mine = b->hint[kind];
	bool unhinted = false;
	size_t count = 0;

	if (!found)
		return -ENOMEM;
	for (size_t i = 0; i < object->endpoint_count; i++) {
		const struct slice_endpoint *ep = &object->endpoints[i];
		const char *names = hints_of(ep, kind);

		if (!ep->ready)
			continue;
		unhinted |= !names;
		if (names && mine && strstr(names, mine))
			memcpy(found + count++ * size, ep->address.bytes, size);
	}
	free(hints->hinted[kind]);
	hints->hinted[kind] = reallocarray(found, count + 1, size) ?: found;
	hints->count[kind] = count;
	hints->unhinted[kind] = unhinted;
	return 0;
}

/* Takes over the object. NULL: no memory, and the object is still the caller's. */
static struct slice_hints *hints_new(const struct balancer *b, const struct slice *slice, struct slice_object *object)
{
	struct slice_hints *hints = calloc(1, sizeof(*hints));

	if (!hints)
		return NULL;
	hints->object = object;
	if (hints_select(b, slice, hints, HINTS_NODE) == 0 && hints_select(b, slice, hints, HINTS_ZONE) == 0)
		return hints;
	hints->object = NULL;
	hints_free(hints);
	return NULL;
}

static void slice_fill_addresses(const struct balancer *b, struct slice *slice, const struct slice_object *object)
{
	const size_t size = slice_address_size(slice);
	uint32_t count = 0;

	for (int kind = 0; kind < ENDPOINT_KINDS; kind++) {
		for (size_t i = 0; i < object->endpoint_count; i++) {
			if (endpoint_kind(b, &object->endpoints[i]) == kind)
				memcpy(slice_addresses(slice) + count++ * size, object->endpoints[i].address.bytes,
				       size);
		}
		slice->ends[kind] = count;
	}
}

/* Copies the text to *end, and moves it on. */
static uint32_t slice_fill_text(const struct slice *slice, char **end, const char *text)
{
	const uint32_t offset = (uint32_t)(*end - slice_text(slice));

	*end = stpcpy(*end, text) + 1;
	return offset;
}

/* Copies what it needs from the object; it keeps an object with hints. */
static struct slice *slice_new(const struct balancer *b, struct slice_object *object)
{
	const bool v6 = object->endpoint_count && object->endpoints[0].address.family == AF_INET6;
	const size_t address_bytes = object->endpoint_count * (v6 ? 16 : 4);
	size_t text_bytes = strlen(object->name) + 1;
	struct slice *slice;
	char *end;

	for (size_t i = 0; i < object->port_count; i++)
		text_bytes += strlen(object->ports[i].name) + 1;
	slice = calloc(1, offsetof(struct slice, ports) + object->port_count * sizeof(*slice->ports) + address_bytes +
			      text_bytes);
	if (!slice)
		return NULL;
	slice->v6 = v6;
	slice->port_count = (uint32_t)object->port_count;
	slice_fill_addresses(b, slice, object);
	end = slice_text(slice);
	slice_fill_text(slice, &end, object->name);
	for (size_t i = 0; i < object->port_count; i++) {
		const struct service_port *port = &object->ports[i];

		slice->ports[i] =
		    (struct slice_port){ slice_fill_text(slice, &end, port->name), port->port, port->protocol };
	}
	if (!has_hints(object))
		return slice;
	slice->hints = hints_new(b, slice, object);
	if (slice->hints)
		return slice;
	free(slice);
	return NULL;
}

int balancer_put_slice(struct balancer *b, struct slice_object *object)
{
	struct slice *old = slice_find(b, object->namespace, object->name), *slice;
	struct service *service = *object->service ? service_get(b, object->namespace, object->service) : NULL;

	slice = service ? slice_new(b, object) : NULL;
	if (*object->service && !slice) {
		if (service)
			service_changed(b, service);
		slice_object_free(object);
		return -ENOMEM;
	}
	if (slice) {
		slice->service = service;
		/* At the old one's position: if the Service exceeds a quota, its first backends stay the same. */
		list_append(old && old->service == service ? &old->of_service : &service->slices, &slice->of_service);
		service_changed(b, service);
	}
	if (old)
		slice_free(b, old);
	if (slice)
		table_add(&b->slices, &slice->by_name, name_hash(b, object->namespace, object->name));
	if (!slice || !slice->hints)
		slice_object_free(object);
	return 0;
}

int balancer_set_zone(struct balancer *b, const char *zone)
{
	char *hint = NULL, *before = b->hint[HINTS_ZONE];
	struct slice *slice;

	if (*zone && asprintf(&hint, ",%s,", zone) < 0)
		return -ENOMEM;
	if (strcmp(hint ?: "", before ?: "") == 0) {
		free(hint);
		return 0;
	}
	b->hint[HINTS_ZONE] = hint;
	free(before);
	table_each(slice, &b->slices, by_name) {
		if (!slice->hints)
			continue;
		if (hints_select(b, slice, slice->hints, HINTS_ZONE) < 0)
			return -ENOMEM;
		service_changed(b, slice->service);
	}
	return 0;
}

void balancer_remove_slice(struct balancer *b, const char *namespace, const char *name)
{
	struct slice *slice = slice_find(b, namespace, name);

	if (slice)
		slice_free(b, slice);
}
