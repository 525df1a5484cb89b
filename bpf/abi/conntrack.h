/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Conntrack: one entry per flow, for both directions and both enforcement points.
 *
 * `ct_new4/6` hold flows that are young, unreplied, denied or closed. Each endpoint has its own window of slots in them
 * (wr_endpoint.ct_first, ct_slots): one half for flows that the endpoint initiates, one half for flows that others
 * initiate with it. Only the endpoint's own new flows evict them. `ct4/6` are plain hashes without eviction: they hold
 * established flows that last, and flows that their window evicted. An endpoint owns at most a quota of ct4/6
 * (wr_config.ct_quota), and less when these fill up.
 */
#ifndef WARREN_ABI_CONNTRACK_H
#define WARREN_ABI_CONNTRACK_H

#ifdef __bpf__
#include <linux/in.h>
#else
#include <netinet/in.h>
#endif
#include <linux/bpf.h>
#include <stdbool.h>

#include "abi/abi.h"
#include "abi/addr.h"

/*
 * A flow's two ends in a fixed order (wr_ct4_swapped(), wr_ct6_swapped()), so that both directions have one key. An
 * ICMP echo flow has its id as the requester's port and WR_CT_ECHO_PORT as the responder's. Protocols without ports
 * have zeros.
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
 * A flow through a service has its own entry, between client and backend, and two entries with the NAT of its packets
 * (struct wr_ct_service): one of kind WR_CT_FLOW between client and service, and one of kind WR_CT_REVERSE_NAT between
 * client and backend. If a pod is its own backend (hairpin), its packets come from the service's address; its replies
 * to that address have another entry of kind WR_CT_FLOW.
 */
enum wr_ct_kind {
	WR_CT_FLOW,
	WR_CT_REVERSE_NAT,
};

#define WR_CT_ECHO_PORT 0xffff /* the same in either byte order */

/*
 * Whether a key holds (source, destination) as (addr[1], addr[0]). Any total order will do; words are compared as they
 * are in memory.
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
	WR_CT_SWAPPED = 1 << 0,        /* the initiator is the key's end 1 */
	WR_CT_VIA_STACK = 1 << 1,      /* first seen at to_pod or from_host: its replies go through the stack too */
	WR_CT_DENIED_EGRESS = 1 << 2,  /* the initiator's egress was denied: no packet passes in either direction */
	WR_CT_DENIED_INGRESS = 1 << 3, /* the responder's ingress was denied */
	WR_CT_REPLIED = 1 << 4,        /* the responder has replied */
	WR_CT_FIN_INITIATOR = 1 << 5,  /* TCP: the initiator has sent FIN */
	WR_CT_FIN_RESPONDER = 1 << 6,
	WR_CT_RESET = 1 << 7,          /* TCP: the last packet seen was a RST */
	WR_CT_SERVICE = 1 << 8,        /* not a flow: the entry is a struct wr_ct_service */
	/* ... a pod is its own backend: the source of its packets is translated to the service, too */
	WR_CT_HAIRPIN = 1 << 9,
	/* TCP: the initiator has acknowledged the SYN-ACK; others: both ends sent for over a second */
	WR_CT_ESTABLISHED = 1 << 10,
	/* it was allowed before it was evaluated again: the initiator's packets may have been delivered */
	WR_CT_ALLOWED_BEFORE = 1 << 11,
	/* the initiator sends it to a service; the same bit as the packet flag TRANSLATED */
	WR_CT_TRANSLATED = 1 << 12,
	WR_CT_MOVES = 1 << 13,         /* ... whose packets any node may receive (WR_SERVICE_MOVES); also of a service's entry */
};

/* By what an enforcement point allowed or denied the flow. */
struct wr_policy_verdict {
	__u64 peer;     /* identity of the other side */
	/* of the endpoint's policy tag; for an end elsewhere: the cluster's revision when the end was located */
	__u32 revision;
	__u32 rule;     /* enum wr_rule, or a key of map `rules` */
};

/* Time in ticks of 2^27 ns (134 ms) of CLOCK_MONOTONIC; wraps after 18 years. */
#define WR_CT_TICK_SHIFT 27
#define WR_CT_SECONDS(s) ((__u32)((s) * 1000000000ull >> WR_CT_TICK_SHIFT))

