/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Policy as the data path looks it up.
 *
 * A verdict is looked up by class (the set of policies that select a pod), direction, peer, protocol and port. The peer
 * has up to four numbers: the peer class of its identity, the longest prefix of the class that contains its address,
 * "any pod" if it is a pod, and "any peer". The flow is allowed if for one of them there is an entry without a
 * protocol, or one with the flow's protocol and a prefix of its port. Without a match it is denied.
 *
 * A program's hash lookup can miss a key whose value is being replaced, if the bucket holds another key: the kernel
 * inserts the new element at the head, behind a reader that has passed it, and unlinks the old one ahead of that reader
 * (seen on 6.18, once in 600 lookups at worst). So a denial is evaluated twice before it takes effect.
 */
#ifndef WARREN_ABI_POLICY_H
#define WARREN_ABI_POLICY_H

#include "abi/abi.h"
#include "abi/addr.h"

/*
 * Peers. A peer class is a distinct set of selectors that match an identity; a CIDR peer is a distinct set of ipBlocks
 * that contain an address. Both are numbered by a keyed hash of the set, so a restarted agent computes the same
 * numbers.
 */
#define WR_PEER_ANY 0ull      /* every peer: a rule without from/to */
#define WR_PEER_ALL_PODS 1ull /* every pod of every namespace: an empty namespaceSelector */
#define WR_PEER_NONE 2ull     /* matched by no selector (or block) */
#define WR_PEER_CIDR (1ull << 63) /* set: a CIDR peer; not set (and above 15): a peer class */
#define WR_PEER_FIRST 16ull

/*
 * Key of `policy`. `shape`: wr_policy_shape(). A port prefix of n bits covers the ports whose first n bits (network
 * order) are those of `port`; the rest of `port` is zero. l4_proto 0 (with a prefix of 0 bits) means every protocol,
 * including ICMP and others without ports.
 */
struct wr_policy_key {
	__u64 peer;
	__u32 policy_class;
	__be16 port;
	__u8 l4_proto;
	__u8 shape;
};
_Static_assert(sizeof(struct wr_policy_key) == 16, "wr_policy_key");

static inline __u8 wr_policy_shape(__u32 direction, __u32 port_bits)
{
	return (__u8)(direction << 7 | port_bits);
}

/* An entry allows the flow, by this rule. */
struct wr_policy_entry {
	__u32 rule; /* key of map `rules` */
};

/* Why a flow was allowed or denied other than by a rule: below WR_RULE_FIRST. */
enum wr_rule {
	WR_RULE_NONE = 0,         /* denied: no rule of the class matches (or: not evaluated at this point) */
	WR_RULE_NOT_ISOLATED = 1, /* allowed: no policy selects the pod in this direction */
	WR_RULE_OWN_NODE = 2,     /* allowed: between a pod and its own node's host, if that is exempt */
	WR_RULE_QUARANTINE = 3,   /* denied: the pod has no policy yet */
	WR_RULE_NO_ROOM = 4,      /* denied: the class did not fit into the maps */
	WR_RULE_NO_CLASS = 5,     /* denied: the class is not in the maps */
	WR_RULE_FIRST = 16,
};

/* Value of `rules`: the rule's name for tools, "namespace/policy ingress[0].ports[1]". */
#define WR_RULE_TEXT 376
struct wr_rule_text {
	char text[WR_RULE_TEXT]; /* NUL-terminated */
};

/* What a class may hold in one direction, so that programs skip lookups that cannot match. */
enum wr_class_flags {
	WR_CLASS_ISOLATED = 1 << 0, /* else everything is allowed */
	WR_CLASS_NO_ROOM = 1 << 1,  /* did not fit into the maps: everything is denied */
	WR_CLASS_CIDRS = 1 << 2,    /* has prefixes in cidrs4/6 */
	WR_CLASS_ALL_PODS = 1 << 3, /* has entries for WR_PEER_ALL_PODS */
	WR_CLASS_ANY_PEER = 1 << 4,  /* has entries for WR_PEER_ANY */
	WR_CLASS_SELECTORS = 1 << 5, /* has entries for peer classes */
	WR_CLASS_ANY_PROTO = 1 << 6, /* has entries with l4_proto 0 */
};

/* Value of `classes`, key: the class. Written after all its entries. */
struct wr_class_info {
	__u32 flags[WR_DIRECTIONS];      /* set of enum wr_class_flags */
	__u32 port_bits[WR_DIRECTIONS]; /* bit n: there are entries with a protocol and a port prefix of n bits */
};
_Static_assert(sizeof(struct wr_class_info) == 16, "wr_class_info");

/* Keys of the LPM tries `cidrs4` and `cidrs6`; value: a CIDR peer (or WR_PEER_NONE for an `except`). */
#define WR_CIDR_CLASS_BITS 32 /* bits of the prefix length for class and direction */
struct wr_cidr4_key {
	__u32 prefixlen;   /* WR_CIDR_CLASS_BITS + 0..32 */
	__u32 class_direction; /* wr_cidr_class() */
	struct wr_addr4 addr;
};
struct wr_cidr6_key {
	__u32 prefixlen; /* WR_CIDR_CLASS_BITS + 0..128 */
	__u32 class_direction;
	struct wr_addr6 addr;
};
_Static_assert(sizeof(struct wr_cidr4_key) == 12, "wr_cidr4_key");
_Static_assert(sizeof(struct wr_cidr6_key) == 24, "wr_cidr6_key");

static inline __u32 wr_cidr_class(__u32 policy_class, __u32 direction)
{
	return policy_class * 2 + direction;
}

/* Value of `identities` (key: an identity that some selector matches) and of cidrs4/6. */
struct wr_peer {
	__u64 peer;
};

/* The one element of `policy_state`: what an agent keeps for its successor and for `status`. */
struct wr_policy_state {
	__u32 revision;     /* the last revision assigned: node-wide, never reused */
	__u32 policy_class; /* the last class number assigned */
	/* CLOCK_BOOTTIME of the last change; 0: none yet, or an agent is writing one (or was killed meanwhile) */
	__u64 applied_ns;
	__u64 changes;      /* number of changes */
	__u32 classes_denied; /* classes that did not fit */
	__u32 policies_invalid; /* policies that could not be parsed */
};
_Static_assert(sizeof(struct wr_policy_state) == 32, "wr_policy_state");

#endif
