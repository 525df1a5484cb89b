/* SPDX-License-Identifier: BSD-2-Clause */
/* At which addresses a Service has frontends, for whom, and with which backends. */
#include "balancer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"

/* --- claims: the addresses that an object names --- */

static bool has_family(const struct service_object *object, const struct ip *ip)
{
	return object->cluster_ips[0].family == ip->family || object->cluster_ips[1].family == ip->family;
}

static int claim_cmp_by_address(const void *pa, const void *pb)
{
	const struct address_claim *a = pa, *b = pb;
	const int c = ip_cmp(&a->ip, &b->ip);

	return c ? c : (int)a->kind - (int)b->kind;
}

static int claim_cmp_by_kind(const void *pa, const void *pb)
{
	const struct address_claim *a = pa, *b = pb;

	return a->kind != b->kind ? (int)a->kind - (int)b->kind : ip_cmp(&a->ip, &b->ip);
}

/* An address is left once, with the first kind that it has. */
static size_t claims_sort(struct address_claim *v, size_t count)
{
	size_t kept = 0;

	if (count)
		qsort(v, count, sizeof(*v), claim_cmp_by_address);
	for (size_t i = 0; i < count; i++) {
		if (!kept || !ip_equal(&v[kept - 1].ip, &v[i].ip))
			v[kept++] = v[i];
	}
	if (kept)
		qsort(v, kept, sizeof(*v), claim_cmp_by_kind);
	return kept;
}

static void claims_add(struct claims *claims, const struct service_object *object, enum address_kind kind,
		       const struct ip *ips, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!ips[i].family || !has_family(object, &ips[i]))
			continue;
		if (claims->count == 2 + SERVICE_ADDRESSES_MAX)
			claims->not_programmed++;
		else
			claims->v[claims->count++] = (struct address_claim){ .kind = kind, .ip = ips[i] };
	}
}

int claims_make(const struct balancer *b, const struct service_object *object, struct claims *claims)
{
	const bool outside = b->options.node_ports && !object->other_proxy;
	const bool balanced = outside && object->type == SERVICE_LOAD_BALANCER;
	const bool external = outside && b->options.external_ips;
	size_t max = (balanced ? object->balancer_ip_count : 0) + (external ? object->external_ip_count : 0);

	max = max < SERVICE_ADDRESSES_MAX ? max : SERVICE_ADDRESSES_MAX;
	*claims = (struct claims){ .v = calloc(2 + max, sizeof(*claims->v)) };
	if (!claims->v)
		return -ENOMEM;
	claims_add(claims, object, ADDRESS_CLUSTER_IP, object->cluster_ips, 2);
	if (balanced)
		claims_add(claims, object, ADDRESS_LOAD_BALANCER, object->balancer_ips, object->balancer_ip_count);
	if (external)
		claims_add(claims, object, ADDRESS_EXTERNAL_IP, object->external_ips, object->external_ip_count);
	claims->count = (uint32_t)claims_sort(claims->v, claims->count);
	return 0;
}

/* Services that claim the address otherwise: it becomes, or was, a ClusterIP. */
static void claimants_changed(struct balancer *b, const struct address_claim *cluster_ip)
{
	struct address_claim *c;

	table_each_hash(c, &b->claims, address_hash(b, &cluster_ip->ip), by_ip) {
		if (c->kind != ADDRESS_CLUSTER_IP && ip_equal(&c->ip, &cluster_ip->ip))
			service_changed(b, c->service);
	}
}

void claims_replace(struct balancer *b, struct service *s, struct claims claims)
{
	cluster_ips_changed(b, s);
	for (size_t i = 0; i < s->claims.count; i++)
		table_remove(&b->claims, &s->claims.v[i].by_ip);
	for (size_t i = 0; i < s->claims.count; i++) {
		if (s->claims.v[i].kind == ADDRESS_CLUSTER_IP)
			claimants_changed(b, &s->claims.v[i]);
	}
	free(s->claims.v);
	s->claims = claims;
	for (size_t i = 0; i < claims.count; i++) {
		claims.v[i].service = s;
		table_add(&b->claims, &claims.v[i].by_ip, address_hash(b, &claims.v[i].ip));
	}
	for (size_t i = 0; i < claims.count; i++) {
		if (claims.v[i].kind == ADDRESS_CLUSTER_IP)
			claimants_changed(b, &claims.v[i]);
	}
	cluster_ips_changed(b, s);
}

