/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Other nodes: by slot, by pod CIDR, by their own addresses; and whose an address is that is no endpoint's of this
 * node.
 */
#ifndef WARREN_LIB_NODE_H
#define WARREN_LIB_NODE_H

#include "lib/maps.h"
#include "lib/packet.h"

/* Whether an end of a flow (abi/conntrack.h) is an endpoint of this node, or is on another node; else it is neither. */
static __always_inline bool end_is_local(__u32 end)
{
	return (__s32)end > 0;
}

static __always_inline bool end_is_remote(__u32 end)
{
	return end & WR_REMOTE;
}

static __always_inline const struct wr_cluster *cluster_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&cluster, &zero);
}

/* To be read before what it is the revision of. 0: there are no other nodes. */
static __always_inline __u32 cluster_revision(void)
{
	const struct wr_cluster *c = cluster_get();

	return c ? *(const volatile __u32 *)&c->revision : 0;
}

/* NULL: the slot is empty. */
static __always_inline const struct wr_node *node_get(__u32 slot)
{
	const struct wr_node *node = bpf_map_lookup_elem(&nodes, &slot);

	return node && node->id ? node : NULL;
}

/*
 * Slot of the node whose pod CIDR holds the address, or 0. Keys are copied: in a function out of line 6.1 takes none
 * from `addr`.
 */
static __always_inline __u32 node_by_cidr(const union addr *addr, const bool v6)
{
	const struct wr_node_ref *ref;

	if (v6) {
		struct wr_prefix6 key = { .prefixlen = 128, .addr = addr->a6 };

		ref = bpf_map_lookup_elem(&nodes6, &key);
	} else {
		struct wr_prefix4 key = { .prefixlen = 32, .addr = addr->a4 };

		ref = bpf_map_lookup_elem(&nodes4, &key);
	}
	return ref ? ref->slot : 0;
}

/* Slot of the node whose own address it is, or 0. */
static __always_inline __u32 node_by_address(const union addr *addr, const bool v6)
{
	const struct wr_node_ref *ref;

	if (v6) {
		struct wr_addr6 key = addr->a6;

		ref = bpf_map_lookup_elem(&node_addr6, &key);
	} else {
		struct wr_addr4 key = addr->a4;

		ref = bpf_map_lookup_elem(&node_addr4, &key);
	}
	return ref ? ref->slot : 0;
}

/* WR_ID_UNKNOWN: nobody has said. */
static __always_inline __u64 identity_by_address(const union addr *addr, const bool v6)
{
	const struct wr_ipcache *cached;

	if (v6) {
		struct wr_addr6 key = addr->a6;

		cached = bpf_map_lookup_elem(&ipcache6, &key);
	} else {
		struct wr_addr4 key = addr->a4;

		cached = bpf_map_lookup_elem(&ipcache4, &key);
	}
	return cached ? cached->identity : WR_ID_UNKNOWN;
}

/* The first address of a pod CIDR is its node's own: the gateway address, on warren0. */
static __always_inline bool addr_is_first(const union addr *a, const struct wr_addr4 *cidr4,
					  const struct wr_addr6 *cidr6, const bool v6)
{
	if (!v6)
		return a->a4.v4 == (cidr4->v4 | bpf_htonl(1));
	return !((a->a6.v6[0] ^ cidr6->v6[0]) | (a->a6.v6[1] ^ cidr6->v6[1]) | (a->a6.v6[2] ^ cidr6->v6[2]) |
		 (a->a6.v6[3] ^ (cidr6->v6[3] | bpf_htonl(1))));
}

static __always_inline bool node_has_gateway(const struct wr_node *node, const union addr *a, const bool v6)
{
	return (node->flags & (v6 ? WR_NODE_V6 : WR_NODE_V4)) && addr_is_first(a, &node->cidr4, &node->cidr6, v6);
}

#endif
