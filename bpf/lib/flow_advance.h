/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The fast path of a young flow's packets: SYN-ACK, acknowledgement, FIN, the first reply to a datagram. The entry is in a
 * window, allowed and current, and the packet moves its state on; so it is one function instead of flow_decide()'s six.
 */
#ifndef WARREN_LIB_FLOW_ADVANCE_H
#define WARREN_LIB_FLOW_ADVANCE_H

#include "lib/flow_decide.h"

/* Entries that take flow_decide(). */
#define FLOW_SPECIAL (CT_DENIED | WR_CT_RESET | WR_CT_SERVICE | WR_CT_TRANSLATED | WR_CT_VIA_STACK)

/*
 * Whether the entry is one that flow_look() would find to be the packet's, without a change to anything but its state. A
 * flow of the world may move to another node (flow_follow_world()); what was not replied to may be for a service by now; one
 * that lasts moves to ct.
 */
static __always_inline bool flow_advances(struct packet *p, struct flow *f, struct found *found)
{
	if (f->found != FLOW_LIVES || f->where == CT_IN_TABLE || (f->ct.flags & FLOW_SPECIAL) ||
	    (f->traits & (BEGINS | ASSOCIATES | FOLLOWS | TCP_RST)) || ct_expired(&f->ct, ct_now()))
		return false;
	if (!end_is_local(f->ct.initiator) && f->ct.at[WR_INGRESS].peer == WR_ID_WORLD)
		return false;
	f->forward = f->swapped == (f->ct.flags & WR_CT_SWAPPED);
	if (f->forward && !(f->ct.flags & WR_CT_ANSWERED))
		return false;
	p->ifindex = f->ifindex;
	p->l4_proto = f->l4_proto;
	p->peer_ifindex = f->peer_ifindex;
	p->peer_identity = f->peer_identity;
	p->traits = f->traits;
	found->ct = &f->ct;
	found->flags = f->ct.flags;
	found->forward = f->forward;
	p->ep = endpoint_get(p->ifindex);
	p->word.both = p->ep ? policy_word_read(p->ep) : 0;
	return p->ep && !packet_turns(p, found) && flow_fits(p, found, f->way, f->v6) && flow_is_current(p, found, f->way) &&
	       !flow_refreshes(f, tcp_progress(p, found));
}

/* True: the packet passes, and its entry is as it is to be. False: it takes flow_decide(), and nothing has changed. */
OUT_OF_LINE int flow_advance(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	struct found found = { 0 };
	struct ct_query *q = ct_query();

	if (!at || !f || !q || dry_run || (f->way != WAY_FROM_POD && f->way != WAY_FROM_NODE) || !flow_advances(&p, f, &found))
		return false;
	flow_known(&p, f, &found, true);
	if (f->l4_proto == IPPROTO_TCP)
		segment(skb, f);
	f->ct.flags |= flow_shows(f);
	if (f->step == FLOW_PASSES || (f->step == FLOW_MOVES_ON && !f->changes))
		return true;
	f->ct.expires = ct_now() + ct_life(f->l4_proto, f->ct.flags);
	IN_FAMILY(f->v6, flow_move_on, f, &q->key, &f->ct);
	return true;
}

#endif
