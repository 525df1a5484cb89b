/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * xdp_uplink hands from_uplink what it has taken off a packet in the metadata before it (struct wr_xdp_meta), so that
 * the inner packets go through GRO, which merges those that are alike in their metadata too.
 */
#ifndef WARREN_ABI_XDP_H
#define WARREN_ABI_XDP_H

#include <linux/types.h>

enum wr_uplink_flags {
	WR_UPLINK_DECAP = 1 << 0, /* xdp_uplink takes tunnels apart; without it, it only drops */
};

/*
 * Value of `uplinks`; key: ifindex. There is an element where xdp_uplink is attached to the device in native mode, and
 * xdp_origin and from_uplink to its tc ingress. On its way out, DECAP goes first, and the element when nothing is under
 * way any more.
 */
struct wr_uplink {
	__u32 flags; /* enum wr_uplink_flags */
	__u32 pad;
	__u64 magic; /* random, of this device and attachment; never 0 */
};
_Static_assert(sizeof(struct wr_uplink) == 16, "wr_uplink");

#define WR_MAX_UPLINKS 64

/* 24 bytes: one of the sizes that GRO compares fast, and less than the 32 that every driver has room for. */
struct wr_xdp_meta {
	__u64 magic;    /* the device's */
	__u64 identity; /* as the packet carried it */
	__u32 slot;     /* of the node that it came from */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_xdp_meta) == 24, "wr_xdp_meta");

#endif
