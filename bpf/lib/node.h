/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lookup of other nodes by slot, pod CIDR and own address; and of identities of addresses that are no endpoints of this
 * node.
 */
#ifndef WARREN_LIB_NODE_H
#define WARREN_LIB_NODE_H

#include "lib/addr.h"
#include "lib/maps.h"
#include "lib/report.h"
#include "lib/trace.h"

/* NULL: the slot is empty. */
static __always_inline const struct wr_node *node_get(__u32 slot)
{
	const struct wr_node *node = bpf_map_lookup_elem(&nodes, &slot);

	return node && node->id ? node : NULL;
}

/* Slot of the node whose pod CIDR holds the address, or 0. */
static __always_inline __u32 node_by_cidr(const union addr *addr, const bool v6)
{
	const struct wr_node_ref *ref = lookup_prefix(nodes, addr, v6);

	return ref ? ref->slot : 0;
}

/* Slot of the node whose own address it is, or 0. */
static __always_inline __u32 node_by_address(const union addr *addr, const bool v6)
{
	const struct wr_node_ref *ref = lookup_addr(node_addr, addr, v6);

	return ref ? ref->slot : 0;
}

/* WR_ID_UNKNOWN: not in the ipcache. */
static __always_inline __u64 identity_by_address(const union addr *addr, const bool v6)
{
	const struct wr_ipcache *cached = lookup_addr(ipcache, addr, v6);

	return cached ? cached->identity : WR_ID_UNKNOWN;
}

static __always_inline bool node_has_gateway(const struct wr_node *node, const union addr *a, const bool v6)
{
	return (node->flags & (v6 ? WR_NODE_V6 : WR_NODE_V4)) && addr_is_first(a, &node->cidr4, &node->cidr6, v6);
}

static __always_inline bool node_holds(const struct wr_node *node, const union addr *a, const bool v6)
{
	if (v6)
		return (node->flags & WR_NODE_V6) && prefix6_holds(&node->cidr6, &node->mask6, a);
	return (node->flags & WR_NODE_V4) && prefix4_holds(&node->cidr4, &node->mask4, a);
}

/* Whether it is the tag of the node's packets to this one, under one of the keys; 0 is no tag. */
static __always_inline bool node_sends_tag(const struct wr_node *node, __u64 tag)
{
	return tag && (tag == node->rx_tag[0] || tag == node->rx_tag[1]);
}

/* Whether the node has a tag; else there is nothing to compare. */
static __always_inline bool node_is_keyed(const struct wr_node *node)
{
	return node->rx_tag[0] | node->rx_tag[1];
}

static __always_inline void node_count(__u32 slot, __u32 direction, __u32 bytes)
{
	__u32 key = wr_metric_key(slot, direction);

	if (!dry_run)
		metric_add(bpf_map_lookup_elem(&node_metrics, &key), bytes);
}

#endif
