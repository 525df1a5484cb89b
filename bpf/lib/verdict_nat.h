/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict cache (lib/verdict_cache.h) for flows through a service: such a verdict includes NAT. Without it, a
 * packet takes 600 to 800 ns longer than a direct one, with it 150 to 200 (single calls).
 *
 * These verdicts are filled for a packet that conntrack has just passed, for both directions at once, from the first
 * reply on, with the revisions and identities in the conntrack entry. If an entry is replaced, its verdicts are
 * invalidated (verdicts_invalidate()). Since they are not filled under a sequence that was read before the conntrack
 * lookup, conntrack is looked up again afterwards: if another CPU replaces the entry, either this CPU sees that and
 * invalidates the verdicts, or the other one does. Late packets of a closed connection use conntrack. An established
 * connection is in ct, or moves there when its window is full, unless its endpoint has reached its quota: then a
 * verdict may outlive the entry by a second. Datagrams have verdicts only if their flow is in ct. Datagrams to a
 * service have none, since each packet may need another backend.
 */
#ifndef WARREN_LIB_VERDICT_NAT_H
#define WARREN_LIB_VERDICT_NAT_H

#include "lib/flow.h"
#include "lib/flow_entry.h"
#include "lib/nat_context.h"
#include "lib/verdict_cache.h"

/* --- read --------------------------------------------------------------------------------------------------------- */

/* A packet for which verdict_find() returned VERDICT_HIT_NAT. */
struct verdict_packet {
	__u32 flags;
	__be16 sport, dport;
	__u8 l4_proto;
	bool v6;
	bool failed; /* the rewrite failed */
	bool reply;
	__u32 sequence;	 /* of the slot */
	__u32 node;	 /* WR_REMOTE | slot of the sending node; 0: the endpoint sends it */
	__u64 sender;	 /* the identity carried in the node's packet */
	union addr addr; /* new source of a reply, else new destination */
	struct nat nat;
};

SCRATCH(verdict_memory, struct verdict_packet, verdict_packet_get)

/* Swaps at->daddr and vp->addr: the service and the backend. */
static __always_inline void verdict_swap(struct addresses *at, struct verdict_packet *vp)
{
	const union addr was = at->daddr;

	at->daddr = vp->addr;
	vp->addr = was;
}

/* The comparisons that verdict_find() leaves. Returns the peer; 0: a miss. */
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
	vp->reply = what & VERDICT_REPLY;
	/* All fields are read before the sequence is compared again. */
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
		differs |= s->peer_revision ^ ((union policy_tag){ .both = policy_tag_read(local) }).revision;
		differs |= s->peer_identity ^ local->identity;
		differs |= !addr_is_endpoints(vp->reply ? &at->daddr : &vp->addr, local, v6);
	}
	if (differs | (sequence_read((const __u32 *)&s->sequence, differs) ^ vp->sequence))
		return 0;
	return peer;
}

static __always_inline __u32 verdict_nat_hit(struct __sk_buff *skb, struct addresses *at, struct verdict_packet *vp,
					     const struct verdict_slot *slot, const struct verdict_line *line,
					     const bool v6)
{
	const __u32 peer = verdict_nat_find(at, vp, slot, line, v6);

	if (!peer)
		return 0;
	if (!vp->reply)
		verdict_swap(at, vp);
	vp->nat.l4_off = vp->flags >> L4_OFF_SHIFT;
	vp->nat.from = vp->reply ? vp->sport : vp->dport;
	vp->nat.l4_proto = vp->l4_proto;
	vp->nat.v6 = v6;
	vp->nat.source = vp->reply;
	vp->failed = vp->reply ? !nat_fast(skb, &at->saddr, &vp->addr, &vp->nat, v6)
				 : !nat_fast(skb, &vp->addr, &at->daddr, &vp->nat, v6);
	return peer;
}

/*
 * Returns the peer by the verdict, 0: a miss. On a hit the packet has been rewritten, and `at` has its new addresses.
 * One function with as few helpers as possible: with return mitigations, calls are expensive on some CPUs.
 */
OUT_OF_LINE int verdict_nat_use(struct __sk_buff *skb, struct addresses *at, struct verdict_packet *vp,
				const struct verdict_slot *slot, const struct verdict_line *line)
{
	if (!at || !vp || !slot || !line)
		return 0;
	return IN_FAMILY(vp->v6, verdict_nat_hit, skb, at, vp, slot, line);
}

