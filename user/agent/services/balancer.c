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
#include "maglev.h"

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

/* A list that is to have a table of so many blocks. */
struct tabled {
	struct port_backends *ports; /* the first of its ports */
	size_t blocks;
};

static int tabled_cmp(const void *pa, const void *pb)
{
	const struct tabled *a = pa, *b = pb;

	return a->ports->index != b->ports->index ? a->ports->index - b->ports->index : a->ports->v6 - b->ports->v6;
}

/* Tables for the first ports, as many as the Service is granted: the same ones on all nodes. */
static int grant_tables(const struct balancer *b, const struct service *s, struct service_backends *j)
{
	size_t left = s->granted[QUOTA_TABLES], count = 0, room = 0;
	_cleanup_free_ struct tabled *v = NULL;

	for (size_t i = 0; i < j->port_count; i++) {
		const struct tabled list = { &j->ports[i], port_backends_blocks(b, j, i) };

		if ((i && port_backends_same(&j->ports[i], &j->ports[i - 1])) || !list.blocks)
			continue;
		if (array_push(v, room, count, list) < 0)
			return -ENOMEM;
	}
	if (count)
		qsort(v, count, sizeof(*v), tabled_cmp);
	for (size_t i = 0; i < count && v[i].blocks <= left; i++) {
		left -= v[i].blocks;
		for (struct port_backends *p = v[i].ports;
		     p < j->ports + j->port_count && port_backends_same(p, v[i].ports); p++)
			p->has_table = true;
	}
	return 0;
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
		frontend_is_written(b, f, true, ret == 0 ? (uint32_t)service->backend_count : 0);
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

static struct dp_service service_of(const struct balancer *b, const struct frontend *f)
{
	const struct service *s = f->service;
	const bool v6 = f->at.ip.family == AF_INET6;
	const bool restricted = f->kind == ADDRESS_LOAD_BALANCER && s && s->object && s->object->restricted && !b->released;
	const struct prefix *ranges = NULL;
	size_t count = restricted ? source_ranges(s->object, v6, &ranges) : 0;
	const size_t granted = restricted ? s->granted[v6 ? QUOTA_RANGES6 : QUOTA_RANGES4] : 0;

	return (struct dp_service){ .restricted = restricted, .ranges = ranges, .range_count = count < granted ? count : granted,
				    .ip = f->at.ip, .port = f->at.port, .protocol = f->at.protocol,
				    .external = f->at.external, .local = f->at.external && f->here && !b->released,
				    .released = b->released,
				    .any_node = f->kind == ADDRESS_NODE && !f->at.external && f->service &&
						f->service->object && !f->service->object->external_local };
}

static const struct port_backends *backends_of(const struct writing *w, size_t i)
{
	return &w->resolved.ports[w->v[i].port];
}

/*
 * A router may send a flow to another node only if its address is no node's, and the flow then has to find its backend
 * there.
 */
static bool moves(const struct balancer *b, const struct frontend *f, const struct dp_service *service)
{
	return b->options.table_size && !b->released && f->at.external && !f->here && f->kind != ADDRESS_NODE &&
	       (service->table_size || service->backend_count == 1);
}

/* Writes the frontends of the next list (ports with the same backends) until the deadline. */
static int list_write(struct balancer *b, struct service *s, struct writing *w, uint64_t deadline)
{
	const struct port_backends *same = backends_of(w, w->next);
	const ssize_t count = b->released ? 0 : port_backends_list(b, s, &w->resolved, same);
	const struct service *other;
	char text[SOCKET_STRLEN];
	uint64_t fingerprint = 0;
	uint32_t list = 0;

	if (count < 0)
		return -ENOMEM;
	if (!w->next || !port_backends_same(same, backends_of(w, w->next - 1)))
		w->holds[same->v6] += (uint32_t)count;
	for (; w->next < w->count && port_backends_same(backends_of(w, w->next), same); w->next++) {
		struct frontend *f = w->v[w->next].frontend;
		struct dp_service service = service_of(b, f);

		service.backends = b->v;
		service.backend_count = (size_t)count;
		service.affinity_seconds = s->object->affinity_seconds;
		service.table_size = f->at.external && same->has_table && count ?
					     maglev_size((uint32_t)b->options.table_size, (size_t)count) : 0;
		service.moves = moves(b, f, &service);
		fingerprint = fingerprint ?: backends_fingerprint(b, &service);
		if (frontend_is_first(b, f, &other))
			frontend_write(b, f, &service,
				       service_fingerprint(b, &service, fingerprint + w->ranges_fingerprint[same->v6] * service.restricted),
				       &list, w);
		else if (!*w->dispute)
			snprintf(w->dispute, sizeof(w->dispute), "%s belongs to Service %s/%s",
				 socket_format(&f->at.ip, f->at.port, text), other->namespace->name, other->name);
		if (clock_ns(CLOCK_MONOTONIC) >= deadline) {
			w->next++;
			break;
		}
	}
	return 0;
}

static int placed_cmp(const void *pa, const void *pb)
{
	const struct placed *a = pa, *b = pb;

	return a->port != b->port ? (a->port < b->port ? -1 : 1) : 0;
}

/* Finds the backends of each frontend. */
static int frontends_place(const struct service *s, struct writing *w)
{
	const struct service_backends *j = &w->resolved;
	_cleanup_free_ size_t *places = calloc(4 * (s->object ? s->object->port_count : 0) + 4, sizeof(*places));
	size_t room = 0;
	struct frontend *f;

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < j->port_count; i++)
		places[4 * j->ports[i].index + 2 * j->ports[i].here + j->ports[i].v6] = i;
	list_each(f, &s->frontends, list) {
		const bool v6 = f->at.ip.family == AF_INET6;
		const struct placed placed = { f, places[4 * f->index + 2 * f->here + v6] };

		if (array_push(w->v, room, w->count, placed) < 0)
			return -ENOMEM;
	}
	if (w->count)
		qsort(w->v, w->count, sizeof(*w->v), placed_cmp);
	return 0;
}

