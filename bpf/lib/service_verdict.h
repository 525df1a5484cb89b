/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cached verdicts about a flow through a service (lib/verdict_hit.h): when they are filled and invalidated.
 *
 * These verdicts are filled for a packet that conntrack has just passed, for both directions at once, from the first
 * reply on, with the revisions and identities in the conntrack entry. If an entry is replaced, its verdicts are
 * invalidated (verdicts_invalidate()). Since they are not filled under a sequence that was read before the conntrack
 * lookup, conntrack is looked up again afterwards: if another CPU replaces the entry, either this CPU sees that and
 * invalidates the verdicts, or the other one does. Late packets of a closed connection use conntrack. An established
 * connection is in ct, or moves there when its window is full, unless its endpoint has reached its quota: then a
 * verdict may outlive the entry by a second. Datagrams have verdicts only if their flow is in ct. Datagrams to a
 * service have none, since each packet may need another backend; nor have flows whose source port is remapped, as a
 * verdict has one port only.
 */
#ifndef WARREN_LIB_SERVICE_VERDICT_H
#define WARREN_LIB_SERVICE_VERDICT_H

#include "lib/service_entries.h"
#include "lib/verdict_cache.h"

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
OUT_OF_LINE int service_backend_is_current(struct addresses *at, struct flow *f)
{
	const struct wr_ct_service *entry;
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return false;
	service_query(q, f);
	f->nat.backend = at->daddr;
	at->daddr = f->nat.service;
	service_entry_key(&q->key, ENTRY_SERVICE, at, f);
	at->daddr = f->nat.backend;
	entry = (const void *)&q->ct;
	return ct_lookup() && (entry->flags & WR_CT_SERVICE) && entry->initiator == f->nat.client &&
	       entry->port == f->dport && !entry->client_port && service_addr_equal(&entry->addr, &at->daddr, f->v6);
}

/* Whether the flow is still the one that has just passed, and its replies still come from the service. */
OUT_OF_LINE int service_reverse_is_current(const struct addresses *at, const struct flow *f)
{
	struct ct_query *q = ct_query();

	if (!at || !f || !q)
		return true;
	service_query(q, f);
	service_key(&q->key, WR_CT_FLOW, at, f->sport, f->dport, f);
	if (!ct_lookup() || !(q->ct.flags & WR_CT_TRANSLATED) || q->ct.initiator != f->nat.client)
		return false;
	ct_key_set_kind(&q->key, WR_CT_REVERSE_NAT, f->v6);
	return ct_lookup() && service_reverse_is_own((const void *)&q->ct, f);
}

/* Fills the verdict of the client's packets to the service; `invalidate`: invalidates it. */
static __always_inline void verdict_fill_request(const struct addresses *at, const struct flow *f, __u32 invalidate,
						 const bool v6)
{
	const struct verdict_nat_to to = { .addr = at->daddr, .port = f->dport };
	struct packet p = { .sport = f->sport,
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
static __always_inline void verdict_fill_reply(const struct addresses *at, const struct flow *f, __u32 invalidate,
					       const bool v6)
{
	const struct verdict_nat_to to = { .addr = f->nat.service, .port = f->nat.service_port, .reply = true };
	struct packet p = { .sport = f->dport, .dport = f->sport, .l4_proto = f->l4_proto };

	if (end_is_remote(f->ct.responder)) {
		p.ifindex = f->ct.initiator;
		if (invalidate)
			verdict_invalidate(&p, VERDICT_RECEIVED, &at->daddr, v6);
		else
			verdict_nat_fill(&p, &at->daddr, f->ct.responder, &f->ct, true, &to, VERDICT_RECEIVED, v6);
	} else {
		p.ifindex = f->ct.responder;
		if (invalidate)
			verdict_invalidate(&p, VERDICT_SENT, &at->saddr, v6);
		else
			verdict_nat_fill(&p, &at->saddr, f->ct.initiator, &f->ct, false, &to, VERDICT_SENT, v6);
	}
}

OUT_OF_LINE int service_cache_reply(const struct addresses *at, const struct flow *f, __u32 invalidate)
{
	if (at && f)
		IN_FAMILY(f->v6, verdict_fill_reply, at, f, invalidate);
	return 0;
}

/* Caches the verdicts of both directions; what they depend on is looked up again afterwards. `at`: as the client sends. */
static __always_inline void service_cache(struct addresses *at, struct flow *f)
{
	if (f->l4_proto != IPPROTO_UDP && service_backend_is_current(at, f)) {
		service_cache_request(at, f, false);
		if (!service_backend_is_current(at, f))
			service_cache_request(at, f, true);
	}
	service_cache_reply(at, f, false);
	if (!service_reverse_is_current(at, f))
		service_cache_reply(at, f, true);
}

/* Invalidates the verdict of the client's packets to the service, which go to another backend from now on. */
OUT_OF_LINE int service_verdict_invalidate(const struct flow *f)
{
	struct packet p = { 0 };

	if (!f || dry_run)
		return 0;
	p.sport = f->nat.client_port;
	p.dport = f->nat.service_port;
	p.l4_proto = f->l4_proto;
	p.ifindex = f->nat.client;
	IN_FAMILY(f->v6, verdict_invalidate, &p, VERDICT_SENT, &f->nat.service);
	return 0;
}

#endif
