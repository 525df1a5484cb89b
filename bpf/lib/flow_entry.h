/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The conntrack entry of a packet's flow: its lookup, and whether it belongs to the packet and is valid. */
#ifndef WARREN_LIB_FLOW_ENTRY_H
#define WARREN_LIB_FLOW_ENTRY_H

#include "lib/cluster.h"
#include "lib/ct_entry.h"
#include "lib/endpoint.h"
#include "lib/flow.h"

/* A packet's conntrack entry. */
struct flow_entry {
	struct wr_ct *ct;
	const struct wr_endpoint *other; /* set by flow_matches(): the other end, if it is an endpoint */
	__u32 swapped;    /* the packet's source is the key's end 1 */
	__u32 flags;      /* the entry's, read once */
	bool forward;     /* the packet goes from initiator to responder */
};

/* Sets p->peer, the endpoint p->peer_ifindex, if that is one. */
static __always_inline enum wr_reason peer_get(struct packet *p)
{
	const bool local = end_is_local(p->peer_ifindex);

	p->peer = local ? endpoint_get(p->peer_ifindex) : NULL;
	return local && !p->peer ? WR_REASON_NO_ENDPOINT : WR_REASON_NONE;
}

/* Looks up the entry in ct4/6: the pointer is only read; see lib/ct_table.h. */
static __always_inline bool flow_find(struct flow_entry *entry, const union ct_key *key, const bool v6)
{
	entry->ct = ct_table_find(key, v6);
	if (!entry->ct)
		return false;
	entry->flags = entry->ct->flags;
	entry->forward = !(entry->swapped ^ (entry->flags & WR_CT_SWAPPED));
	return !ct_expired(entry->ct, ct_now());
}

/* Whether the endpoint whose policy is evaluated initiated the flow. */
static __always_inline bool flow_is_own(const struct flow_entry *entry, const enum hook hook)
{
	return entry->forward == hook_is_egress(hook);
}

static __always_inline __u32 other_end(const struct wr_ct *ct, bool own)
{
	return own ? ct->responder : ct->initiator;
}

/*
 * The cluster revision at which the other end was located. The mask is for the verifier, which does not track a bool as
 * 0 or 1.
 */
static __always_inline __u32 *other_revision(struct wr_ct *ct, bool own)
{
	__u32 direction = own ? WR_INGRESS : WR_EGRESS;

	asm volatile("" : "+r"(direction));
	return &ct->at[direction & 1].revision;
}

/* The acknowledgement number of an end: 0 the initiator, else the responder. */
static __always_inline __u32 *ack_of(struct wr_ct *ct, bool responder)
{
	__u32 end = responder;

	asm volatile("" : "+r"(end));
	return &ct->ack[end & 1];
}

/*
 * Whether the ends of the entry are the ends of the packet: an address may belong to another endpoint by now. If the
 * stack translates the flow, the other end's address is not compared. The location of an end that is not an endpoint of
 * this node was looked up when the entry was created; for packets that a pod sends, flow_is_current() checks that
 * location.
 */
static __always_inline bool flow_matches(const struct packet *p, struct flow_entry *entry, const enum hook hook,
					 const bool v6)
{
	const struct wr_ct *ct = entry->ct;
	const bool sent = hook_is_egress(hook), own = flow_is_own(entry, hook);
	const __u32 own_end = own ? ct->initiator : ct->responder;
	const __u32 peer_end = other_end(ct, own);
	const struct wr_endpoint *owner;

	entry->other = NULL;
	if (own_end != p->ifindex)
		return false;
	if (hook == HOOK_FROM_HOST && peer_end != p->peer_ifindex)
		return false;
	/*
	 * Replies pass on any device: the stack may have translated them. Packets from another node do not pass the
	 * stack.
	 */
	if (!sent && (entry->forward || hook == HOOK_FROM_NODE) && !(p->flags & RELATED) && peer_end != p->peer_ifindex)
		return false;
	if (end_is_remote(peer_end) || !p->ifindex)
		return end_is_remote(peer_end);
	if (!peer_end)
		return !sent || (entry->flags & WR_CT_VIA_STACK) || !endpoint_by_address(&p->at->daddr, &owner, v6);
	entry->other = endpoint_get(peer_end);
	if (!entry->other)
		return false;
	if (entry->flags & WR_CT_VIA_STACK)
		return true;
	return sent ? addr_is_endpoints(&p->at->daddr, entry->other, v6)
		    : addr_is_endpoints(&p->at->saddr, entry->other, v6);
}

