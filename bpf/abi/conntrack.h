/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Conntrack: one entry for a flow, both directions and both enforcement points.
 *
 * `ct_new4/6` hold flows that are young, unreplied, denied or over. Each endpoint has a window of its own in them
 * (wr_endpoint.ct_first, ct_slots), one half for the flows that it begins and one for those that others begin with it: only
 * its own new flows evict them. `ct4/6` (plain hashes, which evict nothing) hold established flows that last, and what was
 * pushed out of its window. An endpoint owns at most a quota of ct4/6 (wr_config.ct_share), and less when these fill up.
 */
#ifndef WARREN_ABI_CONNTRACK_H
#define WARREN_ABI_CONNTRACK_H

#include <linux/bpf.h>

#include "abi/abi.h"
#include "abi/addr.h"

/*
 * A flow's two ends in a fixed order (wr_ct4_swapped(), wr_ct6_swapped()), so that both directions have one key. An
 * ICMP echo flow has its id as the port of who asks and WR_CT_ECHO_PORT as that of who answers; what has no ports has
 * zeros.
 */
struct wr_ct4_key {
	struct wr_addr4 addr[2];
	__be16 port[2];
	__u8 l4_proto;
	__u8 kind; /* enum wr_ct_kind */
	__u8 pad[2];
};
struct wr_ct6_key {
	struct wr_addr6 addr[2];
	__be16 port[2];
	__u8 l4_proto;
	__u8 kind;
	__u8 pad[2];
};
_Static_assert(sizeof(struct wr_ct4_key) == 16, "wr_ct4_key");
_Static_assert(sizeof(struct wr_ct6_key) == 40, "wr_ct6_key");

/*
 * A flow through a service has, besides its own entry, which is between client and backend, two that say what becomes of
 * its packets' addresses (struct wr_ct_service): one of kind WR_CT_FLOW between client and service, and one of kind
 * WR_CT_ORIGIN between client and backend. To itself, through a service, a pod's packets come from the service's address;
 * what it answers there has an entry of the first kind, too.
 */
enum wr_ct_kind {
	WR_CT_FLOW,
	WR_CT_ORIGIN,
};

#define WR_CT_ECHO_PORT 0xffff /* the same in either byte order */

/*
 * Whether (source, destination) stand in a key as (addr[1], addr[0]). Any total order does: words as they are in
 * memory.
 */
static inline int wr_ct4_swapped(struct wr_addr4 s, __be16 sport, struct wr_addr4 d, __be16 dport)
{
	return s.v4 != d.v4 ? s.v4 > d.v4 : sport > dport;
}
static inline int wr_ct6_swapped(const struct wr_addr6 *s, __be16 sport, const struct wr_addr6 *d, __be16 dport)
{
	if (s->v6[3] != d->v6[3])
		return s->v6[3] > d->v6[3];
	if (s->v6[2] != d->v6[2])
		return s->v6[2] > d->v6[2];
	if (s->v6[1] != d->v6[1])
		return s->v6[1] > d->v6[1];
	if (s->v6[0] != d->v6[0])
		return s->v6[0] > d->v6[0];
	return sport > dport;
}

enum wr_ct_flags {
	WR_CT_SWAPPED = 1 << 0,      /* the initiator is the key's end 1 */
	WR_CT_VIA_STACK = 1 << 1,    /* first seen at to_pod or from_host: its replies go through the stack too */
	WR_CT_DENIED_EGRESS = 1 << 2,  /* the initiator's egress was denied: nothing passes, either way */
	WR_CT_DENIED_INGRESS = 1 << 3, /* the responder's ingress was */
	WR_CT_ANSWERED = 1 << 4,     /* the responder has answered */
	WR_CT_FIN_INITIATOR = 1 << 5, /* TCP: that side has sent FIN */
	WR_CT_FIN_RESPONDER = 1 << 6,
	WR_CT_RESET = 1 << 7,        /* TCP: the last thing seen was RST */
	WR_CT_SERVICE = 1 << 8,      /* no flow's, but a struct wr_ct_service */
	WR_CT_HAIRPIN = 1 << 9,      /* ... of a pod with itself: of what it sends the source becomes the service's, too */
	WR_CT_ESTABLISHED = 1 << 10, /* TCP: the initiator has acknowledged the answer; else: both ends sent for over a second */
	WR_CT_ALLOWED_BEFORE = 1 << 11, /* it was evaluated again: what its initiator sent may have been delivered */
	WR_CT_TRANSLATED = 1 << 12,  /* the initiator has sent it to a service; as a packet's trait it is the same bit */
};

