/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet of a client outside the cluster, which arrives at an uplink and may be for a service (maps external4/6). The
 * steps are those of a pod's packet (lib/service_request.h), with client 0: its entries are in the node's window. The
 * flow between client and backend is evaluated by the backend's ingress policy: here, or on the backend's node.
 *
 * The packet keeps the client's address, so policy and backend see the client. A backend on another node gets the
 * packet through the tunnel, and its replies come back the same way, since that node's entry names this node.
 */
#ifndef WARREN_LIB_SERVICE_EXTERNAL_H
#define WARREN_LIB_SERVICE_EXTERNAL_H

#include "lib/flow_verdict.h"
#include "lib/service_passed.h"
#include "lib/service_request.h"

/*
 * Sets hook and ends of the flow with the selected backend. False: the programs cannot reach it, and the stack gets the
 * packet as it came: a backend in a host's network, or on another node for a client that is a node itself (its replies
 * would not come back here).
 */
static __always_inline bool external_locate(const struct addresses *at, struct flow *f, const bool v6)
{
	const struct wr_endpoint *ep;
	const struct wr_node *node;
	__u32 slot;

	f->ifindex = endpoint_by_address(&at->daddr, &ep, v6);
	if (f->ifindex) {
		f->hook = HOOK_FROM_NODE;
		return ep;
	}
	slot = node_by_cidr(&at->daddr, v6);
	node = node_get(slot);
	if (!slot || !node || node_has_gateway(node, &at->daddr, v6) || node_by_address(&at->saddr, v6))
		return false;
	f->hook = HOOK_FROM_HOST;
	f->peer_ifindex = WR_REMOTE | slot;
	f->peer_identity = WR_ID_UNKNOWN;
	return true;
}

/* A live flow between the same ends that does not go through a service: their replies would look the same. */
static __always_inline bool external_clashes(const struct flow *f)
{
	return f->found && !(f->ct.flags & WR_CT_TRANSLATED) && !ct_expired(&f->ct, ct_now()) &&
	       !ct_is_denied_from_start(f->ct.flags);
}

/*
 * Selects the backend and evaluates the flow with it; the packet is rewritten if that allows it. f->nat.resolved false
 * without a reason: the packet is not for a service, or belongs to a connection that the stack has. A connection's
 * packets but the first one are only taken with an entry, so those that the stack has translated before stay there.
 */
OUT_OF_LINE int external_decide(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;
	bool reaches;

	if (!at || !f)
		return WR_REASON_NO_CONFIG;
	flow_lookup(at, f);
	f->nat.resolved = false;
	if (!f->found && ((f->flags & (MIDDLE | FOLLOWS)) || (f->l4_proto == IPPROTO_SCTP && !(f->flags & ASSOCIATES))))
		return WR_REASON_NONE;
	reason = service_select(skb, at, f, 0);
	if (!f->nat.resolved)
		return reason == WR_REASON_NO_BACKEND && f->nat.local ? WR_REASON_NO_LOCAL_BACKEND : reason;
	reaches = IN_FAMILY(f->v6, external_locate, at, f);
	if (!reaches) {
		f->nat.resolved = false;
		return WR_REASON_NONE;
	}
	__builtin_memset(&f->ct, 0, sizeof(f->ct));
	flow_key(at, f);
	flow_lookup(at, f);
	if (external_clashes(f))
		return WR_REASON_SERVICE_CLASH;
	reason = flow_decide(skb, at, f);
	if (!reason)
		reason = service_dnat(skb, at, f);
	if (reason)
		return reason;
	if (f->step == FLOW_NEW || f->moved)
		verdicts_invalidate(at, f);
	return f->ct.flags & WR_CT_TRANSLATED ? service_passed(skb, at, f) : WR_REASON_NONE;
}

#endif