/* --- claims that are refused --- */

static int cidr_search(const void *key, const void *element)
{
	const struct ip *ip = key;
	const struct prefix *cidr = element;

	return prefix_contains(cidr, ip) ? 0 : ip_cmp(ip, &cidr->ip);
}

static bool is_of_pods(const struct balancer *b, const struct ip *ip)
{
	return b->pod_cidr_count &&
	       bsearch(ip, b->pod_cidrs, b->pod_cidr_count, sizeof(*b->pod_cidrs), cidr_search);
}

/* The Service whose ClusterIP it is; NULL: none's. */
static const struct service *cluster_ip_owner(const struct balancer *b, const struct ip *ip)
{
	struct address_claim *c;

	table_each_hash(c, &b->claims, address_hash(b, ip), by_ip) {
		if (c->kind == ADDRESS_CLUSTER_IP && ip_equal(&c->ip, ip))
			return c->service;
	}
	return NULL;
}

/* Notes the first one. Without memory for its text it is not reported. */
static void note_refused(struct service *s, const struct ip *ip, const char *why, const struct service *owner)
{
	char text[IP_STRLEN];

	if (s->refused)
		return;
	if (asprintf(&s->refused, "%s is not programmed: %s%s%s%s%s", ip_format(ip, text), why, owner ? " " : "",
		     owner ? owner->namespace->name : "", owner ? "/" : "", owner ? owner->name : "") < 0)
		s->refused = NULL;
}

/* Such an address would lead others' packets to this Service. */
static bool is_refused(const struct balancer *b, struct service *s, const struct address_claim *claim)
{
	const struct service *owner = cluster_ip_owner(b, &claim->ip);

	if (!ip_is_reachable(&claim->ip))
		note_refused(s, &claim->ip, "it is not an address that other hosts can reach", NULL);
	else if (is_of_pods(b, &claim->ip))
		note_refused(s, &claim->ip, "it is an address of pods", NULL);
	else if (owner)
		note_refused(s, &claim->ip, "it is the ClusterIP of Service", owner);
	else
		return false;
	return true;
}

/* --- addresses --- */

static void address_add(const struct balancer *b, struct service *s, const struct ip *ip, enum address_kind kind,
			bool external, bool here)
{
	if (external || !b->released)
		s->addresses[s->address_count++] = (struct address){ *ip, kind, external, here };
}

/* For both scopes. Traffic policies do not apply to pods here: they reach all endpoints of the cluster. */
static void address_add_both(const struct balancer *b, struct service *s, const struct ip *ip, enum address_kind kind)
{
	address_add(b, s, ip, kind, false, false);
	address_add(b, s, ip, kind, true, s->object->external_local);
}

static uint32_t node_ports(const struct balancer *b, const struct service_object *object)
{
	uint32_t count = 0;

	if (!b->options.node_ports || object->other_proxy || (object->type != SERVICE_NODE_PORT && object->type != SERVICE_LOAD_BALANCER))
		return 0;
	for (size_t i = 0; i < object->port_count; i++)
		count += object->ports[i].node_port != 0;
	return count;
}

static void addresses_fill(const struct balancer *b, struct service *s)
{
	size_t i;

	for (i = 0; i < s->claims.count && s->claims.v[i].kind == ADDRESS_CLUSTER_IP; i++)
		address_add(b, s, &s->claims.v[i].ip, ADDRESS_CLUSTER_IP, false, s->object->internal_local);
	for (size_t n = 0; s->node_port_count && n < b->node_address_count; n++) {
		if (has_family(s->object, &b->node_addresses[n]))
			address_add_both(b, s, &b->node_addresses[n], ADDRESS_NODE);
	}
	for (; i < s->claims.count; i++) {
		if (!is_refused(b, s, &s->claims.v[i]))
			address_add_both(b, s, &s->claims.v[i].ip, s->claims.v[i].kind);
	}
}

void addresses_free(struct service *s)
{
	free(s->addresses);
	s->addresses = NULL;
	s->address_count = 0;
	free(s->refused);
	s->refused = NULL;
}

