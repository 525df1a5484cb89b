/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who has which address and port. What is in the maps is always known of one front: the first claimant's, or the orphan
 * that nobody claims any more; it is handed on with the claim, so that the address is never without an answer in
 * between.
 */
#include "balancer_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t front_hash(const struct balancer *b, const struct ip *ip, uint16_t port, uint8_t protocol)
{
	struct siphash h;

	siphash_begin(&h, b->key);
	siphash_bytes(&h, ip, sizeof(*ip));
	siphash_number(&h, (uint64_t)protocol << 16 | port);
	return siphash_end(&h);
}

static bool front_is(const struct front *f, const struct ip *ip, uint16_t port, uint8_t protocol)
{
	return f->port == port && f->protocol == protocol && ip_equal(&f->ip, ip);
}

/* Of all with this address and port the first claimant's, or the orphan; NULL: there is none. */
static struct front *front_first(const struct balancer *b, const struct ip *ip, uint16_t port, uint8_t protocol)
{
	struct front *f, *first = NULL;

	table_each_hash(f, &b->fronts, front_hash(b, ip, port, protocol), by_key) {
		if (front_is(f, ip, port, protocol) &&
		    (!first || (f->service && first->service && service_cmp(f->service, first->service) < 0)))
			first = f;
	}
	return first;
}

bool front_counts(const struct balancer *b, const struct front *f, const struct service **other)
{
	const struct front *first = front_first(b, &f->ip, f->port, f->protocol);

	*other = first->service;
	return first == f;
}

/* Who counts, or what the others have to say of it, is to be decided again. */
static void claimants_changed(struct balancer *b, const struct front *changed)
{
	struct front *f;

	table_each_hash(f, &b->fronts, changed->by_key.hash, by_key) {
		if (f->service && front_is(f, &changed->ip, changed->port, changed->protocol))
			service_queue(b, f->service);
	}
}

struct front *front_find(const struct balancer *b, const struct service *s, const struct ip *ip, uint16_t port,
			 uint8_t protocol)
{
	struct front *f;

	table_each_hash(f, &b->fronts, front_hash(b, ip, port, protocol), by_key) {
		if (f->service == s && front_is(f, ip, port, protocol))
			return f;
	}
	return NULL;
}

void front_is_written(struct balancer *b, struct front *f, bool written, size_t backends)
{
	const bool v6 = f->ip.family == AF_INET6;

	b->written[v6] += (size_t)written - f->written;
	b->backends[v6] += backends - f->backends;
	f->written = written;
	f->backends = backends;
}

static struct front *front_new(struct balancer *b, const struct ip *ip, uint16_t port, uint8_t protocol)
{
	struct front *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->ip = *ip;
	f->port = port;
	f->protocol = protocol;
	list_init(&f->of_service);
	list_init(&f->orphans);
	table_add(&b->fronts, &f->by_key, front_hash(b, ip, port, protocol));
	return f;
}

void front_free(struct balancer *b, struct front *f)
{
	front_is_written(b, f, false, 0);
	table_remove(&b->fronts, &f->by_key);
	list_remove(&f->of_service);
	list_remove(&f->orphans);
	free(f);
}

static void hand_on(struct balancer *b, struct front *from, struct front *to)
{
	const bool written = from->written;
	const size_t backends = from->backends;

	front_is_written(b, from, false, 0);
	front_is_written(b, to, written, backends);
	to->fingerprint = from->fingerprint;
}

static int front_claim(struct balancer *b, struct service *s, const struct ip *ip, size_t index)
{
	const struct service_port *port = &s->object->ports[index];
	struct front *f = front_find(b, s, ip, port->port, port->protocol), *first;

	if (f) {
		f->claimed = true;
		f->index = index;
		return 0;
	}
	first = front_first(b, ip, port->port, port->protocol);
	f = first && !first->service ? first : front_new(b, ip, port->port, port->protocol);
	if (!f)
		return -ENOMEM;
	f->service = s;
	f->claimed = true;
	f->index = index;
	list_remove(&f->orphans);
	list_append(&s->fronts, &f->of_service);
	if (first && first != f && service_cmp(s, first->service) < 0)
		hand_on(b, first, f);
	claimants_changed(b, f);
	return 0;
}

static void front_release(struct balancer *b, struct front *f)
{
	struct front *next;

	list_remove(&f->of_service);
	/* Out of the table for a moment, so that the next one can be seen. */
	table_remove(&b->fronts, &f->by_key);
	next = front_first(b, &f->ip, f->port, f->protocol);
	table_add(&b->fronts, &f->by_key, f->by_key.hash);
	f->service = NULL;
	claimants_changed(b, f);
	if (next && f->written)
		hand_on(b, f, next);
	if (f->written)
		list_mark(&b->orphans, &f->orphans);
	else
		front_free(b, f);
}

int fronts_update(struct balancer *b, struct service *s)
{
	struct front *f, *after;
	int ret = 0;

	list_each(f, &s->fronts, of_service)
		f->claimed = false;
	for (int i = 0; s->object && i < 2 && s->object->cluster_ips[i].family; i++) {
		const struct ip *ip = &s->object->cluster_ips[i];
		const size_t gets = s->gets[ip->family == AF_INET6 ? QUOTA_PORTS6 : QUOTA_PORTS4];

		for (size_t p = 0; ret == 0 && p < s->object->port_count && p < gets; p++)
			ret = front_claim(b, s, ip, p);
	}
	list_each_safe(f, after, &s->fronts, of_service) {
		if (!f->claimed && ret == 0)
			front_release(b, f);
	}
	return ret;
}

/* --- what is in the maps --- */

static int on_loaded(const struct dp_service *service, void *arg)
{
	struct balancer *b = arg;
	struct front *f = front_first(b, &service->ip, service->port, service->protocol);

	if (!f) {
		f = front_new(b, &service->ip, service->port, service->protocol);
		if (!f)
			return -ENOMEM;
		list_mark(&b->orphans, &f->orphans);
	}
	front_is_written(b, f, true, service->backend_count);
	f->fingerprint = 0;
	return 0;
}

int fronts_load(struct balancer *b, struct err *err)
{
	struct front *f;
	int ret;

	table_each(f, &b->fronts, by_key)
		front_is_written(b, f, false, 0);
	ret = b->ops->each(b->arg, on_loaded, b, err);
	if (ret == -ENOMEM)
		err_set(err, ENOMEM, "no memory for the services in the maps");
	if (ret < 0)
		return ret;
	table_each(f, &b->fronts, by_key) {
		if (!f->service && !f->written)
			front_free(b, f);
	}
	return 0;
}
