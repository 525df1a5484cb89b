/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Looks up the verdict of a policy class (see abi/policy.h). Out of line and with the family as an argument, so that
 * there is one copy of the code. A map is looked up only if the class' flags show that it may have a matching entry.
 */
#ifndef WARREN_LIB_POLICY_H
#define WARREN_LIB_POLICY_H

#include "lib/conntrack.h"
#include "lib/flow.h"
#include "lib/l4.h"
#include "lib/node.h"

static __always_inline __u32 policy_matched(__u32 direction, const struct wr_policy_key *key, __u32 rule)
{
	struct wr_trace *t = trace_get();

	if (t) {
		t->verdict[direction & 1].matched = key->peer;
		t->verdict[direction & 1].port_bits = key->shape & 0x7f;
		t->verdict[direction & 1].l4_proto = key->l4_proto;
	}
	return rule;
}

/* The rule by which the class allows this peer, or WR_RULE_NONE. */
static __noinline __u32 policy_lookup(const struct flow *f, __u32 direction, const struct wr_class_info *info,
				      __u64 peer)
{
	const __u32 zero = 0, slot = direction & 1, bits = info->port_bits[slot];
	const __u32 port = bpf_ntohs(f->forward ? f->dport : f->sport);
	struct wr_policy_key key = { .peer = peer, .policy_class = f->policy_class[slot] };
	const struct wr_policy_entry *entry;
	void *table = bpf_map_lookup_elem(&policy, &zero);

	if (!table)
		return WR_RULE_NONE;
	if (info->flags[slot] & WR_CLASS_ANY_PROTO) {
		key.shape = wr_policy_shape(slot, 0);
		entry = bpf_map_lookup_elem(table, &key);
		if (entry)
			return policy_matched(slot, &key, entry->rule);
	}
	key.l4_proto = f->l4_proto;
	if (!has_ports(key.l4_proto))
		return WR_RULE_NONE;
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n <= 16; n++) {
		if (!(bits >> n & 1))
			continue;
		key.port = bpf_htons(port & (0xffff0000u >> n));
		key.shape = wr_policy_shape(slot, n);
		entry = bpf_map_lookup_elem(table, &key);
		if (entry)
			return policy_matched(slot, &key, entry->rule);
	}
	return WR_RULE_NONE;
}

/* The CIDR peer that contains the address. */
static __noinline __u64 policy_cidr(const union addr *addr, __u32 policy_class, __u32 direction, bool v6)
{
	const __u32 class_direction = wr_cidr_class(policy_class, direction);
	struct wr_trace *t = trace_get();
	const struct wr_peer *peer;

	if (v6) {
		struct wr_cidr6_key key = { .prefixlen = WR_CIDR_CLASS_BITS + 128, .class_direction = class_direction };

		key.addr = addr->a6;
		peer = bpf_map_lookup_elem(&cidrs6, &key);
	} else {
		struct wr_cidr4_key key = { .prefixlen = WR_CIDR_CLASS_BITS + 32, .class_direction = class_direction };

		key.addr = addr->a4;
		peer = bpf_map_lookup_elem(&cidrs4, &key);
	}
	if (t)
		t->verdict[direction & 1].cidr_peer = peer ? peer->peer : WR_PEER_NONE;
	return peer ? peer->peer : WR_PEER_NONE;
}

/* The node at the flow's other end. */
static __always_inline const struct wr_node *policy_node(const struct flow *f, __u32 direction)
{
	const __u32 end = direction == WR_EGRESS ? f->ct.responder : f->ct.initiator;

	return end_is_remote(end) ? node_get(end & ~WR_REMOTE) : NULL;
}

/*
 * Looks up the ipBlocks of the flow's peer: the responder for egress, the initiator for ingress. A node also matches by
 * its outer address, whichever of its addresses it uses.
 */
static __always_inline __u32 policy_lookup_cidr(const struct addresses *at, const struct flow *f, __u32 direction,
						const struct wr_class_info *info, __u64 peer_identity)
{
	const __u32 policy_class = f->policy_class[direction & 1];
	const bool source = f->forward == (direction == WR_INGRESS);
	const struct wr_node *node = NULL;
	__u32 rule = WR_RULE_NONE;
	__u64 peer;

	peer = policy_cidr(source ? &at->saddr : &at->daddr, policy_class, direction, f->v6);
	if (peer != WR_PEER_NONE)
		rule = policy_lookup(f, direction, info, peer);
	if (!rule && peer_identity == WR_ID_REMOTE_NODE)
		node = policy_node(f, direction);
	if (!node)
		return rule;
	peer = policy_cidr((const union addr *)&node->remote, policy_class, direction, node->flags & WR_NODE_OVER6);
	return peer != WR_PEER_NONE ? policy_lookup(f, direction, info, peer) : WR_RULE_NONE;
}

static __noinline __u64 policy_peer_class(__u64 identity, __u32 direction)
{
	struct wr_trace *t = trace_get();
	const __u32 zero = 0;
	void *table = bpf_map_lookup_elem(&identities, &zero);
	const struct wr_peer *peer = table ? bpf_map_lookup_elem(table, &identity) : NULL;

	if (t)
		t->verdict[direction & 1].peer_class = peer ? peer->peer : WR_PEER_NONE;
	return peer ? peer->peer : WR_PEER_NONE;
}

/* The rule by which the endpoint's class in f allows the flow, or the cause of the denial (enum wr_rule). */
OUT_OF_LINE __u32 policy_verdict(const struct addresses *at, const struct flow *f, __u32 direction, __u64 peer_identity)
{
	const __u32 slot = direction & 1;
	const struct wr_class_info *info;
	__u32 policy_class, flags, rule = WR_RULE_NONE;
	__u64 peer;

	if (!at || !f)
		return WR_RULE_NONE;
	policy_class = f->policy_class[slot];
	info = bpf_map_lookup_elem(&classes, &policy_class);
	if (!info)
		return WR_RULE_NO_CLASS;
	flags = info->flags[slot];
	if (flags & WR_CLASS_NO_ROOM)
		return WR_RULE_NO_ROOM;
	if (!(flags & WR_CLASS_ISOLATED))
		return WR_RULE_NOT_ISOLATED;
	if (flags & WR_CLASS_SELECTORS) {
		peer = policy_peer_class(peer_identity, slot);
		if (peer != WR_PEER_NONE)
			rule = policy_lookup(f, direction, info, peer);
	}
	if (!rule && (flags & WR_CLASS_ANY_PEER))
		rule = policy_lookup(f, direction, info, WR_PEER_ANY);
	if (!rule && (flags & WR_CLASS_ALL_PODS) && peer_identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD)
		rule = policy_lookup(f, direction, info, WR_PEER_ALL_PODS);
	if (!rule && (flags & WR_CLASS_CIDRS))
		rule = policy_lookup_cidr(at, f, slot, info, peer_identity);
	return rule;
}

#endif
