/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The Geneve header (RFC 8926 section 3.4), and the checks that need no more of the packet. */
#ifndef WARREN_LIB_GENEVE_H
#define WARREN_LIB_GENEVE_H

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/types.h>
#include <stdbool.h>

#include "abi/node.h"
#include "abi/reason.h"

struct geneve_header {
	__u8 version_words; /* 2 bits of version, 6 of the options' length in words */
	__u8 flags;
	__be16 protocol;
	__be32 vni; /* and 8 reserved bits */
};
struct geneve_option {
	__be16 class;
	__u8 type;
	__u8 words; /* 3 reserved bits, 5 of the data's length in words */
};
_Static_assert(sizeof(struct geneve_header) == 8 && sizeof(struct geneve_option) == 4, "Geneve");

#define GENEVE_WORDS_MAX 63
#define GENEVE_CONTROL 0x80 /* flag; reserved flags are ignored */
#define GENEVE_CRITICAL 0x40
#define GENEVE_TYPE_CRITICAL 0x80
#define GENEVE_ETHERNET 0x6558
#define GENEVE_IDENTITY_WORDS ((sizeof(struct geneve_option) + WR_TUNNEL_IDENTITY_SIZE) / 4)
#define GENEVE_KEY_WORDS (WR_TUNNEL_KEY_SIZE / 4)

/* The inner frame's addresses are not used: every node writes the same ones and ignores received ones. */
#define GENEVE_SOURCE_MAC { 0x02, 0x57, 0x52, 0x00, 0x00, 0x02 }
#define GENEVE_DEST_MAC { 0x02, 0x57, 0x52, 0x00, 0x00, 0x03 }

/* A control packet (O) is for the tunnel endpoint's control plane, which does not exist here: RFC 8926 section 3.4. */
static __always_inline enum wr_reason geneve_header_check(const struct geneve_header *geneve, __u32 vni)
{
	if (geneve->version_words >> 6 || geneve->protocol != bpf_htons(GENEVE_ETHERNET))
		return WR_REASON_TUNNEL_MALFORMED;
	if (geneve->flags & GENEVE_CONTROL)
		return WR_REASON_TUNNEL_OPTION;
	return bpf_ntohl(geneve->vni) >> 8 == vni ? WR_REASON_NONE : WR_REASON_TUNNEL_VNI;
}

static __always_inline __u32 geneve_options_size(const struct geneve_header *geneve)
{
	return (geneve->version_words & GENEVE_WORDS_MAX) * 4;
}

static __always_inline __u32 geneve_data_size(const struct geneve_option *opt)
{
	return (opt->words & 0x1f) * 4;
}

/* Compares type and class only, not the length. */
static __always_inline bool geneve_is_identity(const struct geneve_option *opt, __be16 class)
{
	return opt->class == class && opt->type == WR_TUNNEL_OPTION;
}

/* Whether it is the identity option as nodes send it. */
static __always_inline bool geneve_is_whole(const struct geneve_option *opt, __be16 class)
{
	return geneve_is_identity(opt, class) && geneve_data_size(opt) == WR_TUNNEL_IDENTITY_SIZE;
}

/*
 * Whether an option is accepted: not a critical one; the identity only once and with its full length. `found`: there
 * was one before.
 */
static __always_inline bool geneve_option_allowed(const struct geneve_option *opt, __be16 class, bool found)
{
	if (opt->type & GENEVE_TYPE_CRITICAL)
		return false;
	return !geneve_is_identity(opt, class) || (!found && geneve_data_size(opt) == WR_TUNNEL_IDENTITY_SIZE);
}

static __always_inline __u64 geneve_identity(const __be32 *data)
{
	return (__u64)bpf_ntohl(data[0]) << 32 | bpf_ntohl(data[1]);
}

/*
 * The keyed tag, or 0. It is always directly behind an identity, so that it is compared before any part that another
 * sender could choose is parsed. `opt`: the option there, readable in full; `size`: of all options.
 */
static __always_inline __u64 geneve_tag(const struct geneve_option *opt, __u32 size, __be16 class)
{
	if (size < (GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS) * 4 || opt->class != class ||
	    opt->type != WR_TUNNEL_OPTION_KEY || geneve_data_size(opt) != WR_TUNNEL_TAG_SIZE)
		return 0;
	return geneve_identity((const void *)(opt + 1));
}

/* Whether the options have the size that nodes send; `tag`: by geneve_tag(). The caller checks the first option. */
static __always_inline bool geneve_options_plain(__u32 size, __u64 tag)
{
	return size == (tag ? GENEVE_IDENTITY_WORDS + GENEVE_KEY_WORDS : GENEVE_IDENTITY_WORDS) * 4;
}

#endif
