/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* This node in the cluster: its pod CIDR, its addresses, and the revision of the cluster's maps. */
#ifndef WARREN_LIB_CLUSTER_H
#define WARREN_LIB_CLUSTER_H

#include "lib/addr.h"
#include "lib/maps.h"

static __always_inline const struct wr_cluster *cluster_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&cluster, &zero);
}

/* Must be read before the maps whose revision it is. 0: there are no other nodes. */
static __always_inline __u32 cluster_revision(void)
{
	const struct wr_cluster *c = cluster_get();

	return c ? *(const volatile __u32 *)&c->revision : 0;
}

/* Whether `a` is this node's outer address. */
static __always_inline bool cluster_has_outer(const struct wr_cluster *c, const union addr *a, const bool v6)
{
	return v6 ? (c->flags & WR_CLUSTER_V6) && addr6_equal(&a->a6, &c->addr6)
		  : (c->flags & WR_CLUSTER_V4) && a->a4.v4 == c->addr4.v4;
}

/*
 * Whether a tunnel packet may have that UDP source port. Masqueraded packets have lower ports (user/dp/guard.h): even
 * if one were addressed to the tunnel's port, it would not be accepted as a packet that the node itself has
 * encapsulated.
 */
static __always_inline bool cluster_has_sport(const struct wr_cluster *c, __be16 sport)
{
	return !(c->flags & WR_CLUSTER_SPORTS) || bpf_ntohs(sport) >= WR_TUNNEL_SPORT_FIRST;
}

/* Whether `a` is in this node's pod CIDR, or is its outer address. */
static __always_inline bool cluster_holds(const struct wr_cluster *c, const union addr *a, const bool v6)
{
	if (v6 ? (c->flags & WR_CLUSTER_POD6) && prefix6_holds(&c->cidr6, &c->mask6, a)
	       : (c->flags & WR_CLUSTER_POD4) && prefix4_holds(&c->cidr4, &c->mask4, a))
		return true;
	return cluster_has_outer(c, a, v6);
}

/* Whether `a` is this node's gateway address or its outer address. */
static __always_inline bool cluster_has_own(const struct wr_cluster *c, const union addr *a, const bool v6)
{
	if ((c->flags & (v6 ? WR_CLUSTER_POD6 : WR_CLUSTER_POD4)) && addr_is_first(a, &c->cidr4, &c->cidr6, v6))
		return true;
	return cluster_has_outer(c, a, v6);
}

#endif