/* Under what an enforcement point let the flow pass (or not). */
struct wr_judgement {
	__u64 peer;     /* identity of the other side */
	__u32 revision; /* of the endpoint's policy word; of an end elsewhere, the cluster's, under which it was found there */
	__u32 rule;     /* enum wr_rule, or a key of map `rules` */
};

/* Time in ticks of 2^27 ns (134 ms) of CLOCK_MONOTONIC; wraps after 18 years. */
#define WR_CT_TICK_SHIFT 27
#define WR_CT_SECONDS(s) ((__u32)((s) * 1000000000ull >> WR_CT_TICK_SHIFT))

/* How long a flow lives after its last packet. TCP's 8000 s outlive the keepalives that hosts send after 7200 s. */
#define WR_CT_LIFE_TCP WR_CT_SECONDS(8000)
#define WR_CT_LIFE_TCP_NEW WR_CT_SECONDS(60) /* until it is established */
#define WR_CT_LIFE_TCP_CLOSING WR_CT_SECONDS(10)
#define WR_CT_LIFE_SCTP WR_CT_SECONDS(8000)
#define WR_CT_LIFE_OTHER WR_CT_SECONDS(120)    /* UDP, established, and whatever has no ports */
#define WR_CT_LIFE_OTHER_NEW WR_CT_SECONDS(30)
#define WR_CT_LIFE_DENIED WR_CT_SECONDS(10)

struct wr_ct {
	__u32 expires;   /* tick after which the entry is dead, swept or not */
	__u32 flags;     /* enum wr_ct_flags */
	/*
	 * ifindex of the endpoint that began it; WR_REMOTE | slot: a pod of that node (abi/node.h), that node, or the world by its
	 * stack; 0: the host, or from outside
	 */
	__u32 initiator;
	__u32 responder; /* likewise of the one that it was sent to; 0: the stack's business */
	struct wr_judgement at[WR_DIRECTIONS]; /* [WR_EGRESS] by the initiator's policy, [WR_INGRESS] by the responder's */
	/*
	 * TCP, host byte order: the last acknowledgement number of the initiator [0] and of the responder [1]; before an end has
	 * acknowledged anything, the one that its first acknowledgement must have (the other end's SYN + 1). A RST of the other
	 * end is exact if its sequence number is this one.
	 */
	__u32 ack[2];
};
_Static_assert(sizeof(struct wr_ct) == 56, "wr_ct");

/*
 * What becomes of the destination of what a client sends to a service; or, of kind WR_CT_ORIGIN, what it was, and so what
 * the source of the answers becomes. Such an entry lives as long as its flow's: `expires` only says until when nobody need
 * look there.
 */
struct wr_ct_service {
	__u32 expires;
	__u32 flags;     /* WR_CT_SERVICE; WR_CT_SWAPPED: the client is the key's end 1; WR_CT_HAIRPIN */
	__u32 initiator; /* ifindex of the client, who owns the entry */
	__u32 responder; /* 0 */
	struct wr_addr6 addr; /* of IPv4 the first word */
	__u32 list;      /* from which the backend was chosen (abi/service.h); 0: from none */
	__be16 port;
	__u16 pad;
	__u32 backend;   /* its id; 0: as the list */
	__u32 pad2[3];
};
_Static_assert(sizeof(struct wr_ct_service) == sizeof(struct wr_ct), "wr_ct_service");

/* Default sizes; `warren node init` can set others. ct is not preallocated: an entry costs memory while it lives. */
#define WR_CT_ENTRIES 262144
#define WR_CT_SHARE_SHIFT 3 /* an endpoint may own, of both families together, 1/8 of what one table holds */

/* --- windows ------------------------------------------------------------------------------------------------------ */

/*
 * Element of `ct_new4` and `ct_new6`: an array in which WR_CT_WAYS slots are a set. A flow is in the one set of its half
 * window that its hash names, in any of the slots. `sequence` of a set's first slot is the lock of the set: odd while it is
 * written; who reads it before and after and finds the same even number has read one state. Programs take it by
 * compare-and-swap before they write. User space never does, since it may be killed: it ends a flow by setting the slot's tag
 * to 0, if that is still the flow's.
 */
