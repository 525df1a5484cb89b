/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A pod's packet, which may be for a service (abi/service.h): service_decide(). service_request() selects the backend
 * and writes nothing; flow_decide() decides about the flow between client and backend; service_dnat() writes the
 * service's entries and rewrites the packet.
 */
#ifndef WARREN_LIB_SERVICE_REQUEST_H
#define WARREN_LIB_SERVICE_REQUEST_H

#include "lib/flow_decide.h"
#include "lib/service_backend.h"
#include "lib/service_nat.h"
#include "lib/service_verdict.h"
#include "lib/tunnel_port.h"

/* --- before the verdict ------------------------------------------------------------------------------------------- */

/* Whether a pod's packet may be for a service. An endpoint's address is never a service's. */
static __always_inline bool service_may_apply(const struct flow *f)
{
	if (f->ct.flags & WR_CT_SERVICE)
		return true;
	if (!has_ports(f->l4_proto) || (f->flags & FOLLOWS) || f->to_endpoint)
		return false;
	return (f->flags & (BEGINS | ASSOCIATES)) || !(f->ct.flags & WR_CT_REPLIED);
}

/* Whether the packet is for a service (nat.resolved), and its backend; nat.chosen: the entries must be written. */
static __always_inline enum wr_reason service_resolve(struct __sk_buff *skb, struct addresses *at,
						      struct flow *f, __u32 client)
{
	const bool begins = f->flags & (BEGINS | ASSOCIATES);
	enum wr_reason reason;
	__u32 was;

	service_lookup(at, f, client);
	was = f->nat.list;
	if (f->nat.found && !f->nat.usable)
		f->nat.usable = service_flow_lives(at, f);
	/*
	 * Keep the backend for packets that only follow, for replies of a pod to itself, and for connections, even if
	 * the service no longer has the backend.
	 */
	f->nat.resolved = f->nat.usable;
	if (f->nat.usable && ((f->flags & FOLLOWS) || !was || (f->l4_proto != IPPROTO_UDP && !begins)))
		return WR_REASON_NONE;
	if ((f->flags & FOLLOWS) || !service_list(f))
		return WR_REASON_NONE;
	if (!begins && f->nat.usable && f->nat.list == was)
		return WR_REASON_NONE;
	reason = service_choose(at, f);
	f->nat.resolved = !reason;
	/* The creator of a service does not control its backends' addresses: none may send to the tunnel's port. */
	if (!reason && is_tunnel_port(f->l4_proto, f->dport) && tunnel_port_check(skb, at, f->v6)) {
		f->nat.resolved = false;
		return WR_REASON_TUNNEL_PORT;
	}
	return reason;
}

/*
 * For a packet of the endpoint `client`, or of a client outside the cluster (0). If it is for a service, `at` and f are
 * those of the flow with the backend afterwards, with TRANSLATED in f->flags; else they are unchanged.
 */
OUT_OF_LINE int service_select(struct __sk_buff *skb, struct addresses *at, struct flow *f, __u32 client)
{
	enum wr_reason reason;

	if (!at || !f)
		return WR_REASON_NO_CONFIG;
	__builtin_memset(&f->nat, 0, sizeof(f->nat));
	reason = service_resolve(skb, at, f, client);
	if (f->nat.resolved) {
		f->flags |= TRANSLATED;
		service_trace(f, WR_TRACE_SERVICE | (f->nat.chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, f->dport);
		return WR_REASON_NONE;
	}
	at->daddr = f->nat.service;
	f->dport = f->nat.service_port;
	return reason;
}

/*
 * To a service without a backend. If the sender's policy does not allow the service's own address, the packet is
 * dropped without a reply, as with a backend that is not allowed; else it is rejected. No entry is written.
 */
static __always_inline enum wr_reason service_refuse(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	flow_load(f);
	f->step = FLOW_NEW;
	f->forward = true;
	flow_locate(skb, at, f);
	reason = flow_ends(f);
	if (reason)
		return reason;
	evaluate_flow(at, f);
	reason = denial(&f->ct);
	return reason ? reason : WR_REASON_NO_BACKEND;
}

/* If a pod's packet is for a service, `at` and f are those of the flow with the selected backend afterwards. */
static __always_inline enum wr_reason service_request(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = service_select(skb, at, f, skb->ifindex);

	if (reason == WR_REASON_NO_BACKEND) {
		f->found = FLOW_NONE;
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		return service_refuse(skb, at, f);
	}
	if (!reason && ((f->flags & TRANSLATED) || (f->ct.flags & WR_CT_SERVICE))) {
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		flow_key(at, f);
		flow_lookup(at, f);
	}
	return reason;
}

/* --- after the verdict -------------------------------------------------------------------------------------------- */

/*
 * Writes the entries and rewrites the packet. This happens after the verdict, so that a denied sender changes nothing.
 * If the entries cannot be written, a flow that was just created is deleted again.
 */
OUT_OF_LINE int service_dnat(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !f)
		return WR_REASON_RUNT;
	if (dry_run)
		return WR_REASON_NONE;
	if (f->nat.chosen) {
		reason = service_entries_write(at, f);
		service_verdict_invalidate(f);
		if (!reason && f->nat.remembers)
			service_remember(at, f);
	}
	if (!reason)
		return service_to_backend(skb, at, f);
	if (f->step == FLOW_NEW)
		service_flow_delete(at, f);
	return reason;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* flow_decide() for a pod's packet, which may be for a service. */
OUT_OF_LINE int service_decide(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !f)
		return WR_REASON_NO_CONFIG;
	if (service_may_apply(f))
		reason = service_request(skb, at, f);
	if (!reason)
		reason = flow_decide(skb, at, f);
	if (!reason && (f->flags & TRANSLATED))
		reason = service_dnat(skb, at, f);
	return reason;
}

#endif
