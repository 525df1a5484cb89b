/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The denylist: source prefixes whose packets are dropped at the uplinks, whatever their destination. The source
 * address on the wire is matched; of a tunnel packet that is the other node's.
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
 * Value of the per-CPU hash `deny_hits`. Separate from the tries, whose values all CPUs share: in a flood the CPUs
 * would contend for one counter. The element is created before its prefix and removed after it.
 */
struct wr_deny_hits {
	__u64 packets;
	__u64 bytes; /* of the frame, Ethernet header included */
	__u32 last;  /* tick of the last packet (abi/conntrack.h), valid if `packets` is not 0 */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_deny_hits) == 24, "wr_deny_hits");

/*
 * The one element of `deny_state`: an upper bound of the number of prefixes of each family. With 0 the programs skip
 * the trie lookup.
 */
struct wr_deny_state {
	__u32 prefixes[2]; /* [1]: of IPv6 */
	__u32 counter;     /* the highest counter key that was assigned to a prefix */
	__u32 pad;
};
_Static_assert(sizeof(struct wr_deny_state) == 16, "wr_deny_state");

#endif
