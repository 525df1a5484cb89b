/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which addresses are ClusterIPs, and the prefixes for them (ServiceCIDRs): to other ports of the former packets are
 * rejected, to other addresses of the latter they are dropped. Every Service's ClusterIP is in the map before a prefix is.
 */
#include "balancer_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "clock.h"

#define RUN_NS (5 * NS_PER_MS)

enum cluster_ip_state { ABSENT, KNOWN, COMPLETE };

/* A ClusterIP that is in the map, or a Service's. */
struct cluster_ip {
	struct table_link by_ip;
	struct list dirty; /* in balancer.dirty_ips, or in .failed_ips */
	struct ip ip;
	enum cluster_ip_state written;
};

struct service_cidrs {
	struct table_link by_name;
	struct service_cidr_object *object;
};

/* --- ClusterIPs --- */

static struct cluster_ip *cluster_ip_get(struct balancer *b, const struct ip *ip)
{
	const uint64_t hash = address_hash(b, ip);
	struct cluster_ip *c;

	table_each_hash(c, &b->cluster_ips, hash, by_ip) {
		if (ip_equal(&c->ip, ip))
			return c;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->ip = *ip;
	table_add(&b->cluster_ips, &c->by_ip, hash);
	return c;
}

static void cluster_ip_free(struct balancer *b, struct cluster_ip *c)
{
	table_remove(&b->cluster_ips, &c->by_ip);
	list_remove(&c->dirty);
	free(c);
}

/* Without memory for one, no prefix may be in the map: the packets to it would be dropped. */
static void cluster_ip_changed(struct balancer *b, const struct ip *ip)
{
	struct cluster_ip *c = cluster_ip_get(b, ip);

	if (c) {
		list_remove(&c->dirty);
		list_mark(&b->dirty_ips, &c->dirty);
	} else if (!b->ips_lost) {
		b->ips_lost = b->cidrs_changed = true;
	}
}

void cluster_ips_changed(struct balancer *b, const struct service *s)
{
	for (size_t i = 0; i < s->claims.count; i++) {
		if (s->claims.v[i].kind == ADDRESS_CLUSTER_IP)
			cluster_ip_changed(b, &s->claims.v[i].ip);
	}
}

/* Until a Service has been written the first time, the ports that an earlier agent has written are its ports. */
static enum cluster_ip_state state_of(const struct balancer *b, const struct cluster_ip *c)
{
	enum cluster_ip_state state = ABSENT;
	const struct address_claim *claim;

	table_each_hash(claim, &b->claims, c->by_ip.hash, by_ip) {
		if (claim->kind != ADDRESS_CLUSTER_IP || !ip_equal(&claim->ip, &c->ip))
			continue;
		if (claim->service->object->other_proxy || claim->service->programmed == PROGRAMMED_IN_PART)
			return KNOWN;
		if (claim->service->programmed == PROGRAMMED)
			state = state == KNOWN ? KNOWN : COMPLETE;
		else
			state = c->written == COMPLETE ? COMPLETE : KNOWN;
	}
	return state;
}

static int cluster_ip_write(struct balancer *b, struct cluster_ip *c, struct err *err)
{
	const enum cluster_ip_state state = state_of(b, c);
	int ret = 0;

	if (state == ABSENT) {
		ret = c->written == ABSENT ? 0 : b->ops->delete_ip(b->arg, &c->ip, err);
		if (ret == 0)
			cluster_ip_free(b, c);
		return ret;
	}
	if (state != c->written)
		ret = b->ops->put_ip(b->arg, &c->ip, state == COMPLETE, err);
	if (ret == 0)
		c->written = state;
	return ret;
}

bool cluster_ips_write(struct balancer *b)
{
	const uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + RUN_NS;
	struct cluster_ip *c;
	struct err err = { 0 };

	while ((c = list_first(&b->dirty_ips, struct cluster_ip, dirty))) {
		list_remove(&c->dirty);
		if (cluster_ip_write(b, c, &err) < 0) {
			b->failures++;
			b->cidrs_changed |= c->written == ABSENT;
			list_mark(&b->failed_ips, &c->dirty);
		}
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			return list_empty(&b->dirty_ips);
	}
	return true;
}

bool cluster_ips_failed(const struct balancer *b)
{
	return b->ips_lost || b->cidrs_failed || !list_empty(&b->failed_ips);
}

void cluster_ips_retry(struct balancer *b)
{
	struct cluster_ip *c;
	struct service *s;

	b->cidrs_changed |= b->cidrs_failed;
	while ((c = list_first(&b->failed_ips, struct cluster_ip, dirty))) {
		list_remove(&c->dirty);
		list_mark(&b->dirty_ips, &c->dirty);
		b->cidrs_changed = true;
	}
	if (!b->ips_lost)
		return;
	b->ips_lost = false;
	b->cidrs_changed = true;
	table_each(s, &b->services, by_name)
		cluster_ips_changed(b, s);
}

static int on_loaded(const struct ip *ip, bool complete, void *arg)
{
	struct cluster_ip *c = cluster_ip_get(arg, ip);

	if (!c)
		return -ENOMEM;
	c->written = complete ? COMPLETE : KNOWN;
	return 0;
}

int cluster_ips_load(struct balancer *b, struct err *err)
{
	struct cluster_ip *c;
	int ret;

	table_each(c, &b->cluster_ips, by_ip)
		c->written = ABSENT;
	ret = b->ops->each_ip(b->arg, on_loaded, b, err);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the ClusterIPs in the maps");
	if (ret < 0)
		return ret;
	table_each(c, &b->cluster_ips, by_ip) {
		list_remove(&c->dirty);
		list_mark(&b->dirty_ips, &c->dirty);
	}
	b->cidrs_changed = true;
	return 0;
}

/* --- ServiceCIDRs --- */

static struct service_cidrs *cidrs_find(const struct balancer *b, const char *name)
{
	struct service_cidrs *c;

