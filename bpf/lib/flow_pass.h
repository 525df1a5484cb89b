/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a packet's flow (lib/flow.h) allows it: flow_pass(), which all programs call. */
#ifndef WARREN_LIB_FLOW_PASS_H
#define WARREN_LIB_FLOW_PASS_H

#include "lib/flow_advance.h"
#include "lib/service.h"
#include "lib/verdict_cache.h"

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

/* Fills the arguments of flow_decide(). */
static __always_inline void flow_fill(const struct packet *p, struct flow *f, const struct flow_entry *entry,
				      const enum hook hook, const bool v6)
{
	__builtin_memset(f, 0, __builtin_offsetof(struct flow, nat));
	f->ifindex = p->ifindex;
	f->peer_ifindex = p->peer_ifindex;
	f->peer_identity = p->peer_identity;
	f->cluster_revision = hook == HOOK_FROM_POD || hook == HOOK_TO_POD ? cluster_revision() : p->cluster_revision;
	f->flags = p->flags;
	f->sport = p->sport;
	f->dport = p->dport;
	f->l4_proto = p->l4_proto;
	f->hook = hook;
	f->v6 = v6;
	f->swapped = entry->swapped;
	if (!entry->ct)
		return;
	f->found = FLOW_LIVE;
	f->where = CT_IN_TABLE;
	ct_copy(&f->ct, entry->ct);
}

OUT_OF_LINE int tcp_ack_number(struct __sk_buff *skb, __u32 flags)
{
	__be32 ack = 0;

	bpf_skb_load_bytes(skb, (flags >> L4_OFF_SHIFT) + __builtin_offsetof(struct tcphdr, ack_seq), &ack,
			   sizeof(ack));
	return bpf_ntohl(ack);
}

/* Stores the last acknowledgement number, with which a RST of the other end is compared. */
static __always_inline void ack_record(const struct packet *p, const struct flow_entry *entry)
{
	__u32 *ack, number;

	if (p->l4_proto != IPPROTO_TCP || !(p->flags & TCP_ACK) || entry->other)
		return;
	ack = ack_of(entry->ct, !entry->forward);
	number = tcp_ack_number(p->skb, p->flags);
	if (*ack != number)
		*ack = number;
}

/*
 * Whether the packet passes by its flow's entry in ct, and changes only its timeout. Segments with SYN, FIN or RST use
 * the slow path. So do flows with NAT, whose cached verdicts are of another kind. Sets *entry in both cases.
 */
static __always_inline bool flow_fast_path(const struct packet *p, struct ct_query *q, struct flow_entry *entry,
					   const enum hook hook, const bool v6)
{
	__u32 expires;

	entry->swapped = ct_key(p, &q->key, v6);
	if (dry_run || (p->flags & (FOLLOWS | TCP_SYN | TCP_FIN | TCP_RST)))
		return false;
	if (!flow_find(entry, &q->key, v6))
		return false;
	if ((entry->flags & (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED)) ||
	    !ct_is_established(p->l4_proto, entry->flags))
		return false;
	if (flow_is_new(p, entry) || !flow_matches(p, entry, hook, v6) || !flow_is_current(p, entry, hook))
		return false;
	expires = ct_now() + ct_life(p->l4_proto, entry->flags);
	if (expires - entry->ct->expires + REFRESH_TICKS > 2 * REFRESH_TICKS)
		entry->ct->expires = expires;
	return true;
}

