/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A pod's packet, which may be for a service (abi/service.h): service_decide(). service_request() selects the backend
 * and writes nothing; flow_decide() decides about the flow between client and backend; service_dnat() writes the
 * service's entries and rewrites the packet.
 */
#ifndef WARREN_LIB_SERVICE_REQUEST_H
#define WARREN_LIB_SERVICE_REQUEST_H

#include "lib/fib.h"
#include "lib/flow_decide.h"
#include "lib/host_backend.h"
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

OUT_OF_LINE int host_port_is_here(struct __sk_buff *skb, const struct addresses *at, const struct flow *f)
{
	return at && f && IN_FAMILY(f->v6, destination_is_host, skb, at);
}

/*
 * Whether the destination, which a hostPort has, is an address of this host, and no process of the host has the port: a
 * pod takes over neither other hosts' addresses nor the host's own ports. Two calls, since the stack of a chain of calls
 * is at its limit.
 */
static __always_inline bool host_port_applies(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	bool applies;

	f->nat.backend = at->daddr;
	at->daddr = f->nat.service;
	applies = host_port_is_here(skb, at, f) && !host_socket_exists(skb, at, f);
	at->daddr = f->nat.backend;
	return applies;
}

/* The creator of a service does not control its backends' addresses: none may send to the tunnel's port. */
static __always_inline enum wr_reason service_backend_allowed(struct __sk_buff *skb, const struct addresses *at,
							      const struct flow *f)
{
	const bool tunnel = is_tunnel_port(f->l4_proto, f->dport) && tunnel_port_check(skb, at, f->v6);

	return tunnel ? WR_REASON_TUNNEL_PORT : WR_REASON_NONE;
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
		f->nat.usable = service_flow_lives(at, f, FLOW_OF_THIS);
	/*
	 * Keep the backend for packets that only follow, for replies of a pod to itself, and for connections, even if
	 * the service no longer has the backend.
	 */
	f->nat.resolved = f->nat.usable;
	if (f->nat.usable && ((f->flags & FOLLOWS) || !was || (f->l4_proto != IPPROTO_UDP && !begins)))
		return WR_REASON_NONE;
	if (f->flags & FOLLOWS)
		return WR_REASON_NONE;
	if (!service_list(f)) {
		/* A SYN in an open connection may be forged: the connection keeps its backend. */
		if (begins && f->nat.usable)
			f->nat.resolved = service_flow_lives(at, f, FLOW_OF_THIS_OPEN);
		return WR_REASON_NONE;
	}
	if (!begins && f->nat.usable && f->nat.list == was)
		return WR_REASON_NONE;
	if (f->nat.ranges && !service_admits(at, f)) {
		f->nat.resolved = false;
		return WR_REASON_SOURCE_RANGE;
	}
	if ((f->nat.list & WR_LIST_HOST_PORT) && !host_port_applies(skb, at, f)) {
		f->nat.resolved = false;
		return WR_REASON_NONE;
	}
	reason = service_choose(at, f);
	if (!reason)
		reason = service_backend_allowed(skb, at, f);
	f->nat.resolved = !reason;
	return reason;
}

static __always_inline void service_resolved(const struct addresses *at, struct flow *f)
{
	f->flags |= TRANSLATED;
	service_trace(f, WR_TRACE_SERVICE | (f->nat.chosen ? WR_TRACE_CHOSEN : 0), &at->daddr, f->dport,
		      service_is_remapped(f) ? f->sport : 0);
}

static __always_inline void service_unresolved(struct addresses *at, struct flow *f)
{
	at->daddr = f->nat.service;
	f->sport = f->nat.client_port;
	f->dport = f->nat.service_port;
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
		service_resolved(at, f);
		return WR_REASON_NONE;
	}
	service_unresolved(at, f);
	return reason;
}

/*
 * After service_select() has found the flow's port in use on the backends that it has tried: another port, toward the
 * last one of these. A function of its own, since the stack has no room for both.
 */
OUT_OF_LINE int service_remap(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_SERVICE_CLASH;
	bool may;

	if (!at || !f)
		return WR_REASON_SERVICE_CLASH;
	f->nat.found = f->nat.resolved = false;
	may = f->l4_proto != IPPROTO_SCTP && service_backend_get(at, f, f->nat.backend_id);
	if (!may || service_connection_may_come(at, f)) {
		service_unresolved(at, f);
		return WR_REASON_SERVICE_CLASH;
	}
#pragma clang loop unroll(disable)
	for (__u32 n = 0; n < REMAP_TRIES && reason; n++)
		reason = service_remap_try(skb, at, f, n);
	if (!reason)
		reason = service_backend_allowed(skb, at, f);
	f->nat.resolved = !reason;
	if (reason)
		service_unresolved(at, f);
	else
		service_resolved(at, f);
	return reason;
}

/* Whether the packet begins a flow, and no service has its destination. */
static __always_inline bool service_may_be_missing(const struct flow *f)
{
	if ((f->flags & (TRANSLATED | FOLLOWS)) || f->to_endpoint)
		return false;
	return !f->found || (f->flags & BEGINS) || (f->ct.flags & WR_CT_SERVICE) || ct_expired(&f->ct, ct_now());
}

OUT_OF_LINE int service_find_missing(const struct addresses *at, const struct flow *f)
{
	return at && f ? IN_FAMILY(f->v6, service_missing, &at->daddr) : WR_REASON_NONE;
}

/*
 * To a service's address, but to no backend, for the reason `why`. If the sender's policy does not allow that address,
 * the packet is dropped without a reply, as with a backend that is not allowed; else `why` applies. No entry is written.
 * Whatever the ServiceCIDRs hold, pods, nodes and this host are reached: NONE.
 */
static __always_inline enum wr_reason service_refuse(struct __sk_buff *skb, struct addresses *at, struct flow *f,
						     enum wr_reason why)
{
	enum wr_reason reason;

	flow_locate(skb, at, f);
	if (why != WR_REASON_NO_BACKEND && (f->peer_ifindex || f->peer_identity != WR_ID_WORLD))
		return WR_REASON_NONE;
	f->found = FLOW_NONE;
	__builtin_memset(&f->ct, 0, sizeof(f->ct));
	f->step = FLOW_NEW;
	f->forward = true;
	reason = flow_ends(f);
	if (reason)
		return reason;
	evaluate_flow(at, f);
	reason = denial(&f->ct);
	return reason ? reason : why;
}

/* If a pod's packet is for a service, `at` and f are those of the flow with the selected backend afterwards. */
static __always_inline enum wr_reason service_request(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = service_select(skb, at, f, skb->ifindex);

	if (reason == WR_REASON_SERVICE_CLASH)
		reason = service_remap(skb, at, f);
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
	enum wr_reason reason;

	if (!at || !f)
		return WR_REASON_RUNT;
	reason = service_nat_check(skb, f, f->nat.service_port, f->dport);
	if (dry_run)
		return reason;
	if (!reason && f->nat.chosen) {
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
	if (!reason && service_may_be_missing(f))
		reason = service_find_missing(at, f);
	if (reason == WR_REASON_NO_BACKEND || reason == WR_REASON_NO_SERVICE_PORT || reason == WR_REASON_NO_SERVICE)
		reason = service_refuse(skb, at, f, reason);
	if (!reason)
		reason = flow_decide(skb, at, f);
	if (!reason && (f->flags & TRANSLATED))
		reason = service_dnat(skb, at, f);
	return reason;
}

#endif
