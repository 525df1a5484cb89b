/* SPDX-License-Identifier: BSD-2-Clause */
/* Converts nodes between the format of the maps (abi/node.h) and that of user space (nodes.h). */
#include <string.h>

#include "nodes_internal.h"

static struct wr_addr6 addr6(const struct ip *ip)
{
	struct wr_addr6 a = { { 0 } };

	memcpy(&a, ip->bytes, sizeof(a));
	return a;
}

void node_raw_encode(const struct dp_node *node, uint32_t id, struct wr_node *raw)
{
	*raw = (struct wr_node){
		.id = id,
		.flags = (node->local.family == AF_INET6 ? WR_NODE_OVER6 : 0) | (node->direct ? WR_NODE_DIRECT : 0) |
			 (node->keyed ? WR_NODE_KEYED : 0),
		.uplink = node->uplink,
		.mtu = node->mtu,
		.local = addr6(&node->local),
		.remote = addr6(&node->remote),
		.last_id = id,
	};
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		const struct prefix *cidr = &node->cidrs[i];
		struct ip mask = prefix_mask(cidr);

		if (cidr->ip.family == AF_INET) {
			raw->flags |= WR_NODE_V4;
			memcpy(&raw->cidr4, cidr->ip.bytes, sizeof(raw->cidr4));
			memcpy(&raw->mask4, mask.bytes, sizeof(raw->mask4));
		} else if (cidr->ip.family == AF_INET6) {
			raw->flags |= WR_NODE_V6;
			raw->cidr6 = addr6(&cidr->ip);
			raw->mask6 = addr6(&mask);
		}
	}
	memcpy(raw->tx_tag, node->tx_tag, sizeof(raw->tx_tag));
	memcpy(raw->rx_tag, node->rx_tag, sizeof(raw->rx_tag));
}

void node_raw_decode(const struct wr_node *raw, struct dp_node *node)
{
	const int outer = raw->flags & WR_NODE_OVER6 ? AF_INET6 : AF_INET;

	*node = (struct dp_node){
		.local = ip_from(outer, &raw->local),
		.remote = ip_from(outer, &raw->remote),
		.uplink = raw->uplink,
		.mtu = raw->mtu,
		.direct = raw->flags & WR_NODE_DIRECT,
		.keyed = raw->flags & WR_NODE_KEYED,
	};
	if (raw->flags & WR_NODE_V4)
		node->cidrs[0] = prefix_masked(AF_INET, &raw->cidr4, &raw->mask4);
	if (raw->flags & WR_NODE_V6)
		node->cidrs[1] = prefix_masked(AF_INET6, &raw->cidr6, &raw->mask6);
	memcpy(node->tx_tag, raw->tx_tag, sizeof(node->tx_tag));
	memcpy(node->rx_tag, raw->rx_tag, sizeof(node->rx_tag));
}

bool node_has_cidr(const struct dp_node *node, const struct prefix *cidr)
{
	for (size_t i = 0; i < NODE_CIDRS; i++) {
		if (prefix_cmp(&node->cidrs[i], cidr) == 0)
			return true;
	}
	return false;
}

bool node_has_address(const struct dp_node *node, const struct ip *ip)
{
	for (size_t i = 0; i < node->address_count; i++) {
		if (ip_equal(&node->addresses[i], ip))
			return true;
	}
	return false;
}
