/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Events: what the ring buffer `events` carries. */
#ifndef WARREN_ABI_EVENT_H
#define WARREN_ABI_EVENT_H

#include <linux/types.h>

/* Enough for Ethernet, IPv6 with two extension headers and TCP with options. */
#define WR_EVENT_HEADERS 112

/* One dropped packet. The ring has one reader; when nobody reads and it is full, the drop is only counted. */
struct wr_event {
	__u64 time_ns;       /* CLOCK_BOOTTIME */
	__u64 peer_identity; /* of the other side, as far as it is known: enum wr_identity */
	__u32 ifindex;       /* the endpoint whose program dropped it */
	__u32 peer_ifindex;  /* the other endpoint if it is one of this node, else 0 */
	__u32 length;        /* of the frame in bytes, Ethernet header included */
	__u8 reason;         /* enum wr_reason */
	__u8 direction;      /* enum wr_direction */
	__u8 captured;       /* how many bytes of `headers` are valid */
	__u8 pad;
	__u8 headers[WR_EVENT_HEADERS]; /* the frame's first bytes, Ethernet header first */
};
_Static_assert(sizeof(struct wr_event) == 32 + WR_EVENT_HEADERS, "wr_event");

#endif
