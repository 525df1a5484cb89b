/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Result of a dry run. `warren trace` runs dry-run programs: the same object and maps as the attached programs, with
 * the constant `dry_run` set. They change nothing but map `trace`.
 */
#ifndef WARREN_ABI_TRACE_H
#define WARREN_ABI_TRACE_H

#include "abi/conntrack.h"

enum wr_trace_steps {
	WR_TRACE_ENDPOINT = 1 << 0,         /* the device's endpoint was found */
	WR_TRACE_PARSED = 1 << 1,           /* the packet's headers are valid */
	WR_TRACE_CT_FOUND = 1 << 2,         /* conntrack has an entry for its flow (`ct`, `ct_new`) */
	WR_TRACE_CT_NEW = 1 << 3,           /* ... in ct_new4/6 */
	WR_TRACE_CT_STALE = 1 << 4,         /* ... which has expired or belongs to another flow: treated as absent */
	WR_TRACE_CT_REEVALUATED = 1 << 5,   /* ... evaluated under another policy or identity: evaluated again */
	WR_TRACE_CT_REPLY = 1 << 6,         /* the packet goes from responder to initiator */
	WR_TRACE_CT_RELATED = 1 << 7,       /* an ICMP error about that flow */
	WR_TRACE_EVALUATED_EGRESS = 1 << 8, /* verdict[WR_EGRESS] was evaluated now */
	WR_TRACE_EVALUATED_INGRESS = 1 << 9,
	WR_TRACE_SERVICE = 1 << 10,         /* the destination is a service: the packet goes to `backend` */
	WR_TRACE_CHOSEN = 1 << 11,          /* ... which was selected now; another packet may get another one */
	/* a reply of a flow through a service: its source becomes `backend`, the service */
	WR_TRACE_REVERSE_NAT = 1 << 12,
};

/* One verdict: the keys that were looked up, and what matched. */
struct wr_trace_verdict {
	__u64 peer_identity;
	__u64 peer_class;  /* its value in map `identities` */
	__u64 cidr_peer;   /* value of its address in cidrs4/6; WR_PEER_NONE: none, or not looked up */
	__u64 matched;     /* peer of the entry that matched */
	__u32 policy_class;
	__u32 revision;
	__u32 rule;        /* enum wr_rule or a key of map `rules` */
	__u8 allowed;
	__u8 port_bits;    /* of the entry that matched */
	__u8 l4_proto;     /* ... 0: every protocol */
	__u8 pad;
};
_Static_assert(sizeof(struct wr_trace_verdict) == 48, "wr_trace_verdict");

struct wr_trace {
	__u32 steps;             /* set of enum wr_trace_steps */
	__u32 reason;            /* enum wr_reason: the verdict */
	__u32 ifindex;           /* endpoint whose program ran */
	__u32 peer_ifindex;      /* the other endpoint on this node; WR_REMOTE | slot: on another node */
	__u32 redirect;          /* device to redirect to: of the receiving endpoint, uplink, or warren0; 0: none */
	__u32 mark;              /* skb->mark at the end */
	__u64 peer_identity;
	struct wr_ct ct;         /* the entry that was found, unchanged, or the one that would be created */
	struct wr_trace_verdict verdict[WR_DIRECTIONS];
	struct wr_addr6 backend; /* of IPv4 the first word */
	__be16 backend_port;
	__be16 client_port;      /* the client's port becomes this one; 0: it stays */
	__u32 backends;          /* backends of the service; 0: not looked up */
};

#endif
