/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last step of a packet of a flow through a service, which has passed. */
#ifndef WARREN_LIB_SERVICE_PASSED_H
#define WARREN_LIB_SERVICE_PASSED_H

#include "lib/service_nat.h"
#include "lib/service_verdict.h"

/* Whether the flow is established. The flags of a UDP flow do not show that: it is once all its entries are in ct. */
static __always_inline bool service_is_established(const struct flow *f)
{
	return f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags);
}

/* What the packet changes besides its flow's entry. */
static __always_inline void service_changes(struct flow *f)
{
	const bool established = service_is_established(f);

	f->nat.client = f->ct.initiator;
	f->nat.closed = f->changes && wr_ct_is_closed(f->l4_proto, f->ct.flags);
	f->nat.cached = (established || !f->forward) && service_is_cached(f);
	f->nat.promotes = f->forward ? f->reply == FLOW_CONFIRMED || (f->refreshes && f->where != CT_IN_TABLE) :
				       f->reply && established;
}

/* Reverse NAT: the source of a backend's packet becomes the service. */
static __always_inline enum wr_reason service_reply(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	const enum wr_reason reason = service_nat_check(skb, f, f->sport, f->nat.service_port);

	f->nat.count = 0;
	service_trace(f, WR_TRACE_REVERSE_NAT, &f->nat.service, f->nat.service_port,
		      f->nat.client_port == f->dport ? 0 : f->nat.client_port);
	if (reason || dry_run)
		return reason;
	if (f->nat.flow_promoted && !f->nat.promoted)
		f->nat.promotes = true;
	return service_to_client(skb, at, f, true);
}

/* The service's entries follow the flow's to ct and back, and the verdicts of the next packets are cached. */
static __always_inline void service_follow(struct addresses *at, struct flow *f)
{
	if (!f->forward)
		service_swap(at, f);
	if (f->nat.promotes)
		service_promote_all(at, f);
	if (f->nat.closed)
		service_demote_all(at, f);
	if (f->nat.cached && !service_is_remapped(f) &&
	    (service_is_established(f) || (f->nat.flow_promoted && f->nat.promoted)))
		service_cache(at, f);
	if (!f->forward)
		service_swap(at, f);
}

/* A client's packet needs the service's address only if something else changes; a reply always does. */
OUT_OF_LINE int service_passed(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (!at || !f)
		return WR_REASON_NONE;
	service_changes(f);
	if (f->forward && !(f->nat.promotes || f->nat.closed || f->nat.cached))
		return WR_REASON_NONE;
	if (service_reverse(at, f))
		return f->forward ? WR_REASON_NONE : WR_REASON_SERVICE_UNKNOWN;
	if (!f->forward)
		reason = service_reply(skb, at, f);
	if (!reason && !dry_run)
		service_follow(at, f);
	return reason;
}

#endif
