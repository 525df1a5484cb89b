/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses and prefixes as every map stores them. */
#ifndef WARREN_ABI_ADDR_H
#define WARREN_ABI_ADDR_H

#include <linux/types.h>

struct wr_addr4 {
	__be32 v4;
};

/* Four 32-bit words rather than 16 bytes: clang 14 compares words, and the key needs only 4-byte alignment. */
struct wr_addr6 {
	__be32 v6[4];
};
_Static_assert(sizeof(struct wr_addr4) == 4, "wr_addr4");
_Static_assert(sizeof(struct wr_addr6) == 16, "wr_addr6");

/* Keys of the LPM tries `nodes4/6` (a node's pod CIDR) and `deny4/6`. */
struct wr_prefix4 {
	__u32 prefixlen;
	struct wr_addr4 addr;
};
struct wr_prefix6 {
	__u32 prefixlen;
	struct wr_addr6 addr;
};
_Static_assert(sizeof(struct wr_prefix4) == 8 && sizeof(struct wr_prefix6) == 20, "wr_prefix");

#endif
