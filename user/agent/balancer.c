/* SPDX-License-Identifier: BSD-2-Clause */
#include "balancer_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"

/* How long a run may hold up everything else; what is left is the next one's. */
#define RUN_NS (10 * NS_PER_MS)

/* --- problems --- */

static void problem_clear(struct balancer *b, struct service *s)
{
	b->problem_count -= s->problem != NULL;
	list_remove(&s->problems);
	free(s->problem);
	s->problem = NULL;
}

static void problem(struct balancer *b, struct service *s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void problem(struct balancer *b, struct service *s, const char *fmt, ...)
{
	va_list ap;

	problem_clear(b, s);
	va_start(ap, fmt);
	if (vasprintf(&s->problem, fmt, ap) < 0)
		s->problem = NULL;
	va_end(ap);
	if (!s->problem)
		return;
	list_mark(&b->problems, &s->problems);
	b->problem_count++;
}

/* --- writing --- */

/* Of what its quota gives the Service: as with Services of a namespace. */
static int share_ports(const struct service *s, struct join *j, bool v6)
{
	const size_t gets = s->gets[v6 ? QUOTA_BACKENDS6 : QUOTA_BACKENDS4];
	_cleanup_free_ struct share *v = NULL;
	size_t count = 0, room = 0, asks = 0;

	for (size_t i = 0; i < j->port_count; i++) {
		struct joined_port *port = &j->ports[i];

		if (port->v6 != v6 || (i && join_same(port, port - 1)))
			continue;
		asks += port->backends;
		if (array_push(v, room, count, (struct share){ port->backends, 0, s->object->ports[port->index].name, port }) < 0)
			return -ENOMEM;
	}
	if (asks <= gets)
		return 0;
	quota_share(v, count, gets);
	for (size_t i = 0; i < count; i++)
		((struct joined_port *)v[i].owner)->gets = v[i].gets;
	return 0;
}

/* What writing a Service has come to. */
struct outcome {
	bool failed;
	char failure[320], dispute[320];
	size_t holds[2];
};

static const struct ip *address_of(const struct service *s, bool v6)
{
	const struct ip *ips = s->object->cluster_ips;

	return (ips[0].family == AF_INET6) == v6 ? &ips[0] : &ips[1];
}

static void front_write(struct balancer *b, struct front *f, const struct dp_service *service, uint64_t fingerprint,
			uint32_t *list, struct outcome *o)
{
	struct err err = { 0 };
	int ret;

	if (f->written && f->fingerprint == fingerprint)
		return;
	ret = b->ops->put(b->arg, service, list, &err);
	if (ret == 0 || ret == -E2BIG)
		front_is_written(b, f, true, ret == 0 ? service->backend_count : 0);
	f->fingerprint = ret < 0 ? 0 : fingerprint;
	if (ret == 0)
		return;
	b->failures++;
	if (!o->failed) {
		char text[SOCKET_STRLEN];

		snprintf(o->failure, sizeof(o->failure), "%s: %s", socket_format(&f->ip, f->port, text), err.msg);
	}
	o->failed = true;
}

/* Ports `first` to `end` have the same backends. */
static int list_write(struct balancer *b, struct service *s, const struct join *j, size_t first, size_t end, struct outcome *o)
{
	const struct joined_port *same = &j->ports[first];
	const ssize_t count = join_backends(b, s, j, same);
	struct dp_service service = { .ip = *address_of(s, same->v6), .protocol = same->protocol, .backends = b->v,
				      .affinity_seconds = s->object->affinity_seconds };
	const struct service *other;
	char text[SOCKET_STRLEN];
	uint64_t fingerprint;
	uint32_t list = 0;

	if (count < 0)
		return -ENOMEM;
	service.backend_count = (size_t)count;
	o->holds[same->v6] += service.backend_count;
	fingerprint = backends_fingerprint(b, &service);
	for (size_t i = first; i < end; i++) {
		const struct service_port *port = &s->object->ports[j->ports[i].index];
		struct front *f = front_find(b, s, &service.ip, port->port, port->protocol);

		service.port = port->port;
		if (f && front_counts(b, f, &other))
			front_write(b, f, &service, fingerprint, &list, o);
		else if (f && !*o->dispute)
			snprintf(o->dispute, sizeof(o->dispute), "%s is %s/%s's already",
				 socket_format(&f->ip, f->port, text), other->tenant->name, other->name);
	}
	return 0;
}

static int lists_write(struct balancer *b, struct service *s, struct outcome *o)
{
	_cleanup_join_ struct join j = { 0 };
	int ret = join_make(b, s, &j);

	for (int v6 = 0; v6 < 2 && ret == 0; v6++)
		ret = share_ports(s, &j, v6);
	for (size_t first = 0, end; ret == 0 && first < j.port_count; first = end) {
		for (end = first + 1; end < j.port_count && join_same(&j.ports[end], &j.ports[first]);)
			end++;
		ret = list_write(b, s, &j, first, end, o);
	}
	return ret;
}

static void failed_again(struct balancer *b)
{
	struct service *s;

	while ((s = list_first(&b->failed, struct service, failed))) {
		list_remove(&s->failed);
		service_queue(b, s);
	}
}

/* One that fails is to be tried again, and its problem says why, whatever else is wrong with it. */
static void service_write(struct balancer *b, struct service *s)
{
	struct outcome o = { 0 };
	char left_out[200];

	if (lists_write(b, s, &o) < 0) {
		o.failed = true;
		snprintf(o.failure, sizeof(o.failure), "no memory for its backends");
	}
	share_problem(s, left_out, sizeof(left_out));
	if (o.failed || *o.dispute || *left_out)
		problem(b, s, "%s", o.failed ? o.failure : *o.dispute ? o.dispute : left_out);
	else
		problem_clear(b, s);
	if (o.holds[0] < s->holds[0] || o.holds[1] < s->holds[1])
		failed_again(b); /* there may be room now */
	memcpy(s->holds, o.holds, sizeof(s->holds));
	if (o.failed)
		list_mark(&b->failed, &s->failed);
}

static int orphans_delete(struct balancer *b, uint64_t deadline, struct err *err)
{
	struct front *f, *after;
	int ret = 0, result;

	list_each_safe(f, after, &b->orphans, orphans) {
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			break;
		result = b->ops->delete(b->arg, &f->ip, f->port, f->protocol, ret ? NULL : err);
		if (result == 0) {
			front_free(b, f);
			failed_again(b); /* there may be room now */
		} else {
			b->failures++;
			ret = ret ? ret : result;
			list_remove(&f->orphans);
			list_mark(&b->undeleted, &f->orphans);
		}
	}
	return ret;
}

/*
 * What each may have, and who claims what, is settled for all that are to be looked at (which may become more), before
 * anything is written.
 */
static int settle_all(struct balancer *b, struct err *err)
{
	struct service *s;
	int ret = 0;

	list_each(s, &b->dirty, dirty)
		ret = ret ? ret : service_measure(b, s);
	if (ret == 0 && !list_empty(&b->dirty))
		ret = share_all(b);
	list_each(s, &b->dirty, dirty)
		ret = ret ? ret : fronts_update(b, s);
	if (ret < 0)
		return err_set(err, ENOMEM, "no memory for the Services of the cluster");
	while ((s = list_first(&b->dirty, struct service, dirty))) {
		list_remove(&s->dirty);
		service_queue(b, s);
	}
	return 0;
}

/* Namespaces in turn: nobody's many Services delay those of others by more than one of them takes. */
static void write_all(struct balancer *b, uint64_t deadline)
{
	struct tenant *t;

	while ((t = list_first(&b->busy, struct tenant, busy))) {
		struct service *s = list_first(&t->queue, struct service, queued);

		list_remove(&s->queued);
		list_remove(&s->failed);
		if (list_empty(&t->queue))
			list_remove(&t->busy);
		else
			list_append(&b->busy, &t->busy);
		service_write(b, s);
		if (!s->object && list_empty(&s->slices) && list_empty(&s->fronts))
			service_free(b, s);
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			break;
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

static void again(struct balancer *b)
{
	struct front *f;

	failed_again(b);
	while ((f = list_first(&b->undeleted, struct front, orphans))) {
		list_remove(&f->orphans);
		list_mark(&b->orphans, &f->orphans);
	}
	b->again = false;
}

int balancer_run(struct balancer *b, struct err *err)
{
	const uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + RUN_NS;
	const struct service *failed;
	int ret = load(b, err);

	if (b->again)
		again(b);
	if (ret == 0)
		ret = settle_all(b, err);
	if (ret < 0)
		return ret;
	orphans_delete(b, deadline, err);
	if (list_empty(&b->orphans))
		write_all(b, deadline);
	if (balancer_pending(b))
		return 0;
	failed = list_first(&b->failed, struct service, failed);
	if (!list_empty(&b->undeleted))
		err_wrap(err, "a service that is no more cannot be deleted");
	else if (failed)
		err_set(err, EAGAIN, "%s", failed->problem ?: "no memory");
	if (failed || !list_empty(&b->undeleted))
		return -EAGAIN;
	if (b->since_ns)
		histogram_add(&b->latency, clock_ns(CLOCK_MONOTONIC) - b->since_ns);
	b->since_ns = 0;
	return 0;
}

bool balancer_pending(const struct balancer *b)
{
	return !b->loaded || b->again || !list_empty(&b->dirty) || !list_empty(&b->orphans) || !list_empty(&b->busy);
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

	*counts = (struct balancer_counts){ .services = b->object_count,
					    .slices = b->slices.count,
					    .fronts = { b->written[0], b->written[1] },
					    .backends = { b->backends[0], b->backends[1] },
					    .problems = b->problem_count,
					    .failures = b->failures };
	list_each(s, &b->problems, problems) {
		if (!first || service_cmp(s, first) < 0)
			first = s;
	}
	if (first)
		snprintf(counts->example, sizeof(counts->example), "%s/%s: %s", first->tenant->name, first->name,
			 first->problem);
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
	list_init(&b->undeleted);
	list_init(&b->busy);
	list_init(&b->problems);
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
	table_free(&b->tenants);
	table_free(&b->services);
	table_free(&b->slices);
	table_free(&b->fronts);
	free(b->v);
	free(b);
}
