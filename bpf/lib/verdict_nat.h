/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict cache (lib/verdict_cache.h) for flows through a service: a verdict also says what becomes of the end that
 * is the service's. Without one such a packet takes 600 to 800 ns longer than a direct one, with one 150 to 200 (single
 * calls).
 *
 * These verdicts are filled in for what conntrack has just let pass, both directions at once, from the first answer on,
 * under the revisions and identities for which the entry says that it was evaluated. Where an entry is replaced, its verdicts
 * are forgotten (verdicts_forget()). Since they are not filled in under a sequence that was read before conntrack was,
 * conntrack is looked up again afterwards: whoever replaces an entry on another processor either has done so, then they are
 * forgotten here, or forgets them there. What is left of a connection that is over goes by conntrack. An established
 * connection is in ct or moves there when its window is full, unless its endpoint has used up its quota: then a verdict may
 * be there for a second longer than the entry. Datagrams have verdicts only when their flow is in ct; on their way to a
 * service they have none, since their backend may have to be another one with each packet.
 */
#ifndef WARREN_LIB_VERDICT_NAT_H
#define WARREN_LIB_VERDICT_NAT_H

#include "lib/flow.h"
#include "lib/flow_entry.h"
#include "lib/translation.h"
#include "lib/verdict_cache.h"

/* --- read --------------------------------------------------------------------------------------------------------- */

/* A packet for which verdict_find() has found VERDICT_HIT_NAT. */
struct verdict_packet {
	__u32 traits;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	bool failed; /* could not be rewritten */
	bool answers;
	__u32 sequence;	 /* of the slot */
	__u32 node;	 /* WR_REMOTE | slot of the node that has sent it, */
	__u64 sender;	 /* and as whom; 0: the endpoint has */
	union addr addr; /* what the source of answers, else the destination becomes */
	struct nat nat;
};

/* Of this processor: nothing else runs the program there meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct verdict_packet);
} verdict_memory SEC(".maps") __weak;

static __always_inline struct verdict_packet *verdict_packet_get(void)
{
	const __u32 zero = 0;

	return bpf_map_lookup_elem(&verdict_memory, &zero);
}

/* The destination is the backend, and what is remembered is the service; or the other way round. */
static __always_inline void verdict_swap(struct addresses *at, struct verdict_packet *vp)
{
	const union addr was = at->daddr;

	at->daddr = vp->addr;
	vp->addr = was;
}

/* The rest of what verdict_find() looks at. Returns the peer; 0: the verdict is of another packet, or no longer right.
 */
static __always_inline __u32 verdict_nat_find(const struct addresses *at, struct verdict_packet *vp,
					      const volatile struct verdict_slot *s,
					      const volatile struct verdict_line *line, const bool v6)
{
	const struct packet p = { .cluster_revision = cluster_revision(),
				  .peer_ifindex = vp->node,
				  .peer_identity = vp->sender };
	const __u32 what = s->what, peer = v6 ? line->peer : s->v4.peer;
	const struct wr_endpoint *local;
	__u64 differs;

	vp->addr.a6.v6[0] = v6 ? line->addr[0] : s->v4.nat;
	differs = vp->addr.a6.v6[0];
#pragma unroll
	for (int n = 1; n < 4; n++) {
		vp->addr.a6.v6[n] = v6 ? line->addr[n] : 0;
		differs |= vp->addr.a6.v6[n];
	}
	vp->nat.to = v6 ? line->port : what >> VERDICT_REST_SHIFT;
	vp->answers = what & VERDICT_ANSWERS;
	/* All of it is read before the sequence is looked at again. */
	differs = after(differs | vp->nat.to | peer);
	differs |= verdict_far_differs(s, vp->node ? &at->saddr : &at->daddr, v6);
	if (!end_is_local(peer)) {
		differs |= s->peer_revision ^ p.cluster_revision;
		differs |= s->peer_identity ^ vp->sender;
		differs |= vp->node ? peer ^ vp->node : !p.cluster_revision;
	} else {
		local = endpoint_get(peer);
		if (!local || vp->node)
			return 0;
		differs |= s->peer_revision ^ ((union policy_word){ .both = policy_word_read(local) }).revision;
		differs |= s->peer_identity ^ local->identity;
		differs |= !addr_is_endpoints(vp->answers ? &at->daddr : &vp->addr, local, v6);
	}
	if (differs | (sequence_read((const __u32 *)&s->sequence, differs) ^ vp->sequence))
		return 0;
	return peer;
}

