/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Datagrams in fragments: what the first one said, for those that follow. */
#ifndef WARREN_ABI_FRAG_H
#define WARREN_ABI_FRAG_H

#include <linux/types.h>

#include "abi/addr.h"
#include "abi/endpoint.h"
#include "abi/node.h"

/*
 * Key of `fragments`: whose datagrams, by slot of the endpoint that sends or gets them, above those by slot of the
 * other node, where no endpoint of this node does; and enum wr_direction. There is an element for each that can be: so
 * none is ever removed or replaced, and programs write into it in place.
 */
#define WR_FRAGMENT_WINDOWS (2 * (WR_ENDPOINT_SLOTS + WR_NODE_SLOTS))
static inline __u32 wr_fragment_window(__u32 owner, __u32 direction)
{
	return owner * 2 + direction;
}

/* One datagram (RFC 791 section 3.2, RFC 8200 section 4.5): all of its key, and what its first fragment said. */
struct wr_fragment {
	__u32 sequence;	       /* odd: it is being written */
	__u32 owner;	       /* ifindex of the endpoint, or WR_REMOTE | slot of the node; 0: nothing is here */
	struct wr_addr6 saddr; /* IPv4: the first word, the others 0 */
	struct wr_addr6 daddr;
	__be32 id; /* IPv4's 16 bits in the low half */
	__u8 v6;
	__u8 frag_proto; /* next header of the fragments */
	/* As conntrack has them (abi/conntrack.h): an echo's id is a port; 0 where there are none. */
	__be16 sport;
	__be16 dport;
	__u16 end;     /* first byte of the payload not yet seen; of what a pod gets: not in the first fragment */
	__u8 l4_proto; /* behind the extension headers that only the first fragment has */
	__u8 pad[3];
};
_Static_assert(sizeof(struct wr_fragment) == 56, "wr_fragment");

/* Value of `fragments`: sets, in each of which the next first fragment displaces the oldest one. */
#define WR_FRAGMENT_SETS 8
#define WR_FRAGMENT_WAYS 8
struct wr_fragments {
	__u32 written[WR_FRAGMENT_SETS]; /* how many datagrams have begun */
	struct wr_fragment at[WR_FRAGMENT_SETS * WR_FRAGMENT_WAYS];
};
_Static_assert(sizeof(struct wr_fragments) == 3616, "wr_fragments");

#endif
