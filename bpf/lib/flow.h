/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet's flow: its entry is found and still right, or it is judged again, or it begins. from_pod's packets are
 * judged by the pod as sender; to_pod's by the pod as receiver and, if the packet entered by another pod's device, by
 * that one as sender, whose address the stack may have translated; from_host's by the pod that has sent them, likewise;
 * from_uplink's by the pod that gets them. An end on another node is judged there.
 *
 * Nearly every packet goes on with a flow whose judgement holds and whose state stays as it is: flow_goes_on()
 * (lib/flow_pass.h). Everything else is decided out of line (lib/flow_decide.h): flow_fill() copies the entry,
 * flow_locate() finds whose the other address is now, flow_look() says what is to be done, flow_ends() between whom a
 * new flow is, judge_flow() judges, flow_settle() writes. One after the other, since a BPF stack is small: 512 bytes
 * for whoever calls whom, each rounded up to 32.
 *
 * Of an end that is no endpoint of this node the entry's judgement holds, in place of a policy's revision, that of the
 * cluster under which it was found where it is: as long as that stands nothing is looked up.
 *
 * What the stack forwards from the world to another node's pod is judged there; here it has an entry between nobody
 * (packet.ifindex 0) and that node, by which alone the answers are let into the stack.
 */
#ifndef WARREN_LIB_FLOW_H
#define WARREN_LIB_FLOW_H

#include "abi/conntrack.h"
#include "lib/packet.h"
#include "lib/trace.h"

/* What is to be done about a flow. */
enum flow_step {
	FLOW_PASSES,   /* nothing more */
	FLOW_MOVES_ON, /* allowed, as it was; its state changes, or its time is extended */
	FLOW_BEGINS,   /* it has no entry: to be judged and written */
	FLOW_STALE,    /* was judged under another policy or identity: to be judged again */
	FLOW_DENIED,   /* its denial is remembered */
	FLOW_TURNS,    /* the packet does not belong to it, if one side has a policy */
	FLOW_FOUND_AGAIN, /* allowed, as it was; its other end was looked up under another revision of the cluster */
	FLOW_ANSWERED, /* allowed, and the packet shows what f->answers says */
};

/* What was found of a flow. */
enum flow_found {
	FLOW_NONE, /* no entry */
	FLOW_DEAD, /* one that has expired */
	FLOW_LIVES,
};

/* What the packet's new flow may do to the living entry that has its key. */
enum flow_lives {
	FLOW_REPLACES,  /* there is none, or none that counts */
	FLOW_YIELDS,    /* it lets another flow pass: one that is denied must not replace it */
	FLOW_NEVER_REPLACES, /* it is an established connection: no SYN replaces it, as it may be forged */
};

/* What the packet shows for the first time of its flow. */
enum flow_answers {
	FLOW_NO_ANSWER,
	FLOW_REPLIED,   /* the responder has replied; TCP: the initiator has not acknowledged that yet */
	FLOW_CONFIRMED, /* TCP: both ends take part, so it is established */
};

/* A packet's flow where it takes more than a look at its entry: what the functions out of line are told, and tell. */
struct flow {
	/* Of the packet, apart from its addresses; these as in struct translation. */
	__u32 traits;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	__u8 way;            /* enum way */
	__u8 step;           /* enum flow_step */
	/* Of what was found. */
	__u8 found;          /* enum flow_found */
	bool swapped;        /* the packet's source is the key's end 1 */
	bool forward;        /* it goes from initiator to responder */
	bool refreshes;      /* it is the first one for about a second by which the entry is changed */
	bool changes;        /* it changes the entry in other ways, too */
	__u8 lives;          /* enum flow_lives */
	bool turns;          /* see packet_turns() */
	__u8 answers;        /* enum flow_answers */
	bool lost;           /* nobody knows whether the other end is still where the entry says */
	bool to_endpoint;    /* the destination is the address of another endpoint of this node */
	bool located;        /* peer_ifindex and peer_identity are what flow_locate() has found */
	bool moved;          /* the other end is on another node than the entry said, or was looked up again */
	__u8 judged;         /* see struct packet */
	bool via_stack;      /* likewise */
	__u64 peer_identity; /* see struct packet; of what goes out it is found out, by flow_locate() */
	__u32 peer_ifindex;
	__u32 ifindex;       /* of the endpoint that it is judged for */
	__u32 where;         /* the entry is (lib/ct_entry.h) */
	__u32 replaced_owner; /* of what stands there and is not this flow's */
	union {
		struct {
			__u32 cluster_revision; /* under which peer_ifindex and peer_identity were, or are to be, found */
			__u32 own_address_of; /* slot of the node whose own address the destination is */
		};
		__u32 ack[2]; /* of a TCP entry as it is to be: flow_segment() and later */
	};
	/* Of the flow. */
	__u64 stranger;      /* identity of the end that is no endpoint of this node, if one is not */
	union {
		struct wr_ct ct; /* the entry as it was found, then as it is to be; its `ack` up to flow_segment() */
		struct {
			__u8 of_ct[__builtin_offsetof(struct wr_ct, ack)];
			__u32 policy_class[WR_DIRECTIONS]; /* of the judgements in it, by judge_flow() */
		};
	};
};

/* Of this processor: stacks have no room for it, and nothing else runs a program there meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} flow_memory SEC(".maps") __weak;

static __always_inline struct flow *flow_memory_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&flow_memory, &zero);
}

/* For a dry run: the entry as it is now, or as it would be made. */
static __always_inline void trace_entry(const struct wr_ct *ct, __u32 steps)
{
	struct wr_trace *t = trace_get();

	if (!t)
		return;
	t->ct = *ct;
	t->steps |= steps;
}

#endif