static __always_inline __u32 verdict_nat_take(struct __sk_buff *skb, struct addresses *at, struct verdict_packet *vp,
					      const struct verdict_slot *slot, const struct verdict_line *line,
					      const bool v6)
{
	const __u32 peer = verdict_nat_find(at, vp, slot, line, v6);

	if (!peer)
		return 0;
	if (!vp->answers)
		verdict_swap(at, vp);
	vp->nat.l4_off = vp->traits >> L4_OFF_SHIFT;
	vp->nat.from = vp->answers ? vp->sport : vp->dport;
	vp->nat.l4_proto = vp->l4_proto;
	vp->nat.v6 = v6;
	vp->nat.source = vp->answers;
	vp->failed = vp->answers ? !nat_quickly(skb, &at->saddr, &vp->addr, &vp->nat, v6)
				 : !nat_quickly(skb, &vp->addr, &at->daddr, &vp->nat, v6);
	return peer;
}

/*
 * To whom the packet goes by the verdict, if that is right: it has been rewritten, and `at` is about what it has
 * become. All in one function, without helpers as far as possible: with what returns cost on some processors, calls are
 * expensive.
 */
OUT_OF_LINE int verdict_nat_use(struct __sk_buff *skb, struct addresses *at, struct verdict_packet *vp,
				const struct verdict_slot *slot, const struct verdict_line *line)
{
	if (!at || !vp || !slot || !line)
		return 0;
	return IN_FAMILY(vp->v6, verdict_nat_take, skb, at, vp, slot, line);
}

/* --- filled ------------------------------------------------------------------------------------------------------- */

/* Whether what has just passed is one of many that will. What it is in is looked at besides. */
static __always_inline bool service_is_cached(const struct flow *f)
{
	if (dry_run || !verdict_secret.seed || (f->traits & (TCP_FIN | TCP_RST | FOLLOWS)) || f->via_stack)
		return false;
	if (!f->ct.initiator || !f->ct.responder || f->ct.initiator == f->ct.responder)
		return false;
	return f->step == FLOW_MOVES_ON || f->step == FLOW_FOUND_AGAIN || f->step == FLOW_ANSWERED ||
	       f->step == FLOW_STALE;
}

/*
 * For p->ifindex, and what it sends or gets, between the ports of p and `far`, which goes to or comes from `peer`.
 * `own`: it is the initiator. Under what the entry says that it was evaluated.
 */
static __always_inline void verdict_nat_fill(struct packet *p, const union addr *far, __u32 peer,
					     const struct wr_ct *ct, bool own, const struct verdict_nat_to *to,
					     const enum verdict_kind kind, const bool v6)
{
	const struct wr_judgement *mine = own ? &ct->at[WR_EGRESS] : &ct->at[WR_INGRESS];
	const struct wr_judgement *theirs = own ? &ct->at[WR_INGRESS] : &ct->at[WR_EGRESS];
	const struct wr_endpoint *ep = endpoint_get(p->ifindex);
	const bool local = end_is_local(peer);
	struct verdict_basis basis = { .peer_revision = theirs->revision };
	struct verdict_place place = { 0 };
	const __u32 tick = verdict_tick();

	if (!ep)
		return;
	/* Of a flow with another node this is not evaluated: what the endpoint is now will do. */
	basis.identity = local ? theirs->peer : ep->identity;
	basis.peer_identity = local || kind == VERDICT_RECEIVED ? mine->peer : 0;
	p->word.revision = mine->revision;
	verdict_place_find(p, &place, kind, far, tick, v6);
	verdict_fill(p, &place, &basis, far, peer, tick, to, kind, v6);
}

