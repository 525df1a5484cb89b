/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which Service owns which address and port. One frontend of those with the same address and port represents the
 * element in the maps: the first claimant's, or a stale one without a claimant. When the first claimant changes, the
 * element is handed over and then replaced in place, so that the address is served without a gap.
 */
#include "balancer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t frontend_hash(const struct balancer *b, const struct frontend_key *at)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_bytes(&h, &at->ip, sizeof(at->ip));
	siphash_number(&h, (uint64_t)at->external << 24 | (uint64_t)at->protocol << 16 | at->port);
	return siphash_end(&h);
}

static bool frontend_is(const struct frontend *f, const struct frontend_key *at)
{
	return f->at.port == at->port && f->at.protocol == at->protocol && f->at.external == at->external &&
	       ip_equal(&f->at.ip, &at->ip);
}

/* The first claimant's frontend of this address and port, or the stale one; NULL: none. */
static struct frontend *frontend_first(const struct balancer *b, const struct frontend_key *at)
{
	struct frontend *f, *first = NULL;

	table_each_hash(f, &b->frontends, frontend_hash(b, at), by_key) {
		if (frontend_is(f, at) &&
		    (!first || (f->service && first->service && service_cmp(f->service, first->service) < 0)))
			first = f;
	}
	return first;
}

bool frontend_is_first(const struct balancer *b, const struct frontend *f, const struct service **other)
{
	const struct frontend *first = frontend_first(b, &f->at);

	*other = first->service;
	return first == f;
}

/* All claimants are written again: the first one may have changed, or the problem of the others. */
static void claimants_changed(struct balancer *b, const struct frontend *changed)
{
	struct frontend *f;

	table_each_hash(f, &b->frontends, changed->by_key.hash, by_key) {
		if (f->service && frontend_is(f, &changed->at))
			service_queue(b, f->service);
	}
}

struct frontend *frontend_find(const struct balancer *b, const struct service *s, const struct frontend_key *at)
{
	struct frontend *f;

	table_each_hash(f, &b->frontends, frontend_hash(b, at), by_key) {
		if (f->service == s && frontend_is(f, at))
			return f;
	}
	return NULL;
}

void frontend_is_written(struct balancer *b, struct frontend *f, bool written, size_t backends)
{
	const bool v6 = f->at.ip.family == AF_INET6;

	b->written[v6] += (size_t)written - f->written;
	b->backends[v6] += backends - f->backends;
	f->written = written;
	f->backends = backends;
}

static struct frontend *frontend_new(struct balancer *b, const struct frontend_key *at)
{
	struct frontend *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->at = *at;
	table_add(&b->frontends, &f->by_key, frontend_hash(b, at));
	return f;
}

void frontend_free(struct balancer *b, struct frontend *f)
{
	frontend_is_written(b, f, false, 0);
	table_remove(&b->frontends, &f->by_key);
	list_remove(&f->of_service);
	list_remove(&f->stale);
	free(f);
}

static void hand_over(struct balancer *b, struct frontend *from, struct frontend *to)
{
	const bool written = from->written;
	const size_t backends = from->backends;

	frontend_is_written(b, from, false, 0);
	frontend_is_written(b, to, written, backends);
	to->fingerprint = from->fingerprint;
}

static int frontend_claim(struct balancer *b, struct service *s, const struct ip *ip, size_t index)
{
	const struct service_port *port = &s->object->ports[index];
	const struct frontend_key at = { .ip = *ip, .port = port->port, .protocol = port->protocol };
	struct frontend *f = frontend_find(b, s, &at), *first;

	if (f) {
		f->claimed = true;
		f->index = index;
		return 0;
	}
	first = frontend_first(b, &at);
	f = first && !first->service ? first : frontend_new(b, &at);
	if (!f)
		return -ENOMEM;
	f->service = s;
	f->claimed = true;
	f->index = index;
	list_remove(&f->stale);
	list_append(&s->frontends, &f->of_service);
	if (first && first != f && service_cmp(s, first->service) < 0)
		hand_over(b, first, f);
	claimants_changed(b, f);
	return 0;
}

static void frontend_release(struct balancer *b, struct frontend *f)
{
	struct frontend *next;

	list_remove(&f->of_service);
	/* Out of the table for a moment, so that frontend_first() finds the next one. */
	table_remove(&b->frontends, &f->by_key);
	next = frontend_first(b, &f->at);
	table_add(&b->frontends, &f->by_key, f->by_key.hash);
	f->service = NULL;
	claimants_changed(b, f);
	if (next && f->written)
		hand_over(b, f, next);
	if (f->written)
		list_mark(&b->stale, &f->stale);
	else
		frontend_free(b, f);
}

int frontends_update(struct balancer *b, struct service *s)
{
	struct frontend *f, *after;
	int ret = 0;

	list_each(f, &s->frontends, of_service)
		f->claimed = false;
	for (int i = 0; s->object && i < 2 && s->object->cluster_ips[i].family; i++) {
		const struct ip *ip = &s->object->cluster_ips[i];
		const size_t granted = s->granted[ip->family == AF_INET6 ? QUOTA_PORTS6 : QUOTA_PORTS4];

		for (size_t p = 0; ret == 0 && p < s->object->port_count && p < granted; p++)
			ret = frontend_claim(b, s, ip, p);
	}
	list_each_safe(f, after, &s->frontends, of_service) {
		if (!f->claimed && ret == 0)
			frontend_release(b, f);
	}
	return ret;
}

/* --- what is in the maps --- */

static int on_loaded(const struct dp_service *service, void *arg)
{
	const struct frontend_key at = { service->ip, service->port, service->protocol, service->external };
	struct balancer *b = arg;
	struct frontend *f = frontend_first(b, &at);

	if (!f) {
		f = frontend_new(b, &at);
		if (!f)
			return -ENOMEM;
		list_mark(&b->stale, &f->stale);
	}
	frontend_is_written(b, f, true, service->backend_count);
	f->fingerprint = 0;
	return 0;
}

int frontends_load(struct balancer *b, struct err *err)
{
	struct frontend *f;
	int ret;

	table_each(f, &b->frontends, by_key)
		frontend_is_written(b, f, false, 0);
	ret = b->ops->each(b->arg, on_loaded, b, err);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the services in the maps");
	if (ret < 0)
		return ret;
	table_each(f, &b->frontends, by_key) {
		if (!f->service && !f->written)
			frontend_free(b, f);
	}
	return 0;
}
