/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What another node has sent, decapsulated or, on the same link, as it was: for whom it is, and whether that takes it.
 * By now p->peer_ifindex is the node, found under p->cluster_revision, and p->peer_identity whom it says that the
 * packet is from.
 */
#ifndef WARREN_LIB_ARRIVE_H
#define WARREN_LIB_ARRIVE_H

#include "lib/cluster.h"
#include "lib/fib.h"
#include "lib/flow.h"
#include "lib/node.h"
#include "lib/transport.h"
#include "lib/tunnel_decap.h"

/* Whether the destination is this node's own as far as that is known at once: its gateway address, its outer one. */
static __always_inline bool destination_is_near(const struct addresses *at, const bool v6)
{
	const struct wr_cluster *c = cluster_get();

	return c && cluster_has_own(c, &at->daddr, v6);
}

/* ... or any that its stack has. */
static __always_inline bool destination_is_own(struct __sk_buff *skb, const struct addresses *at, const bool v6)
{
	return !addr_is_strange(&at->daddr, v6) && destination_is_host(skb, at, v6);
}

OUT_OF_LINE int arrive_elsewhere(struct __sk_buff *skb, const struct addresses *at, __u32 v6)
{
	bool own;

	if (!at)
		return WR_REASON_TUNNEL_TARGET;
	own = v6 ? destination_is_own(skb, at, true) : destination_is_own(skb, at, false);
	return own ? WR_REASON_TO_HOST : WR_REASON_TUNNEL_TARGET;
}

/*
 * Whose the source is: of a pod this node's own word counts more than the sender's. An error's source is its flow's by
 * now.
 */
static __always_inline __u64 arrive_identity(const struct packet *p, const bool v6)
{
	__u64 known;

	if (p->peer_identity >> WR_ID_KIND_SHIFT != WR_ID_KIND_POD || (p->traits & RELATED))
		return p->peer_identity;
	known = identity_by_address(&p->at->saddr, v6);
	return known ? known : p->peer_identity;
}

/* By its flow, whose way is for the stack if it began there. */
static __always_inline enum wr_reason arrive_flow(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = transport_parse(p, v6);

	if (reason)
		return reason;
	trace_step(WR_TRACE_PARSED);
	if (lease_from_node_holds(p, &s->lease, v6))
		return WR_REASON_TO_ENDPOINT;
	p->peer_identity = arrive_identity(p, v6);
	reason = flow_pass(p, s, &s->lease, WAY_FROM_NODE, v6);
	if (reason)
		return reason;
	return p->via_stack ? WR_REASON_TO_HOST : WR_REASON_TO_ENDPOINT;
}

/*
 * Judged by the endpoint that it is for. For whom else: this node; or the world, if it answers what this node's stack
 * has forwarded from there. Then p->ifindex stays the device's.
 */
static __always_inline enum wr_reason arrive_judge(struct packet *p, struct scratch *s, const bool v6)
{
	enum wr_reason reason = ip_parse(p, v6);

	if (reason)
		return reason;
	p->ifindex = endpoint_by_address(&p->at->daddr, &p->ep, v6);
	if (p->ifindex && !p->ep)
		return WR_REASON_NO_ENDPOINT;
	p->word.both = 0;
	if (p->ifindex) {
		p->word.both = policy_word_read(p->ep);
		trace_step(WR_TRACE_ENDPOINT);
		if (v6 && is_neighbour_discovery(p))
			return WR_REASON_NEIGHBOUR;
	} else {
		p->ep = NULL;
		p->ifindex = p->skb->ifindex;
		if (destination_is_near(p->at, v6))
			return WR_REASON_TO_HOST;
		p->ifindex = 0;
	}
	reason = arrive_flow(p, s, v6);
	if (p->ifindex)
		return reason;
	p->ifindex = p->skb->ifindex;
	return reason == WR_REASON_TO_HOST ? reason : arrive_elsewhere(p->skb, p->at, v6);
}

/* Into the pod, or into the stack by warren0, which has the same MAC address as all of the node's host side. */
static __always_inline enum wr_reason arrive(struct packet *p, struct scratch *s, const bool v6)
{
	const __u8 host[6] __attribute__((aligned(2))) = WR_HOST_MAC;
	enum wr_reason reason = arrive_judge(p, s, v6);

	if (reason == WR_REASON_TO_ENDPOINT && p->ep)
		return tunnel_readdress(p, p->ep->mac) ? reason : WR_REASON_RUNT;
	if (reason == WR_REASON_TO_HOST)
		return tunnel_readdress(p, host) ? reason : WR_REASON_RUNT;
	return reason;
}

#endif
