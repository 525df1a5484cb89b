/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What comes from the uplink as it is, not through the tunnel: nearly all of it is none of our business, and is to go
 * on at little cost. Only who claims to be a pod, or this node, is stopped, unless its node sends without a tunnel.
 */
#ifndef WARREN_LIB_OUTSIDE_H
#define WARREN_LIB_OUTSIDE_H

#include "lib/cluster.h"
#include "lib/lease.h"
#include "lib/node.h"

/* By a lease for addresses that are in no node's pod CIDR: the cluster's revision is all that it depends on. */
static __always_inline bool outside_lease(const union addr *source, __u32 revision, struct lease *lease, const bool v6)
{
	const __u64 h = lease_mix_address(lease_mix(lease_secret.seed, LEASE_OUTSIDE | v6), source, v6);
	const __u32 slot = h >> (64 - LEASE_BITS);

	lease->at = lease_secret.seed && !dry_run ? bpf_map_lookup_elem(&leases, &slot) : NULL;
	lease->word = lease_mix(h, revision);
	return lease->at && *lease->at == lease->word;
}

/*
 * Whether the packet, whose source is p->at->saddr, may go on. Then p->peer_ifindex is the node that has sent it, if it
 * is one of a pod there: known by the MAC address of the frame, on a link that both nodes are on.
 */
static __always_inline enum wr_reason outside_check(struct packet *p, const struct wr_cluster *c, const bool v6)
{
	const union addr *source = &p->at->saddr;
	const struct wr_node *node;
	const struct ethhdr *eth;
	struct lease lease;
	__u32 slot;

	if (cluster_holds(c, source, v6))
		return WR_REASON_NOT_TUNNELLED;
	if (outside_lease(source, p->cluster_revision, &lease, v6))
		return WR_REASON_NONE;
	slot = node_by_cidr(source, v6);
	if (!slot) {
		if (lease.at)
			*lease.at = lease.word;
		return WR_REASON_NONE;
	}
	node = node_get(slot);
	if (!node || (node->flags & (WR_NODE_DIRECT | WR_NODE_RESOLVED)) != (WR_NODE_DIRECT | WR_NODE_RESOLVED))
		return WR_REASON_NOT_TUNNELLED;
	eth = packet_at(p, 0, sizeof(*eth));
	if (!eth || !mac_equal(eth->h_source, node->dmac))
		return WR_REASON_NOT_TUNNELLED;
	p->peer_ifindex = WR_REMOTE | slot;
	p->peer_identity = node_has_gateway(node, source, v6) ? WR_ID_REMOTE_NODE : WR_ID_SOME_POD;
	return WR_REASON_NONE;
}

#endif
