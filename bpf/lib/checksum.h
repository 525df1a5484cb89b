/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071). */
#ifndef WARREN_LIB_CHECKSUM_H
#define WARREN_LIB_CHECKSUM_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The checksum for a sum by bpf_csum_diff(). */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* RFC 1624, equation 3: updates a checksum after a change of one 16-bit word. */
static __always_inline __u16 csum_replace(__u16 sum, __u16 from, __u16 to)
{
	__u32 s = (__u16)~sum + (__u32)(__u16)~from + to;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

#endif
