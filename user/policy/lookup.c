/* SPDX-License-Identifier: BSD-2-Clause */
#include "lookup.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct lookup {
	const struct lookup_tables *tables;
	const struct lookup_query *query;
	const struct wr_class_info *info;
	struct lookup_result *result;
};

static bool try_key(const struct lookup *l, uint64_t peer, uint8_t protocol, unsigned bits)
{
	const struct lookup_query *q = l->query;
	struct wr_policy_key key = { .peer = peer,
				     .policy_class = q->policy_class,
				     .l4_proto = protocol,
				     .port = htons((uint16_t)(q->port & ~(0xffffu >> bits))),
				     .shape = wr_policy_shape(q->direction, bits) };

	if (l->tables->entry(l->tables->arg, &key, &l->result->rule) < 0)
		return false;
	l->result->key = key;
	return true;
}

/* One peer: every protocol first, then the flow's, from the shortest prefix of its port to the longest. */
static bool try_peer(const struct lookup *l, uint64_t peer)
{
	uint32_t bits = l->info->port_bits[l->query->direction];
	uint8_t protocol = l->query->protocol;

	if (l->info->flags[l->query->direction] & WR_CLASS_ANY_PROTO && try_key(l, peer, 0, 0))
		return true;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP && protocol != IPPROTO_SCTP)
		return false;
	for (unsigned n = 0; n <= 16; n++) {
		if (bits >> n & 1 && try_key(l, peer, protocol, n))
			return true;
	}
	return false;
}

/* CIDRs come last: the data path looks them up only if nothing else allows the flow. */
static bool try_peers(const struct lookup *l)
{
	const struct lookup_query *q = l->query;
	uint32_t flags = l->info->flags[q->direction];
	struct lookup_result *r = l->result;

	if (flags & WR_CLASS_SELECTORS && l->tables->identity(l->tables->arg, q->peer_identity, &r->peer_class) == 0 &&
	    try_peer(l, r->peer_class))
		return true;
	if (flags & WR_CLASS_ANY_PEER && try_peer(l, WR_PEER_ANY))
		return true;
	if (flags & WR_CLASS_ALL_PODS && q->peer_identity >> WR_ID_KIND_SHIFT == WR_ID_KIND_POD &&
	    try_peer(l, WR_PEER_ALL_PODS))
		return true;
	return flags & WR_CLASS_CIDRS && q->peer_ip.family &&
	       l->tables->cidr(l->tables->arg, q->policy_class, q->direction, &q->peer_ip, &r->cidr_peer) == 0 &&
	       r->cidr_peer != WR_PEER_NONE && try_peer(l, r->cidr_peer);
}

/* The class's verdict without its entries; WR_RULE_NONE: its entries decide. */
static uint32_t evaluate_class(const struct lookup *l, struct wr_class_info *info)
{
	const struct lookup_query *q = l->query;

	/* The node's own host may always reach a pod. A pod in quarantine may reach only the node's host. */
	if (q->peer_identity == WR_ID_HOST && (q->direction == WR_INGRESS || q->policy_class == WR_CLASS_QUARANTINE))
		return WR_RULE_OWN_NODE;
	if (q->policy_class == WR_CLASS_QUARANTINE)
		return WR_RULE_QUARANTINE;
	if (q->policy_class == WR_CLASS_NOT_ISOLATED)
		return WR_RULE_NOT_ISOLATED;
	if (l->tables->class_info(l->tables->arg, q->policy_class, info) < 0)
		return WR_RULE_NO_CLASS;
	if (info->flags[q->direction] & WR_CLASS_NO_ROOM)
		return WR_RULE_NO_ROOM;
	return info->flags[q->direction] & WR_CLASS_ISOLATED ? WR_RULE_NONE : WR_RULE_NOT_ISOLATED;
}

void policy_lookup(const struct lookup_tables *tables, const struct lookup_query *query, struct lookup_result *result)
{
	struct wr_class_info info = { 0 };
	struct lookup l = { tables, query, &info, result };

	*result = (struct lookup_result){ .peer_class = WR_PEER_NONE, .cidr_peer = WR_PEER_NONE };
	result->rule = evaluate_class(&l, &info);
	result->allowed = result->rule == WR_RULE_OWN_NODE || result->rule == WR_RULE_NOT_ISOLATED ||
			  (result->rule == WR_RULE_NONE && try_peers(&l));
}
