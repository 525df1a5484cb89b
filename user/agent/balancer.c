/* SPDX-License-Identifier: BSD-2-Clause */
#include "balancer_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "array.h"
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

static void service_free(struct balancer *b, struct service *s)
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

static void slice_free(struct balancer *b, struct slice *slice)
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

/* --- writing --- */

static void problem(struct service *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct service *s, const char *fmt, ...)
{
	va_list ap;

	if (s->problem)
		return;
	va_start(ap, fmt);
	if (vasprintf(&s->problem, fmt, ap) < 0)
		s->problem = NULL;
	va_end(ap);
}

static int front_write(struct balancer *b, struct front *f, struct err *err)
{
	struct dp_service service = { .ip = f->ip, .port = f->port, .protocol = f->protocol };
	ssize_t count = front_join(b, f);
	uint64_t fingerprint;
	int ret;

	if (count < 0)
		return err_set(err, ENOMEM, "no memory for its backends");
	service.affinity_seconds = f->service->object->affinity_seconds;
	service.backends = b->backends;
	service.backend_count = (size_t)count;
	fingerprint = backends_fingerprint(b, &service);
	if (f->written && f->fingerprint == fingerprint)
		return 0;
	ret = b->ops->put(b->arg, &service, err);
	if (ret < 0) {
		b->failures++;
		f->fingerprint = 0;
		return ret;
	}
	f->written = true;
	f->fingerprint = fingerprint;
	f->backends = service.backend_count;
	return 0;
}

/* false: it is to be tried again. */
static bool service_write(struct balancer *b, struct service *s)
{
	const struct service *other;
	struct err err = { 0 };
	struct front *f;
	bool done = true;

	free(s->problem);
	s->problem = NULL;
	list_each(f, &s->fronts, of_service) {
		char text[SOCKET_STRLEN];

		socket_format(&f->ip, f->port, text);
		if (!front_counts(b, f, &other)) {
			problem(s, "%s is %s/%s's already", text, other->namespace, other->name);
		} else if (front_write(b, f, &err) < 0) {
			problem(s, "%s: %s", text, err.msg);
			done = false;
		}
	}
	return done;
}

static void failed_again(struct balancer *b)
{
	struct service *s;

	while ((s = list_first(&b->failed, struct service, failed))) {
		list_remove(&s->failed);
		list_mark(&b->dirty, &s->dirty);
	}
}

static int orphans_delete(struct balancer *b, struct err *err)
{
	struct front *f, *after;
	int ret = 0, result;

	list_each_safe(f, after, &b->orphans, orphans) {
		result = b->ops->delete(b->arg, &f->ip, f->port, f->protocol, ret ? NULL : err);
		if (result == 0) {
			front_free(b, f);
			failed_again(b); /* there may be room now */
		} else {
			b->failures++;
			ret = ret ? ret : result;
		}
	}
	return ret;
}

/* Who claims what is settled for all that are to be looked at (which may become more), before anything is written. */
static int claim_all(struct balancer *b, struct err *err)
{
	struct service *s;

	list_each(s, &b->dirty, dirty) {
		if (fronts_update(b, s) < 0)
			return err_set(err, ENOMEM, "no memory for the Services of the cluster");
	}
	return 0;
}

static void write_all(struct balancer *b)
{
	struct service *s;

	while ((s = list_first(&b->dirty, struct service, dirty))) {
		list_remove(&s->dirty);
		list_remove(&s->failed);
		if (!service_write(b, s))
			list_mark(&b->failed, &s->failed);
		if (!s->object && list_empty(&s->slices) && list_empty(&s->fronts))
			service_free(b, s);
	}
}

static int load(struct balancer *b, struct err *err)
{
	struct service *s;
	int ret = b->loaded ? 0 : fronts_load(b, err);

	if (ret < 0 || b->loaded)
		return ret;
	table_each(s, &b->services, by_name)
		list_mark(&b->dirty, &s->dirty);
	b->loaded = true;
	return 0;
}