/* Timeouts after a flow's last packet. TCP's 8000 s are longer than the keepalives that hosts send after 7200 s. */
#define WR_CT_LIFE_TCP WR_CT_SECONDS(8000)
#define WR_CT_LIFE_TCP_NEW WR_CT_SECONDS(60) /* before it is established */
#define WR_CT_LIFE_TCP_CLOSING WR_CT_SECONDS(10)
#define WR_CT_LIFE_SCTP WR_CT_SECONDS(8000)
#define WR_CT_LIFE_OTHER WR_CT_SECONDS(120)    /* UDP, established, and protocols without ports */
#define WR_CT_LIFE_OTHER_NEW WR_CT_SECONDS(30)
#define WR_CT_LIFE_DENIED WR_CT_SECONDS(10)

#define WR_CT_DENIED (WR_CT_DENIED_EGRESS | WR_CT_DENIED_INGRESS)
#define WR_CT_FIN_BOTH (WR_CT_FIN_INITIATOR | WR_CT_FIN_RESPONDER)

/* Whether the TCP connection is closed: only late segments may follow. */
static inline bool wr_ct_is_closed(__u8 l4_proto, __u32 flags)
{
	return l4_proto == IPPROTO_TCP && ((flags & WR_CT_RESET) || (flags & WR_CT_FIN_BOTH) == WR_CT_FIN_BOTH);
}

/* The flow's timeout. */
static inline __u32 wr_ct_life(__u8 l4_proto, __u32 flags)
{
	if (flags & WR_CT_DENIED)
		return WR_CT_LIFE_DENIED;
	if (wr_ct_is_closed(l4_proto, flags))
		return WR_CT_LIFE_TCP_CLOSING;
	if (l4_proto == IPPROTO_TCP)
		return flags & WR_CT_ESTABLISHED ? WR_CT_LIFE_TCP : WR_CT_LIFE_TCP_NEW;
	if (!(flags & WR_CT_REPLIED))
		return WR_CT_LIFE_OTHER_NEW;
	if (l4_proto == IPPROTO_SCTP)
		return WR_CT_LIFE_SCTP;
	return flags & WR_CT_ESTABLISHED ? WR_CT_LIFE_OTHER : WR_CT_LIFE_OTHER_NEW;
}

struct wr_ct {
	__u32 expires;   /* tick after which lookups ignore the entry, whether or not the gc has removed it */
	__u32 flags;     /* enum wr_ct_flags */
	/*
	 * ifindex of the endpoint that initiated the flow. WR_REMOTE | slot (abi/node.h): a pod of that node, the node
	 * itself, or the world through that node's stack. 0: this host, or an external host.
	 */
	__u32 initiator;
	__u32 responder; /* the same of the other end; 0: the stack routes it */
	/* [WR_EGRESS]: the initiator's policy, [WR_INGRESS]: the responder's */
	struct wr_policy_verdict at[WR_DIRECTIONS];
	/*
	 * TCP, host byte order: what the initiator [0] and the responder [1] acknowledge. In the handshake the number
	 * that an end's first acknowledgement must have (the other end's SYN + 1). Later, if the source of one end's
	 * packets is not checked (lib/tcp_segment.h), by the segments of the other one alone: of that one its last
	 * acknowledgement, which is the sequence number that it expects, and of the unchecked one a number near that
	 * which it must acknowledge. Between endpoints and other nodes they are not kept.
	 * Other protocols: [0] is the tick of the last packet of a world that has initiated the flow, by the flow's path.
	 */
	__u32 ack[2];
};
_Static_assert(sizeof(struct wr_ct) == 56, "wr_ct");

/*
 * NAT of a flow through a service. Kind WR_CT_FLOW: the backend's address and port, which replace the destination of
 * the client's packets. Kind WR_CT_REVERSE_NAT: the service's address and port, which replace the source of replies.
 * Such an entry lives as long as its flow's: at `expires` the flow's entry must be checked.
 */
struct wr_ct_service {
	__u32 expires;
	__u32 flags;     /* WR_CT_SERVICE; WR_CT_SWAPPED: the client is the key's end 1; WR_CT_HAIRPIN, _MOVES */
	__u32 initiator; /* ifindex of the client, which owns the entry; 0: a client outside the cluster */
	__u32 responder; /* 0 */
	struct wr_addr6 addr; /* IPv4: the first word */
	__u32 list;      /* of backends, from which this one was selected (abi/service.h); 0: none */
	__be16 port;
	/*
	 * If the flow's source port was replaced: kind WR_CT_FLOW: by this one, toward the backend. Kind
	 * WR_CT_REVERSE_NAT: the client's own, which replaces the destination port of replies. 0: it was not.
	 */
	__be16 client_port;
	__u32 backend;   /* its id; 0: none */
	__u32 pad2[3];
};
_Static_assert(sizeof(struct wr_ct_service) == sizeof(struct wr_ct), "wr_ct_service");

