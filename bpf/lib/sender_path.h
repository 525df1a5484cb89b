/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The devices on which another node's tunnel packets may arrive. An outer source address alone proves nothing: a
 * hostile neighbour on one network card can write the address of a node behind another card. A tunnel packet is
 * accepted on
 * - the uplink in the node's slot,
 * - the device that has the outer destination address: other nodes select their own routes to this node,
 * - a device with a route to the sender, best or not (RFC 3704, feasible path), so that asymmetric routes work. But not
 *   through a gateway there if the sender is on the link of another device (IPv4: IPv6's FIB lookup returns only routes
 *   of the longest prefix and lowest metric).
 *
 * Only the third rule needs a FIB lookup. A positive result is cached in the node's element of `nexthops` for
 * NEXTHOP_TICKS, with the node's id and the device, which are both compared; a negative one is not cached.
 */
#ifndef WARREN_LIB_SENDER_PATH_H
#define WARREN_LIB_SENDER_PATH_H

#include "lib/nexthop.h"

/* `v6`: family of the outer packet, which the sender selects; this node may send to it over the other one. */
static __always_inline bool path_is_usual(const struct wr_cluster *c, const struct wr_node *node, __u32 ifindex,
					  const bool v6)
{
	return ifindex == node->uplink || ifindex == (v6 ? c->addr6_ifindex : c->addr4_ifindex);
}

static __always_inline bool path_is_cached(const struct wr_nexthop *nh, const struct wr_node *node, __u32 ifindex,
					   const bool v6)
{
	return nh->path_id == node->id && nh->path_ifindex == ifindex && nh->path_v6 == v6 &&
	       ct_now() - nh->path_tick < NEXTHOP_TICKS;
}

/* The lookup for a tunnel packet in the opposite direction. */
static __always_inline void path_fib_fill(struct bpf_fib_lookup *fib, const struct wr_cluster *c,
					  const union addr *sender, __u32 ifindex, const bool v6)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = v6 ? FAMILY_INET6 : FAMILY_INET;
	fib->ifindex = ifindex;
	fib->l4_protocol = IPPROTO_UDP;
	fib->dport = c->port;
	if (v6) {
		__builtin_memcpy(fib->ipv6_src, &c->addr6, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, &sender->a6, sizeof(fib->ipv6_dst));
	} else {
		fib->ipv4_src = c->addr4.v4;
		fib->ipv4_dst = sender->a4.v4;
	}
}

/* A lookup writes the nexthop to `fib`: the sender itself if it is on the link. */
static __always_inline bool path_has_route(void *ctx, const struct wr_cluster *c, const union addr *sender,
					   __u32 ifindex, const bool v6)
{
	struct bpf_fib_lookup fib;

	path_fib_fill(&fib, c, sender, ifindex, v6);
	if (!fib_has_route(bpf_fib_lookup(ctx, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT)) || fib.ifindex != ifindex)
		return false;
	if (v6 || fib.ipv4_dst == sender->a4.v4)
		return true;
	path_fib_fill(&fib, c, sender, c->host_ifindex, v6);
	return !fib_has_route(bpf_fib_lookup(ctx, &fib, sizeof(fib), 0)) || fib.ifindex == ifindex ||
	       fib.ipv4_dst != sender->a4.v4;
}

/* For a device that path_is_usual() does not accept. `ctx`: a struct __sk_buff or xdp_md. */
static __always_inline bool path_is_feasible(void *ctx, __u32 slot, const union addr *sender, __u32 ifindex,
					     const bool v6)
{
	const struct wr_cluster *c = cluster_get();
	const struct wr_node *node = node_get(slot);
	struct wr_nexthop *nh = nexthop_element(slot);

	if (!c || !node || !nh)
		return false;
	if (!dry_run && path_is_cached(nh, node, ifindex, v6))
		return true;
	if (!path_has_route(ctx, c, sender, ifindex, v6))
		return false;
	if (!dry_run) {
		nh->path_id = node->id;
		nh->path_ifindex = ifindex;
		nh->path_v6 = v6;
		nh->path_tick = ct_now();
	}
	return true;
}

OUT_OF_LINE int skb_path_is_feasible(struct __sk_buff *skb, __u32 slot, const union addr *sender, __u32 v6)
{
	return sender && IN_FAMILY(v6, path_is_feasible, skb, slot, sender, skb->ifindex);
}

OUT_OF_LINE int xdp_path_is_feasible(struct xdp_md *ctx, __u32 slot, const union addr *sender, __u32 v6)
{
	return sender && IN_FAMILY(v6, path_is_feasible, ctx, slot, sender, ctx->ingress_ifindex);
}

#endif
