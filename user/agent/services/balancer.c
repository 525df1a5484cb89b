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

/* How long a run may delete, and how long it may write, before other events are handled; the next run continues. */
#define DELETE_NS (5 * NS_PER_MS)
#define WRITE_NS (5 * NS_PER_MS)

/* --- problems --- */

static void problem_clear(struct service *s)
{
	list_remove(&s->problems);
	free(s->problem);
	s->problem = NULL;
}

static void problem(struct balancer *b, struct service *s, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void problem(struct balancer *b, struct service *s, const char *fmt, ...)
{
	va_list ap;

	problem_clear(s);
	va_start(ap, fmt);
	if (vasprintf(&s->problem, fmt, ap) < 0)
		s->problem = NULL;
	va_end(ap);
	if (s->problem)
		list_mark(&b->problems, &s->problems);
}

/* --- writing --- */

/* Shares the Service's quota among its ports, as a namespace's among Services. */
static int grant_ports(const struct service *s, struct service_backends *j, bool v6)
{
	const size_t granted = s->granted[v6 ? QUOTA_BACKENDS6 : QUOTA_BACKENDS4];
	_cleanup_free_ struct quota_request *v = NULL;
	size_t count = 0, room = 0, requested = 0;

	for (size_t i = 0; s->object && i < j->port_count; i++) {
		struct port_backends *port = &j->ports[i];
		const struct quota_request request = { port->granted, 0, s->object->ports[port->index].name, port };

		if (port->v6 != v6 || (i && port_backends_same(port, port - 1)))
			continue;
		requested += port->granted;
		if (array_push(v, room, count, request) < 0)
			return -ENOMEM;
	}
	if (requested <= granted)
		return 0;
	quota_grant(v, count, granted);
	for (size_t i = 0; i < count; i++)
		((struct port_backends *)v[i].owner)->granted = v[i].granted;
	return 0;
}

static const struct ip *address_of(const struct service *s, bool v6)
{
	const struct ip *ips = s->object->cluster_ips;

	return (ips[0].family == AF_INET6) == v6 ? &ips[0] : &ips[1];
}

static void frontend_write(struct balancer *b, struct frontend *f, const struct dp_service *service,
			   uint64_t fingerprint, uint32_t *list, struct writing *w)
{
	struct err err = { 0 };
	int ret;

	if (f->written && f->fingerprint == fingerprint)
		return;
	ret = b->ops->put(b->arg, service, list, &err);
	if (ret == 0 || ret == -E2BIG)
		frontend_is_written(b, f, true, ret == 0 ? service->backend_count : 0);
	f->fingerprint = ret < 0 ? 0 : fingerprint;
	if (ret == 0)
		return;
	b->failures++;
	if (!w->failed) {
		char text[SOCKET_STRLEN];

		snprintf(w->failure, sizeof(w->failure), "%s: %s", socket_format(&f->at.ip, f->at.port, text), err.msg);
	}
	w->failed = true;
}

/* Writes the frontends of the next list (ports with the same backends) until the deadline. */
static int list_write(struct balancer *b, struct service *s, struct writing *w, uint64_t deadline)
{
	const struct service_backends *j = &w->resolved;
	const struct port_backends *same = &j->ports[w->next];
	const ssize_t count = port_backends_list(b, s, j, same);
	struct dp_service service = { .ip = *address_of(s, same->v6),
				      .protocol = same->protocol,
				      .backends = b->v,
				      .affinity_seconds = s->object->affinity_seconds };
	const struct service *other;
	char text[SOCKET_STRLEN];
	uint64_t fingerprint;
	uint32_t list = 0;

	if (count < 0)
		return -ENOMEM;
	service.backend_count = (size_t)count;
	if (!w->next || !port_backends_same(same, same - 1))
		w->holds[same->v6] += service.backend_count;
	fingerprint = backends_fingerprint(b, &service);
	for (; w->next < j->port_count && port_backends_same(&j->ports[w->next], same); w->next++) {
		const struct service_port *port = &s->object->ports[j->ports[w->next].index];
		const struct frontend_key at = { .ip = service.ip, .port = port->port, .protocol = port->protocol };
		struct frontend *f = frontend_find(b, s, &at);

		service.port = port->port;
		if (f && frontend_is_first(b, f, &other))
			frontend_write(b, f, &service, fingerprint, &list, w);
		else if (f && !*w->dispute)
			snprintf(w->dispute, sizeof(w->dispute), "%s belongs to Service %s/%s",
				 socket_format(&f->at.ip, f->at.port, text), other->namespace->name, other->name);
		if (clock_ns(CLOCK_MONOTONIC) >= deadline) {
			w->next++;
			break;
		}
	}
	return 0;
}

static struct writing *writing_begin(struct balancer *b, const struct service *s)
{
	struct writing *w = calloc(1, sizeof(*w));
	int ret = w ? service_backends_resolve(b, s, &w->resolved) : -ENOMEM;

	for (int v6 = 0; v6 < 2 && ret == 0; v6++)
		ret = grant_ports(s, &w->resolved, v6);
	if (ret == 0)
		return w;
	writing_free(w);
	return NULL;
}

static void retry_failed(struct balancer *b)
{
	struct service *s;

	while ((s = list_first(&b->failed, struct service, failed))) {
		list_remove(&s->failed);
		service_queue(b, s);
	}
}

/* Whether it exceeds a quota; reported before it is written, since that takes longer. */
static bool not_programmed(struct balancer *b, struct service *s)
{
	char text[200];

	quota_problem(s, text, sizeof(text));
	if (*text)
		problem(b, s, "%s", text);
	return *text;
}

/* A failure is retried, and takes precedence over other problems. */
static void service_written(struct balancer *b, struct service *s, struct writing *w)
{
	if (w->failed || *w->dispute)
		problem(b, s, "%s", w->failed ? w->failure : w->dispute);
	else if (!not_programmed(b, s))
		problem_clear(s);
	if (w->holds[0] < s->holds[0] || w->holds[1] < s->holds[1])
		retry_failed(b); /* there may be room now */
	memcpy(s->holds, w->holds, sizeof(s->holds));
	if (w->failed)
		list_mark(&b->failed, &s->failed);
}

/* false: the next run continues with it. */
static bool service_write(struct balancer *b, struct service *s, uint64_t deadline)
{
	struct writing *w = s->writing;
	int ret;

	if (!w) {
		w = writing_begin(b, s);
		not_programmed(b, s);
	}
	ret = w ? 0 : -ENOMEM;
	s->writing = w;
	while (ret == 0 && w->next < w->resolved.port_count) {
		ret = list_write(b, s, w, deadline);
		if (w->next < w->resolved.port_count && clock_ns(CLOCK_MONOTONIC) >= deadline)
			return false;
	}
	if (ret < 0) {
		problem(b, s, "no memory for its backends");
		list_mark(&b->failed, &s->failed);
	} else {
		service_written(b, s, w);
	}
	s->writing = NULL;
	writing_free(w);
	return true;
}

static int stale_delete(struct balancer *b, struct err *err)
{
	const uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + DELETE_NS;
	struct frontend *f, *after;
	int ret = 0, result;

	list_each_safe(f, after, &b->stale, stale) {
		const struct dp_service service = { .ip = f->at.ip, .port = f->at.port, .protocol = f->at.protocol,
						    .external = f->at.external };

		result = b->ops->delete(b->arg, &service, ret ? NULL : err);
		if (result == 0) {
			frontend_free(b, f);
			retry_failed(b); /* there may be room now */
		} else {
			b->failures++;
			ret = ret ? ret : result;
			list_remove(&f->stale);
			list_mark(&b->undeleted, &f->stale);
		}
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			break;
	}
	return ret;
}

/*
 * Computes the quotas and frontends of all changed Services (which may change others) before anything is written.
 */
static int update_dirty(struct balancer *b, struct err *err)
{
	struct service *s;
	int ret = 0;

	list_each(s, &b->dirty, dirty)
		ret = ret ? ret : service_measure(b, s);
	if (ret == 0 && !list_empty(&b->dirty))
		ret = quotas_grant(b);
	list_each(s, &b->dirty, dirty)
		ret = ret ? ret : frontends_update(b, s);
	if (ret < 0)
		return err_set(err, ENOMEM, "no memory for the Services of the cluster");
	while ((s = list_first(&b->dirty, struct service, dirty))) {
		list_remove(&s->dirty);
		service_queue(b, s);
	}
	return 0;
}

/* Round robin over namespaces: a namespace with many Services delays the others by at most one Service. */
static void write_all(struct balancer *b)
{
	const uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + WRITE_NS;
	struct service_namespace *t;

	while ((t = list_first(&b->busy, struct service_namespace, busy))) {
		struct service *s = list_first(&t->queue, struct service, queued);

		list_remove(&s->queued);
		list_remove(&s->failed);
		if (list_empty(&t->queue))
			list_remove(&t->busy);
		else
			list_append(&b->busy, &t->busy);
		if (!service_write(b, s, deadline)) {
			list_append(&t->queue, &s->queued);
			list_append(&b->busy, &t->busy);
			break;
		}
		if (!s->object && list_empty(&s->slices) && list_empty(&s->frontends))
			service_free(b, s);
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			break;
	}
}

static int load(struct balancer *b, struct err *err)
{
	struct service *s;
	int ret = b->loaded ? 0 : frontends_load(b, err);

	if (ret < 0 || b->loaded)
		return ret;
	table_each(s, &b->services, by_name)
		list_mark(&b->dirty, &s->dirty);
	b->loaded = true;
	return 0;
}

static void retry_all(struct balancer *b)
{
	struct frontend *f;

	retry_failed(b);
	while ((f = list_first(&b->undeleted, struct frontend, stale))) {
		list_remove(&f->stale);
		list_mark(&b->stale, &f->stale);
	}
	b->again = false;
}

int balancer_run(struct balancer *b, struct err *err)
{
	const struct service *failed;
	int ret = load(b, err);

	if (b->again)
		retry_all(b);
	if (ret == 0)
		ret = update_dirty(b, err);
	if (ret < 0)
		return ret;
	/* A Service that does not fit is retried after each deletion. */
	stale_delete(b, err);
	write_all(b);
	if (balancer_pending(b))
		return 0;
	failed = list_first(&b->failed, struct service, failed);
	if (!list_empty(&b->undeleted))
		err_wrap(err, "cannot delete the frontend of a deleted Service");
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
	return !b->loaded || b->again || !list_empty(&b->dirty) || !list_empty(&b->stale) || !list_empty(&b->busy);
}

void balancer_retry(struct balancer *b)
{
	b->again = true;
}

void balancer_lost(struct balancer *b)
{
	b->loaded = false;
}

/* --- queries --- */

int balancer_each(const struct balancer *b, int (*fn)(const struct balancer_frontend *frontend, void *arg), void *arg)
{
	struct frontend *f;

	table_each(f, &b->frontends, by_key) {
		struct balancer_frontend frontend = { .ip = &f->at.ip, .written = f->written, .backends = f->backends };
		int ret;

		frontend.service = f->service ? f->service->object : NULL;
		frontend.port = frontend.service && f->index < frontend.service->port_count
				    ? &frontend.service->ports[f->index]
				    : NULL;
		/* Its Service may have changed since the last run. */
		if (!frontend.port || frontend.port->port != f->at.port || frontend.port->protocol != f->at.protocol)
			continue;
		frontend.problem = f->service->problem ? f->service->problem : "";
		ret = fn(&frontend, arg);
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
					    .frontends = { b->written[0], b->written[1] },
					    .backends = { b->backends[0], b->backends[1] },
					    .failures = b->failures };
	list_each(s, &b->problems, problems) {
		counts->problems++;
		if (!first || service_cmp(s, first) < 0)
			first = s;
	}
	if (first)
		snprintf(counts->example, sizeof(counts->example), "%s/%s: %s", first->namespace->name, first->name,
			 first->problem);
}

const struct histogram *balancer_latency(const struct balancer *b)
{
	return &b->latency;
}

struct balancer *balancer_new(const struct balancer_ops *ops, void *arg, const char *node_name)
{
	struct balancer *b = calloc(1, sizeof(*b));

	if (!b || getrandom(b->key, sizeof(b->key), 0) != sizeof(b->key) ||
	    asprintf(&b->hint[HINTS_NODE], ",%s,", node_name) < 0) {
		free(b);
		return NULL;
	}
	b->ops = ops;
	b->arg = arg;
	b->node_name = node_name;
	return b;
}

void balancer_free(struct balancer *b)
{
	struct service *s;
	struct slice *slice;
	struct frontend *f;

	if (!b)
		return;
	table_each(f, &b->frontends, by_key)
		frontend_free(b, f);
	table_each(slice, &b->slices, by_name)
		slice_free(b, slice);
	table_each(s, &b->services, by_name)
		service_free(b, s);
	table_free(&b->namespaces);
	table_free(&b->services);
	table_free(&b->slices);
	table_free(&b->frontends);
	for (int kind = 0; kind < HINT_KINDS; kind++)
		free(b->hint[kind]);
	free(b->v);
	free(b);
}

/* --- this node's maps --- */

static int put(void *arg, const struct dp_service *service, uint32_t *list, struct err *err)
{
	return dp_service_put(arg, service, list, err);
}

static int delete(void *arg, const struct dp_service *service, struct err *err)
{
	return dp_service_delete(arg, service, err);
}

static int each(void *arg, int (*fn)(const struct dp_service *service, void *fn_arg), void *fn_arg, struct err *err)
{
	int ret = dp_services_reload(arg, err);

	return ret < 0 ? ret : dp_service_each(fn, fn_arg, err);
}

const struct balancer_ops balancer_dp_ops = { put, delete, each };
