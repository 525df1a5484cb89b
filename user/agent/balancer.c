/* SPDX-License-Identifier: BSD-2-Clause */
#include "balancer_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"

/* --- writing --- */

static void problem(struct service *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct service *s, const char *fmt, ...)
{
	va_list ap;

	free(s->problem);
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

/* false: it is to be tried again, and its problem says why, whatever else is wrong with it. */
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
			if (!s->problem)
				problem(s, "%s is %s/%s's already", text, other->namespace, other->name);
		} else if (front_write(b, f, &err) < 0) {
			if (done)
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
		front.port =
		    front.service && f->index < front.service->port_count ? &front.service->ports[f->index] : NULL;
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
		snprintf(counts->example, sizeof(counts->example), "%s/%s: %s", first->namespace, first->name,
			 first->problem);
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
