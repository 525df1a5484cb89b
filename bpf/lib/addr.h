/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Addresses of either family: comparison, prefixes and kinds. */
#ifndef WARREN_LIB_ADDR_H
#define WARREN_LIB_ADDR_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/addr.h"

/* Not in UAPI, only in the C library. */
#define FAMILY_INET 2
#define FAMILY_INET6 10

union addr {
	struct wr_addr4 a4;
	struct wr_addr6 a6;
};

/* f(..., v6) for a family that is known only at run time: f is compiled for each. */
#define IN_FAMILY(v6, f, ...) ((v6) ? f(__VA_ARGS__, true) : f(__VA_ARGS__, false))

/*
 * Looks up an address in the map of its family, map4 or map6, or the longest prefix that contains it; NULL if there is
 * none. Keys are copied: in a function out of line the 6.1 verifier does not accept `of` as a key.
 */
#define lookup_addr(map, of, v6)                                                                                       \
	({                                                                                                             \
		void *value_;                                                                                          \
		if (v6) {                                                                                              \
			struct wr_addr6 key_ = (of)->a6;                                                               \
			value_ = bpf_map_lookup_elem(&map##6, &key_);                                                  \
		} else {                                                                                               \
			struct wr_addr4 key_ = (of)->a4;                                                               \
			value_ = bpf_map_lookup_elem(&map##4, &key_);                                                  \
		}                                                                                                      \
		value_;                                                                                                \
	})
#define lookup_prefix(map, of, v6)                                                                                     \
	({                                                                                                             \
		void *value_;                                                                                          \
		if (v6) {                                                                                              \
			struct wr_prefix6 key_ = { .prefixlen = 128, .addr = (of)->a6 };                               \
			value_ = bpf_map_lookup_elem(&map##6, &key_);                                                  \
		} else {                                                                                               \
			struct wr_prefix4 key_ = { .prefixlen = 32, .addr = (of)->a4 };                                \
			value_ = bpf_map_lookup_elem(&map##4, &key_);                                                  \
		}                                                                                                      \
		value_;                                                                                                \
	})

static __always_inline bool addr6_equal(const struct wr_addr6 *a, const struct wr_addr6 *b)
{
	return !((a->v6[0] ^ b->v6[0]) | (a->v6[1] ^ b->v6[1]) | (a->v6[2] ^ b->v6[2]) | (a->v6[3] ^ b->v6[3]));
}

static __always_inline bool addr_equal(const union addr *a, const union addr *b, const bool v6)
{
	return v6 ? addr6_equal(&a->a6, &b->a6) : a->a4.v4 == b->a4.v4;
}

static __always_inline bool prefix4_holds(const struct wr_addr4 *cidr, const struct wr_addr4 *mask, const union addr *a)
{
	return (a->a4.v4 & mask->v4) == cidr->v4;
}

static __always_inline bool prefix6_holds(const struct wr_addr6 *cidr, const struct wr_addr6 *mask, const union addr *a)
{
	const __be32 *w = a->a6.v6, *m = mask->v6, *c = cidr->v6;

	return !(((w[0] & m[0]) ^ c[0]) | ((w[1] & m[1]) ^ c[1]) | ((w[2] & m[2]) ^ c[2]) | ((w[3] & m[3]) ^ c[3]));
}

/* The first address of a pod CIDR: its node's gateway address, on warren0. */
static __always_inline bool addr_is_first(const union addr *a, const struct wr_addr4 *cidr4,
					  const struct wr_addr6 *cidr6, const bool v6)
{
	if (!v6)
		return a->a4.v4 == (cidr4->v4 | bpf_htonl(1));
	return !((a->a6.v6[0] ^ cidr6->v6[0]) | (a->a6.v6[1] ^ cidr6->v6[1]) | (a->a6.v6[2] ^ cidr6->v6[2]) |
		 (a->a6.v6[3] ^ (cidr6->v6[3] | bpf_htonl(1))));
}

static __always_inline bool is_multicast(const union addr *a, const bool v6)
{
	if (v6)
		return (a->a6.v6[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (a->a4.v4 & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || a->a4.v4 == bpf_htonl(0xffffffff);
}

/* ::/96, which contains ::, ::1 and the IPv4-compatible addresses, and the IPv4-mapped ones, ::ffff:0:0/96. */
static __always_inline bool addr6_is_embedded(const struct wr_addr6 *a)
{
	return !a->v6[0] && !a->v6[1] && (!a->v6[2] || a->v6[2] == bpf_htonl(0xffff));
}

static __always_inline bool addr6_is_link_local(const struct wr_addr6 *a)
{
	return (a->v6[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* A source address that no router forwards: unspecified, loopback, multicast, link-local. */
static __always_inline bool addr_is_martian(const union addr *a, const bool v6)
{
	const __u32 top = bpf_ntohl(a->a4.v4);

	if (is_multicast(a, v6))
		return true;
	if (v6)
		return addr6_is_embedded(&a->a6) || addr6_is_link_local(&a->a6);
	return top >> 24 == 0 || top >> 24 == 127 || top >> 16 == 0xa9fe || top >> 28 == 0xf;
}

#endif
