/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path of a young flow's packets: SYN-ACK, acknowledgement, FIN, the first reply to a datagram. The entry is
 * in a window, allowed and valid, and the packet changes its state. This is one function instead of flow_decide()'s
 * six.
 */
#ifndef WARREN_LIB_FLOW_ADVANCE_H
#define WARREN_LIB_FLOW_ADVANCE_H

#include "lib/flow_decide.h"

/* Entries that need flow_decide(). */
#define FLOW_SPECIAL (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED | WR_CT_VIA_STACK)

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
	p->ifindex = f->ifindex;
	p->l4_proto = f->l4_proto;
	p->peer_ifindex = f->peer_ifindex;
	p->peer_identity = f->peer_identity;
	p->flags = f->flags;
	entry->ct = &f->ct;
	entry->flags = f->ct.flags;
	entry->forward = f->forward;
	p->ep = endpoint_get(p->ifindex);
	p->policy_tag.both = p->ep ? policy_tag_read(p->ep) : 0;
	return p->ep && !packet_is_reversed(p, entry) && flow_matches(p, entry, f->hook, f->v6) &&
	       flow_is_current(p, entry, f->hook) &&
	       !flow_refreshes(f, tcp_progress(p, entry));
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
	f->ct.expires = ct_now() + ct_life(f->l4_proto, f->ct.flags);
	IN_FAMILY(f->v6, flow_update, f, &q->key, &f->ct);
	return true;
}

#endif
