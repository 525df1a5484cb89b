/* SPDX-License-Identifier: BSD-2-Clause */
#include "lookup.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct ask {
	const struct lookup_tables *tables;
	const struct lookup_query *query;
	const struct wr_class_info *info;
	struct lookup_result *result;
};

static bool try_key(const struct ask *a, uint64_t peer, uint8_t protocol, unsigned bits)
{
	const struct lookup_query *q = a->query;
	struct wr_policy_key key = { .peer = peer,
				     .policy_class = q->policy_class,
				     .l4_proto = protocol,
				     .port = htons((uint16_t)(q->port & ~(0xffffu >> bits))),
				     .shape = wr_policy_shape(q->direction, bits) };

	if (a->tables->entry(a->tables->arg, &key, &a->result->rule) < 0)
		return false;
	a->result->key = key;
	return true;
}

/* One peer: every protocol first, then the flow's, from the shortest prefix of its port to the longest. */
static bool try_peer(const struct ask *a, uint64_t peer)
{
	uint32_t bits = a->info->port_bits[a->query->direction];
	uint8_t protocol = a->query->protocol;

	if (a->info->flags[a->query->direction] & WR_CLASS_ANY_PROTO && try_key(a, peer, 0, 0))
		return true;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
		return false;
	for (unsigned n = 0; n <= 16; n++) {
		if (bits >> n & 1 && try_key(a, peer, protocol, n))
			return true;
	}
	return false;
}

/* The CIDRs come last: the data path asks for them only if nothing else has allowed the flow. */
static bool try_peers(const struct ask *a)
{
	const struct lookup_query *q = a->query;
	uint32_t flags = a->info->flags[q->direction];
	struct lookup_result *r = a->result;

	if (flags & WR_CLASS_SELECTORS && a->tables->identity(a->tables->arg, q->peer_identity, &r->peer_class) == 0 &&
	    try_peer(a, r->peer_class))
		return true;
	if (flags & WR_CLASS_ANYBODY && try_peer(a, WR_PEER_ANY))
		return true;
	if (flags & WR_CLASS_ALL_PODS && q->peer_identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD &&
	    try_peer(a, WR_PEER_ALL_PODS))
		return true;
	return flags & WR_CLASS_CIDRS && q->peer_ip.family &&
	       a->tables->cidr(a->tables->arg, q->policy_class, q->direction, &q->peer_ip, &r->cidr_peer) == 0 &&
	       r->cidr_peer != WR_PEER_NONE && try_peer(a, r->cidr_peer);
}

/* Why a class without a look at its entries allows the flow or denies it; WR_RULE_NONE: the entries say. */
static uint32_t judge_class(const struct ask *a, struct wr_class_info *info)
{
	const struct lookup_query *q = a->query;

	/* The own node's host may always talk with a pod, and is the only one that one in quarantine may talk with. */
	if (q->peer_identity == WR_ID_HOST && (q->direction == WR_INGRESS || q->policy_class == WR_CLASS_QUARANTINE))
		return WR_RULE_OWN_NODE;
	if (q->policy_class == WR_CLASS_QUARANTINE)
		return WR_RULE_QUARANTINE;
	if (q->policy_class == WR_CLASS_NOT_ISOLATED)
		return WR_RULE_NOT_ISOLATED;
	if (a->tables->class_info(a->tables->arg, q->policy_class, info) < 0)
		return WR_RULE_NO_CLASS;
	if (info->flags[q->direction] & WR_CLASS_NO_ROOM)
		return WR_RULE_NO_ROOM;
	return info->flags[q->direction] & WR_CLASS_ISOLATED ? WR_RULE_NONE : WR_RULE_NOT_ISOLATED;
}

void policy_lookup(const struct lookup_tables *tables, const struct lookup_query *query, struct lookup_result *result)
{
	struct wr_class_info info = { 0 };
	struct ask a = { tables, query, &info, result };

	*result = (struct lookup_result){ .peer_class = WR_PEER_NONE, .cidr_peer = WR_PEER_NONE };
	result->rule = judge_class(&a, &info);
	result->allowed = result->rule == WR_RULE_OWN_NODE || result->rule == WR_RULE_NOT_ISOLATED ||
			  (result->rule == WR_RULE_NONE && try_peers(&a));
}