/* Whether the packet passes in the fast path, and its peer. Caches the verdict if `place` has a slot. */
static __always_inline bool flow_continues(struct packet *p, struct scratch *s, struct flow_entry *entry,
					   const struct verdict_place *place, const enum hook hook, const bool v6)
{
	struct ct_query *q = ct_query();

	if (!q || !flow_fast_path(p, q, entry, hook, v6))
		return false;
	p->via_stack = entry->flags & WR_CT_VIA_STACK;
	if (hook == HOOK_FROM_POD) {
		p->peer = entry->other;
		p->peer_ifindex = other_end(entry->ct, entry->forward);
		p->peer_identity = p->peer ? p->peer->identity : WR_ID_UNKNOWN;
	}
	if ((hook == HOOK_FROM_POD || hook == HOOK_FROM_NODE) && !p->via_stack && p->peer_ifindex)
		verdict_fill_direct(p, place, &s->basis, p->peer_ifindex, ct_now(),
				    hook == HOOK_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
	ack_record(p, entry);
	return true;
}

/* The other end of a packet: an endpoint of this node may have initiated the flow; else 0, or WR_REMOTE | slot. */
static __always_inline __u32 flow_peer(const struct addresses *at, const struct flow *f, const bool v6)
{
	return f->hook == HOOK_FROM_POD ? endpoint_with(&at->daddr, v6) : f->peer_ifindex;
}

/* Looks up ct_query()->key: sets f->where, f->found and f->ct. */
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
	f->found = FLOW_LIVE;
	ct_copy(&f->ct, &q->ct);
	return 0;
}

/* Whether a packet in the slow path may be for a service. An endpoint's address is never a service's. */
static __always_inline bool service_may_apply(const struct packet *p, const struct flow *f)
{
	const __u32 flags = f->ct.flags;

	if (flags & WR_CT_SERVICE)
		return true;
	if (!has_ports(p->l4_proto) || (p->flags & FOLLOWS) || f->to_endpoint)
		return false;
	return (p->flags & (BEGINS | ASSOCIATES)) || !(flags & WR_CT_REPLIED);
}

/*
 * Whether the packet passes by a cached verdict. Then p->peer and p->peer_ifindex are set, and a flow through a service
 * has been rewritten, unless *reason is set. Else `place` and s->basis are for flow_pass() to cache the verdict.
 */
static __always_inline bool verdict_cached(struct packet *p, struct scratch *s, struct verdict_place *place,
					   enum wr_reason *reason, const enum verdict_kind kind, const bool v6)
{
	const enum verdict_found hit = verdict_find(p, place, kind, v6);
	struct verdict_packet *vp = NULL;
	__u32 peer = 0;

	*reason = WR_REASON_NONE;
	if (hit == VERDICT_HIT)
		return true;
	if (hit == VERDICT_HIT_NAT)
		vp = verdict_packet_get();
	if (vp) {
		__builtin_memset(vp, 0, sizeof(*vp));
		vp->flags = p->flags;
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
	if ((flags & (CT_DENIED | CT_ENDED | WR_CT_TRANSLATED | WR_CT_VIA_STACK)) || (f->flags & (TCP_FIN | TCP_RST)) ||
	    (p->l4_proto == IPPROTO_TCP && !tcp_is_settled(f)) || !p->peer_ifindex)
		return;
	verdict_fill_direct(p, place, basis, p->peer_ifindex, ct_now(),
			    hook == HOOK_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
}

/* Sets the peer of a packet that flow_advance() has passed, from its flow's entry. */
static __always_inline enum wr_reason flow_advanced(struct packet *p, const struct flow *f,
						    const struct verdict_place *place,
						    const struct verdict_basis *basis, const enum hook hook,
						    const bool v6)
{
	if (hook == HOOK_FROM_POD) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
		p->peer = end_is_local(p->peer_ifindex) ? endpoint_get(p->peer_ifindex) : NULL;
		if (end_is_local(p->peer_ifindex) && !p->peer)
			return WR_REASON_NO_ENDPOINT;
	}
	flow_cache(p, f, place, basis, hook, v6);
	return WR_REASON_NONE;
}

/* Writes the key of f's flow to ct_query(), which the lookup of a service has overwritten. */
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

/* Selects a service's backend: `at`, the packet and f are those of the flow with the backend afterwards. */
static __always_inline enum wr_reason flow_select_backend(struct packet *p, struct flow *f)
{
	enum wr_reason reason = service_select(p->skb, p->at, f);

	p->dport = f->dport;
	p->flags = f->flags;
	if (reason == WR_REASON_NO_BACKEND) {
		f->found = FLOW_NONE;
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		reason = service_refuse(p->skb, p->at, f);
	} else if (!reason && ((p->flags & TRANSLATED) || (f->ct.flags & WR_CT_SERVICE))) {
		__builtin_memset(&f->ct, 0, sizeof(f->ct));
		flow_key(p->at, f);
		flow_lookup(p->at, f);
	}
	return reason;
}

/* NAT, promotion and verdict cache for a packet of a flow through a service that has passed. */
static __always_inline enum wr_reason flow_translated(struct packet *p, struct flow *f)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (f->forward) {
		service_request(p->at, f);
		service_promote(p->at, f);
	} else {
		reason = service_reply(p->skb, p->at, f);
	}
	service_demote_all(p->at, f);
	if (service_backend_is_current(p->at, f)) {
		service_cache_request(p->at, f, false);
		if (!service_backend_is_current(p->at, f))
			service_cache_request(p->at, f, true);
	}
	service_cache_reply(p->at, f, false);
	if (!service_reverse_is_current(p->at, f))
		service_cache_reply(p->at, f, true);
	return reason;
}

