/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Events in the ring buffer `events`: dropped packets, and new (or newly evaluated) flows that were allowed. The kind
 * of the reason distinguishes them.
 *
 * Without a listener no event is created: a drop costs only its counter. A listener is registered until a deadline that
 * it keeps extending, so a reader that is killed costs events for at most that long.
 *
 * Each source has a token bucket, so a flood costs a bounded rate of events and cannot fill the ring at the expense of
 * other sources. A source is the device whose program evaluated the packet, in one direction. Events of allowed flows
 * use only the upper half of the bucket, and need a ring that is less than half full: they never displace the event of
 * a drop.
 */
#ifndef WARREN_ABI_EVENT_H
#define WARREN_ABI_EVENT_H

#include <linux/types.h>

#include "abi/abi.h"

/* Enough for a tunnel packet's headers: IPv6 outside and inside, a keyed tag, and the inner TCP header (168). */
#define WR_EVENT_HEADERS 168

/* The ring has one reader; when it is full, a drop is only counted. */
struct wr_event {
	__u64 time_ns;                  /* CLOCK_BOOTTIME */
	__u64 peer_identity;            /* of the other side, if known: enum wr_identity */
	__u32 ifindex; /* endpoint that evaluated it; from_uplink, from_host: the receiver or sender, else the device */
	__u32 peer_ifindex;             /* the other endpoint on this node; WR_REMOTE | slot: on another node; else 0 */
	__u32 length;                   /* of the frame in bytes, Ethernet header included */
	__u8 reason;                    /* enum wr_reason */
	__u8 direction;                 /* enum wr_direction */
	__u8 captured;                  /* how many bytes of `headers` are valid */
	__u8 evaluated;                 /* bit per enum wr_direction: its rule and policy_class are valid */
	/* enum wr_rule or a key of map `rules`: egress of the initiator, ingress of the responder */
	__u32 rule[WR_DIRECTIONS];
	__u32 policy_class[WR_DIRECTIONS];
	__u32 suppressed;               /* events of this source that were suppressed since its last one */
	__u32 pad;
	__u8 headers[WR_EVENT_HEADERS]; /* the frame's first bytes, Ethernet header first */
};
_Static_assert(sizeof(struct wr_event) == 56 + WR_EVENT_HEADERS, "wr_event");

/* The one element of `event_state`. */
struct wr_event_state {
	__u64 listens_until; /* CLOCK_MONOTONIC, ns; 0: no listener */
};
_Static_assert(sizeof(struct wr_event_state) == 8, "wr_event_state");

/* How long a registration of a listener lasts, and how often it is renewed. */
#define WR_EVENT_LISTEN_NS 5000000000ull
#define WR_EVENT_RENEW_NS 1000000000ull

/* Events per second and source, and the burst: the ring holds four bursts. */
#define WR_EVENT_RATE 512
#define WR_EVENT_BURST 1024

/*
 * Key of `event_rate`. Two devices whose ifindexes differ by a multiple of half this number share their buckets:
 * together they get fewer events, never more.
 */
#define WR_EVENT_SOURCES (1 << 16)
static inline __u32 wr_event_source(__u32 ifindex, __u32 direction)
{
	return (ifindex * 2 + direction) % WR_EVENT_SOURCES;
}

/* A token bucket as a time: each event advances it by 1/WR_EVENT_RATE s; it may be ahead of now by one burst. */
struct wr_event_rate {
	__u64 next_ns;    /* CLOCK_MONOTONIC (coarse) */
	__u32 suppressed; /* since the source's last event */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_event_rate) == 16, "wr_event_rate");

/* The one element of `event_stats`, since the programs were loaded. */
struct wr_event_stats {
	__u64 suppressed; /* events that the token buckets suppressed */
	__u64 lost;       /* events dropped because the ring was full */
};
_Static_assert(sizeof(struct wr_event_stats) == 16, "wr_event_stats");

#endif
