/* SPDX-License-Identifier: BSD-2-Clause */
/* The maps of services in memory, as balancer.h sees them; and objects to put into it. */
#ifndef WARREN_TEST_FAKE_SERVICES_H
#define WARREN_TEST_FAKE_SERVICES_H

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balancer.h"
#include "decode.h"
#include "documents.h"
#include "rig.h"

struct fake_service {
	struct dp_service service;
	struct dp_backend *backends;
	struct prefix *ranges;
};

struct fake_services {
	struct fake_service *v;
	size_t count, room, limit; /* limit 0: none */
	unsigned long puts, deletes;
	uint16_t put_error_port; /* a put for this port fails with put_error */
	int put_error, delete_error, each_error;
	struct fake_cluster_ip {
		struct ip ip;
		bool complete;
	} *ips;
	size_t ip_count, ip_room, ip_limit;
	struct prefix cidrs[8];
	size_t cidr_count;
	unsigned long ip_puts;
};

static inline size_t fake_find(const struct fake_services *f, const struct dp_service *at)
{
	size_t i = 0;

	while (i < f->count && !(ip_equal(&f->v[i].service.ip, &at->ip) && f->v[i].service.port == at->port &&
				 f->v[i].service.protocol == at->protocol && f->v[i].service.external == at->external))
		i++;
	return i;
}

static inline void fake_drop(struct fake_services *f, size_t i)
{
	free(f->v[i].backends);
	free(f->v[i].ranges);
	f->v[i] = f->v[--f->count];
}

static inline bool fake_is(const struct dp_service *a, const struct dp_service *b)
{
	if (a->restricted != b->restricted || a->range_count != b->range_count)
		return false;
	for (size_t i = 0; i < a->range_count; i++) {
		if (prefix_cmp(&a->ranges[i], &b->ranges[i]))
			return false;
	}
	if (a->backend_count != b->backend_count || a->affinity_seconds != b->affinity_seconds || a->local != b->local ||
	    a->table_size != b->table_size || a->moves != b->moves || a->released != b->released)
		return false;
	for (size_t i = 0; i < a->backend_count; i++) {
		if (!ip_equal(&a->backends[i].ip, &b->backends[i].ip) || a->backends[i].port != b->backends[i].port)
			return false;
	}
	return true;
}

static inline int fake_put(void *arg, const struct dp_service *service, uint32_t *list, struct err *err)
{
	struct fake_services *f = arg;
	size_t i = fake_find(f, service);
	struct fake_service made = { .service = *service };

	if (i < f->count && fake_is(&f->v[i].service, service))
		return 0;
	f->puts++;
	if (f->put_error && service->port == f->put_error_port)
		return err_set(err, -f->put_error, "the map says no");
	if (i == f->count && f->limit && f->count == f->limit)
		return err_set(err, ENOSPC, "the map is full");
	made.backends = calloc(service->backend_count + 1, sizeof(*made.backends));
	assert_non_null(made.backends);
	for (size_t n = 0; n < service->backend_count; n++)
		made.backends[n] = service->backends[n];
	made.service.backends = made.backends;
	made.ranges = calloc(service->range_count + 1, sizeof(*made.ranges));
	assert_non_null(made.ranges);
	for (size_t n = 0; n < service->range_count; n++)
		made.ranges[n] = service->ranges[n];
	made.service.ranges = made.ranges;
	if (i < f->count)
		fake_drop(f, i);
	assert_int_equal(array_push(f->v, f->room, f->count, made), 0);
	return 0;
}

static inline int fake_delete(void *arg, const struct dp_service *service, struct err *err)
{
	struct fake_services *f = arg;
	size_t i = fake_find(f, service);

	f->deletes++;
	if (f->delete_error)
		return err_set(err, -f->delete_error, "the map does not let go");
	if (i < f->count)
		fake_drop(f, i);
	return 0;
}

static inline int fake_each(void *arg, int (*fn)(const struct dp_service *service, void *fn_arg), void *fn_arg,
			    struct err *err)
{
	struct fake_services *f = arg;
	int ret = 0;

	if (f->each_error)
		return err_set(err, -f->each_error, "the map cannot be read");
	for (size_t i = 0; ret == 0 && i < f->count; i++)
		ret = fn(&f->v[i].service, fn_arg);
	return ret;
}

static inline size_t fake_find_ip(const struct fake_services *f, const struct ip *ip)
{
	size_t i = 0;

	while (i < f->ip_count && !ip_equal(&f->ips[i].ip, ip))
		i++;
	return i;
}

static inline int fake_put_ip(void *arg, const struct ip *ip, bool complete, struct err *err)
{
	struct fake_services *f = arg;
	const size_t i = fake_find_ip(f, ip);

	f->ip_puts++;
	if (i == f->ip_count && f->ip_limit && f->ip_count == f->ip_limit)
		return err_set(err, ENOSPC, "the map of ClusterIPs is full");
	if (i == f->ip_count)
		assert_int_equal(array_push(f->ips, f->ip_room, f->ip_count, (struct fake_cluster_ip){ .ip = *ip }), 0);
	f->ips[i].complete = complete;
	return 0;
}