int balancer_run(struct balancer *b, struct err *err)
{
	const struct service *failed;
	int ret = load(b, err);
	bool undeleted;

	if (b->again)
		failed_again(b);
	b->again = false;
	if (ret == 0)
		ret = claim_all(b, err);
	if (ret < 0)
		return ret;
	undeleted = orphans_delete(b, err) < 0;
	write_all(b);
	failed = list_first(&b->failed, struct service, failed);
	if (undeleted)
		err_wrap(err, "a service that is no more cannot be deleted");
	else if (failed)
		err_set(err, EAGAIN, "%s", failed->problem ?: "no memory");
	if (undeleted || failed)
		return -EAGAIN;
	if (b->since_ns)
		histogram_add(&b->latency, clock_ns(CLOCK_MONOTONIC) - b->since_ns);
	b->since_ns = 0;
	return 0;
}

bool balancer_pending(const struct balancer *b)
{
	return !b->loaded || b->again || !list_empty(&b->dirty);
}

void balancer_retry(struct balancer *b)
{
	b->again = true;
}

void balancer_lost(struct balancer *b)
{
	b->loaded = false;
}

/* --- the rest --- */

int balancer_each(const struct balancer *b, int (*fn)(const struct balancer_front *front, void *arg), void *arg)
{
	struct front *f;

	table_each(f, &b->fronts, by_key) {
		struct balancer_front front = { .ip = &f->ip, .written = f->written, .backends = f->backends };
		int ret;

		front.service = f->service ? f->service->object : NULL;
		front.port = front.service && f->index < front.service->port_count ? &front.service->ports[f->index] : NULL;
		/* Its Service may be another since the last run. */
		if (!front.port || front.port->port != f->port || front.port->protocol != f->protocol)
			continue;
		front.problem = f->service->problem ? f->service->problem : "";
		ret = fn(&front, arg);
		if (ret)
			return ret;
	}
	return 0;
}

void balancer_count(const struct balancer *b, struct balancer_counts *counts)
{
	const struct service *s, *first = NULL;
	struct front *f;

	*counts = (struct balancer_counts){ .slices = b->slices.count, .failures = b->failures };
	table_each(s, &b->services, by_name) {
		counts->services += s->object != NULL;
		counts->problems += s->problem != NULL;
		if (s->problem && (!first || service_cmp(s, first) < 0))
			first = s;
	}
	if (first)
		snprintf(counts->example, sizeof(counts->example), "%s/%s: %s", first->namespace, first->name, first->problem);
	table_each(f, &b->fronts, by_key) {
		counts->fronts[f->ip.family == AF_INET6] += f->written;
		counts->backends[f->ip.family == AF_INET6] += f->backends;
	}
}

const struct histogram *balancer_latency(const struct balancer *b)
{
	return &b->latency;
}

struct balancer *balancer_new(const struct balancer_ops *ops, void *arg, const char *node_name)
{
	struct balancer *b = calloc(1, sizeof(*b));

	if (!b || getrandom(b->key, sizeof(b->key), 0) != sizeof(b->key)) {
		free(b);
		return NULL;
	}
	b->ops = ops;
	b->arg = arg;
	b->node_name = node_name;
	list_init(&b->dirty);
	list_init(&b->failed);
	list_init(&b->orphans);
	return b;
}

void balancer_free(struct balancer *b)
{
	struct service *s;
	struct slice *slice;
	struct front *f;

	if (!b)
		return;
	table_each(f, &b->fronts, by_key)
		front_free(b, f);
	table_each(slice, &b->slices, by_name)
		slice_free(b, slice);
	table_each(s, &b->services, by_name)
		service_free(b, s);
	table_free(&b->services);
	table_free(&b->slices);
	table_free(&b->fronts);
	free(b->backends);
	free(b);
}
