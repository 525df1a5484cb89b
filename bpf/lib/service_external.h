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
 * Sets hook and ends of the flow with the selected backend: a pod, or a process in the network of a node
 * (lib/host_backend.h). False: the programs cannot reach it, and the stack gets the packet as it came: an address that is
 * neither, or a backend on another node for a client that is a node itself (its replies would not come back here).
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
	f->hook = HOOK_FROM_HOST;
	if (is_outer_address(&at->daddr, v6)) {
		f->peer_ifindex = WR_OWN_HOST;
		f->peer_identity = WR_ID_HOST;
		f->to_host = true;
		return true;
	}
	slot = node_by_cidr(&at->daddr, v6);
	if (!slot)
		slot = node_by_address(&at->daddr, v6);
	node = node_get(slot);
	if (!slot || !node || node_has_gateway(node, &at->daddr, v6) || node_by_address(&at->saddr, v6))
		return false;
	f->peer_ifindex = WR_REMOTE | slot;
	f->peer_identity = WR_ID_UNKNOWN;
	return true;
}

/*
 * A live flow between the same ends that does not go through a service: their replies would look the same. Unless it is
 * this one, or closed.
 */
static __always_inline bool external_clashes(const struct flow *f)
{
	return f->found && !(f->ct.flags & WR_CT_TRANSLATED) && !ct_expired(&f->ct, ct_now()) &&
	       !ct_is_denied_from_start(f->ct.flags) && !ports_are_free(f, f->ct.flags) &&
	       !service_flow_came_by_node(f, &f->ct, f->swapped);
}

/*
 * Whether a packet without an entry may begin a flow here. A connection's later packets may if another node has had the
 * connection so far; else the stack may have it.
 */
static __always_inline bool external_begins(const struct addresses *at, const struct flow *f)
{
	const struct wr_service *service;

	if ((f->flags & FOLLOWS) || (f->l4_proto == IPPROTO_SCTP && !(f->flags & ASSOCIATES)))
		return false;
	if (!(f->flags & MIDDLE))
		return true;
	service = f->flags & TCP_RST ? NULL : service_find(&at->daddr, f->dport, f->l4_proto, true, f->v6);
	return service && (service->flags & WR_SERVICE_MOVES);
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
	if (!f->found && !external_begins(at, f))
		return WR_REASON_NONE;
	reason = service_select(skb, at, f, 0);
	/*
	 * The client's connection with the backend may be one that it has made to the process itself. Looked up twice, as
	 * the entry of the service's own connection may be missed while it is being replaced.
	 */
	if (f->nat.resolved && service_host_is_connected(skb, at, f) && !service_flow_lives(at, f, FLOW_OF_THIS) &&
	    !service_flow_lives(at, f, FLOW_OF_THIS))
		reason = WR_REASON_SERVICE_CLASH;
	if (reason == WR_REASON_SERVICE_CLASH)
		reason = service_remap(skb, at, f);
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
