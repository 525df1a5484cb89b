/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The nexthop of packets to another node, from the kernel's routes and neighbours, without any process.
 *
 * A FIB lookup for each packet would cost 0.1 us (2.8 % of a round trip). So the result of a lookup is used for
 * NEXTHOP_TICKS (134 to 268 ms), which bounds how long packets use an outdated path. A neighbour whose MAC address is
 * only copied is not confirmed: its entry would become stale and never be probed. So after each lookup one packet is
 * sent by bpf_redirect_neigh(), as all packets are while the neighbour is not resolved.
 *
 * If there are several paths to a node, the kernel selects one by the two nodes' addresses, for all of the node's
 * packets. The outer source address does not follow the route: other nodes identify this one by it.
 */
#ifndef WARREN_LIB_NEXTHOP_H
#define WARREN_LIB_NEXTHOP_H

#include <linux/in.h>

#include "lib/cluster.h"
#include "lib/ct_clock.h"
#include "lib/fib.h"
#include "lib/node.h"
#include "lib/packet.h"

#define NEXTHOP_TICKS 2

/* The lookup for a tunnel packet to the node, or for a direct one, as it leaves the stack. */
static __always_inline void fib_fill(struct bpf_fib_lookup *fib, const struct wr_cluster *c, const struct wr_node *node)
{
	const bool over6 = node->flags & WR_NODE_OVER6;

	fib->family = over6 ? FAMILY_INET6 : FAMILY_INET;
	fib->ifindex = c->host_ifindex; /* as if the packet had entered on warren0 */
	if (!(node->flags & WR_NODE_DIRECT)) {
		fib->l4_protocol = IPPROTO_UDP;
		fib->dport = c->port;
	}
	if (over6) {
		__builtin_memcpy(fib->ipv6_src, &node->local, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, &node->remote, sizeof(fib->ipv6_dst));
	} else {
		fib->ipv4_src = node->local.v6[0];
		fib->ipv4_dst = node->remote.v6[0];
	}
}

/*
 * Looks up the nexthop to the node in that slot. Without a route, or with forwarding disabled, the device is the
 * agent's uplink, and bpf_redirect_neigh() does its own lookup. A device without MAC addresses never counts as
 * resolved.
 */
OUT_OF_LINE int nexthop_look_up(struct __sk_buff *skb, __u32 slot, struct wr_nexthop *nh)
{
	const struct wr_cluster *c = cluster_get();
	const struct wr_node *node = node_get(slot);
	struct bpf_fib_lookup fib = { 0 };
	__u8 none[6] __attribute__((aligned(2))) = { 0 };
	long found;

	if (!nh || !c || !node)
		return 0;
	fib_fill(&fib, c, node);
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	nh->id = node->id;
	nh->tick = ct_now();
	nh->flags = 0;
	nh->mtu = 0;
	nh->ifindex = node->uplink;
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		nh->ifindex = fib.ifindex;
	/*
	 * Without a length in `fib`, FRAG_NEEDED refers to this packet's current length, and the result is filled in.
	 */
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	nh->ifindex = fib.ifindex;
	nh->mtu = fib.mtu_result;
	mac_copy(nh->dmac, fib.dmac);
	mac_copy(nh->smac, fib.smac);
	if (!mac_equal(fib.dmac, none))
		nh->flags = WR_NEXTHOP_RESOLVED | WR_NEXTHOP_CONFIRM;
	return 0;
}

static __always_inline struct wr_nexthop *nexthop_element(__u32 slot)
{
	const __u32 key = slot % WR_NEXTHOPS;

	return bpf_map_lookup_elem(&nexthops, &key);
}

static __always_inline bool nexthop_is_fresh(const struct wr_nexthop *nh, const struct wr_node *node)
{
	return nh->id == node->id && ct_now() - nh->tick < NEXTHOP_TICKS;
}

/* The cached nexthop to the node in that slot; looked up again if it is outdated. Never NULL for a valid slot. */
static __always_inline struct wr_nexthop *nexthop_get(struct __sk_buff *skb, __u32 slot, const struct wr_node *node)
{
	struct wr_nexthop *nh = nexthop_element(slot);

	if (nh && !nexthop_is_fresh(nh, node))
		nexthop_look_up(skb, slot, nh);
	return nh;
}

/*
 * The largest inner packet: the node's `mtu`, or less if the current device has a smaller MTU. `direct`: the packet is
 * not encapsulated. (The `mtu` of a direct node is that of such packets.)
 */
static __always_inline __u32 nexthop_mtu(const struct wr_nexthop *nh, const struct wr_node *node, bool direct)
{
	const __u32 tag = node->flags & WR_NODE_KEYED ? WR_TUNNEL_KEY_SIZE : 0;
	const __u32 overhead = direct			     ? 0 :
			       node->flags & WR_NODE_OVER6 ? WR_TUNNEL_OVERHEAD6 + tag :
							     WR_TUNNEL_OVERHEAD4 + tag;
	const __u32 most = (node->flags & WR_NODE_DIRECT) && !direct ? node->mtu - overhead : node->mtu;

	return nh && nh->mtu > overhead && nh->mtu - overhead < most ? nh->mtu - overhead : most;
}

#endif