static struct writing *writing_begin(struct balancer *b, const struct service *s)
{
	struct writing *w = calloc(1, sizeof(*w));
	int ret = w ? service_backends_resolve(b, s, &w->resolved) : -ENOMEM;

	if (ret == 0)
		ret = grant_tables(b, s, &w->resolved);
	for (int v6 = 0; v6 < 2 && ret == 0; v6++)
		ret = grant_ports(s, &w->resolved, v6);
	for (int v6 = 0; v6 < 2 && ret == 0 && s->object && s->object->restricted; v6++)
		w->ranges_fingerprint[v6] = source_ranges_fingerprint(b, s, v6);
	if (ret == 0)
		ret = frontends_place(s, w);
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

/* Whether it exceeds a quota, or an address is refused; reported before it is written, since that takes longer. */
static bool not_programmed(struct balancer *b, struct service *s)
{
	char text[200];

	quota_problem(s, text, sizeof(text));
	if (*text || s->refused)
		problem(b, s, "%s", *text ? text : s->refused);
	return *text || s->refused;
}

/* A failure is retried, and takes precedence over other problems. */
static void service_set_programmed(struct balancer *b, struct service *s, bool in_full)
{
	const enum programmed programmed = in_full && !b->released ? PROGRAMMED : PROGRAMMED_IN_PART;

	if (s->programmed == programmed)
		return;
	s->programmed = programmed;
	cluster_ips_changed(b, s);
}

static bool has_all_ports(const struct service *s)
{
	return s->needed[QUOTA_PORTS4] <= s->granted[QUOTA_PORTS4] && s->needed[QUOTA_PORTS6] <= s->granted[QUOTA_PORTS6];
}

static void service_written(struct balancer *b, struct service *s, struct writing *w)
{
	service_set_programmed(b, s, !w->failed && has_all_ports(s));
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
	while (ret == 0 && w->next < w->count) {
		ret = list_write(b, s, w, deadline);
		if (w->next < w->count && clock_ns(CLOCK_MONOTONIC) >= deadline)
			return false;
	}
	if (ret < 0) {
		problem(b, s, "no memory for its backends");
		service_set_programmed(b, s, false);
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

	list_each_safe(f, after, &b->stale, list) {
		const struct dp_service service = service_of(b, f);

		result = b->ops->delete(b->arg, &service, ret ? NULL : err);
		if (result == 0) {
			frontend_free(b, f);
			retry_failed(b); /* there may be room now */
		} else {
			b->failures++;
			ret = ret ? ret : result;
			list_remove(&f->list);
			list_mark(&b->undeleted, &f->list);
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
		ret = ret ?: addresses_update(b, s) ?: service_measure(b, s);
	if (ret == 0 && !list_empty(&b->dirty))
		ret = quotas_grant(b);
	list_each(s, &b->dirty, dirty)
		ret = ret ? ret : frontends_update(b, s);
	if (ret < 0)
		return err_set(err, ENOMEM, "no memory for the Services of the cluster");
	while ((s = list_first(&b->dirty, struct service, dirty))) {
		list_remove(&s->dirty);
		health_update(b, s);
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
	int ret = b->loaded ? 0 : frontends_load(b, err) ?: cluster_ips_load(b, err);

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
	cluster_ips_retry(b);
	while ((f = list_first(&b->undeleted, struct frontend, list))) {
		list_remove(&f->list);
		list_mark(&b->stale, &f->list);
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
	/* Before frontends are deleted: what becomes another proxy's is not rejected in between. */
	if (!cluster_ips_write(b))
		return 0;
	/* A Service that does not fit is retried after each deletion. */
	stale_delete(b, err);
	write_all(b);
	if (list_empty(&b->busy) && list_empty(&b->dirty) && cluster_ips_write(b) && b->cidrs_changed)
		cidrs_write(b);
	if (balancer_pending(b))
		return 0;
	failed = list_first(&b->failed, struct service, failed);
	if (!list_empty(&b->undeleted))
		err_wrap(err, "cannot delete the frontend of a deleted Service");
	else if (failed)
		err_set(err, EAGAIN, "%s", failed->problem ?: "no memory");
	else if (cluster_ips_failed(b))
		err_set(err, EAGAIN, "%s", b->cidrs_problem ?: "no memory");
	if (failed || !list_empty(&b->undeleted) || cluster_ips_failed(b))
		return -EAGAIN;
	if (b->since_ns)
		histogram_add(&b->latency, clock_ns(CLOCK_MONOTONIC) - b->since_ns);
	b->since_ns = 0;
	return 0;
}

bool balancer_pending(const struct balancer *b)
{
	return !b->loaded || b->again || !list_empty(&b->dirty) || !list_empty(&b->stale) || !list_empty(&b->busy) ||
	       !list_empty(&b->dirty_ips) || b->cidrs_changed;
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
		const struct service *owner = f->service;
		struct balancer_frontend frontend = { .ip = &f->at.ip,
						      .number = f->at.port,
						      .external = f->at.external,
						      .written = f->written,
						      .local = f->here,
						      .backends = f->backends };
		int ret;

		frontend.service = f->service ? f->service->object : NULL;
		frontend.port = frontend.service && f->index < frontend.service->port_count
				    ? &frontend.service->ports[f->index]
				    : NULL;
		/* Its Service may have changed since the last run. */
		if (!frontend.port || frontend_port(frontend.port, f->kind) != f->at.port ||
		    frontend.port->protocol != f->at.protocol)
			continue;
		if (!frontend_is_first(b, f, &owner))
			frontend.owner = owner->object;
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
					    .frontends = { b->written[false][0], b->written[false][1] },
					    .external = { b->written[true][0], b->written[true][1] },
					    .backends = { b->backends[0], b->backends[1] },
					    .without_backends = b->without_backends,
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

struct balancer *balancer_new(const struct balancer_ops *ops, void *arg, const char *node_name,
			      const struct balancer_options *options)
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
	b->options = *options;
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
	cluster_ips_free(b);
	table_free(&b->namespaces);
	table_free(&b->services);
	table_free(&b->slices);
	table_free(&b->frontends);
	table_free(&b->claims);
	free(b->pod_cidrs);
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

static int put_ip(void *arg, const struct ip *ip, bool complete, struct err *err)
{
	return dp_cluster_ip_put(arg, ip, complete, err);
}

static int delete_ip(void *arg, const struct ip *ip, struct err *err)
{
	return dp_cluster_ip_delete(arg, ip, err);
}

static int each_ip(void *arg, int (*fn)(const struct ip *ip, bool complete, void *fn_arg), void *fn_arg, struct err *err)
{
	return dp_cluster_ip_each(fn, fn_arg, err);
}

static int set_cidrs(void *arg, const struct prefix *v, size_t count, struct err *err)
{
	return dp_service_cidrs_set(arg, v, count, err);
}

const struct balancer_ops balancer_dp_ops = { put, delete, each, put_ip, delete_ip, each_ip, set_cidrs };