/* Whether the packet's flow allows it. HOOK_FROM_POD: p->peer_ifindex is its destination then; 0: the stack. */
static __always_inline enum wr_reason flow_pass(struct packet *p, struct scratch *s, const struct verdict_place *place,
						const enum hook hook, const bool v6)
{
	struct flow *f = flow_memory_get();
	struct flow_entry entry = { 0 };
	enum wr_reason reason = WR_REASON_NONE;
	bool begins;

	if (!f)
		return WR_REASON_NO_CONFIG;
	if (flow_continues(p, s, &entry, place, hook, v6))
		return WR_REASON_NONE;
	flow_fill(p, f, &entry, hook, v6);
	if (!f->found)
		flow_lookup(p->at, f);
	if ((hook == HOOK_FROM_POD || hook == HOOK_FROM_NODE) && flow_advance(p->skb, p->at, f))
		return flow_advanced(p, f, place, &s->basis, hook, v6);
	if (hook == HOOK_FROM_POD && service_may_apply(p, f)) {
		reason = flow_select_backend(p, f);
		if (reason) {
			p->evaluated = f->evaluated;
			p->peer_ifindex = f->peer_ifindex;
			p->peer_identity = f->peer_identity;
			return reason;
		}
	}
	reason = flow_decide(p->skb, p->at, f);
	if (hook == HOOK_FROM_POD && (p->flags & TRANSLATED) && !reason)
		reason = service_dnat(p->skb, p->at, f);
	/*
	 * A new flow in place of another one, or through another path (stack, service): cached verdicts of the old one
	 * must go.
	 */
	begins = f->step == FLOW_NEW &&
		 (f->found != FLOW_NONE || (f->ct.flags & WR_CT_VIA_STACK) || (f->flags & (TRANSLATED | REPLACES)));
	/* After a RST, the next packet of either end must be seen: it shows whether the RST was accepted. */
	if (!reason && (begins || f->moved || (p->flags & TCP_RST)))
		verdicts_invalidate(p->at, f);
	if (reason && (p->flags & RELATED))
		reason = WR_REASON_ICMP_ERROR;
	p->evaluated = f->evaluated;
	p->via_stack = f->via_stack;
	if (hook_is_egress(hook)) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
	}
	if (!reason)
		flow_cache(p, f, place, &s->basis, hook, v6);
	if (!reason && hook == HOOK_FROM_POD && f->to_endpoint && (p->flags & (BEGINS | TRANSLATED)) == BEGINS)
		verdicts_touch(p->at, f);
	if (hook != HOOK_FROM_HOST && (f->ct.flags & WR_CT_TRANSLATED) && !reason)
		reason = flow_translated(p, f);
	if (reason || !hook_is_egress(hook))
		return reason;
	p->peer = end_is_local(p->peer_ifindex) ? endpoint_get(p->peer_ifindex) : NULL;
	return end_is_local(p->peer_ifindex) && !p->peer ? WR_REASON_NO_ENDPOINT : WR_REASON_NONE;
}

#endif
