/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Passes the sender of a packet that xdp_uplink has decapsulated to from_uplink. xdp_uplink has made all checks of the
 * outer headers. from_uplink checks the inner packet (above all, whether the sending node may use its source), as for a
 * packet that it decapsulates itself.
 *
 * The fields are in the metadata before the packet, which GRO compares. But a program that writes to packets directly
 * makes a private copy of a cloned packet first, which loses the metadata (seen on 6.18). Packets are cloned while a
 * raw socket listens on the device, for instance a DHCP client's. So xdp_origin, which only reads, runs ahead of
 * from_uplink where xdp_uplink decapsulates, and copies the fields into cb[].
 *
 * Why these fields cannot be forged:
 * - Packets from the underlay pass xdp_uplink, which writes this metadata for packets that it decapsulates and removes
 *   any other metadata (a veth preserves what an XDP program at its other end has written).
 * - A packet that another program redirects to the device bypasses xdp_uplink, but cannot have the right `magic`: it is
 *   random for a device and an attachment, in a map that only root can read. Devices without an element in `uplinks`
 *   accept no metadata: all that are not in native mode, and every pod's.
 * - cb[] can be forged by any sender over a veth. It is accepted only with the magic; and where it is accepted,
 *   xdp_origin has just written it, for every packet.
 * - from_uplink clears both, so that no pod, which receives the packet with its headroom, ever sees the magic.
 * Without xdp_origin, or before it, a decapsulated packet looks like an external one with a pod's source, and is
 * dropped.
 */
#ifndef WARREN_LIB_XDP_META_H
#define WARREN_LIB_XDP_META_H

#include <linux/pkt_cls.h>

#include "lib/maps.h"
#include "lib/packet.h"

/* The tunnel header's fields from xdp_uplink. */
struct xdp_origin {
	__u64 identity; /* as the packet carried it */
	__u32 slot;     /* of the sending node; 0: not decapsulated */
};

/* cb[]: the tag, half of the magic, the identity's halves, the slot. The tag saves a map lookup for most packets. */
#define XDP_ORIGIN_TAG 0x57524d44u

/* Bytes of metadata before a frame; negative if the driver does not support it. */
static __always_inline int xdp_meta_length(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data - (void *)(long)ctx->data_meta;
}

static __always_inline __u64 uplink_magic(__u32 ifindex)
{
	const struct wr_uplink *uplink = bpf_map_lookup_elem(&uplinks, &ifindex);

	return uplink ? uplink->magic : 0;
}

/* For xdp_origin: copies the metadata to cb[]. */
static __always_inline void xdp_origin_write(struct __sk_buff *skb)
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
 * For from_uplink, first: sets `origin` if the packet has been decapsulated, with the outer packet's Ethernet
 * addresses. A load and a comparison for other packets.
 */
static __always_inline void xdp_origin_read(struct __sk_buff *skb, struct xdp_origin *origin)
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
