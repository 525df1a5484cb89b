/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lookups in the maps of services (abi/service.h), for packets and for sockets. */
#ifndef WARREN_LIB_SERVICE_MAPS_H
#define WARREN_LIB_SERVICE_MAPS_H

#include <stdbool.h>

#include "abi/service.h"
#include "lib/addr.h"
#include "lib/cluster.h"
#include "lib/maps.h"

/* Indices of a list to try until one has a backend that the flow can use. */
#define SERVICE_TRIES 8

static __always_inline const struct wr_service *service_lookup_once(const union addr *addr, __be16 port, __u8 l4_proto,
								    bool external, bool v6)
{
	if (v6) {
		struct wr_service6_key key = { .addr = addr->a6, .port = port, .l4_proto = l4_proto };

		return external ? bpf_map_lookup_elem(&external6, &key) : bpf_map_lookup_elem(&services6, &key);
	} else {
		struct wr_service4_key key = { .addr = addr->a4, .port = port, .l4_proto = l4_proto };

		return external ? bpf_map_lookup_elem(&external4, &key) : bpf_map_lookup_elem(&services4, &key);
	}
}

/*
 * The service, or NULL. `external`: for a client outside the cluster. The lookup is repeated: it may have missed an
 * element that was being replaced.
 */
static __always_inline const struct wr_service *service_find(const union addr *addr, __be16 port, __u8 l4_proto,
							     bool external, bool v6)
{
	const struct wr_service *service = service_lookup_once(addr, port, l4_proto, external, v6);

	return service ? service : service_lookup_once(addr, port, l4_proto, external, v6);
}

/*
 * The service for a client of this node. An address of another node has the node ports that this node's has, if they lead
 * to the same backends. So such a flow does not go through that node, to which its client would be a node.
 */
static __always_inline const struct wr_service *service_find_here(const union addr *addr, __be16 port, __u8 l4_proto,
								  bool v6)
{
	const struct wr_service *service = service_find(addr, port, l4_proto, false, v6);
	const struct wr_cluster *c = cluster_get();
	union addr own = { .a6 = { { 0 } } };

	if (service || !c || !(c->flags & (v6 ? WR_CLUSTER_V6 : WR_CLUSTER_V4)))
		return service;
	if (v6 ? !lookup_addr(node_addr, addr, true) : !lookup_addr(node_addr, addr, false))
		return NULL;
	if (v6)
		own.a6 = c->addr6;
	else
		own.a4 = c->addr4;
	service = service_find(&own, port, l4_proto, false, v6);
	return service && (service->flags & WR_SERVICE_ANY_NODE) ? service : NULL;
}

/*
 * For a destination that service_find() has not found: NO_SERVICE_PORT, if it is the ClusterIP of a Service without this
 * port; NO_SERVICE, if it is in a ServiceCIDR and no Service's; NONE: neither, or another proxy serves it.
 */
static __always_inline enum wr_reason service_missing(const union addr *addr, const bool v6)
{
	const struct wr_cluster_ip *ip = lookup_addr(cluster_ips, addr, v6);

	if (!ip && lookup_prefix(service_cidrs, addr, v6)) {
		ip = lookup_addr(cluster_ips, addr, v6); /* again: it may have been being replaced */
		if (!ip)
			return WR_REASON_NO_SERVICE;
	}
	return ip && (ip->flags & WR_CLUSTER_IP_COMPLETE) ? WR_REASON_NO_SERVICE_PORT : WR_REASON_NONE;
}

/* Whether the client is in the set of source ranges. */
static __always_inline bool range_set_has(__u32 set, const union addr *client, bool v6)
{
	if (v6) {
		struct wr_range6_key key = { .prefixlen = WR_RANGE_SET_BITS + 128, .set = set, .addr = client->a6 };

		return bpf_map_lookup_elem(&source_ranges6, &key);
	} else {
		struct wr_range4_key key = { .prefixlen = WR_RANGE_SET_BITS + 32, .set = set, .addr = client->a4 };

		return bpf_map_lookup_elem(&source_ranges4, &key);
	}
}

/* Copies the address of the backend with this id; false if it does not exist (any more). */
static __always_inline bool backend_get(__u32 id, bool v6, union addr *addr, __be16 *port)
{
	if (v6) {
		const struct wr_backend6 *b = bpf_map_lookup_elem(&backends6, &id);

		if (!b)
			return false;
		addr->a6 = b->addr;
		*port = b->port;
	} else {
		const struct wr_backend4 *b = bpf_map_lookup_elem(&backends4, &id);

		if (!b)
			return false;
		addr->a4 = b->addr;
		*port = b->port;
	}
	return true;
}

/* The id of the list's backend with this index; 0: none (any more). */
static __always_inline __u32 list_backend(__u32 list, __u32 index)
{
	struct wr_list_key key = { .list = list, .index = index };
	const __u32 *id;

	if (list & WR_LIST_HOST_PORT)
		return list;
	id = bpf_map_lookup_elem(&service_lists, &key);
	return id ? *id : 0;
}

/* An index below `count`, at random. */
static __always_inline __u32 list_random(__u32 count)
{
	return (__u64)bpf_get_prandom_u32() * count >> 32;
}

/* Whether the backend is in the list: one lookup, whatever the list's length. */
static __always_inline bool list_has_backend(__u32 list, __u32 backend)
{
	struct wr_member_key key = { .list = list, .backend = backend };

	if (list & WR_LIST_HOST_PORT)
		return backend == list;
	return backend && bpf_map_lookup_elem(&service_members, &key);
}

#endif
