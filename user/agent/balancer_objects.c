/* SPDX-License-Identifier: BSD-2-Clause */
/* The objects as they come and go: only noted, until the next run. */
#include "balancer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"

static uint64_t name_hash(const struct balancer *b, const char *namespace, const char *name)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_string(&h, namespace);
	siphash_string(&h, name);
	return siphash_end(&h);
}

/* --- Services --- */

static struct service *service_find(const struct balancer *b, const char *namespace, const char *name)
{
	struct service *s;

	table_each_hash(s, &b->services, name_hash(b, namespace, name), by_name) {
		if (strcmp(s->namespace, namespace) == 0 && strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static struct service *service_get(struct balancer *b, const char *namespace, const char *name)
{
	struct service *s = service_find(b, namespace, name);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->namespace = strdup(namespace);
	s->name = strdup(name);
	if (!s->namespace || !s->name) {
		free(s->namespace);
		free(s->name);
		free(s);
		return NULL;
	}
	list_init(&s->dirty);
	list_init(&s->failed);
	list_init(&s->slices);
	list_init(&s->fronts);
	table_add(&b->services, &s->by_name, name_hash(b, namespace, name));
	return s;
}

void service_free(struct balancer *b, struct service *s)
{
	table_remove(&b->services, &s->by_name);
	list_remove(&s->dirty);
	list_remove(&s->failed);
	service_object_free(s->object);
	free(s->problem);
	free(s->namespace);
	free(s->name);
	free(s);
}

static void service_changed(struct balancer *b, struct service *s)
{
	if (!b->since_ns)
		b->since_ns = clock_ns(CLOCK_MONOTONIC);
	list_mark(&b->dirty, &s->dirty);
}

int balancer_put_service(struct balancer *b, struct service_object *object)
{
	struct service *s = service_get(b, object->namespace, object->name);

	if (!s) {
		service_object_free(object);
		return -ENOMEM;
	}
	service_object_free(s->object);
	s->object = object;
	service_changed(b, s);
	return 0;
}

void balancer_remove_service(struct balancer *b, const char *namespace, const char *name)
{
	struct service *s = service_find(b, namespace, name);

	if (!s)
		return;
	service_object_free(s->object);
	s->object = NULL;
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
	free(slice->namespace);
	free(slice->name);
	free(slice);
}

/* Takes over of the object what it keeps of it. */
static struct slice *slice_new(const struct balancer *b, struct slice_object *object)
{
	struct slice *slice = calloc(1, sizeof(*slice));
	struct address *v = calloc(object->endpoint_count ? object->endpoint_count : 1, sizeof(*v));

	if (!slice || !v) {
		free(slice);
		free(v);
		return NULL;
	}
	slice->v = v;
	slice->count = object->endpoint_count;
	for (size_t i = 0; i < slice->count; i++) {
		const struct slice_endpoint *ep = &object->endpoints[i];

		v[i] = (struct address){ ep->address, ep->ready, ep->serving && ep->terminating,
					 *ep->node && strcmp(ep->node, b->node_name) == 0 };
	}
	slice->namespace = take_ptr(object->namespace);
	slice->name = take_ptr(object->name);
	slice->ports = take_ptr(object->ports);
	slice->port_count = object->port_count;
	object->port_count = 0;
	list_init(&slice->of_service);
	return slice;
}

int balancer_put_slice(struct balancer *b, struct slice_object *object)
{
	struct slice *old = slice_find(b, object->namespace, object->name), *slice;
	struct service *service = *object->service ? service_get(b, object->namespace, object->service) : NULL;

	slice = service ? slice_new(b, object) : NULL;
	if (*object->service && !slice) {
		slice_object_free(object);
		return -ENOMEM;
	}
	if (old)
		slice_free(b, old);
	if (slice) {
		slice->service = service;
		list_append(&service->slices, &slice->of_service);
		table_add(&b->slices, &slice->by_name, name_hash(b, slice->namespace, slice->name));
		service_changed(b, service);
	}
	slice_object_free(object);
	return 0;
}

void balancer_remove_slice(struct balancer *b, const char *namespace, const char *name)
{
	struct slice *slice = slice_find(b, namespace, name);

	if (slice)
		slice_free(b, slice);
}
