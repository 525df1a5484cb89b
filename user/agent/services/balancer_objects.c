/* SPDX-License-Identifier: BSD-2-Clause */
/* Stores objects, and marks what the next run must update. */
#include "balancer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

static uint64_t name_hash(const struct balancer *b, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

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

static struct service *service_find(const struct balancer *b, const char *namespace, const char *name)
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
	s = calloc(1, sizeof(*s));
	if (s)
		s->name = strdup(name);
	if (!s || !s->name) {
		free(s);
		namespace_release(b, t);
		return NULL;
	}
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
	writing_stop(s);
	namespace_release(b, s->namespace);
	free(s->problem);
	free(s->name);
	free(s);
}

static int port_name_cmp(const void *pa, const void *pb, void *arg)
{
	const struct service_port *ports = arg;

	return strcmp(ports[*(const uint16_t *)pa].name, ports[*(const uint16_t *)pb].name);
}

/* Cuts the ports to the maximum. Returns how many were cut. */
static size_t ports_cut(struct service_object *object)
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
	return count - kept;
}

int balancer_put_service(struct balancer *b, struct service_object *object)
{
	const size_t not_programmed = ports_cut(object);
	uint16_t *by_port_name = calloc(object->port_count + 1, sizeof(*by_port_name));
	struct claims claims = { 0 };
	const bool made = by_port_name && claims_make(b, object, &claims) == 0;
	struct service *s = made ? service_get(b, object->namespace, object->name) : NULL;

	if (!s) {
		free(by_port_name);
		free(claims.v);
		service_object_free(object);
		return -ENOMEM;
	}
	for (size_t i = 0; i < object->port_count; i++)
		by_port_name[i] = (uint16_t)i;
	if (object->port_count)
		qsort_r(by_port_name, object->port_count, sizeof(*by_port_name), port_name_cmp, object->ports);
	service_set_object(b, s, object, by_port_name, claims);
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
		if (strcmp(s->namespace, namespace) == 0 && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

void slice_free(struct balancer *b, struct slice *slice)
{
	table_remove(&b->slices, &slice->by_name);
	list_remove(&slice->of_service);
	service_changed(b, slice->service);
	for (size_t i = 0; i < slice->port_count; i++)
		free(slice->ports[i].name);
	free(slice->ports);
	free(slice->v);
	for (int kind = 0; kind < HINT_KINDS; kind++)
		free(slice->hinted[kind]);
	slice_object_free(slice->object);
	free(slice->namespace);
	free(slice->name);
	free(slice);
}

/* The endpoint's kind; ENDPOINT_KINDS: not a backend. */
static int endpoint_kind(const struct balancer *b, const struct slice_endpoint *ep)
{
	const bool here = *ep->node && strcmp(ep->node, b->node_name) == 0;

	if (ep->ready)
		return here ? ENDPOINTS_READY_HERE : ENDPOINTS_READY;
	if (!ep->serving || !ep->terminating)
		return ENDPOINT_KINDS;
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
static int slice_fill_hinted(const struct balancer *b, struct slice *slice, const struct slice_object *object, int kind)
{
	const char *mine = b->hint[kind];
	struct ip *found = NULL;
	size_t room = 0, count = 0;
	bool unhinted = false;

	for (size_t i = 0; i < object->endpoint_count; i++) {
		const struct slice_endpoint *ep = &object->endpoints[i];
		const char *hints = hints_of(ep, kind);

		if (!ep->ready)
			continue;
		unhinted |= !hints;
		if (hints && mine && strstr(hints, mine) && array_push(found, room, count, ep->address) < 0) {
			free(found);
			return -ENOMEM;
		}
	}
	free(slice->hinted[kind]);
	slice->hinted[kind] = found;
	slice->hinted_count[kind] = count;
	slice->unhinted[kind] = unhinted;
	return 0;
}

static void slice_fill(const struct balancer *b, struct slice *slice, const struct slice_object *object)
{
	size_t count = 0;

	for (int kind = 0; kind < ENDPOINT_KINDS; kind++) {
		for (size_t i = 0; i < object->endpoint_count; i++) {
			if (endpoint_kind(b, &object->endpoints[i]) == kind)
				slice->v[count++] = object->endpoints[i].address;
		}
		slice->ends[kind] = count;
	}
	slice->v6 = object->endpoint_count && object->endpoints[0].address.family == AF_INET6;
}

/* Takes what it needs from the object, or all of it (slice->object). */
static struct slice *slice_new(const struct balancer *b, struct slice_object *object)
{
	struct slice *slice = calloc(1, sizeof(*slice));
	struct ip *v = calloc(object->endpoint_count ? object->endpoint_count : 1, sizeof(*v));

	if (!slice || !v || slice_fill_hinted(b, slice, object, HINTS_NODE) < 0 ||
	    slice_fill_hinted(b, slice, object, HINTS_ZONE) < 0) {
		if (slice)
			free(slice->hinted[HINTS_NODE]);
		free(slice);
		free(v);
		return NULL;
	}
	slice->v = v;
	slice_fill(b, slice, object);
	slice->object = has_hints(object) ? object : NULL;
	slice->namespace = take_ptr(object->namespace);
	slice->name = take_ptr(object->name);
	slice->ports = take_ptr(object->ports);
	slice->port_count = object->port_count;
	object->port_count = 0;
	return slice;
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
		table_add(&b->slices, &slice->by_name, name_hash(b, slice->namespace, slice->name));
	if (!slice || !slice->object)
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
		if (!slice->object)
			continue;
		if (slice_fill_hinted(b, slice, slice->object, HINTS_ZONE) < 0)
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
