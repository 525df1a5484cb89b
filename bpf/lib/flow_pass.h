/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a packet's flow (lib/flow.h) lets it pass: flow_pass(), by which all programs come. */
#ifndef WARREN_LIB_FLOW_PASS_H
#define WARREN_LIB_FLOW_PASS_H

#include "lib/flow_advance.h"
#include "lib/service.h"
#include "lib/verdict_cache.h"

/* What a program has in memory: the addresses, and one after the other what reading, the verdict cache and conntrack need. */
struct scratch {
	struct addresses at;
	union {
		struct transport transport;
		struct verdict_basis basis;
	};
};

/* What flow_decide() is told. */
static __always_inline void flow_fill(const struct packet *p, struct flow *f, const struct found *found,
				      const enum way way, const bool v6)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->ifindex = p->ifindex;
	f->peer_ifindex = p->peer_ifindex;
	f->peer_identity = p->peer_identity;
	f->cluster_revision = way == WAY_FROM_POD || way == WAY_TO_POD ? cluster_revision() : p->cluster_revision;
	f->traits = p->traits;
	f->sport = p->sport;
	f->dport = p->dport;
	f->l4_proto = p->l4_proto;
	f->way = way;
	f->v6 = v6;
	f->swapped = found->swapped;
	if (!found->ct)
		return;
	f->found = FLOW_LIVES;
	f->where = CT_IN_TABLE;
	ct_copy(&f->ct, found->ct);
}

OUT_OF_LINE int tcp_ack_number(struct __sk_buff *skb, __u32 traits)
{
	__be32 ack = 0;

	bpf_skb_load_bytes(skb, (traits >> L4_OFF_SHIFT) + __builtin_offsetof(struct tcphdr, ack_seq), &ack, sizeof(ack));
	return bpf_ntohl(ack);
}

/* The last acknowledgement, by which a RST of the other end is known. */
static __always_inline void ack_record(const struct packet *p, const struct found *found)
{
	__u32 *ack, number;

	if (p->l4_proto != IPPROTO_TCP || !(p->traits & TCP_ACK) || found->other)
		return;
	ack = ack_of(found->ct, !found->forward);
	number = tcp_ack_number(p->skb, p->traits);
	if (*ack != number)
		*ack = number;
}

/*
 * Whether the packet just goes on with its flow, which is in ct and whose only change is that it lives on. A segment that
 * begins or ends something is looked at more closely. `found` is what else has to be decided by. What is translated never
 * does: its verdicts are of another kind.
 */
static __always_inline bool flow_goes_on(const struct packet *p, struct ct_query *q, struct found *found,
					 const enum way way, const bool v6)
{
	__u32 expires;

	found->swapped = ct_key(p, &q->key, v6);
	if (dry_run || (p->traits & (FOLLOWS | TCP_SYN | TCP_FIN | TCP_RST)))
		return false;
	if (!flow_find(found, &q->key, v6))
		return false;
	if ((found->flags & (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED)) ||
	    !ct_is_established(p->l4_proto, found->flags))
		return false;
	if (flow_begins_anew(p, found) || !flow_fits(p, found, way, v6) || !flow_is_current(p, found, way))
		return false;
	expires = ct_now() + ct_life(p->l4_proto, found->flags);
	if (expires - found->ct->expires + REFRESH_TICKS > 2 * REFRESH_TICKS)
		found->ct->expires = expires;
	return true;
}

/* Whether the packet just goes on with its flow, and where. Its verdict is cached, if `place` has room for it. */
static __always_inline bool flow_continues(struct packet *p, struct scratch *s, struct found *found,
					   const struct verdict_place *place, const enum way way, const bool v6)
{
	struct ct_query *q = ct_query();

	if (!q || !flow_goes_on(p, q, found, way, v6))
		return false;
	p->via_stack = found->flags & WR_CT_VIA_STACK;
	if (way == WAY_FROM_POD) {
		p->peer = found->other;
		p->peer_ifindex = other_end(found->ct, found->forward);
		p->peer_identity = p->peer ? p->peer->identity : WR_ID_UNKNOWN;
	}
	if ((way == WAY_FROM_POD || way == WAY_FROM_NODE) && !p->via_stack && p->peer_ifindex)
		verdict_fill_direct(p, place, &s->basis, p->peer_ifindex, ct_now(),
				    way == WAY_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
	ack_record(p, found);
	return true;
}

/* The endpoint at the other end of a packet, if it is one of this node: it may have begun the flow. */
static __always_inline __u32 flow_peer(const struct addresses *at, const struct flow *f, const bool v6)
{
	return f->way == WAY_FROM_POD ? endpoint_with(&at->daddr, v6) : f->peer_ifindex;
}

/* Where the entry is that has the key in ct_query(), and what it says. */
OUT_OF_LINE int flow_lookup(const struct addresses *at, struct flow *f)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return 0;
	f->found = FLOW_NONE;
	ct_ends(&q->ends, f->ifindex, IN_FAMILY(f->v6, flow_peer, at, f));
	q->v6 = f->v6;
	f->to_endpoint = q->ends.two;
	f->where = ct_lookup();
	if (!f->where)
		return 0;
	f->found = FLOW_LIVES;
	ct_copy(&f->ct, &q->ct);
	return 0;
}