/* --- filled ------------------------------------------------------------------------------------------------------- */

/* Whether the verdict of the packet's flow should be cached, apart from the flow's state and location. */
static __always_inline bool service_is_cached(const struct flow *f)
{
	if (dry_run || !verdict_secret.seed || (f->flags & (TCP_FIN | TCP_RST | FOLLOWS)) || f->via_stack)
		return false;
	if (!f->ct.initiator || !f->ct.responder || f->ct.initiator == f->ct.responder)
		return false;
	return f->step == FLOW_REFRESH || f->step == FLOW_REVALIDATED || f->step == FLOW_PROGRESS ||
	       f->step == FLOW_STALE;
}

/*
 * Fills the verdict for packets between p->ifindex and `far`, with the ports of p. `peer`: the other end. `own`:
 * p->ifindex is the initiator. The revisions and identities are those of the entry.
 */
static __always_inline void verdict_nat_fill(struct packet *p, const union addr *far, __u32 peer,
					     const struct wr_ct *ct, bool own, const struct verdict_nat_to *to,
					     const enum verdict_kind kind, const bool v6)
{
	const struct wr_policy_verdict *own_verdict = own ? &ct->at[WR_EGRESS] : &ct->at[WR_INGRESS];
	const struct wr_policy_verdict *peer_verdict = own ? &ct->at[WR_INGRESS] : &ct->at[WR_EGRESS];
	const struct wr_endpoint *ep = endpoint_get(p->ifindex);
	const bool local = end_is_local(peer);
	struct verdict_basis basis = { .peer_revision = peer_verdict->revision };
	struct verdict_place place = { 0 };
	const __u32 tick = verdict_tick();

	if (!ep)
		return;
	/* For a flow with another node the entry has no identity of the endpoint: the current one is used. */
	basis.identity = local ? peer_verdict->peer : ep->identity;
	basis.peer_identity = local || kind == VERDICT_RECEIVED ? own_verdict->peer : 0;
	p->policy_tag.revision = own_verdict->revision;
	verdict_place_find(p, &place, kind, far, tick, v6);
	verdict_fill(p, &place, &basis, far, peer, tick, to, kind, v6);
}

/* Whether the client's packets to the service go to this backend: a former one may still reply. */
OUT_OF_LINE int service_backend_is_current(const struct addresses *at, const struct flow *f)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();
	struct addresses request;

	if (!at || !f || !q || !f->nat.cached || f->l4_proto == IPPROTO_UDP)
		return false;
	request = (struct addresses){ .saddr = f->nat.reply ? at->daddr : at->saddr, .daddr = f->nat.service };
	service_query(q, f);
	service_key(&q->key, WR_CT_FLOW, &request, f->nat.reply ? f->dport : f->sport, f->nat.service_port, f);
	entry = (const void *)&q->ct;
	return ct_lookup() && (entry->flags & WR_CT_SERVICE) && entry->initiator == f->nat.client &&
	       entry->port == (f->nat.reply ? f->sport : f->dport) &&
	       service_addr_equal(&entry->addr, f->nat.reply ? &at->saddr : &at->daddr, f->v6);
}

/* Whether the flow is still the one that has just passed, and its replies still come from the service. */
OUT_OF_LINE int service_reverse_is_current(const struct addresses *at, const struct flow *f)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();

	if (!at || !f || !q || !f->nat.cached)
		return true;
	service_query(q, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_TRANSLATED) || q->ct.initiator != f->nat.client)
		return false;
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, f->v6);
	reverse = (const void *)&q->ct;
	return ct_lookup() && reverse->port == f->nat.service_port &&
	       service_addr_equal(&reverse->addr, &f->nat.service, f->v6);
}

/* Fills the verdict of the client's packets to the service; `invalidate`: invalidates it. */
static __always_inline void verdict_fill_request(const struct addresses *at, const struct flow *f,
						 __u32 invalidate, const bool v6)
{
	const struct verdict_nat_to to = { .addr = f->nat.reply ? at->saddr : at->daddr,
					   .port = f->nat.reply ? f->sport : f->dport };
	struct packet p = { .sport = f->nat.reply ? f->dport : f->sport,
			    .dport = f->nat.service_port,
			    .l4_proto = f->l4_proto,
			    .ifindex = f->ct.initiator };

	if (invalidate)
		verdict_invalidate(&p, VERDICT_SENT, &f->nat.service, v6);
	else
		verdict_nat_fill(&p, &f->nat.service, f->ct.responder, &f->ct, true, &to, VERDICT_SENT, v6);
}

