/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events: what the ring buffer `events` carries. Dropped packets, and new (or newly evaluated) flows that were allowed:
 * the reason's kind tells them apart.
 *
 * Without a listener no event is made: a drop costs its counter. A listener is announced until a time that it keeps
 * moving on, so a reader that is killed costs at most that long.
 *
 * Each source has a token bucket, so a flood neither costs more than a bounded rate of events nor takes the ring from other
 * sources. A source is the device whose program evaluated the packet, in one direction. Allowed flows take tokens only
 * from the upper half of the bucket, and need a ring that is less than half full: they never cost a drop its event.
 */
#ifndef WARREN_ABI_EVENT_H
#define WARREN_ABI_EVENT_H

#include <linux/types.h>

#include "abi/abi.h"

/* Enough for a tunnel packet's headers, IPv6 outside and inside, a keyed word, and the inner TCP header (168). */
#define WR_EVENT_HEADERS 168

/* The ring has one reader; when it is full, a drop is only counted. */
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
	__u32 suppressed;    /* how many events of this source were left out since its last one */
	__u32 pad;
	__u8 headers[WR_EVENT_HEADERS]; /* the frame's first bytes, Ethernet header first */
};
_Static_assert(sizeof(struct wr_event) == 56 + WR_EVENT_HEADERS, "wr_event");

/* The one element of `event_state`. */
struct wr_event_state {
	__u64 listens_until; /* CLOCK_MONOTONIC, ns; 0: no listener */
};
_Static_assert(sizeof(struct wr_event_state) == 8, "wr_event_state");

/* How long a listener is announced at a time, and how often it has to announce itself again. */
#define WR_EVENT_LISTEN_NS 5000000000ull
#define WR_EVENT_RENEW_NS 1000000000ull

/* Events a second and source, and how many at once: the ring holds four such bursts. */
#define WR_EVENT_RATE 512
#define WR_EVENT_BURST 1024

/*
 * Key of `event_rate`. Two devices whose ifindexes are that far apart share their buckets: they get fewer events together,
 * never more.
 */
#define WR_EVENT_SOURCES (1 << 16)
static inline __u32 wr_event_source(__u32 ifindex, __u32 direction)
{
	return (ifindex * 2 + direction) % WR_EVENT_SOURCES;
}

/* A token bucket as a time: each event moves it by 1/WR_EVENT_RATE s, and it may be ahead of now by a burst's worth. */
struct wr_event_rate {
	__u64 next_ns;    /* CLOCK_MONOTONIC (coarse) */
	__u32 suppressed; /* since the source's last event */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_event_rate) == 16, "wr_event_rate");

/* The one element of `event_stats`, since the programs were loaded. */
struct wr_event_stats {
	__u64 suppressed; /* events that the token buckets have left out */
	__u64 lost;       /* events for which the ring had no room */
};
_Static_assert(sizeof(struct wr_event_stats) == 16, "wr_event_stats");

#endif