/*
 * The same for an end that is not an endpoint of this node. Flows that the stack translates are not checked: the stack
 * knows their other end. For a flow to a pod, the address alone does not show whether the host or the world initiated
 * it.
 */
static __always_inline bool peer_is_current(const struct packet *p, const struct flow_entry *entry,
					    const enum hook hook)
{
	const bool own = flow_is_own(entry, hook);
	const struct wr_policy_verdict *at = entry->ct->at;
	const __u32 revision = own ? at[WR_INGRESS].revision : at[WR_EGRESS].revision;
	const __u64 identity = own ? at[WR_EGRESS].peer : at[WR_INGRESS].peer;

	if (hook_is_egress(hook))
		return ((entry->flags & WR_CT_VIA_STACK) && !other_end(entry->ct, own)) ||
		       revision == cluster_revision();
	if ((hook == HOOK_TO_POD && !entry->forward) || !p->ifindex)
		return true;
	/* The identity of another node's pod may have been unknown here: once it is known, the revision is new. */
	if ((entry->flags & WR_CT_DENIED) && revision != p->cluster_revision)
		return false;
	return (p->flags & RELATED) || identity == p->peer_identity;
}

/* Whether the policies and identities of both ends are still those in the entry. */
static __always_inline bool flow_is_current(const struct packet *p, const struct flow_entry *entry,
					    const enum hook hook)
{
	const bool own = flow_is_own(entry, hook);
	const struct wr_policy_verdict *own_verdict = own ? &entry->ct->at[WR_EGRESS] : &entry->ct->at[WR_INGRESS];
	const struct wr_policy_verdict *peer_verdict = own ? &entry->ct->at[WR_INGRESS] : &entry->ct->at[WR_EGRESS];
	union policy_tag tag;

	if (own_verdict->revision != p->policy_tag.revision)
		return false;
	if (!entry->other || !p->ep)
		return peer_is_current(p, entry, hook);
	tag.both = policy_tag_read(entry->other);
	return peer_verdict->revision == tag.revision && own_verdict->peer == entry->other->identity &&
	       peer_verdict->peer == p->ep->identity;
}

_Static_assert(TRANSLATED == WR_CT_TRANSLATED, "compared by flow_nat_differs()");

/*
 * Whether the entry's NAT is not the packet's: packets that an initiator sends to a service and packets that it sends
 * to the backend itself are never one flow.
 */
static __always_inline bool flow_nat_differs(const struct packet *p, const struct flow_entry *entry,
					     const enum hook hook)
{
	return hook == HOOK_FROM_POD && ((entry->flags ^ p->flags) & WR_CT_TRANSLATED) &&
	       (entry->forward || (p->flags & TRANSLATED));
}

/*
 * Whether the entry is a denial from the start, and the packet belongs to another flow: its direction is the opposite,
 * or it uses the other of a service's and its backend's address. It replies to no packet that was delivered, so it is
 * evaluated in its own direction. A packet that cannot be the first one begins no flow.
 */
static __always_inline bool denial_is_of_other_flow(const struct packet *p, const struct flow_entry *entry)
{
	if (!ct_is_denied_from_start(entry->flags) || (p->flags & (MIDDLE | FOLLOWS)))
		return false;
	return !entry->forward || ((entry->flags ^ p->flags) & WR_CT_TRANSLATED);
}

/*
 * Whether the packet begins a new flow although its key has a live entry: a SYN or an echo request in the opposite
 * direction, a SYN after a close or a denial, or a packet of another flow than the denied one.
 */
static __always_inline bool flow_is_new(const struct packet *p, const struct flow_entry *entry)
{
	if (denial_is_of_other_flow(p, entry))
		return true;
	if (!(p->flags & BEGINS))
		return false;
	return !entry->forward || (p->l4_proto == IPPROTO_TCP &&
				   ((entry->flags & WR_CT_DENIED) || wr_ct_is_closed(p->l4_proto, entry->flags)));
}

/* Sets *p and *entry to what the functions above read of f's packet and entry. */
static __always_inline void flow_view(struct flow *f, struct packet *p, struct flow_entry *entry)
{
	p->ifindex = f->ifindex;
	p->l4_proto = f->l4_proto;
	p->peer_ifindex = f->other_path ? other_end(&f->ct, f->forward == hook_is_egress(f->hook)) : f->peer_ifindex;
	p->peer_identity = f->peer_identity;
	p->cluster_revision = f->cluster_revision;
	p->flags = f->flags;
	entry->ct = &f->ct;
	entry->flags = f->ct.flags;
	entry->forward = f->forward;
}

/* --- lookup in the slow path -------------------------------------------------------------------------------------- */

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

#endif
