/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a packet's flow (lib/flow.h) lets it pass: flow_pass(), by which all programs come. */
#ifndef WARREN_LIB_FLOW_PASS_H
#define WARREN_LIB_FLOW_PASS_H

#include "lib/flow_decide.h"
#include "lib/service.h"
#include "lib/verdict_cache.h"

/* `expires` is written only if it moves by more than that, about a second: a shared line stays clean. */
#define REFRESH_TICKS 8

/* What a program has in memory: the addresses, and one after the other what reading, finding and judging need. */
struct scratch {
	struct addresses at;
	union {
		struct transport transport;
		struct {
			union {
				union ct_key key;
				struct translation translation;
				struct verdict_packet verdict_packet;
			};
			struct verdict_basis basis;
		};
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
	if (!found->ct)
		return;
	f->found = FLOW_LIVES;
	f->established = found->established;
	f->ct = *found->ct;
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
	if (p->l4_proto == IPPROTO_TCP && (p->traits & TCP_ACK))
		*ack_of(found->ct, !found->forward) = tcp_ack_number(p->skb, p->traits);
}

/*
 * Whether the packet just goes on with its flow, whose only change is that it lives on, or, by FIN, that it soon ends. A
 * RST is looked at more closely, and so are the segments of a handshake. `found` is what else has to be decided by. What is
 * translated never does: its verdicts are of another kind.
 */
static __always_inline bool flow_goes_on(const struct packet *p, union ct_key *key, struct found *found,
					 const enum way way, const bool v6)
{
	__u32 expires, ends;

	found->swapped = ct_key(p, key, v6);
	if (!flow_find(found, key, v6)) {
		found->flags &= WR_CT_SERVICE; /* for service_concerns() */
		return false;
	}
	if (dry_run || (p->traits & FOLLOWS))
		return false;
	if ((found->flags & (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED)) ||
	    !(found->forward || (found->flags & WR_CT_ANSWERED)))
		return false;
	if (p->l4_proto == IPPROTO_TCP && (!(found->flags & WR_CT_ESTABLISHED) || (p->traits & TCP_RST)))
		return false;
	if (flow_begins_anew(p, found) || !flow_fits(p, found, way, v6) || !flow_is_current(p, found, way))
		return false;
	ends = tcp_progress(p, found);
	expires = ct_now() + ct_life(p->l4_proto, ends);
	if (ends == found->flags && expires - found->ct->expires + REFRESH_TICKS <= 2 * REFRESH_TICKS)
		return true;
	/* What is over leaves ct; a confirmed flow that is in ct_new for want of room tries again. */
	if (found->established ? ct_is_over(p->l4_proto, ends) : !found->forward)
		return false;
	/* Nor has anybody answered at an address that may be a service's by now. */
	if (way == WAY_FROM_POD && !(found->flags & WR_CT_ANSWERED) && !found->ct->responder)
		return false;
	if (ends != found->flags)
		ends |= __sync_fetch_and_or(&found->ct->flags, ends & CT_ENDED) & CT_FIN_BOTH;
	if (found->established && ct_is_over(p->l4_proto, ends))
		return false; /* both ends at once */
	found->ct->expires = expires;
	return true;
}

/* Whether the packet just goes on with its flow, and where. Its verdict is cached, if `place` has room for it. */
static __always_inline bool flow_continues(struct packet *p, struct scratch *s, struct found *found,
					   const struct verdict_place *place, const enum way way, const bool v6)
{
	if (!flow_goes_on(p, &s->key, found, way, v6))
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

/* The entry of a packet, which may be for a backend by now. */
OUT_OF_LINE int flow_refill(struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	union ct_key key;
	const struct wr_ct *ct;

	if (!at || !f)
		return 0;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	IN_FAMILY(f->v6, ct_key, &p, &key);
	ct = ct_find(&key, &f->established, f->v6);
	if (!ct)
		return 0;
	f->ct = *ct;
	f->found = FLOW_LIVES;
	return 0;
}

/* Whether the packet, whose flow does not just go on, may be for a service. */
static __always_inline bool service_concerns(const struct packet *p, __u32 flags)
{
	if (flags & WR_CT_SERVICE)
		return true;
	if (!has_ports(p->l4_proto) || (p->traits & FOLLOWS))
		return false;
	return (p->traits & (BEGINS | ASSOCIATES)) || !(flags & WR_CT_ANSWERED);
}

static __always_inline void service_fill(const struct packet *p, struct translation *t, const bool v6)
{
	__builtin_memset(t, 0, sizeof(*t));
	t->sport = p->sport;
	t->dport = p->dport;
	t->l4_proto = p->l4_proto;
	t->v6 = v6;
	t->traits = p->traits;
}

/*
 * Whether the packet goes by a cached verdict; then p->peer and p->peer_ifindex are where, and a flow through a service has
 * been rewritten, unless there is a reason against it. Else `place` and s->basis are what flow_pass() may cache.
 */
static __always_inline bool verdict_cached(struct packet *p, struct scratch *s, struct verdict_place *place,
					   enum wr_reason *reason, const enum verdict_kind kind, const bool v6)
{
	const enum verdict_found found = verdict_find(p, place, kind, v6);
	struct verdict_packet *vp = &s->verdict_packet;
	__u32 peer = 0;

	*reason = WR_REASON_NONE;
	if (found == VERDICT_HIT)
		return true;
	if (found == VERDICT_HIT_NAT) {
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

	flow_load(at, f);
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

/* Whether the packet's flow lets it pass. WAY_FROM_POD: p->peer_ifindex is where it goes then, if not to the stack. */
static __always_inline enum wr_reason flow_pass(struct packet *p, struct scratch *s, const struct verdict_place *place,
						const enum way way, const bool v6)
{
	struct flow *f = flow_memory_get();
	struct found found = { 0 };
	enum wr_reason reason = WR_REASON_NONE;
	bool to_service = false, begins;

	if (!f)
		return WR_REASON_NO_CONFIG;
	if (flow_continues(p, s, &found, place, way, v6))
		return WR_REASON_NONE;
	if (way == WAY_FROM_POD && service_concerns(p, found.flags)) {
		service_fill(p, &s->translation, v6);
		reason = service_enter(p->skb, p->at, &s->translation);
		if (reason && reason != WR_REASON_NO_BACKEND)
			return reason;
		p->dport = s->translation.dport;
		p->traits = s->translation.traits;
		to_service = p->traits & TRANSLATED;
	}
	if (way == WAY_FROM_POD)
		found.ct = NULL;
	flow_fill(p, f, &found, way, v6);
	if (way == WAY_FROM_POD && reason) {
		reason = service_refuse(p->skb, p->at, f);
		p->judged = f->judged;
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
		return reason;
	}
	if (way == WAY_FROM_POD)
		flow_refill(p->at, f);
	reason = flow_decide(p->skb, p->at, f);
	if (way == WAY_FROM_POD && to_service && !reason)
		reason = service_apply(p->skb, p->at, f->step == FLOW_BEGINS);
	/* In the place of another flow, or on another way than one before it, of which the entry has gone: what is cached of that. */
	begins = f->step == FLOW_BEGINS &&
		 (f->found != FLOW_NONE || (f->ct.flags & WR_CT_VIA_STACK) || (f->traits & (TRANSLATED | REPLACES)));
	if (!reason && (begins || f->moved))
		verdicts_forget(p->at, f);
	if (reason && (p->traits & RELATED))
		reason = WR_REASON_ICMP_ERROR;
	p->judged = f->judged;
	p->via_stack = f->via_stack;
	if (way_is_out(way)) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
	}
	if (way != WAY_FROM_HOST && (f->ct.flags & WR_CT_TRANSLATED) && !reason) {
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
	}
	if (reason || !way_is_out(way))
		return reason;
	p->peer = end_is_local(p->peer_ifindex) ? endpoint_get(p->peer_ifindex) : NULL;
	return end_is_local(p->peer_ifindex) && !p->peer ? WR_REASON_NO_ENDPOINT : WR_REASON_NONE;
}

#endif