/* Most Services have none at the node's addresses. */
static void addresses_trim(struct service *s)
{
	struct address *fewer = s->address_count ? reallocarray(s->addresses, s->address_count, sizeof(*fewer)) : NULL;

	s->addresses = fewer ?: s->addresses;
}

int addresses_update(const struct balancer *b, struct service *s)
{
	addresses_free(s);
	s->node_port_count = 0;
	if (!s->claims.count || s->object->other_proxy)
		return 0;
	s->addresses = calloc(2 * (s->claims.count + b->node_address_count), sizeof(*s->addresses));
	if (!s->addresses)
		return -ENOMEM;
	s->node_port_count = node_ports(b, s->object);
	addresses_fill(b, s);
	addresses_trim(s);
	if (s->claims.not_programmed && !s->refused &&
	    asprintf(&s->refused, "%u of its external addresses are not programmed: a Service may have %d",
		     s->claims.not_programmed, SERVICE_ADDRESSES_MAX) < 0)
		s->refused = NULL;
	return 0;
}

/* --- another service proxy --- */

void balancer_release(struct balancer *b, bool released)
{
	struct service *s;

	if (b->released == released)
		return;
	b->released = released;
	table_each(s, &b->services, by_name) {
		if (!s->object)
			continue;
		/* Nothing is rejected at its ClusterIPs, before its frontends go and until they are back. */
		s->programmed = PROGRAMMED_IN_PART;
		cluster_ips_changed(b, s);
		service_changed(b, s);
	}
}

bool balancer_released(const struct balancer *b)
{
	return b->released;
}

/* --- the cluster's nodes --- */

void balancer_set_node_addresses(struct balancer *b, const struct ip *v, size_t count)
{
	struct service *s;

	count = count < NODE_PORT_ADDRESSES ? count : NODE_PORT_ADDRESSES;
	if (count == b->node_address_count && (!count || memcmp(v, b->node_addresses, count * sizeof(*v)) == 0))
		return;
	if (count)
		memcpy(b->node_addresses, v, count * sizeof(*v));
	b->node_address_count = count;
	table_each(s, &b->services, by_name) {
		if (s->object && node_ports(b, s->object))
			service_changed(b, s);
	}
}

static int cidr_cmp(const void *a, const void *b)
{
	return prefix_cmp(a, b);
}

/* Prefixes are disjoint or nested, so without the nested ones, which follow theirs, they are in order. */
static size_t cidrs_sort(struct prefix *v, size_t count)
{
	size_t kept = 0;

	if (count)
		qsort(v, count, sizeof(*v), cidr_cmp);
	for (size_t i = 0; i < count; i++) {
		if (!kept || !prefix_overlaps(&v[kept - 1], &v[i]))
			v[kept++] = v[i];
	}
	return kept;
}

int balancer_set_pod_cidrs(struct balancer *b, const struct prefix *v, size_t count)
{
	_cleanup_free_ struct prefix *sorted = calloc(count + 1, sizeof(*sorted));
	struct service *s;

	if (!sorted)
		return -ENOMEM;
	if (count)
		memcpy(sorted, v, count * sizeof(*v));
	count = cidrs_sort(sorted, count);
	if (count == b->pod_cidr_count && (!count || memcmp(sorted, b->pod_cidrs, count * sizeof(*sorted)) == 0))
		return 0;
	free(b->pod_cidrs);
	b->pod_cidrs = take_ptr(sorted);
	b->pod_cidr_count = count;
	b->cidrs_changed = true;
	table_each(s, &b->services, by_name) {
		if (s->claims.count && s->claims.v[s->claims.count - 1].kind != ADDRESS_CLUSTER_IP)
			service_changed(b, s);
	}
	return 0;
}

int balancer_set_all_node_addresses(struct balancer *b, const struct ip *v, size_t count)
{
	_cleanup_free_ struct ip *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, v, count * sizeof(*copy));
	if (count == b->all_node_address_count && (!count || memcmp(copy, b->all_node_addresses, count * sizeof(*copy)) == 0))
		return 0;
	free(b->all_node_addresses);
	b->all_node_addresses = take_ptr(copy);
	b->all_node_address_count = count;
	b->cidrs_changed = true;
	return 0;
}