/* Whether what the client sends to the service goes to this backend now: a former one may still answer. */
OUT_OF_LINE int service_is_backends(const struct addresses *at, const struct translation *t, __u32 client)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();
	struct addresses asked;

	if (!at || !t || !q || !t->cached || t->l4_proto == IPPROTO_UDP)
		return false;
	asked = (struct addresses){ .saddr = t->answers ? at->daddr : at->saddr, .daddr = t->service };
	service_query(q, t);
	service_key(&q->key, WR_CT_FLOW, &asked, t->answers ? t->dport : t->sport, t->service_port, t);
	entry = (const void *)&q->ct;
	return ct_lookup() && (entry->flags & WR_CT_SERVICE) && entry->initiator == client &&
	       entry->port == (t->answers ? t->sport : t->dport) &&
	       service_addr_equal(&entry->addr, t->answers ? &at->saddr : &at->daddr, t->v6);
}

/* Whether the flow is still the one that has just passed, and answers still come from the service. */
OUT_OF_LINE int service_is_origin(const struct addresses *at, const struct translation *t, __u32 client)
{
	const struct wr_ct_service *origin;
	struct ct_query *q = ct_query();

	if (!at || !t || !q || !t->cached)
		return true;
	service_query(q, t);
	service_key(&q->key, WR_CT_FLOW, at, t->sport, t->dport, t);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_TRANSLATED) || q->ct.initiator != client)
		return false;
	ct_key_be(&q->key, WR_CT_ORIGIN, t->v6);
	origin = (const void *)&q->ct;
	return ct_lookup() && origin->port == t->service_port && service_addr_equal(&origin->addr, &t->service, t->v6);
}

/* For what the client sends to the service; or (`forget`) nothing is. */
static __always_inline void verdict_fill_asked(const struct addresses *at, const struct translation *t,
					       const struct wr_ct *ct, __u32 forget, const bool v6)
{
	const struct verdict_nat_to to = { .addr = t->answers ? at->saddr : at->daddr,
					   .port = t->answers ? t->sport : t->dport };
	struct packet p = { .sport = t->answers ? t->dport : t->sport,
			    .dport = t->service_port,
			    .l4_proto = t->l4_proto,
			    .ifindex = ct->initiator };

	if (forget)
		verdict_forget(&p, VERDICT_SENT, &t->service, v6);
	else
		verdict_nat_fill(&p, &t->service, ct->responder, ct, true, &to, VERDICT_SENT, v6);
}

OUT_OF_LINE int service_cache_asked(const struct addresses *at, const struct translation *t, const struct wr_ct *ct,
				    __u32 forget)
{
	if (at && t && ct)
		IN_FAMILY(t->v6, verdict_fill_asked, at, t, ct, forget);
	return 0;
}

/* For what the backend answers, at its endpoint or, of one elsewhere, at the client's; likewise. */
static __always_inline void verdict_fill_answers(const struct addresses *at, const struct translation *t,
						 const struct wr_ct *ct, __u32 forget, const bool v6)
{
	const union addr *client = t->answers ? &at->daddr : &at->saddr,
			 *backend = t->answers ? &at->saddr : &at->daddr;
	const struct verdict_nat_to to = { .addr = t->service, .port = t->service_port, .answers = true };
	struct packet p = { .sport = t->answers ? t->sport : t->dport,
			    .dport = t->answers ? t->dport : t->sport,
			    .l4_proto = t->l4_proto };

	if (end_is_remote(ct->responder)) {
		p.ifindex = ct->initiator;
		if (forget)
			verdict_forget(&p, VERDICT_RECEIVED, backend, v6);
		else
			verdict_nat_fill(&p, backend, ct->responder, ct, true, &to, VERDICT_RECEIVED, v6);
	} else {
		p.ifindex = ct->responder;
		if (forget)
			verdict_forget(&p, VERDICT_SENT, client, v6);
		else
			verdict_nat_fill(&p, client, ct->initiator, ct, false, &to, VERDICT_SENT, v6);
	}
}

OUT_OF_LINE int service_cache_answers(const struct addresses *at, const struct translation *t, const struct wr_ct *ct,
				      __u32 forget)
{
	if (at && t && ct && t->cached)
		IN_FAMILY(t->v6, verdict_fill_answers, at, t, ct, forget);
	return 0;
}

