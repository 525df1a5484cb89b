/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * loadBalancerSourceRanges: who may use a load balancer's addresses. A Service with ranges of the other family only has
 * an empty set, which admits no client. (kube-proxy admits all of them then.)
 */
#include "balancer_internal.h"

#include <netinet/in.h>

size_t source_ranges(const struct service_object *object, bool v6, const struct prefix **first)
{
	const int family = v6 ? AF_INET6 : AF_INET;
	size_t begin = 0, end;

	while (begin < object->source_range_count && object->source_ranges[begin].ip.family != family)
		begin++;
	for (end = begin; end < object->source_range_count && object->source_ranges[end].ip.family == family;)
		end++;
	*first = object->source_ranges + begin;
	return end - begin;
}

bool has_source_ranges(const struct service *s, bool v6)
{
	for (size_t i = 0; s->object && s->object->restricted && i < s->address_count; i++) {
		if (s->addresses[i].kind == ADDRESS_LOAD_BALANCER && (s->addresses[i].ip.family == AF_INET6) == v6)
			return true;
	}
	return false;
}

uint64_t source_ranges_fingerprint(const struct balancer *b, const struct service *s, bool v6)
{
	const size_t granted = s->granted[v6 ? QUOTA_RANGES6 : QUOTA_RANGES4];
	const struct prefix *v;
	size_t count = source_ranges(s->object, v6, &v);
	struct siphash h;

	count = count < granted ? count : granted;
	siphash_begin(&h, b->key);
	siphash_number(&h, count);
	for (size_t i = 0; i < count; i++) {
		siphash_bytes(&h, &v[i].ip, sizeof(v[i].ip));
		siphash_number(&h, v[i].len);
	}
	return siphash_end(&h) | 1;
}
