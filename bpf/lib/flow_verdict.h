/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a packet of a flow changes in the verdict cache. Of flows through a service: lib/service_verdict.h. */
#ifndef WARREN_LIB_FLOW_VERDICT_H
#define WARREN_LIB_FLOW_VERDICT_H

#include "lib/flow.h"
#include "lib/verdict_cache.h"

/*
 * Whether the sender's next segment changes nothing in the entry: only the initiator's acknowledgement may be missing.
 */
static __always_inline bool tcp_is_settled(const struct flow *f)
{
	return (f->ct.flags & WR_CT_ESTABLISHED) || (!f->forward && (f->ct.flags & WR_CT_REPLIED));
}

/*
 * Caches the verdict of a flow that is in a window; flow_continues() does it for flows in ct. A single datagram, or one
 * and its reply, is not worth it.
 */
static __always_inline void flow_cache(const struct packet *p, const struct flow *f, const struct verdict_place *place,
				       const struct verdict_basis *basis, const enum hook hook, const bool v6)
{
	const __u32 flags = f->ct.flags;

	if ((hook != HOOK_FROM_POD && hook != HOOK_FROM_NODE) || f->step == FLOW_NEW || f->step == FLOW_REVERSED)
		return;
	/* The numbers of each segment to the world are stored (flow_record()); its packets by another path may move the flow. */
	if (f->other_path || (hook == HOOK_FROM_POD && p->l4_proto == IPPROTO_TCP && f->peer == WR_ID_WORLD))
		return;
	if ((flags & (WR_CT_DENIED | CT_ENDED | WR_CT_TRANSLATED | WR_CT_VIA_STACK)) || (f->flags & (TCP_FIN | TCP_RST)) ||
	    (p->l4_proto == IPPROTO_TCP && !tcp_is_settled(f)) || !p->peer_ifindex)
		return;
	verdict_fill_direct(p, place, basis, p->peer_ifindex, ct_now(),
			    hook == HOOK_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
}

static __always_inline void verdict_swap_ports(struct packet *p)
{
	const __be16 port = p->sport;

	p->sport = p->dport;
	p->dport = port;
}

/*
 * Prefetches the sets of both directions of a new connection between endpoints of this node: their verdicts are filled
 * next.
 */
OUT_OF_LINE int verdicts_touch(const struct addresses *at, const struct flow *f)
{
	struct packet p = { 0 };

	if (!at || !f || dry_run)
		return 0;
	p.ifindex = f->ifindex;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	IN_FAMILY(f->v6, verdict_touch, &p, &at->daddr);
	verdict_swap_ports(&p);
	p.ifindex = f->peer_ifindex;
	IN_FAMILY(f->v6, verdict_touch, &p, &at->saddr);
	return 0;
}

/*
 * Invalidates the verdicts of an endpoint's packets to and from the other end; p has the ports as the endpoint sends.
 */
static __always_inline void verdicts_invalidate_end(struct packet *p, __u32 ifindex, const union addr *far, bool remote,
						    const bool v6)
{
	p->ifindex = ifindex;
	verdict_invalidate(p, VERDICT_SENT, far, v6);
	if (!remote)
		return;
	verdict_swap_ports(p);
	verdict_invalidate(p, VERDICT_RECEIVED, far, v6);
	verdict_swap_ports(p);
}

static __always_inline void verdicts_invalidate_both(struct packet *p, const struct addresses *at, const struct flow *f,
						     const bool v6)
{
	const __u32 source = f->forward ? f->ct.initiator : f->ct.responder;
	const __u32 destination = f->forward ? f->ct.responder : f->ct.initiator;

	if (end_is_local(source))
		verdicts_invalidate_end(p, source, &at->daddr, !end_is_local(destination), v6);
	verdict_swap_ports(p);
	if (end_is_local(destination))
		verdicts_invalidate_end(p, destination, &at->saddr, !end_is_local(source), v6);
}

/*
 * Invalidates the verdicts between the flow's ends and ports. Called for a new flow that goes through a service or the
 * stack or replaces one that did, and for a flow whose other end has moved. The cached verdicts are those of the
 * previous flow: an entry of ct_new may have been evicted, while its verdicts were not.
 */
OUT_OF_LINE int verdicts_invalidate(const struct addresses *at, const struct flow *f)
{
	struct packet p = { 0 };

	if (!at || !f || dry_run || !verdict_secret.seed)
		return 0;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	IN_FAMILY(f->v6, verdicts_invalidate_both, &p, at, f);
	return 0;
}

/* What a packet that has passed changes in the verdict cache, unless its flow goes through a service. */
static __always_inline void flow_verdicts(const struct packet *p, const struct flow *f,
					  const struct verdict_place *place, const struct verdict_basis *basis,
					  const enum hook hook, const bool v6)
{
	/*
	 * A new flow in place of another one, or through another path (stack, service): cached verdicts of the old one
	 * must go.
	 */
	const bool begins = f->step == FLOW_NEW && (f->found != FLOW_NONE || (f->ct.flags & WR_CT_VIA_STACK) ||
						    (f->flags & (TRANSLATED | REPLACES)));

	/* After a RST, the next packet of either end must be seen: it shows whether the RST was accepted. */
	if (begins || f->moved || (p->flags & TCP_RST))
		verdicts_invalidate(p->at, f);
	flow_cache(p, f, place, basis, hook, v6);
	if (hook == HOOK_FROM_POD && f->to_endpoint && (p->flags & (BEGINS | TRANSLATED)) == BEGINS)
		verdicts_touch(p->at, f);
}

#endif