OUT_OF_LINE int service_cache_request(const struct addresses *at, const struct flow *f, __u32 invalidate)
{
	if (at && f)
		IN_FAMILY(f->v6, verdict_fill_request, at, f, invalidate);
	return 0;
}

/* The same for the backend's replies: at the backend's endpoint or, if it is on another node, at the client's. */
static __always_inline void verdict_fill_reply(const struct addresses *at, const struct flow *f,
					       __u32 invalidate, const bool v6)
{
	const union addr *client = f->nat.reply ? &at->daddr : &at->saddr,
			 *backend = f->nat.reply ? &at->saddr : &at->daddr;
	const struct verdict_nat_to to = { .addr = f->nat.service, .port = f->nat.service_port, .reply = true };
	struct packet p = { .sport = f->nat.reply ? f->sport : f->dport,
			    .dport = f->nat.reply ? f->dport : f->sport,
			    .l4_proto = f->l4_proto };

	if (end_is_remote(f->ct.responder)) {
		p.ifindex = f->ct.initiator;
		if (invalidate)
			verdict_invalidate(&p, VERDICT_RECEIVED, backend, v6);
		else
			verdict_nat_fill(&p, backend, f->ct.responder, &f->ct, true, &to, VERDICT_RECEIVED, v6);
	} else {
		p.ifindex = f->ct.responder;
		if (invalidate)
			verdict_invalidate(&p, VERDICT_SENT, client, v6);
		else
			verdict_nat_fill(&p, client, f->ct.initiator, &f->ct, false, &to, VERDICT_SENT, v6);
	}
}

OUT_OF_LINE int service_cache_reply(const struct addresses *at, const struct flow *f, __u32 invalidate)
{
	if (at && f && f->nat.cached)
		IN_FAMILY(f->v6, verdict_fill_reply, at, f, invalidate);
	return 0;
}

/*
 * For a client's packet of an existing flow through a service, which has passed: sets `cached`, `closed` and `promotes`
 * of the NAT context, and the service's address if one of the first two is set.
 */
OUT_OF_LINE int service_request(const struct addresses *at, struct flow *f)
{
	const struct wr_ct_service *reverse;
	struct ct_query *q = ct_query();
	bool closed, begins;

	if (!at || !f || !q)
		return 0;
	begins = f->reply == FLOW_CONFIRMED || (f->refreshes && f->where != CT_IN_TABLE);
	closed = f->changes && ct_is_closed(f->l4_proto, f->ct.flags);
	f->nat.cached = f->l4_proto != IPPROTO_UDP && ct_is_established(f->l4_proto, f->ct.flags) && service_is_cached(f);
	f->nat.client = f->ct.initiator;
	f->nat.closed = false;
	f->nat.promotes = begins;
	if (!f->nat.cached && !closed)
		return 0;
	service_query(q, f);
	service_key(&q->key, WR_CT_REVERSE_NAT, at, f->sport, f->dport, f);
	if (!ct_lookup()) {
		f->nat.cached = false;
		return 0;
	}
	reverse = (const void *)&q->ct;
	f->nat.service.a6 = reverse->addr;
	f->nat.service_port = reverse->port;
	f->nat.reply = false;
	f->nat.closed = closed;
	f->nat.cached = f->nat.cached && !closed;
	return 0;
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

/* --- invalidate --------------------------------------------------------------------------------------------------- */

/* Invalidates the verdict of the client's packets to the service, which go to another backend from now on. */
OUT_OF_LINE int service_verdict_invalidate(const struct flow *f)
{
	struct packet p = { 0 };

	if (!f || dry_run)
		return 0;
	p.sport = f->sport;
	p.dport = f->nat.service_port;
	p.l4_proto = f->l4_proto;
	p.ifindex = f->nat.client;
	IN_FAMILY(f->v6, verdict_invalidate, &p, VERDICT_SENT, &f->nat.service);
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

#endif
