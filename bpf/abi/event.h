/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events: what the ring buffer `events` carries. Every dropped packet, and every new (or newly judged) flow that was
 * allowed: the reason's kind tells them apart. Allowed flows are reported only while the ring is less than half full,
 * so that they never cost a drop its event.
 */
#ifndef WARREN_ABI_EVENT_H
#define WARREN_ABI_EVENT_H

#include <linux/types.h>

#include "abi/abi.h"

/* Enough for a tunnel packet's headers, IPv6 outside and inside, and the inner TCP header (156). */
#define WR_EVENT_HEADERS 160

/* The ring has one reader; when nobody reads and it is full, a drop is only counted. */
struct wr_event {
	__u64 time_ns;       /* CLOCK_BOOTTIME */
	__u64 peer_identity; /* of the other side, as far as it is known: enum wr_identity */
	__u32 ifindex;       /* the endpoint whose program judged it; from_uplink, from_host: the one it is for or from, else the device */
	__u32 peer_ifindex;  /* the other endpoint if it is one of this node, WR_REMOTE | slot if it is on another node, else 0 */
	__u32 length;        /* of the frame in bytes, Ethernet header included */
	__u8 reason;         /* enum wr_reason */
	__u8 direction;      /* enum wr_direction */
	__u8 captured;       /* how many bytes of `headers` are valid */
	__u8 judged;         /* bit per enum wr_direction: rule and policy_class of that one are valid */
	__u32 rule[WR_DIRECTIONS]; /* enum wr_rule or a key of map `rules`: by the initiator's egress, the responder's ingress policy */
	__u32 policy_class[WR_DIRECTIONS];
	__u8 headers[WR_EVENT_HEADERS]; /* the frame's first bytes, Ethernet header first */
};
_Static_assert(sizeof(struct wr_event) == 48 + WR_EVENT_HEADERS, "wr_event");

#endif
