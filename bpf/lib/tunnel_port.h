/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tunnel's port, to which no pod sends. */
#ifndef WARREN_LIB_TUNNEL_PORT_H
#define WARREN_LIB_TUNNEL_PORT_H

#include <linux/in.h>

#include "lib/cluster.h"
#include "lib/fib.h"
#include "lib/node.h"

static __always_inline bool is_tunnel_port(__u8 l4_proto, __be16 port)
{
	const struct wr_cluster *c = cluster_get();

	return l4_proto == IPPROTO_UDP && c && c->port && port == c->port;
}

/*
 * Whether the destination is an address of a node, including this one. A pod's datagram to a node's tunnel port could
 * be masqueraded to this node's address, and be accepted as a packet that this node has encapsulated.
 */
OUT_OF_LINE int tunnel_port_check(struct __sk_buff *skb, const struct addresses *at, __u32 v6)
{
	const struct wr_node *node;

	if (!at)
		return true;
	if (IN_FAMILY(v6, node_by_address, &at->daddr))
		return true;
	node = node_get(IN_FAMILY(v6, node_by_cidr, &at->daddr));
	if (node)
		return IN_FAMILY(v6, node_has_gateway, node, &at->daddr);
	return IN_FAMILY(v6, destination_is_host, skb, at);
}

#endif
