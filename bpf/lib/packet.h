/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet that a program processes: parsed fields, and access to its bytes.
 *
 * Parsers copy the fields into struct packet instead of keeping pointers: bpf_skb_pull_data(), and every helper that
 * changes the packet, invalidates all pointers. Keys for map lookups are copied to locals, so that no address of a
 * struct packet is passed to a helper and the compiler can keep all of it in registers.
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
 * A function that the verifier checks once, separately, instead of at every call: for code that few packets need and
 * that has many branches. The verifier assumes that its pointer arguments may be NULL.
 */
#define OUT_OF_LINE __noinline __weak

/* The hook of a packet: its sender and receiver, and how its source was verified. */
enum hook {
	HOOK_FROM_POD,  /* an endpoint sends it, to any destination */
	HOOK_TO_POD,    /* the stack sends it to an endpoint */
	HOOK_FROM_HOST, /* the stack sends it to another node; an endpoint may have sent it, maybe to another address */
	HOOK_FROM_NODE, /* another node sends it to an endpoint */
};

/* Whether the endpoint whose policy is evaluated is the sender, else the receiver. */
static __always_inline bool hook_is_egress(const enum hook hook)
{
	return hook == HOOK_FROM_POD || hook == HOOK_FROM_HOST;
}

/* Separate from struct packet, in memory: in registers they would leave no room for other fields. */
struct addresses {
	union addr saddr, daddr;
};

/* An endpoint's policy tag: read in one load, so that class and revision belong together. */
union policy_tag {
	__u64 both;
	struct {
		__u32 policy_class;
		__u32 revision;
	};
};

/* A packet's flags for its flow, in one 32-bit register. */
enum packet_flag {
	TCP_FIN = 0x01,          /* the low byte is that of the TCP header; 0 for other protocols */
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
	BEGINS = 0x100,          /* can only be the first packet of a TCP connection or of an echo */
	MIDDLE = 0x200,          /* never the first packet: TCP without SYN, or an echo reply */
	FOLLOWS = 0x400,         /* passes only by an existing entry, and changes none: a later fragment or ... */
	RELATED = 0x800, /* ... an ICMP error; addresses and ports are those of its flow, in the error's direction */
	TRANSLATED = 0x1000,     /* was sent to a service's address; the same bit as WR_CT_TRANSLATED */
	ASSOCIATES = 0x2000,     /* can only be the first packet of an SCTP association */
	REPLACES = 0x4000,       /* begins a flow that replaces a flow through a service */
	FIRST_FRAGMENT = 0x8000, /* of a datagram; recorded after it has passed */
	L4_OFF_SHIFT = 16,       /* above: offset of the transport header (of an ICMP error: its own) */
};

/*
 * Parser state for packets other than unfragmented TCP and UDP: extension headers, fragments, ICMP and the rest. Also
 * in memory: it is rarely needed, and by functions out of line.
 */
struct transport {
	__u32 l4_off, end;
	__u32 frag_data;    /* offset of the fragment's data */
	__u32 frag_off;     /* ... and its offset in the datagram */
	__be32 frag_id;
	__u32 owner;        /* owner of the datagram's window: ifindex, or WR_REMOTE | slot */
	__u8 frag_proto;    /* next header of the fragment: the same in all fragments of a datagram */
	__u8 l4_proto;
	bool fragmented, frag_more;
	__be16 sport, dport;
	__u32 flags;
	__u8 icmp_type;
	bool error;         /* an ICMP error */
	bool v6;
	__u8 direction;
};

struct packet {
	struct __sk_buff *skb;
	/* endpoint whose policy is evaluated: of this device, or the sender or receiver */
	const struct wr_endpoint *ep;
	__u32 ifindex;                  /* ... its ifindex; 0 in flow_pass(): none, forwarded from the world */
	__u32 direction;                /* enum wr_direction */
	union policy_tag policy_tag;    /* ep's */
	const struct wr_endpoint *peer; /* the other side, if it is an endpoint of this node */
	__u32 peer_ifindex;             /* ... its ifindex; WR_REMOTE | slot: on another node; else 0 */
	__u64 peer_identity;            /* if known */
	__u32 cluster_revision;         /* HOOK_FROM_NODE, HOOK_FROM_HOST: read before the lookup of peer_ifindex */

	/* Set by ip_parse(). Offsets count from the start of the frame. */
	struct addresses *at;
	struct transport *rest;         /* valid if `fragmented` */
	__u32 l4_off;                   /* of the transport header (of a later fragment: its data) */
	__u32 end;                      /* of the IP packet; the frame may be padded */
	bool fragmented;
	bool later;                     /* a fragment, and not the first one */
	__u8 l4_proto;
	__u8 hop_limit;
	bool to_gateway;

	/*
	 * Set by l4_parse() if the packet has its transport header; the ports of a later fragment by transport_parse().
	 */
	__u8 icmp_type;
	__u32 flags;                    /* set of enum packet_flag */
	__be16 sport, dport;

	/* Set by flow_pass(). */
	bool via_stack;                 /* through the stack, which must reverse its NAT */
	bool to_client;                 /* a service's packet to a client outside the cluster */
	bool to_host;                   /* HOOK_FROM_NODE: to this node itself */
	bool tunnelled;                 /* goes to another node through the tunnel, even to a direct one */
	__u8 evaluated; /* bit per enum wr_direction: the verdict there is valid, and new unless it is a denial */
};

/*
 * In assembly because clang, if the same field is read in several places, keeps the field's address in a register, and
 * the verifier rejects reads of the context by other pointers than its own with a constant offset.
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
 * `len` bytes at `off`, or NULL if the frame is shorter. Pulls them into the linear part if necessary, which
 * invalidates every pointer obtained before. `len` is a constant, `off` at most PACKET_OFF_MAX.
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

/* A local, so that it becomes immediates rather than a map of constants. */
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
