/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lookups in the kernel's routing table. */
#ifndef WARREN_LIB_FIB_H
#define WARREN_LIB_FIB_H

#include "lib/packet.h"

/* Whether the destination is an address of the host itself. An address without a route is the world's. */
static __always_inline bool destination_is_host(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	struct bpf_fib_lookup fib = { .family = v6 ? FAMILY_INET6 : FAMILY_INET, .ifindex = skb->ifindex };

	if (v6) {
		__builtin_memcpy(fib.ipv6_src, &at->saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &at->daddr, sizeof(fib.ipv6_dst));
	} else {
		fib.ipv4_src = at->saddr.a4.v4;
		fib.ipv4_dst = at->daddr.a4.v4;
	}
	return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* Whether a lookup has written the nexthop to its argument: the gateway, or the destination if that is on the link. */
static __always_inline bool fib_has_route(long found)
{
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       found == BPF_FIB_LKUP_RET_FRAG_NEEDED;
}

/* The nexthop, for bpf_redirect_neigh(). `next` is all zeros. */
static __always_inline void fib_nexthop(const struct bpf_fib_lookup *fib, struct bpf_redir_neigh *next)
{
	next->nh_family = fib->family;
	if (fib->family == FAMILY_INET6)
		__builtin_memcpy(next->ipv6_nh, fib->ipv6_dst, sizeof(next->ipv6_nh));
	else
		next->ipv4_nh = fib->ipv4_dst;
}

#endif
