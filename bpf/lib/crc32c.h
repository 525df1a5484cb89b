/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * CRC32c (RFC 9260 appendix A), SCTP's checksum, of a packet of which a few bytes change.
 *
 * A CRC is linear: messages of the same length that differ by d have CRCs that differ by d's remainder. So the cost
 * does not depend on the bytes that do not change, none of which are read, and a wrong checksum stays wrong.
 */
#ifndef WARREN_LIB_CRC32C_H
#define WARREN_LIB_CRC32C_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Polynomials modulo this one; the highest bit is the coefficient of x^0. */
#define CRC32C_POLYNOMIAL 0x82f63b78u

/*
 * `a` if the bit is 1, else 0. By a product, hidden from clang: of a branch, and from 6.18 on of a mask, the verifier
 * would follow both cases.
 */
static __always_inline __u32 crc32c_if(__u32 bit, __u32 a)
{
	asm volatile("" : "+r"(bit));
	return bit * a;
}

static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

#pragma unroll
	for (int n = 0; n < 32; n++) {
		product ^= crc32c_if(a >> 31, b);
		a <<= 1;
		b = b >> 1 ^ crc32c_if(b & 1, CRC32C_POLYNOMIAL);
	}
	return product;
}

/*
 * The difference of the CRCs of two messages of `len` bytes whose first four differ by `change`, read as a
 * little-endian number: change * x^(8 len).
 */
static __always_inline __u32 crc32c_difference(__u32 change, __u16 len)
{
	/* x^(8 k 16^n), for digit n of the length: k. */
	static const __u32 powers[4][16] = {
		{ 0x80000000, 0x00800000, 0x00008000, 0x00000080, 0x82f63b78, 0xfbc3faf9, 0x8b277743, 0x52a0c93f,
		  0x6ea2d55c, 0x1c08b7d6, 0xf56e0ef4, 0x34019664, 0xa66805eb, 0x7a1f6b24, 0xe75d06aa, 0xc94ec098 },
		{ 0x80000000, 0x18b8ea18, 0x510ac59a, 0xb2dea967, 0xb82be955, 0x36c41f1c, 0x19b29a35, 0xc9e90b9e,
		  0xb8fdb1e7, 0xe55ef1f3, 0x1fe0b5c3, 0xe0553f1e, 0x18e4a304, 0x2b830011, 0x56993a31, 0x0246e2e6 },
		{ 0x80000000, 0x88e56f72, 0x74c360a4, 0x631bb273, 0xe4172b16, 0x71892b1b, 0x835305c9, 0x196b1eae,
		  0x0d65762a, 0xafc81338, 0xb5a50ab7, 0xf373c3ac, 0x5f60970f, 0xd46d3063, 0x3a5275ea, 0x02331c01 },
		{ 0x80000000, 0x35d73a62, 0x28461564, 0x43eefc9f, 0xbf455269, 0x5edcdeb9, 0x65059450, 0x4e6f41a4,
		  0xe2ea32dc, 0xf5b95b32, 0x695a4c87, 0xf204502c, 0x9a4f01b6, 0x941a0916, 0x4303cb97, 0x4c3d3d65 },
	};

#pragma clang loop unroll(disable)
	for (int n = 0; n < 4; n++)
		change = crc32c_multiply(change, powers[n][len >> 4 * n & 15]);
	return change;
}

#endif
