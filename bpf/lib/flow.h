/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The state of a packet's flow while it is processed. The flow's conntrack entry is found and valid, or the flow is
 * evaluated again, or it is new. from_pod evaluates packets by the pod as sender. to_pod evaluates by the pod as
 * receiver and, if the packet entered on another pod's device, by that pod as sender, whose address the stack may have
 * translated. from_host evaluates by the pod on whose device the packet entered, from_uplink by the receiving pod. An
 * end on another node is evaluated there.
 *
 * Most packets belong to a flow whose verdicts are valid and whose state they do not change: flow_continues()
 * (lib/flow_fast.h). All others are processed by functions out of line (lib/flow_decide.h): flow_load() checks the
 * entry, flow_locate() looks up the other end, flow_classify() selects the step, flow_ends() sets the ends of a new
 * flow, evaluate_flow() evaluates, flow_commit() writes. They run one after the other, since a BPF stack is small: 512
 * bytes for the whole call chain, each frame rounded up to 32.
 *
 * For an end that is not an endpoint of this node, the entry's verdict stores the cluster's revision at which it was
 * located, in place of a policy's revision. As long as that revision is current, no lookup is needed.
 *
 * Packets that the stack forwards from the world to another node's pod are evaluated there. Here such a flow has an
 * entry with ends 0 (packet.ifindex 0) and that node: without it, replies are not passed to the stack.
 */
#ifndef WARREN_LIB_FLOW_H
#define WARREN_LIB_FLOW_H

#include "abi/conntrack.h"
#include "lib/packet.h"
#include "lib/trace.h"

/* What flow_decide() does with a flow. */
enum flow_step {
	FLOW_PASS,        /* nothing */
	FLOW_REFRESH,     /* valid and allowed: update its TCP state, or extend its timeout */
	FLOW_NEW,         /* no entry: evaluate and create it */
	FLOW_STALE,       /* evaluated under another policy or identity: evaluate again */
	FLOW_DENIED,      /* the entry denies it */
	FLOW_REVERSED, /* the packet belongs to a connection in the other direction: drop it if an end has a policy */
	FLOW_REVALIDATED, /* valid and allowed: store the new location and revision of the other end */
	FLOW_PROGRESS,    /* valid and allowed: f->reply is the new state */
};

/* Result of the flow's conntrack lookup. */
enum flow_found {
	FLOW_NONE, /* no entry */
	FLOW_DEAD, /* an expired entry, or a service's */
	FLOW_LIVE,
};

/* Whether a new flow may replace the live entry that has its key. */
enum flow_replace {
	FLOW_REPLACE_ANY,        /* yes: there is no live entry, or none that allows a flow */
	FLOW_REPLACE_IF_ALLOWED, /* only if the new flow is allowed: the entry allows another one */
	FLOW_REPLACE_NEVER,      /* no: it is an open TCP connection, and the SYN may be forged */
};

/* New state of the flow that the packet proves. */
enum flow_reply {
	FLOW_UNREPLIED,
	FLOW_REPLIED,   /* the responder has replied; TCP: the initiator has not acknowledged that yet */
	FLOW_CONFIRMED, /* TCP: established, both ends have acknowledged */
};

/* Whether the responder's segment belongs to another connection between the same ports: packet_is_reversed(). */
enum flow_reversal {
	FLOW_IN_ORDER,
	FLOW_IS_REVERSED,
	FLOW_IS_HALF_OPEN, /* ... and it only acknowledges: segment_acknowledges() */
};

/* NAT of a flow through a service, between client and backend. */
struct nat_context {
	union addr service;     /* the client's destination */
	__be16 service_port;
	__be16 client_port;     /* the client's own; toward the backend the flow may have another one */
	__u32 client;           /* ifindex of the client's endpoint, whose window has the entries; 0: outside the cluster */
	union addr backend;     /* while addresses.daddr is the service's */
	/* service_select() */
	__u32 list, count;      /* of the service's backends */
	__u32 table, table_size; /* 0: none */
	__u32 backend_id;
	__u32 affinity;         /* seconds; 0: the service has none */
	__u32 ranges;           /* set of source ranges; 0: all clients */
	bool hairpin : 1;       /* the backend is the client itself */
	bool resolved : 1;      /* the packet is for a service, and a backend is selected */
	bool found : 1;         /* the flow has an entry with a backend */
	bool usable : 1;        /* ... which the flow may keep using */
	bool chosen : 1;        /* the backend has been selected now: entries must be written */
	bool remembers : 1;     /* ... for a new flow of a service with affinity */
	bool local : 1;         /* only this node's backends are in the list */
	bool moves : 1;         /* any node may receive the flow's packets */
	/* service_passed() */
	bool promoted : 1;      /* the reverse-NAT entry is in ct */
	bool flow_promoted : 1; /* the flow's entry is in ct */
	bool promotes : 1;      /* the flow is established with this packet, or has moved to ct */
	bool closed : 1;        /* this packet has closed the flow */
	bool cached : 1;        /* the verdicts of the next packets may be cached */
};

/* A packet's flow in the slow path: arguments and results of the functions out of line. */
struct flow {
	/* The packet, without its addresses. Of a flow through a service: between client and backend. */
	__u32 flags;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	__u8 hook;            /* enum hook */
	__u8 step;            /* enum flow_step */
	/* The conntrack lookup. */
	__u8 found;           /* enum flow_found */
	bool swapped;         /* the packet's source is the key's end 1 */
	bool forward;         /* the packet goes from initiator to responder */
	bool refreshes;       /* the first packet for about a second that extends the entry's timeout */
	bool changes;         /* the packet changes other fields of the entry */
	__u8 replace;         /* enum flow_replace */
	__u8 reversed;        /* enum flow_reversal */
	__u8 reply;           /* enum flow_reply */
	bool peer_stale;      /* the other end was located under another cluster revision */
	bool to_endpoint;     /* the destination is another endpoint of this node */
	bool located;         /* peer_ifindex and peer_identity are set by flow_locate() */
	bool moved;           /* the other end has moved to another node, or was looked up again */
	bool other_path;      /* the world's packet has come by another path than the flow's, and does not move it */
	__u8 evaluated;       /* see struct packet */
	bool via_stack;       /* likewise */
	bool to_host;         /* of the world, with a process of this host (lib/host_backend.h) */
	__u64 peer_identity;  /* see struct packet; of the receiver, by flow_locate() */
	__u32 peer_ifindex;
	__u32 ifindex;        /* of the endpoint whose policy is evaluated */
	__u32 where;          /* location of the entry (lib/ct_entry.h) */
	__u32 replaced_owner; /* owner of another flow's entry there */
	__u32 cluster_revision; /* revision at the lookup of peer_ifindex and peer_identity */
	__u32 own_address_of; /* slot of the node that has the destination address itself */
	/* The flow. */
	__u64 peer;           /* identity of the end that is not an endpoint of this node */
	struct wr_ct ct;      /* the entry as found, then as to be written */
	__u32 policy_class[WR_DIRECTIONS]; /* classes of its policy verdicts, set by evaluate_flow() */
	struct nat_context nat; /* last: flow_fill() does not clear it */
};

SCRATCH(flow_memory, struct flow, flow_memory_get)

/* For a dry run: the entry as it is, or as it would be created. */
static __always_inline void trace_entry(const struct wr_ct *ct, __u32 steps)
{
	struct wr_trace *t = trace_get();

	if (!t)
		return;
	t->ct = *ct;
	t->steps |= steps;
}

#endif
