/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From xdp_uplink to from_uplink: who has sent a packet that xdp_uplink took apart. xdp_uplink has made all checks of
 * the outer headers; those of the inner packet (above all, whether its source is that node's to use) are from_uplink's,
 * as for a packet that it decapsulates itself.
 *
 * It is said in the metadata before the packet, since that is what GRO looks at. But a program that writes to packets
 * directly begins, if the packet is cloned, with making it its own, and loses the metadata by that (seen on 6.18).
 * Packets are cloned while a raw socket listens on the device, a DHCP client's for instance. So xdp_origin, which only
 * reads, stands ahead of from_uplink where xdp_uplink takes tunnels apart, and moves what is said into cb[].
 *
 * Why nobody else can say it:
 * - The underlay sends bytes. What it sends passes xdp_uplink, which writes this metadata for what it has taken apart
 *   and takes away any other that a frame should have (a veth hands on what an XDP program at its far end has put
 *   there).
 * - What never passed xdp_uplink, since another program redirected it to the device, does not know `magic`: random, of
 *   a device and an attachment, in a map that only root reads. Devices without an element in `uplinks` believe nothing:
 *   all that are not in native mode, and every pod's.
 * - cb[] can be forged by whoever sends over a veth. It is believed only with the magic; and where it may be believed,
 *   xdp_origin has just written it, for every packet.
 * - from_uplink wipes both out, so that no pod, which gets the packet with all that is before it, ever sees the magic.
 * Without xdp_origin, or behind it, a packet that was taken apart is one from outside with a pod's source: dropped.
 */
#ifndef WARREN_LIB_XDP_META_H
#define WARREN_LIB_XDP_META_H

#include <linux/pkt_cls.h>

#include "lib/maps.h"
#include "lib/packet.h"

/* What xdp_uplink has found. */
struct xdp_origin {
	__u64 identity; /* as the packet carried it */
	__u32 slot;     /* of the node; 0: the packet is as it came */
};

/*
 * cb[]: the tag, half of the magic, the identity's halves, the slot. The tag spares most packets a look into the map.
 */
#define XDP_ORIGIN_TAG 0x57524d44u

/* Bytes of metadata before a frame; negative where the driver has none. */
static __always_inline int xdp_meta_length(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data - (void *)(long)ctx->data_meta;
}

static __always_inline __u64 uplink_magic(__u32 ifindex)
{
	const struct wr_uplink *uplink = bpf_map_lookup_elem(&uplinks, &ifindex);

	return uplink ? uplink->magic : 0;
}

/* For xdp_origin. */
static __always_inline void xdp_origin_give(struct __sk_buff *skb)
{
	const struct wr_xdp_meta *meta = ctx_pointer(skb, data_meta);
	__u64 magic;

	skb->cb[0] = 0;
	if ((const void *)(meta + 1) > ctx_pointer(skb, data))
		return;
	magic = uplink_magic(skb->ifindex);
	if (!magic || meta->magic != magic)
		return;
	skb->cb[1] = (__u32)magic;
	skb->cb[2] = (__u32)(meta->identity >> 32);
	skb->cb[3] = (__u32)meta->identity;
	skb->cb[4] = meta->slot;
	skb->cb[0] = XDP_ORIGIN_TAG;
}

/*
 * For from_uplink, before all else: sets `origin` if the packet is an inner one already, behind an Ethernet header with
 * the outer one's addresses. A load and a comparison for those that are not.
 */
static __always_inline void xdp_origin_take(struct __sk_buff *skb, struct xdp_origin *origin)
{
	struct wr_xdp_meta *meta;
	__u64 magic;

	if (skb->cb[0] != XDP_ORIGIN_TAG)
		return;
	magic = uplink_magic(skb->ifindex);
	if (!magic || skb->cb[1] != (__u32)magic)
		return;
	origin->identity = (__u64)skb->cb[2] << 32 | skb->cb[3];
	origin->slot = skb->cb[4];
	skb->cb[0] = 0;
	skb->cb[1] = 0;
	meta = ctx_pointer(skb, data_meta);
	if ((void *)(meta + 1) <= ctx_pointer(skb, data))
		meta->magic = 0;
}

#endif
