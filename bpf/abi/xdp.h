/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * xdp_uplink passes the tunnel header's fields to from_uplink in the metadata before the packet (struct wr_xdp_meta).
 * So the inner packets go through GRO, which merges only packets with the same metadata.
 */
#ifndef WARREN_ABI_XDP_H
#define WARREN_ABI_XDP_H

#include <linux/types.h>

enum wr_uplink_flags {
	WR_UPLINK_DECAP = 1 << 0, /* xdp_uplink decapsulates; without it, it only drops */
};

/*
 * Value of `uplinks`; key: ifindex. A device has an element while xdp_uplink is attached to it in native mode, and
 * xdp_origin and from_uplink to its tc ingress. To detach, DECAP is cleared first; the element is removed when no
 * packet can be between the programs.
 */
struct wr_uplink {
	__u32 flags; /* enum wr_uplink_flags */
	__u32 pad;
	__u64 magic; /* random, for this device and attachment; never 0 */
};
_Static_assert(sizeof(struct wr_uplink) == 16, "wr_uplink");

#define WR_MAX_UPLINKS 64

/* 24 bytes: a size that GRO compares fast, and less than the 32 bytes of metadata that every driver supports. */
struct wr_xdp_meta {
	__u64 magic;    /* the device's */
	__u64 identity; /* as the packet carried it */
	__u32 slot;     /* of the sending node */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_xdp_meta) == 24, "wr_xdp_meta");

#endif
