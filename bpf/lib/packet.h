/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet under judgement: what has been learnt of it so far, and access to its bytes.
 *
 * Parsers copy what they need into struct packet instead of keeping pointers: a pull, and every helper that changes the
 * packet, makes the verifier forget all of them. Keys for map lookups are copied to locals, so that no address of a
 * struct packet reaches a helper and the compiler can keep all of it in registers.
 */
#ifndef WARREN_LIB_PACKET_H
#define WARREN_LIB_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/abi.h"
#include "abi/endpoint.h"
#include "abi/reason.h"
#include "lib/addr.h"

/*
 * A function that the verifier looks at once, by itself, instead of at every call with all that is known there: what is
 * needed for few packets and has many branches. Its pointers may be NULL for all that the verifier knows.
 */
#define OUT_OF_LINE __noinline __weak

/* Which way a packet goes, and by whose word it is known where it comes from. */
enum way {
	WAY_FROM_POD,  /* an endpoint has sent it, to anybody */
	WAY_TO_POD,    /* the stack sends it to an endpoint */
	WAY_FROM_HOST, /* the stack sends it to another node; an endpoint has sent it, maybe to another address */
	WAY_FROM_NODE, /* another node sends it to an endpoint */
};

/* Whether the endpoint that it is judged for is its sender, else its receiver. */
static __always_inline bool way_is_out(const enum way way)
{
	return way == WAY_FROM_POD || way == WAY_FROM_HOST;
}

/* Apart from the rest, in memory: as long as they are in registers, nothing else fits. */
struct addresses {
	union addr saddr, daddr;
};

/* An endpoint's policy word: read in one load, so that the class is the one that the revision is of. */
union policy_word {
	__u64 both;
	struct {
		__u32 policy_class;
		__u32 revision;
	};
};

/* What a packet is to its flow, in one word, which takes one register. */
enum packet_trait {
	TCP_FIN = 0x01, /* all of the low byte as it is in the TCP header; of other protocols 0 */
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
	BEGINS = 0x100,  /* the first packet of a TCP connection or of an echo, and nothing else */
	MIDDLE = 0x200,  /* never the first packet: TCP without SYN, or an echo reply */
	FOLLOWS = 0x400, /* goes with an entry, or not at all, and changes none: a later fragment or ... */
	RELATED = 0x800, /* ... an ICMP error; addresses and ports are its flow's, in the direction that it goes */
	TRANSLATED = 0x1000, /* was sent to a service's address; is WR_CT_TRANSLATED */
	ASSOCIATES = 0x2000, /* the first packet of an SCTP association, and nothing else */
	REPLACES = 0x4000,   /* begins a flow in the place of one that went through a service */
	FIRST_FRAGMENT = 0x8000, /* of a datagram, to be recorded once it has passed */
	L4_OFF_SHIFT = 16,   /* above: where the transport header is, of an ICMP error its own */
};

/*
 * What is in the way between the IP header and the transport header's end, apart from TCP and UDP in one piece:
 * extension headers, fragments, ICMP and the rest. In memory too: it is rare, and for functions out of line.
 */
struct transport {
	__u32 l4_off, end;
	__u32 frag_data;    /* where the fragment's data begins */
	__u32 frag_off;     /* ... and where it belongs in the datagram */
	__be32 frag_id;
	__u32 owner;        /* whose window the datagram is in: ifindex, or WR_REMOTE | slot */
	__u8 frag_proto;    /* next header of the fragment: the same in all of one datagram */
	__u8 l4_proto;
	bool fragmented, frag_more;
	__be16 sport, dport;
	__u32 traits;
	__u8 icmp_type;
	bool error;         /* an ICMP error */
	bool v6;
	__u8 direction;
};

struct packet {
	struct __sk_buff *skb;
	const struct wr_endpoint *ep; /* for which it is judged: whose program runs, or who has sent it or gets it */
	__u32 ifindex;                /* ... and its key; 0 for flow_pass(): none, the world's by this node's stack */
	__u32 direction;              /* enum wr_direction */
	union policy_word word;       /* ep's */
	const struct wr_endpoint *peer; /* the other side, if it is an endpoint of this node */
	__u32 peer_ifindex;           /* ... and its key; WR_REMOTE | slot: on another node; else 0 */
	__u64 peer_identity;          /* as far as it is known */
	__u32 cluster_revision;       /* WAY_FROM_NODE, WAY_FROM_HOST: under which peer_ifindex was found */

	/* By ip_parse(). Offsets count from the start of the frame. */
	struct addresses *at;
	struct transport *rest; /* valid if `fragmented` */
	__u32 l4_off;           /* of the transport header (of a later fragment: its data) */
	__u32 end;              /* of the IP packet; the frame may be padded */
	bool fragmented;
	bool later;             /* a fragment, and not the first one */
	__u8 l4_proto;
	__u8 hop_limit;
	bool to_gateway;

	/*
	 * By l4_parse(), of a packet that has its transport header; the ports of a later fragment by transport_parse().
	 */
	__u8 icmp_type;
	__u32 traits; /* set of enum packet_trait */
	__be16 sport, dport;

	/* By flow_pass(). */
	bool via_stack; /* not straight to the peer: the stack has something to undo */
	__u8 judged;    /* bit per enum wr_direction: the flow's judgement there is known, and new unless it denies */
};

/*
 * In assembly because clang, once it sees the same field read in several places, keeps the field's address in a
 * register, and the verifier refuses reads of the context by anything but its own pointer and a constant offset.
 */
#define ctx_pointer(skb, field)                                                                                        \
	({                                                                                                             \
		void *at_;                                                                                             \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                                  \
			     : "=r"(at_)                                                                               \
			     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, field)));                            \
		at_;                                                                                                   \
	})

/*
 * `len` bytes at `off`, or NULL if the frame ends before them. Pulls them into the linear part if they are not there:
 * every pointer obtained before is invalid afterwards. `len` is a constant, `off` at most PACKET_OFF_MAX.
 */
#define PACKET_OFF_MAX 0x3fff
static __always_inline void *packet_at(const struct packet *p, __u32 off, const __u32 len)
{
	void *at = ctx_pointer(p->skb, data) + off;

	if (at + len <= ctx_pointer(p->skb, data_end))
		return at;
	if (bpf_skb_pull_data(p->skb, off + len))
		return NULL;
	at = ctx_pointer(p->skb, data) + off;
	return at + len <= ctx_pointer(p->skb, data_end) ? at : NULL;
}

static __always_inline bool mac_equal(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

static __always_inline void mac_copy(void *to, const void *from)
{
	const __u16 *x = from;
	__u16 *y = to;

	y[0] = x[0];
	y[1] = x[1];
	y[2] = x[2];
}

/* A local, so that it becomes immediates in the code rather than a map of constants. */
static __always_inline void mac_write_host(void *to)
{
	const __u8 mac[6] __attribute__((aligned(2))) = WR_HOST_MAC;

	mac_copy(to, mac);
}

/* Whether `a` is the endpoint's address of that family. */
static __always_inline bool addr_is_endpoints(const union addr *a, const struct wr_endpoint *ep, const bool v6)
{
	if (v6)
		return (ep->flags & WR_EP_V6) && addr6_equal(&a->a6, &ep->addr6);
	return (ep->flags & WR_EP_V4) && a->a4.v4 == ep->addr4.v4;
}

#endif