static inline int fake_delete_ip(void *arg, const struct ip *ip, struct err *err)
{
	struct fake_services *f = arg;
	const size_t i = fake_find_ip(f, ip);

	if (i < f->ip_count)
		f->ips[i] = f->ips[--f->ip_count];
	return 0;
}

static inline int fake_each_ip(void *arg, int (*fn)(const struct ip *ip, bool complete, void *fn_arg), void *fn_arg,
			       struct err *err)
{
	struct fake_services *f = arg;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < f->ip_count; i++)
		ret = fn(&f->ips[i].ip, f->ips[i].complete, fn_arg);
	return ret;
}

static inline int fake_set_cidrs(void *arg, const struct prefix *v, size_t count, struct err *err)
{
	struct fake_services *f = arg;

	assert_in_range(count, 0, ARRAY_SIZE(f->cidrs));
	for (size_t i = 0; i < count; i++)
		f->cidrs[i] = v[i];
	f->cidr_count = count;
	return 0;
}

static const struct balancer_ops fake_services_ops = { fake_put,    fake_delete,    fake_each,	   fake_put_ip,
							fake_delete_ip, fake_each_ip, fake_set_cidrs };

static inline void fake_clear(struct fake_services *f)
{
	while (f->count)
		fake_drop(f, 0);
	free(f->v);
	free(f->ips);
	*f = (struct fake_services){ 0 };
}

static inline int line_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline char *fake_line(const struct dp_service *s)
{
	char *line, at[SOCKET_STRLEN > PREFIX_STRLEN ? SOCKET_STRLEN : PREFIX_STRLEN];
	size_t size;
	FILE *out = open_memstream(&line, &size);

	assert_non_null(out);
	fprintf(out, "%s%s%s%s", s->external ? "external " : "", s->local ? "local " : "", socket_format(&s->ip, s->port, at),
		s->protocol == IPPROTO_UDP ? "/U" : s->protocol == IPPROTO_SCTP ? "/S" : "");
	if (s->affinity_seconds)
		fprintf(out, " affinity %u", s->affinity_seconds);
	if (s->table_size)
		fprintf(out, " table %u", s->table_size);
	if (s->moves)
		fputs(" moves", out);
	if (s->restricted)
		fputs(" from", out);
	for (size_t i = 0; i < s->range_count; i++)
		fprintf(out, "%c%s", i ? ',' : ' ', prefix_format(&s->ranges[i], at));
	fputs(s->released ? " released" : " >", out);
	for (size_t i = 0; i < s->backend_count; i++)
		fprintf(out, " %s", socket_format(&s->backends[i].ip, s->backends[i].port, at));
	fclose(out);
	return line;
}

/* The maps' contents as sorted lines; to be freed. */
static inline char *fake_text(const struct fake_services *f)
{
	char **lines = calloc(f->count + 1, sizeof(*lines)), *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(lines);
	assert_non_null(out);
	for (size_t i = 0; i < f->count; i++)
		lines[i] = fake_line(&f->v[i].service);
	qsort(lines, f->count, sizeof(*lines), line_cmp);
	for (size_t i = 0; i < f->count; i++) {
		fprintf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	fclose(out);
	free(lines);
	return text;
}

static inline void expect_services(const struct fake_services *f, const char *expected)
{
	char *text = fake_text(f);

	assert_string_equal(text, expected);
	free(text);
}

/* --- objects --- */

static inline int put_object(void *arg, struct object *o)
{
	if (o->kind == OBJECT_SERVICE)
		return balancer_put_service(arg, o->service);
	if (o->kind == OBJECT_SERVICE_CIDR)
		return balancer_put_cidrs(arg, o->service_cidr);
	assert_int_equal(o->kind, OBJECT_SLICE);
	return balancer_put_slice(arg, o->slice);
}

static inline void no_object(void *arg, const struct err *err)
{
	fail_msg("%s", err->msg);
}

static inline int put_document(json_t *document, int number, void *arg)
{
	return objects_decode(document, &(struct object_sink){ put_object, no_object, arg });
}

/* YAML of Services and EndpointSlices. */
static inline void put_text(struct balancer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void put_text(struct balancer *b, const char *format, ...)
{
	struct err err = { 0 };
	char text[2000];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	assert_in_range(n, 1, sizeof(text) - 1);
	assert_ok(documents_parse(text, (size_t)n, "it", put_document, b, &err));
}

/* In the namespace "ns"; `spec` is a YAML mapping without its braces. */
#define put_service(b, name, spec) \
	put_text(b, "apiVersion: v1\nkind: Service\nmetadata: {namespace: ns, name: %s}\nspec: {%s}\n", name, spec)
#define put_slice(b, name, service, family, endpoints, ports)                                                          \
	put_text(b,                                                                                                    \
		 "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv%d\n"                           \
		 "metadata: {namespace: ns, name: %s, labels: {kubernetes.io/service-name: %s}}\n"                      \
		 "endpoints: [%s]\nports: [%s]\n",                                                                     \
		 family, name, service, endpoints, ports)

#endif
