/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether a packet's flow (lib/flow.h) allows it: flow_pass(), which all programs call if verdict_cached() is a miss.
 * Each step has a file of its own.
 */
#ifndef WARREN_LIB_FLOW_PASS_H
#define WARREN_LIB_FLOW_PASS_H

#include "lib/flow_fast.h"
#include "lib/service_passed.h"
#include "lib/service_request.h"

/*
 * A program's scratch memory: the addresses, and a union for parser and verdict cache, which use it one after the
 * other.
 */
struct scratch {
	struct addresses at;
	union {
		struct transport transport;
		struct verdict_basis basis;
	};
};

/*
 * Whether the packet's flow allows it. For a packet that an endpoint sends, sets its other end; p->peer_ifindex 0: the
 * stack. `place` and `basis`: from verdict_cached().
 */
static __always_inline enum wr_reason flow_pass(struct packet *p, const struct verdict_place *place,
						const struct verdict_basis *basis, const enum hook hook,
						const bool v6)
{
	struct flow *f = flow_memory_get();
	struct flow_entry entry = { 0 };
	enum wr_reason reason;

	if (!f)
		return WR_REASON_NO_CONFIG;
	if (flow_continues(p, &entry, place, basis, hook, v6))
		return WR_REASON_NONE;
	flow_fill(p, f, &entry, hook, v6);
	if (!f->found)
		flow_lookup(p->at, f);
	if ((hook == HOOK_FROM_POD || hook == HOOK_FROM_NODE) && flow_advance(p->skb, p->at, f))
		return flow_advanced(p, f, place, basis, hook, v6);
	reason = hook == HOOK_FROM_POD ? service_decide(p->skb, p->at, f) : flow_decide(p->skb, p->at, f);
	p->flags = f->flags;
	p->dport = f->dport;
	p->evaluated = f->evaluated;
	p->via_stack = f->via_stack;
	if (hook_is_egress(hook)) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
	}
	if (reason)
		return p->flags & RELATED ? WR_REASON_ICMP_ERROR : reason;
	flow_verdicts(p, f, place, basis, hook, v6);
	if (hook != HOOK_FROM_HOST && (f->ct.flags & WR_CT_TRANSLATED))
		reason = service_passed(p->skb, p->at, f);
	if (hook == HOOK_FROM_POD || hook == HOOK_FROM_NODE)
		p->to_client = (f->ct.flags & WR_CT_TRANSLATED) && !f->forward && !f->ct.initiator;
	if (!reason && hook_is_egress(hook))
		reason = peer_get(p);
	return reason;
}

#endif
