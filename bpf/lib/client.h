/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets to a client outside the cluster, from a service that it uses at an uplink: replies of backends, and errors.
 * They do not pass the stack: their source may be one of this node's own addresses, which it accepts from no device.
 */
#ifndef WARREN_LIB_CLIENT_H
#define WARREN_LIB_CLIENT_H

#include <linux/pkt_cls.h>

#include "lib/fib.h"
#include "lib/ip.h"
#include "lib/maps.h"

/* The route of the current packet. */
struct client_route {
	__u32 ifindex;
	struct bpf_redir_neigh next;
};
SCRATCH(client_routes, struct client_route, client_route_get)

/* Reads the addresses from the packet, which has been translated. */
static __always_inline bool client_fib_fill(struct __sk_buff *skb, struct bpf_fib_lookup *fib, const bool v6)
{
	const struct packet p = { .skb = skb };
	const struct iphdr *ip4;
	const struct ipv6hdr *ip6;

	fib->ifindex = skb->ifindex;
	fib->family = v6 ? FAMILY_INET6 : FAMILY_INET;
	if (v6) {
		ip6 = packet_at(&p, ETH_HLEN, sizeof(*ip6));
		if (!ip6)
			return false;
		__builtin_memcpy(fib->ipv6_src, &ip6->saddr, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, &ip6->daddr, sizeof(fib->ipv6_dst));
		return true;
	}
	ip4 = packet_at(&p, ETH_HLEN, sizeof(*ip4));
	if (!ip4)
		return false;
	fib->ipv4_src = ip4->saddr;
	fib->ipv4_dst = ip4->daddr;
	return true;
}

/*
 * Looks up the route to the client, for client_redirect(). The neighbour need not be resolved. FRAG_NEEDED refers to a
 * GSO packet's whole length: pods' packets are never larger than the uplink's MTU.
 */
OUT_OF_LINE int client_look_up(struct __sk_buff *skb, __u32 v6)
{
	struct client_route *route = client_route_get();
	struct bpf_fib_lookup fib = { 0 };
	bool filled;
	long found;

	if (!route)
		return WR_REASON_NO_ROUTE;
	filled = IN_FAMILY(v6, client_fib_fill, skb, &fib);
	found = filled ? bpf_fib_lookup(skb, &fib, sizeof(fib), 0) : BPF_FIB_LKUP_RET_UNREACHABLE;
	if (!fib_has_route(found))
		return WR_REASON_NO_ROUTE;
	route->ifindex = fib.ifindex;
	__builtin_memset(&route->next, 0, sizeof(route->next));
	fib_nexthop(&fib, &route->next);
	return WR_REASON_TO_CLIENT;
}

/* For a dry run: the device that client_redirect() would redirect to. */
static __always_inline __u32 client_device(void)
{
	const struct client_route *route = client_route_get();

	return route ? route->ifindex : 0;
}

/* Returns the tc action for a packet whose route client_look_up() has found. */
static __always_inline int client_redirect(void)
{
	struct client_route *route = client_route_get();
	struct bpf_redir_neigh next;

	if (!route)
		return TC_ACT_SHOT;
	next = route->next;
	return bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
}

#endif