/*
 * Default sizes; `warren node init` can set others. ct is not preallocated: an entry uses memory only while it exists.
 */
#define WR_CT_ENTRIES 262144
#define WR_CT_QUOTA_SHIFT 3 /* an endpoint may own, in both families together, 1/8 of one table's max entries */
#define WR_CT_NODE_QUOTA 4  /* flows without an endpoint here, so many times as much: all clients outside the cluster */

/* --- windows ------------------------------------------------------------------------------------------------------ */

/*
 * Element of `ct_new4` and `ct_new6`: an array in which WR_CT_WAYS slots are a set. A flow's hash selects one set in
 * its half window; the flow is in any slot of that set. `sequence` of a set's first slot is a seqlock over the set: odd
 * while a writer is active; a reader that finds the same even number before and after has read a consistent state.
 * Programs lock it by compare-and-swap before they write. User space never locks it, since it may be killed while it
 * holds the lock: it removes a flow by setting the slot's tag to 0, if that is still the flow's.
 */
#define WR_CT_WAYS 4u
struct wr_ct4_slot {
	__u32 tag;      /* wr_ct_tag(), a filter before keys are compared; 0: the slot is empty */
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
 * Slots of a family. The first WR_CT_NODE_SLOTS are the node's own window: for flows with no endpoint at either end,
 * and for endpoints that got no window. An endpoint gets WR_CT_WINDOW_MAX slots, or fewer when few are free.
 */
#define WR_CT_NEW_SLOTS (1u << 17)
#define WR_CT_NODE_SLOTS 8192u
#define WR_CT_WINDOW_MAX 512u
#define WR_CT_WINDOW_MIN 16u

/* The one element of `ct_windows`. Bit n: the n-th block of WR_CT_WINDOW_MIN slots belongs to an endpoint's window. */
struct wr_ct_windows {
	__u64 used[WR_CT_NEW_SLOTS / WR_CT_WINDOW_MIN / 64];
};

/*
 * NH (RFC 4418 section 5.2.2) of a key's words under wr_config.ct_secret: two different keys have the same sum with
 * probability 2^-32. The last secret, made odd, spreads the sum over all bits.
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
 * Value of `ct_usage`, key: the owner's slot in `endpoints`, or WR_CT_USAGE_UNOWNED for flows without an endpoint at
 * either end. The owner of an entry is its initiator, or its responder if the initiator is not an endpoint of this node.
 */
#define WR_CT_USAGE_UNOWNED WR_ENDPOINT_SLOTS
struct wr_ct_usage {
	__u32 entries; /* of ct4 and ct6 */
	__u32 counted; /* ... that the current gc run has counted */
	__s32 drift;   /* ... counted minus `entries` at the end of the last gc run */
};
_Static_assert(sizeof(struct wr_ct_usage) == 12, "wr_ct_usage");

/* The one element of `ct_totals`: entries of ct4 and ct6 of all owners. */
struct wr_ct_totals {
	__u32 entries[2];
	__s32 drift[2]; /* as in struct wr_ct_usage */
};
_Static_assert(sizeof(struct wr_ct_totals) == 16, "wr_ct_totals");

/*
 * Value of `ct_gc`: the timer that removes expired entries from ct4/6 without any process, and the result of its last
 * run.
 */
#define WR_CT_GC_SECONDS 10
struct wr_ct_gc {
	struct bpf_timer timer;
	__u64 time_ns;    /* CLOCK_MONOTONIC of the last run */
	__u64 runs;
	__u64 removed;    /* since the maps were created */
	__u32 live[2];    /* entries of ct4 and ct6 that the last run left */
};

/* Value of the per-CPU array `ct_stats`, key: enum wr_ct_stat. */
enum wr_ct_stat {
	WR_CT_STAT_CREATED,
	WR_CT_STAT_PROMOTED,   /* moved from ct_new to ct */
	WR_CT_STAT_OVER_QUOTA, /* established, but stays in ct_new: its endpoint has reached its quota of ct */
	WR_CT_STAT_FULL,       /* established, but stays in ct_new: ct is full */
	WR_CT_STAT_REEVALUATED,   /* evaluated again after a policy change */
	WR_CT_STAT_EVICTED,    /* live and allowed, evicted by a newer flow of the same endpoint */
	WR_CT_STATS,
};

#endif
