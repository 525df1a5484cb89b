/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Lookup of endpoints by device and by address, and the check of the Ethernet header. */
#ifndef WARREN_LIB_ENDPOINT_H
#define WARREN_LIB_ENDPOINT_H

#include "lib/maps.h"
#include "lib/packet.h"
#include "lib/trace.h"

/*
 * The slot of the endpoint among the other probes; the first slot, where nearly all endpoints are, if in none of them.
 */
OUT_OF_LINE __u32 endpoint_probe(__u32 ifindex)
{
	for (__u32 n = 1; n < WR_ENDPOINT_PROBES; n++) {
		__u32 slot = wr_endpoint_slot(ifindex, n);
		const struct wr_endpoint *ep = bpf_map_lookup_elem(&endpoints, &slot);

		if (ep && ep->ifindex == ifindex)
			return slot;
	}
	return wr_endpoint_slot(ifindex, 0);
}

/* The endpoint and its slot; NULL if it does not exist (any more). */
static __always_inline const struct wr_endpoint *endpoint_find(__u32 ifindex, __u32 *slot)
{
	const struct wr_endpoint *ep;

	*slot = wr_endpoint_slot(ifindex, 0);
	ep = bpf_map_lookup_elem(&endpoints, slot);
	if (ep && ep->ifindex == ifindex)
		return ep;
	*slot = endpoint_probe(ifindex);
	ep = bpf_map_lookup_elem(&endpoints, slot);
	return ep && ep->ifindex == ifindex ? ep : NULL;
}

static __always_inline const struct wr_endpoint *endpoint_get(__u32 ifindex)
{
	__u32 slot;

	return endpoint_find(ifindex, &slot);
}

static __always_inline __u32 endpoint_guess(const union addr *addr, const bool v6)
{
	const __be32 *w = addr->a6.v6;
	__u32 key = wr_addr_cache_key(v6 ? w[0] ^ w[1] ^ w[2] ^ w[3] : addr->a4.v4);
	const struct wr_local *local = bpf_map_lookup_elem(&addr_cache, &key);

	return local ? local->ifindex : 0;
}

/* ifindex of the endpoint that has this address, or 0; *ep is the endpoint, NULL if it has just been deleted. */
static __always_inline __u32 endpoint_by_address(const union addr *addr, const struct wr_endpoint **ep, const bool v6)
{
	__u32 guess = endpoint_guess(addr, v6);
	const struct wr_local *local;

	*ep = guess ? endpoint_get(guess) : NULL;
	if (*ep && addr_is_endpoints(addr, *ep, v6))
		return guess;
	local = lookup_addr(addr, addr, v6);
	*ep = local ? endpoint_get(local->ifindex) : NULL;
	return local ? local->ifindex : 0;
}

/* The same, without the endpoint. */
static __always_inline __u32 endpoint_with(const union addr *addr, const bool v6)
{
	const struct wr_endpoint *ep;

	return endpoint_by_address(addr, &ep, v6);
}

static __always_inline __u64 policy_tag_read(const struct wr_endpoint *ep)
{
	return *(const volatile __u64 *)&ep->policy_class;
}

/* Sets the endpoint whose policy the packet is evaluated by; NULL: none. */
static __always_inline void packet_evaluated_for(struct packet *p, const struct wr_endpoint *ep)
{
	p->ep = ep;
	p->policy_tag.both = ep ? policy_tag_read(ep) : 0;
	if (ep)
		trace_step(WR_TRACE_ENDPOINT);
}

/*
 * Sets the endpoint of this device; *proto is the frame's ethertype (host order, 0 with a VLAN tag). A tag that the
 * sender left to the hardware is in the skb and not in the frame.
 */
static __always_inline enum wr_reason packet_begin(struct packet *p, struct ethhdr *eth, __u16 *proto)
{
	const struct ethhdr *frame;

	packet_evaluated_for(p, endpoint_get(p->ifindex));
	if (!p->ep)
		return WR_REASON_NO_ENDPOINT;
	frame = packet_at(p, 0, sizeof(*frame));
	if (!frame)
		return WR_REASON_RUNT;
	mac_copy(eth->h_source, frame->h_source);
	*proto = p->skb->vlan_present ? 0 : bpf_ntohs(frame->h_proto);
	return WR_REASON_NONE;
}

#endif