/* Whether the packet, whose flow does not just go on, may be for a service. An endpoint's address is no service's. */
static __always_inline bool service_concerns(const struct packet *p, const struct flow *f)
{
	const __u32 flags = f->ct.flags;

	if (flags & WR_CT_SERVICE)
		return true;
	if (!has_ports(p->l4_proto) || (p->traits & FOLLOWS) || f->to_endpoint)
		return false;
	return (p->traits & (BEGINS | ASSOCIATES)) || !(flags & WR_CT_ANSWERED);
}

/*
 * Whether the packet goes by a cached verdict; then p->peer and p->peer_ifindex are where, and a flow through a service has
 * been rewritten, unless there is a reason against it. Else `place` and s->basis are what flow_pass() may cache.
 */
static __always_inline bool verdict_cached(struct packet *p, struct scratch *s, struct verdict_place *place,
					   enum wr_reason *reason, const enum verdict_kind kind, const bool v6)
{
	const enum verdict_found found = verdict_find(p, place, kind, v6);
	struct verdict_packet *vp = NULL;
	__u32 peer = 0;

	*reason = WR_REASON_NONE;
	if (found == VERDICT_HIT)
		return true;
	if (found == VERDICT_HIT_NAT)
		vp = verdict_packet_get();
	if (vp) {
		__builtin_memset(vp, 0, sizeof(*vp));
		vp->traits = p->traits;
		vp->sport = p->sport;
		vp->dport = p->dport;
		vp->l4_proto = p->l4_proto;
		vp->v6 = v6;
		vp->sequence = place->sequence;
		if (kind == VERDICT_RECEIVED) {
			vp->node = p->peer_ifindex;
			vp->sender = p->peer_identity;
		}
		peer = verdict_nat_use(p->skb, p->at, vp, place->slot, verdict_line(place->slot, v6));
	}
	if (!peer) {
		verdict_prepare(p, place, &s->basis, kind, v6);
		return false;
	}
	if (vp->failed)
		*reason = WR_REASON_RUNT;
	if (kind == VERDICT_RECEIVED)
		return true;
	p->peer_ifindex = peer;
	p->peer = end_is_local(peer) ? endpoint_get(peer) : NULL;
	if (end_is_local(peer) && !p->peer)
		*reason = WR_REASON_NO_ENDPOINT;
	return true;
}

/*
 * To a service without a backend. Who may not reach the service's own address is denied without a reply, as if there
 * were a backend that it may not reach; everybody else is refused. Nothing is written.
 */
static __always_inline enum wr_reason service_refuse(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	flow_load(f);
	f->step = FLOW_BEGINS;
	f->forward = true;
	flow_locate(skb, at, f);
	reason = flow_ends(f);
	if (reason)
		return reason;
	judge_flow(at, f);
	reason = denial(&f->ct);
	return reason ? reason : WR_REASON_NO_BACKEND;
}

/* Whether what the packet's sender sends next changes nothing: only the initiator's acknowledgement is still to come. */
static __always_inline bool tcp_is_settled(const struct flow *f)
{
	return (f->ct.flags & WR_CT_ESTABLISHED) || (!f->forward && (f->ct.flags & WR_CT_ANSWERED));
}

/*
 * The verdict of a flow that is in a window is cached here, of one in ct by flow_continues(). One datagram, or one and its
 * answer, is not worth it.
 */
static __always_inline void flow_cache(const struct packet *p, const struct flow *f, const struct verdict_place *place,
				       const struct verdict_basis *basis, const enum way way, const bool v6)
{
	const __u32 flags = f->ct.flags;

	if ((way != WAY_FROM_POD && way != WAY_FROM_NODE) || f->step == FLOW_BEGINS || f->step == FLOW_TURNS)
		return;
	if ((flags & (CT_DENIED | CT_ENDED | WR_CT_TRANSLATED | WR_CT_VIA_STACK)) || (f->traits & (TCP_FIN | TCP_RST)) ||
	    (p->l4_proto == IPPROTO_TCP && !tcp_is_settled(f)) || !p->peer_ifindex)
		return;
	verdict_fill_direct(p, place, basis, p->peer_ifindex, ct_now(),
			    way == WAY_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
}

/* A packet that flow_advance() has let pass goes where its flow's entry says. */
static __always_inline enum wr_reason flow_advanced(struct packet *p, const struct flow *f, const struct verdict_place *place,
						    const struct verdict_basis *basis, const enum way way, const bool v6)
{
	if (way == WAY_FROM_POD) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
		p->peer = end_is_local(p->peer_ifindex) ? endpoint_get(p->peer_ifindex) : NULL;
		if (end_is_local(p->peer_ifindex) && !p->peer)
			return WR_REASON_NO_ENDPOINT;
	}
	flow_cache(p, f, place, basis, way, v6);
	return WR_REASON_NONE;
}