	table_each_hash(c, &b->cidrs, name_hash(b, "", name), by_name) {
		if (strcmp(c->object->name, name) == 0)
			return c;
	}
	return NULL;
}

static void cidrs_free(struct balancer *b, struct service_cidrs *c)
{
	table_remove(&b->cidrs, &c->by_name);
	service_cidr_object_free(c->object);
	free(c);
}

void balancer_remove_cidrs(struct balancer *b, const char *name)
{
	struct service_cidrs *c = cidrs_find(b, name);

	if (!c)
		return;
	cidrs_free(b, c);
	b->cidrs_changed = true;
}

int balancer_put_cidrs(struct balancer *b, struct service_cidr_object *object)
{
	struct service_cidrs *c = calloc(1, sizeof(*c));

	if (!c) {
		service_cidr_object_free(object);
		return -ENOMEM;
	}
	balancer_remove_cidrs(b, object->name);
	c->object = object;
	table_add(&b->cidrs, &c->by_name, name_hash(b, "", object->name));
	b->cidrs_changed = true;
	return 0;
}

static void cidrs_problem(struct balancer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void cidrs_problem(struct balancer *b, const char *fmt, ...)
{
	va_list ap;

	if (b->cidrs_problem)
		return;
	va_start(ap, fmt);
	if (vasprintf(&b->cidrs_problem, fmt, ap) < 0)
		b->cidrs_problem = NULL;
	va_end(ap);
}

/* Pods and nodes must be reached whatever a ServiceCIDR holds. */
static bool cidr_is_refused(struct balancer *b, const char *name, const struct prefix *cidr)
{
	char text[PREFIX_STRLEN], other[PREFIX_STRLEN];

	for (size_t i = 0; i < b->pod_cidr_count; i++) {
		if (!prefix_overlaps(&b->pod_cidrs[i], cidr))
			continue;
		cidrs_problem(b, "%s: %s is ignored: it overlaps the pod CIDR %s", name, prefix_format(cidr, text),
			      prefix_format(&b->pod_cidrs[i], other));
		return true;
	}
	for (size_t i = 0; i < b->all_node_address_count; i++) {
		if (!prefix_contains(cidr, &b->all_node_addresses[i]))
			continue;
		cidrs_problem(b, "%s: %s is ignored: it has the node's address %s", name, prefix_format(cidr, text),
			      ip_format(&b->all_node_addresses[i], other));
		return true;
	}
	return false;
}

static int cidr_cmp(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

void cidrs_write(struct balancer *b)
{
	_cleanup_free_ struct prefix *v = calloc(2 * b->cidrs.count + 1, sizeof(*v));
	struct service_cidrs *c;
	struct err err = { 0 };
	size_t count = 0;

	free(take_ptr(b->cidrs_problem));
	b->cidrs_changed = b->cidrs_failed = false;
	if (cluster_ips_failed(b))
		cidrs_problem(b, "all are ignored: the maps have no room for the ClusterIPs of the Services");
	table_each(c, &b->cidrs, by_name) {
		for (int i = 0; v && i < 2 && !cluster_ips_failed(b); i++) {
			const struct prefix *cidr = &c->object->cidrs[i];

			if (cidr->ip.family && !cidr_is_refused(b, c->object->name, cidr))
				v[count++] = *cidr;
		}
	}
	count = array_sort_unique(v, count, sizeof(*v), cidr_cmp, NULL);
	if (b->ops->set_cidrs(b->arg, v, count, &err) == 0)
		return;
	b->failures++;
	b->cidrs_failed = true;
	cidrs_problem(b, "%s", err.msg);
}

const char *balancer_cidrs_problem(const struct balancer *b)
{
	return b->cidrs_problem;
}

void cluster_ips_free(struct balancer *b)
{
	struct service_cidrs *cidrs;
	struct cluster_ip *ip;

	table_each(cidrs, &b->cidrs, by_name)
		cidrs_free(b, cidrs);
	table_each(ip, &b->cluster_ips, by_ip)
		cluster_ip_free(b, ip);
	table_free(&b->cidrs);
	table_free(&b->cluster_ips);
	free(b->cidrs_problem);
	free(b->all_node_addresses);
}