#define WR_CT_WAYS 4u
struct wr_ct4_slot {
	__u32 tag;      /* wr_ct_tag(), a filter: the key decides; 0: the slot is empty */
	__u32 sequence;
	struct wr_ct4_key key;
	struct wr_ct ct; /* or a struct wr_ct_service */
};
struct wr_ct6_slot {
	__u32 tag;
	__u32 sequence;
	struct wr_ct6_key key;
	struct wr_ct ct;
};
_Static_assert(sizeof(struct wr_ct4_slot) == 24 + sizeof(struct wr_ct), "wr_ct4_slot");
_Static_assert(sizeof(struct wr_ct6_slot) == 48 + sizeof(struct wr_ct), "wr_ct6_slot");

/*
 * Slots of a family. The first WR_CT_NODE_SLOTS are the node's own window: of flows that no endpoint has a part in, and of
 * endpoints for which there was no window left. An endpoint gets WR_CT_WINDOW_MAX, less when few are left.
 */
#define WR_CT_NEW_SLOTS (1u << 17)
#define WR_CT_NODE_SLOTS 1024u
#define WR_CT_WINDOW_MAX 512u
#define WR_CT_WINDOW_MIN 16u

/* The one element of `ct_windows`: which parts of WR_CT_WINDOW_MIN slots are some endpoint's. Bit n: the n-th. */
struct wr_ct_windows {
	__u64 used[WR_CT_NEW_SLOTS / WR_CT_WINDOW_MIN / 64];
};

/*
 * NH (RFC 4418 section 5.2.2) of a key's words under wr_config.ct_secret: two keys that differ have the same sum with a
 * chance of 2^-32. The last secret, made odd, mixes it into all bits.
 */
#define WR_CT_SECRETS 12
static inline __u64 wr_ct_hash(const __u32 *word, const __u32 *secret, const __u32 words)
{
	__u64 sum = 0;

	for (__u32 n = 0; n < words; n += 2)
		sum += (__u64)(word[n] + secret[n]) * (word[n + 1] + secret[n + 1]);
	return sum * (((__u64)secret[WR_CT_SECRETS - 1] << 32 | secret[WR_CT_SECRETS - 2]) | 1);
}
static inline __u32 wr_ct_tag(__u64 hash)
{
	return (__u32)hash | 1;
}
/* The first slot of the flow's set in a half window of `slots` slots (a power of two) from `first` on. */
static inline __u32 wr_ct_set(__u64 hash, __u32 first, __u32 slots)
{
	return first + ((__u32)(hash >> 32) & (slots - 1) & ~(WR_CT_WAYS - 1));
}

/*
 * Value of `ct_usage`, key: ifindex modulo WR_ENDPOINT_SLOTS; [0]: flows of which neither end is an endpoint's. The owner of
 * an entry is its initiator, or its responder if the initiator is none of this node's.
 */
struct wr_ct_usage {
	__u32 entries; /* of ct4 and ct6 */
	__u32 counted; /* ... as many as the garbage collector has seen in this run */
	__s32 drift;   /* ... and how many more or less than that there were at the end of its last run */
};
_Static_assert(sizeof(struct wr_ct_usage) == 12, "wr_ct_usage");

/* The one element of `ct_totals`: entries of ct4 and ct6 of all owners. */
struct wr_ct_totals {
	__u32 entries[2];
	__s32 drift[2]; /* as in struct wr_ct_usage */
};
_Static_assert(sizeof(struct wr_ct_totals) == 16, "wr_ct_totals");

/* Value of `sweep`: the timer that removes dead entries from ct4/6 without any process, and what it found last. */
#define WR_SWEEP_SECONDS 10
struct wr_sweep {
	struct bpf_timer timer;
	__u64 time_ns;    /* CLOCK_MONOTONIC of the last run */
	__u64 runs;
	__u64 removed;    /* since the maps were made */
	__u32 live[2];    /* entries of ct4 and ct6 that the last run left */
};

/* Value of the per-CPU array `ct_stats`, key: enum wr_ct_stat. */
enum wr_ct_stat {
	WR_CT_STAT_CREATED,
	WR_CT_STAT_PROMOTED,   /* moved from ct_new to ct */
	WR_CT_STAT_OVER_SHARE, /* established, but stays in ct_new: its endpoint has used up its quota of ct */
	WR_CT_STAT_FULL,       /* established, but stays in ct_new: ct is full */
	WR_CT_STAT_REJUDGED,   /* evaluated again, since the policy has changed */
	WR_CT_STAT_EVICTED,    /* alive and allowed, evicted by a newer flow of the same endpoint */
	WR_CT_STATS,
};

#endif