/*
 * What a client has sent to a service and goes on: in f's place is a translation then, which says whether it is to be
 * cached, or is over; t->lives: with it the flow has become established, or has moved to ct.
 */
OUT_OF_LINE int service_goes_on(const struct addresses *at, struct flow *f)
{
	struct translation *t = (void *)f;
	const struct wr_ct_service *origin;
	struct ct_query *q = ct_query();
	bool over, begins;

	if (!at || !f || !q)
		return 0;
	begins = f->answers == FLOW_CONFIRMED || (f->refreshes && f->where != CT_IN_TABLE);
	over = f->changes && ct_is_over(f->l4_proto, f->ct.flags);
	t->cached = f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags) && service_is_cached(f);
	t->client = f->ct.initiator;
	t->over = false;
	t->lives = begins;
	if (!t->cached && !over)
		return 0;
	service_query(q, t);
	service_key(&q->key, WR_CT_ORIGIN, at, f->sport, f->dport, t);
	if (!ct_lookup()) {
		t->cached = false;
		return 0;
	}
	origin = (const void *)&q->ct;
	t->service.a6 = origin->addr;
	t->service_port = origin->port;
	t->answers = false;
	t->over = over;
	t->cached = t->cached && !over;
	return 0;
}

static __always_inline void verdict_turn(struct packet *p)
{
	const __be16 port = p->sport;

	p->sport = p->dport;
	p->dport = port;
}

/* Both directions of the connection that A begins with B, endpoints of this node: their verdicts are filled in next. */
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
	verdict_turn(&p);
	p.ifindex = f->peer_ifindex;
	IN_FAMILY(f->v6, verdict_touch, &p, &at->saddr);
	return 0;
}

/* --- forgotten ---------------------------------------------------------------------------------------------------- */

/* What the client sends to the service goes to another backend from now on. */
OUT_OF_LINE int service_verdict_forget(const struct translation *t, __u32 client)
{
	struct packet p = { 0 };

	if (!t || dry_run)
		return 0;
	p.sport = t->sport;
	p.dport = t->service_port;
	p.l4_proto = t->l4_proto;
	p.ifindex = client;
	IN_FAMILY(t->v6, verdict_forget, &p, VERDICT_SENT, &t->service);
	return 0;
}

/* What one end of the flow, which is an endpoint, sends to the other one and gets from it; p has the ports as that end
 * sends. */
static __always_inline void verdicts_forget_end(struct packet *p, __u32 ifindex, const union addr *far, bool remote,
						const bool v6)
{
	p->ifindex = ifindex;
	verdict_forget(p, VERDICT_SENT, far, v6);
	if (!remote)
		return;
	verdict_turn(p);
	verdict_forget(p, VERDICT_RECEIVED, far, v6);
	verdict_turn(p);
}

static __always_inline void verdicts_forget_both(struct packet *p, const struct addresses *at, const struct flow *f,
						 const bool v6)
{
	const __u32 source = f->forward ? f->ct.initiator : f->ct.responder;
	const __u32 destination = f->forward ? f->ct.responder : f->ct.initiator;

	if (end_is_local(source))
		verdicts_forget_end(p, source, &at->daddr, !end_is_local(destination), v6);
	verdict_turn(p);
	if (end_is_local(destination))
		verdicts_forget_end(p, destination, &at->saddr, !end_is_local(source), v6);
}

/*
 * A flow begins which goes through a service or the stack, or in the place of one that did; or its other end is
 * elsewhere by now. What is cached about packets between the same ends and ports is of the flow before it: an entry of
 * ct_new may have been evicted, and its verdicts have not.
 */
OUT_OF_LINE int verdicts_forget(const struct addresses *at, const struct flow *f)
{
	struct packet p = { 0 };

	if (!at || !f || dry_run || !verdict_secret.seed)
		return 0;
	p.sport = f->sport;
	p.dport = f->dport;
	p.l4_proto = f->l4_proto;
	IN_FAMILY(f->v6, verdicts_forget_both, &p, at, f);
	return 0;
}

#endif
