/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which Service owns which address and port, for pods and for clients outside the cluster. One frontend of those with
 * the same key represents the element in the maps: the first claimant's, or a stale one without a claimant. When the
 * first claimant changes, the element is handed over and then replaced in place, so that the address is served without
 * a gap.
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

static bool claims_before(const struct frontend *a, const struct frontend *b)
{
	return a->kind != b->kind ? a->kind < b->kind : service_cmp(a->service, b->service) < 0;
}

/* The first claimant's frontend of this address and port, or the stale one; NULL: none. */
static struct frontend *frontend_first(const struct balancer *b, const struct frontend_key *at)
{
	struct frontend *f, *first = NULL;

	table_each_hash(f, &b->frontends, frontend_hash(b, at), by_key) {
		if (frontend_is(f, at) &&
		    (!first || (f->service && first->service && claims_before(f, first))))
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

void frontend_is_written(struct balancer *b, struct frontend *f, bool written, uint32_t backends)
{
	const bool v6 = f->at.ip.family == AF_INET6;

	b->written[f->at.external][v6] += (size_t)written - f->written;
	b->backends[v6] += (size_t)backends - f->backends;
	b->without_backends += (size_t)(written && !backends) - (f->written && !f->backends);
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
	list_remove(&f->list);
	free(f);
}

static void hand_over(struct balancer *b, struct frontend *from, struct frontend *to)
{
	const bool written = from->written;
	const uint32_t backends = from->backends;

	frontend_is_written(b, from, false, 0);
	frontend_is_written(b, to, written, backends);
	to->fingerprint = from->fingerprint;
}

/* The order of claims follows their kinds: the address may pass to another Service. */
static void frontend_set_kind(struct balancer *b, struct frontend *f, enum address_kind kind)
{
	struct frontend *before, *after;

	if (f->kind == kind)
		return;
	before = frontend_first(b, &f->at);
	f->kind = kind;
	after = frontend_first(b, &f->at);
	if (before == after)
		return;
	hand_over(b, before, after);
	claimants_changed(b, f);
}

uint16_t frontend_port(const struct service_port *port, enum address_kind kind)
{
	return kind == ADDRESS_NODE ? port->node_port : port->port;
}

/* A frontend that the Service has claimed already, at an address that precedes this one, stays as it is. */
static int frontend_claim(struct balancer *b, struct service *s, const struct address *address, size_t index)
{
	const struct service_port *port = &s->object->ports[index];
	const struct frontend_key at = { address->ip, frontend_port(port, address->kind), port->protocol, address->external };
	struct frontend *f = frontend_find(b, s, &at), *first;

	if (f && f->claimed)
		return 0;
	if (f) {
		f->claimed = true;
		f->index = (uint16_t)index;
		f->here = address->here;
		frontend_set_kind(b, f, address->kind);
		return 0;
	}
	first = frontend_first(b, &at);
	f = first && !first->service ? first : frontend_new(b, &at);
	if (!f)
		return -ENOMEM;
	f->service = s;
	f->kind = address->kind;
	f->here = address->here;
	f->claimed = true;
	f->index = (uint16_t)index;
	list_append(&s->frontends, &f->list);
	if (first && first != f && claims_before(f, first))
		hand_over(b, first, f);
	claimants_changed(b, f);
	return 0;
}

static void frontend_release(struct balancer *b, struct frontend *f)
{
	struct frontend *next;

	list_remove(&f->list);
	/* Out of the table for a moment, so that frontend_first() finds the next one. */
	table_remove(&b->frontends, &f->by_key);
	next = frontend_first(b, &f->at);
	table_add(&b->frontends, &f->by_key, f->by_key.hash);
	f->service = NULL;
	claimants_changed(b, f);
	if (next && f->written)
		hand_over(b, f, next);
	if (f->written)
		list_mark(&b->stale, &f->list);
	else
		frontend_free(b, f);
}

/* Claims the Service's ports at the address, as many as it is granted. */
static int address_claim(struct balancer *b, struct service *s, const struct address *address, size_t *granted)
{
	int ret = 0;

	for (size_t p = 0; ret == 0 && p < s->object->port_count && *granted; p++) {
		if (!frontend_port(&s->object->ports[p], address->kind))
			continue;
		ret = frontend_claim(b, s, address, p);
		(*granted)--;
	}
	return ret;
}

int frontends_update(struct balancer *b, struct service *s)
{
	size_t granted[2] = { s->granted[QUOTA_PORTS4], s->granted[QUOTA_PORTS6] };
	struct frontend *f, *after;
	int ret = 0;

	list_each(f, &s->frontends, list)
		f->claimed = false;
	for (size_t i = 0; i < s->address_count && ret == 0; i++)
		ret = address_claim(b, s, &s->addresses[i], &granted[s->addresses[i].ip.family == AF_INET6]);
	list_each_safe(f, after, &s->frontends, list) {
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
		list_mark(&b->stale, &f->list);
	}
	frontend_is_written(b, f, true, (uint32_t)service->backend_count);
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