/* The key of f's flow, in ct_query(), where looking for a service has had others. */
OUT_OF_LINE int flow_key(struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return 0;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	f->swapped = IN_FAMILY(f->v6, ct_key, &p, &q->key);
	return 0;
}

/* To a service: `at`, the packet and f are about the flow with its backend from then on. */
static __always_inline enum wr_reason flow_enter(struct packet *p, struct flow *f)
{
	enum wr_reason reason = service_enter(p->skb, p->at, f);

	p->dport = f->dport;
	p->traits = f->traits;
	if (reason == WR_REASON_NO_BACKEND) {
		f->found = FLOW_NONE;
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		reason = service_refuse(p->skb, p->at, f);
	} else if (!reason && ((p->traits & TRANSLATED) || (f->ct.flags & WR_CT_SERVICE))) {
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		flow_key(p->at, f);
		flow_lookup(p->at, f);
	}
	return reason;
}

/* The rest of a flow through a service, of which a packet has passed. */
static __always_inline enum wr_reason flow_translated(struct packet *p, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (f->forward) {
		service_goes_on(p->at, f);
		service_promote(p->at, (void *)f);
	} else {
		reason = service_answer(p->skb, p->at, f);
	}
	service_over(p->at, (void *)f);
	if (service_is_backends(p->at, (void *)f, f->ct.initiator)) {
		service_cache_asked(p->at, (void *)f, &f->ct, false);
		if (!service_is_backends(p->at, (void *)f, f->ct.initiator))
			service_cache_asked(p->at, (void *)f, &f->ct, true);
	}
	service_cache_answers(p->at, (void *)f, &f->ct, false);
	if (!service_is_origin(p->at, (void *)f, f->ct.initiator))
		service_cache_answers(p->at, (void *)f, &f->ct, true);
	return reason;
}

/* Whether the packet's flow lets it pass. WAY_FROM_POD: p->peer_ifindex is where it goes then, if not to the stack. */
static __always_inline enum wr_reason flow_pass(struct packet *p, struct scratch *s, const struct verdict_place *place,
						const enum way way, const bool v6)
{
	struct flow *f = flow_memory_get();
	struct found found = { 0 };
	enum wr_reason reason = WR_REASON_NONE;
	bool begins;

	if (!f)
		return WR_REASON_NO_CONFIG;
	if (flow_continues(p, s, &found, place, way, v6))
		return WR_REASON_NONE;
	flow_fill(p, f, &found, way, v6);
	if (!f->found)
		flow_lookup(p->at, f);
	if ((way == WAY_FROM_POD || way == WAY_FROM_NODE) && flow_advance(p->skb, p->at, f))
		return flow_advanced(p, f, place, &s->basis, way, v6);
	if (way == WAY_FROM_POD && service_concerns(p, f)) {
		reason = flow_enter(p, f);
		if (reason) {
			p->judged = f->judged;
			p->peer_ifindex = f->peer_ifindex;
			p->peer_identity = f->peer_identity;
			return reason;
		}
	}
	reason = flow_decide(p->skb, p->at, f);
	if (way == WAY_FROM_POD && (p->traits & TRANSLATED) && !reason)
		reason = service_apply(p->skb, p->at, f->step == FLOW_BEGINS);
	/* In the place of another flow, or on another way than one before it, of which the entry has gone: what is cached of that. */
	begins = f->step == FLOW_BEGINS &&
		 (f->found != FLOW_NONE || (f->ct.flags & WR_CT_VIA_STACK) || (f->traits & (TRANSLATED | REPLACES)));
	/* After a reset the next packet, of either end, shows whether it was believed. */
	if (!reason && (begins || f->moved || (p->traits & TCP_RST)))
		verdicts_forget(p->at, f);
	if (reason && (p->traits & RELATED))
		reason = WR_REASON_ICMP_ERROR;
	p->judged = f->judged;
	p->via_stack = f->via_stack;
	if (way_is_out(way)) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
	}
	if (!reason)
		flow_cache(p, f, place, &s->basis, way, v6);
	if (!reason && way == WAY_FROM_POD && f->to_endpoint && (p->traits & (BEGINS | TRANSLATED)) == BEGINS)
		verdicts_touch(p->at, f);
	if (way != WAY_FROM_HOST && (f->ct.flags & WR_CT_TRANSLATED) && !reason)
		reason = flow_translated(p, f);
	if (reason || !way_is_out(way))
		return reason;
	p->peer = end_is_local(p->peer_ifindex) ? endpoint_get(p->peer_ifindex) : NULL;
	return end_is_local(p->peer_ifindex) && !p->peer ? WR_REASON_NO_ENDPOINT : WR_REASON_NONE;
}

#endif
