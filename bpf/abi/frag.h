/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fragmented datagrams: the transport header's fields of the first fragment, for those that follow. */
#ifndef WARREN_ABI_FRAG_H
#define WARREN_ABI_FRAG_H

#include <linux/types.h>

#include "abi/addr.h"
#include "abi/endpoint.h"
#include "abi/node.h"

/*
 * Key of `fragments`: slot of the endpoint that sends or receives the datagram, or WR_ENDPOINT_SLOTS + slot of the
 * other node if no endpoint of this node does; and enum wr_direction. The map has room for every key, so no element is
 * ever removed or replaced, and programs write into it in place.
 */
#define WR_FRAGMENT_WINDOWS (2 * (WR_ENDPOINT_SLOTS + WR_NODE_SLOTS))
static inline __u32 wr_fragment_window(__u32 owner, __u32 direction)
{
	return owner * 2 + direction;
}

/* One datagram (RFC 791 section 3.2, RFC 8200 section 4.5): its whole key, and the fields of its first fragment. */
struct wr_fragment {
	__u32 sequence;	       /* odd: being written */
	__u32 owner;	       /* ifindex of the endpoint, or WR_REMOTE | slot of the node; 0: empty */
	struct wr_addr6 saddr; /* IPv4: the first word, the others 0 */
	struct wr_addr6 daddr;
	__be32 id; /* IPv4's 16 bits in the low half */
	__u8 v6;
	__u8 frag_proto; /* next header of the fragments */
	/*
	 * As in conntrack's key (abi/conntrack.h): of an ICMP echo, one port is its id; 0 for protocols without ports.
	 */
	__be16 sport;
	__be16 dport;
	__u16 end;     /* end of the payload seen so far; for received datagrams: end of the first fragment */
	__u8 l4_proto; /* behind extension headers that only the first fragment has */
	__u8 pad[3];
};
_Static_assert(sizeof(struct wr_fragment) == 56, "wr_fragment");

/* Value of `fragments`: sets; in each the next first fragment replaces the oldest one. */
#define WR_FRAGMENT_SETS 8
#define WR_FRAGMENT_WAYS 8
struct wr_fragments {
	__u32 written[WR_FRAGMENT_SETS]; /* datagrams written to the set */
	struct wr_fragment at[WR_FRAGMENT_SETS * WR_FRAGMENT_WAYS];
};
_Static_assert(sizeof(struct wr_fragments) == 3616, "wr_fragments");

#endif
