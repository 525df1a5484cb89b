/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From xdp_uplink to from_uplink: whom a packet came from, in the metadata before it. xdp_uplink has made all checks of the
 * outer headers and has taken them off; checks of the inner packet (above all, whether its source is that node's to use) are
 * from_uplink's, as for a packet that it decapsulates itself.
 *
 * Why nobody else can say it:
 * - The underlay sends bytes. What it sends passes xdp_uplink, which writes this metadata for what it has taken apart and
 *   takes away any other that a packet should carry (a veth hands on what an XDP program at its far end has put there).
 * - What never passed xdp_uplink, since it was redirected to the device by another program, has no business there, and does
 *   not know `magic`: 64 random bits for a device and an attachment, in a map that only root reads. Devices without
 *   an element in `uplinks`, generic mode included, believe nothing.
 * - A pod's device is not asked for metadata at all. So that a pod, which gets the packet with all that is before it, never
 *   sees the magic either, xdp_meta_take() wipes it out.
 */
#ifndef WARREN_LIB_XDP_META_H
#define WARREN_LIB_XDP_META_H

#include "lib/maps.h"
#include "lib/packet.h"

/* What xdp_uplink has found. */
struct xdp_origin {
	__u64 identity;
	__u32 slot;
};

/* Bytes of metadata before a frame; negative where the driver has none. */
static __always_inline int xdp_meta_length(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data - (void *)(long)ctx->data_meta;
}

/*
 * Whether the packet is one that xdp_uplink has decapsulated: then it is the inner packet, with an Ethernet header whose
 * addresses are the outer one's. Invalidates no pointers. Costs a load and a comparison where there is no metadata.
 *
 * The program that calls this must not write to packets directly (nor any function that it calls): such a program begins
 * with making a cloned packet its own, which loses the metadata, and a packet is cloned when a raw socket listens on the
 * device. Behind a tail call it may.
 */
static __always_inline bool xdp_meta_take(struct __sk_buff *skb, struct xdp_origin *origin)
{
	struct wr_xdp_meta *meta = ctx_pointer(skb, data_meta);
	const __u32 ifindex = skb->ifindex;
	const struct wr_uplink *uplink;

	if ((void *)(meta + 1) > ctx_pointer(skb, data))
		return false;
	uplink = bpf_map_lookup_elem(&uplinks, &ifindex);
	if (!uplink || !uplink->magic || meta->magic != uplink->magic)
		return false;
	origin->identity = meta->identity;
	origin->slot = meta->slot;
	meta->magic = 0;
	return true;
}

#endif
