/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The denylist: prefixes from which nothing is taken in at an uplink, whoever it is for. What counts is the source of
 * the packet as it is on the wire; a tunnel packet's is the other node's.
 */
#ifndef WARREN_ABI_DENY_H
#define WARREN_ABI_DENY_H

#include <linux/types.h>

#define WR_MAX_DENY 65536 /* prefixes of each family */

/* Value of the LPM tries `deny4` and `deny6`; keys: struct wr_prefix4, struct wr_prefix6. */
struct wr_deny {
	__u32 counter; /* key of `deny_hits`, of this prefix alone */
};
_Static_assert(sizeof(struct wr_deny) == 4, "wr_deny");

/*
 * Value of the per-CPU hash `deny_hits`. Apart from the tries, whose values all CPUs share: in a flood they would wait
 * for each other's counters. The element is made before its prefix, and goes after it.
 */
struct wr_deny_hits {
	__u64 packets;
	__u64 bytes; /* of the frame, Ethernet header included */
	__u32 last;  /* tick of the last one (abi/conntrack.h), valid if there was one */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_deny_hits) == 24, "wr_deny_hits");

/*
 * The one element of `deny_state`: how many prefixes of each family there may be. Never less than there are, so 0
 * spares the programs a look into the trie.
 */
struct wr_deny_state {
	__u32 prefixes[2]; /* [1]: of IPv6 */
	__u32 counter;     /* the last one that was given to a prefix */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_deny_state) == 16, "wr_deny_state");

#endif
