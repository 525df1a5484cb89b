/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Datagrams in fragments: what the first one said, for those that follow. */
#ifndef WARREN_ABI_FRAG_H
#define WARREN_ABI_FRAG_H

#include <linux/types.h>

#include "abi/addr.h"

/* Keys of `frag4` and `frag6`: one fragmented datagram (RFC 791 section 3.2, RFC 8200 section 4.5). */
struct wr_frag4_key {
	__be32 saddr;
	__be32 daddr;
	__be32 id; /* IPv4's 16 bits in the low half */
	__u8 l4_proto;
	__u8 direction; /* enum wr_direction: a datagram may pass both programs */
	__u16 pad;
};
struct wr_frag6_key {
	struct wr_addr6 saddr;
	struct wr_addr6 daddr;
	__be32 id;
	__u8 l4_proto;
	__u8 direction;
	__u16 pad;
};
_Static_assert(sizeof(struct wr_frag4_key) == 16, "wr_frag4_key");
_Static_assert(sizeof(struct wr_frag6_key) == 40, "wr_frag6_key");

/*
 * Value of `frag4` and `frag6`: what the first fragment said. from_pod takes fragments in order only, so `end` grows.
 */
struct wr_frag {
	__be16 sport; /* as conntrack has them (abi/conntrack.h): an echo's id is a port; 0 where there are none */
	__be16 dport;
	__u16 end;    /* first byte of the datagram's payload not yet seen; in to_pod: not in the first fragment */
	__u8 l4_proto; /* behind the extension headers that only the first fragment has */
	__u8 pad;
};
_Static_assert(sizeof(struct wr_frag) == 8, "wr_frag");

#endif
