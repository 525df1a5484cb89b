/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a dry run found: `warren trace` runs twins of the attached programs (the same object and maps, with the constant
 * `dry_run` set), which change nothing but map `trace`.
 */
#ifndef WARREN_ABI_TRACE_H
#define WARREN_ABI_TRACE_H

#include "abi/conntrack.h"

enum wr_trace_steps {
	WR_TRACE_ENDPOINT = 1 << 0,  /* the device's endpoint was found */
	WR_TRACE_PARSED = 1 << 1,    /* the packet's headers are in order */
	WR_TRACE_CT_FOUND = 1 << 2,  /* there is an entry for its flow (`ct`, `ct_new`) */
	WR_TRACE_CT_NEW = 1 << 3,    /* ... in ct_new4/6 */
	WR_TRACE_CT_STALE = 1 << 4,  /* ... which is dead or about somebody else: as if there were none */
	WR_TRACE_CT_REJUDGED = 1 << 5, /* ... judged under another policy or identity: judged again */
	WR_TRACE_CT_REPLY = 1 << 6,  /* the packet goes from responder to initiator */
	WR_TRACE_CT_RELATED = 1 << 7, /* an ICMP error about that flow */
	WR_TRACE_JUDGED_EGRESS = 1 << 8, /* judgement[WR_EGRESS] was made now */
	WR_TRACE_JUDGED_INGRESS = 1 << 9,
	WR_TRACE_SERVICE = 1 << 10,  /* the destination is a service: the packet goes to `backend` */
	WR_TRACE_CHOSEN = 1 << 11,   /* ... which has been chosen now; another time it may be another one */
	WR_TRACE_ORIGIN = 1 << 12,   /* the packet answers what went through a service: its source becomes `backend`, the service */
};

/* One verdict: what was asked and what matched. */
struct wr_trace_judgement {
	__u64 peer_identity;
	__u64 peer_class;  /* what map `identities` says of it */
	__u64 cidr_peer;   /* what cidrs4/6 say of its address; WR_PEER_NONE: nothing, or not asked */
	__u64 matched;     /* peer of the entry that matched */
	__u32 policy_class;
	__u32 revision;
	__u32 rule;        /* enum wr_rule or a key of map `rules` */
	__u8 allowed;
	__u8 port_bits;    /* of the entry that matched */
	__u8 l4_proto;     /* ... 0: every protocol */
	__u8 pad;
};
_Static_assert(sizeof(struct wr_trace_judgement) == 48, "wr_trace_judgement");

struct wr_trace {
	__u32 steps;      /* set of enum wr_trace_steps */
	__u32 reason;     /* enum wr_reason: the verdict */
	__u32 ifindex;    /* the endpoint whose program ran */
	__u32 peer_ifindex; /* the other endpoint, if it is one of this node; WR_REMOTE | slot: on another node */
	__u32 redirect;   /* device that the packet would be handed to: of the endpoint whose pod gets it, uplink, or warren0; 0: none */
	__u32 mark;       /* skb->mark at the end */
	__u64 peer_identity;
	struct wr_ct ct;  /* the entry that was found, as it was, or the one that would be made */
	struct wr_trace_judgement judgement[WR_DIRECTIONS];
	struct wr_addr6 backend; /* of IPv4 the first word */
	__be16 backend_port;
	__u16 pad;
	__u32 backends;   /* how many the service has; 0: not asked */
};

#endif
