/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast paths of a flow that has an entry. An established flow is in ct: flow_continues() changes no more than its
 * timeout. A young flow is in a window, allowed and valid, and the packet changes its state (SYN-ACK, acknowledgement,
 * FIN, the first reply to a datagram): flow_advance() is one function instead of flow_decide()'s six.
 */
#ifndef WARREN_LIB_FLOW_FAST_H
#define WARREN_LIB_FLOW_FAST_H

#include "lib/flow_decide.h"
#include "lib/flow_verdict.h"

/* --- established flows -------------------------------------------------------------------------------------------- */

OUT_OF_LINE int segment_numbers(struct __sk_buff *skb, __u32 flags, struct numbers *n)
{
	return n && numbers_read(skb, flags, n);
}

/* Whether the packet is an endpoint's or a node's, to an end whose packets have no source that is checked. */
static __always_inline bool flow_is_guarded(const struct packet *p, const struct flow_entry *entry,
					    const enum hook hook)
{
	const __u32 peer_end = other_end(entry->ct, flow_is_own(entry, hook));

	if (entry->other)
		return false;
	if (hook == HOOK_FROM_NODE)
		return !p->ifindex;
	return hook == HOOK_FROM_POD &&
	       (!peer_end || (!entry->forward && entry->ct->at[WR_INGRESS].peer == WR_ID_WORLD));
}

/*
 * Stores what the world's packets are compared with: the numbers of segments to it (lib/tcp_segment.h), and when it has
 * last sent a packet of another protocol (flow_follow_world()).
 */
static __always_inline void flow_record(const struct packet *p, const struct flow_entry *entry, bool guarded,
					const enum hook hook)
{
	struct numbers n = { 0 };
	const __u32 now = ct_now();

	if (p->l4_proto == IPPROTO_TCP) {
		if (guarded && (p->flags & TCP_ACK) && segment_numbers(p->skb, p->flags, &n))
			numbers_record(entry->ct, entry->forward, &n);
	} else if (!hook_is_egress(hook) && entry->forward && p->peer_identity == WR_ID_WORLD &&
		   now - entry->ct->ack[0] > REFRESH_TICKS) {
		entry->ct->ack[0] = now;
	}
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
	if ((entry->flags & (WR_CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED)) ||
	    !ct_is_established(p->l4_proto, entry->flags))
		return false;
	if (flow_is_new(p, entry) || !flow_matches(p, entry, hook, v6) || !flow_is_current(p, entry, hook))
		return false;
	expires = ct_now() + wr_ct_life(p->l4_proto, entry->flags);
	if (expires - entry->ct->expires + REFRESH_TICKS > 2 * REFRESH_TICKS)
		entry->ct->expires = expires;
	return true;
}

/* Whether the packet passes in the fast path, and its peer. Caches the verdict if `place` has a slot. */
static __always_inline bool flow_continues(struct packet *p, struct flow_entry *entry, const struct verdict_place *place,
					   const struct verdict_basis *basis, const enum hook hook, const bool v6)
{
	struct ct_query *q = ct_query();
	bool guarded;

	if (!q || !flow_fast_path(p, q, entry, hook, v6))
		return false;
	p->via_stack = entry->flags & WR_CT_VIA_STACK;
	if (hook == HOOK_FROM_POD) {
		p->peer = entry->other;
		p->peer_ifindex = other_end(entry->ct, entry->forward);
		p->peer_identity = p->peer ? p->peer->identity : WR_ID_UNKNOWN;
	}
	guarded = flow_is_guarded(p, entry, hook);
	if ((hook == HOOK_FROM_POD || hook == HOOK_FROM_NODE) && !p->via_stack && p->peer_ifindex &&
	    !(guarded && p->l4_proto == IPPROTO_TCP))
		verdict_fill_direct(p, place, basis, p->peer_ifindex, ct_now(),
				    hook == HOOK_FROM_POD ? VERDICT_SENT : VERDICT_RECEIVED, v6);
	flow_record(p, entry, guarded, hook);
	return true;
}

/* --- young flows -------------------------------------------------------------------------------------------------- */

/* Entries that need flow_decide(). */
#define FLOW_SPECIAL (WR_CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED | WR_CT_VIA_STACK)

/*
 * Whether flow_classify() would accept the entry for this packet and change only its state. Excluded are flows of the
 * world, which may move to another node (flow_follow_world()); unreplied flows, whose destination may be a service by
 * now; and long-lived flows, which move to ct.
 */
static __always_inline bool flow_advances(struct packet *p, struct flow *f, struct flow_entry *entry)
{
	if (f->found != FLOW_LIVE || f->where == CT_IN_TABLE || (f->ct.flags & FLOW_SPECIAL) ||
	    (f->flags & (BEGINS | ASSOCIATES | FOLLOWS | TCP_RST)) || ct_expired(&f->ct, ct_now()))
		return false;
	if (!end_is_local(f->ct.initiator) && f->ct.at[WR_INGRESS].peer == WR_ID_WORLD)
		return false;
	f->forward = f->swapped == (f->ct.flags & WR_CT_SWAPPED);
	if (f->forward && !(f->ct.flags & WR_CT_REPLIED))
		return false;
	flow_view(f, p, entry);
	p->ep = endpoint_get(p->ifindex);
	p->policy_tag.both = p->ep ? policy_tag_read(p->ep) : 0;
	return p->ep && !packet_is_reversed(p, entry) && flow_matches(p, entry, f->hook, f->v6) &&
	       flow_is_current(p, entry, f->hook) &&
	       !flow_refreshes(f, tcp_progress(f, p, entry));
}

/*
 * True: the packet passes, and its entry is up to date. False: nothing has changed, and the packet needs flow_decide().
 */
OUT_OF_LINE int flow_advance(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	struct flow_entry entry = { 0 };
	struct ct_query *q = ct_query();

	if (!at || !f || !q || dry_run || (f->hook != HOOK_FROM_POD && f->hook != HOOK_FROM_NODE) ||
	    !flow_advances(&p, f, &entry))
		return false;
	flow_existing(&p, f, &entry, true);
	if (f->l4_proto == IPPROTO_TCP)
		segment(skb, f);
	f->ct.flags |= flow_reply_flags(f);
	if (f->step == FLOW_PASS || (f->step == FLOW_REFRESH && !f->changes))
		return true;
	f->ct.expires = ct_now() + wr_ct_life(f->l4_proto, f->ct.flags);
	IN_FAMILY(f->v6, flow_update, f, &q->key, &f->ct);
	return true;
}

/* Sets the peer of a packet that flow_advance() has passed, from its flow's entry. */
static __always_inline enum wr_reason flow_advanced(struct packet *p, const struct flow *f,
						    const struct verdict_place *place,
						    const struct verdict_basis *basis, const enum hook hook,
						    const bool v6)
{
	enum wr_reason reason = WR_REASON_NONE;

	if (hook == HOOK_FROM_POD) {
		p->peer_ifindex = f->peer_ifindex;
		p->peer_identity = f->peer_identity;
		reason = peer_get(p);
	}
	if (!reason)
		flow_cache(p, f, place, basis, hook, v6);
	return reason;
}

#endif
