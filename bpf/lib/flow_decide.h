/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What becomes of a packet and its flow where a look at the entry does not say: flow_decide(), step by step, out of
 * line. What is written then is in lib/flow_settle.h.
 */
#ifndef WARREN_LIB_FLOW_DECIDE_H
#define WARREN_LIB_FLOW_DECIDE_H

#include <linux/tcp.h>

#include "lib/fib.h"
#include "lib/flow.h"
#include "lib/flow_entry.h"
#include "lib/flow_settle.h"
#include "lib/judge.h"
#include "lib/node.h"

/* Whether where the other end is was found under another revision of the cluster. */
static __always_inline bool flow_is_lost(struct flow *f)
{
	const bool own = f->forward; /* of what an endpoint sends, which alone is looked up */
	const __u32 theirs = other_end(&f->ct, own);

	if (end_is_local(theirs) || ((f->ct.flags & WR_CT_VIA_STACK) && !theirs))
		return false;
	return *other_revision(&f->ct, own) != f->cluster_revision;
}

/* What there is to say of f->ct, a copy of the packet's entry, if there is one. */
OUT_OF_LINE int flow_load(struct flow *f)
{
	if (!f || !f->found)
		return 0;
	/* What a service's entry says is nothing that a flow has. */
	if (ct_expired(&f->ct, ct_now()) || (f->ct.flags & WR_CT_SERVICE))
		f->found = FLOW_DEAD;
	f->forward = f->swapped == (f->ct.flags & WR_CT_SWAPPED);
	f->lost = f->found == FLOW_LIVES && way_is_out(f->way) && flow_is_lost(f);
	return 0;
}

/*
 * An address in another node's pod CIDR. WR_ID_UNKNOWN: nobody has said whose it is; the entry may have learnt it from
 * what came from there.
 */
static __always_inline void locate_remote(struct flow *f, const union addr *addr, __u32 slot, __u64 identity,
					  const bool v6)
{
	const struct wr_node *node = node_get(slot);

	f->peer_ifindex = WR_REMOTE | slot;
	f->peer_identity = identity;
	if (!identity && node && node_has_gateway(node, addr, v6))
		f->peer_identity = WR_ID_REMOTE_NODE;
}

static __always_inline void locate(struct __sk_buff *skb, const struct addresses *at, struct flow *f, const bool v6)
{
	const struct wr_endpoint *peer = NULL;
	__u64 identity;
	__u32 slot;

	if (f->way == WAY_FROM_POD)
		f->peer_ifindex = endpoint_by_address(&at->daddr, &peer, v6);
	if (end_is_local(f->peer_ifindex)) {
		f->peer_identity = peer ? peer->identity : WR_ID_UNKNOWN;
		return;
	}
	identity = identity_by_address(&at->daddr, v6);
	slot = node_by_cidr(&at->daddr, v6);
	if (slot) {
		locate_remote(f, &at->daddr, slot, identity, v6);
		return;
	}
	f->peer_ifindex = 0;
	f->own_address_of = node_by_address(&at->daddr, v6);
	if (!identity && f->own_address_of)
		identity = WR_ID_REMOTE_NODE;
	f->peer_identity = identity ? identity : destination_is_host(skb, at, v6) ? WR_ID_HOST : WR_ID_WORLD;
}

/* Whose the address is that an endpoint sends to. */
OUT_OF_LINE int flow_locate(struct __sk_buff *skb, const struct addresses *at, struct flow *f)
{
	if (!at || !f)
		return 0;
	f->located = true;
	read_barrier(); /* the revision has been read */
	IN_FAMILY(f->v6, locate, skb, at, f);
	return 0;
}

/* The packet belongs to no entry: what was found, if anything, is dead or about others. */
static __always_inline enum wr_reason flow_unknown(struct flow *f, bool lives)
{
	if (f->found != FLOW_NONE)
		trace_step(WR_TRACE_CT_FOUND | WR_TRACE_CT_STALE);
	if (f->traits & FOLLOWS)
		return f->traits & RELATED ? WR_REASON_ICMP_ERROR : WR_REASON_FRAGMENT;
	if (!f->ifindex && f->way == WAY_FROM_NODE)
		return WR_REASON_TUNNEL_TARGET;
	f->step = FLOW_BEGINS;
	f->forward = true;
	f->replaced_owner = ct_owner(&f->ct);
	f->lives = lives && !(f->ct.flags & CT_DENIED) ? FLOW_YIELDS : FLOW_REPLACES;
	if (f->ct.flags & WR_CT_TRANSLATED)
		f->traits |= REPLACES;
	__builtin_memset(&f->ct, 0, sizeof(f->ct));
	return WR_REASON_NONE;
}

/*
 * The world is on no node. Its packets come by this node's stack or by another's, which may have translated them, and
 * the answers go where the last one came from. Another node that has gone can undo nothing: then the world is where it
 * always was. Whether the node in that slot is still the same one is not asked: one that has forwarded nothing takes no
 * answer.
 */
static __always_inline void flow_follow_world(struct flow *f)
{
	const __u32 by = f->ct.initiator;

	if (f->forward == way_is_out(f->way) || f->ct.at[WR_INGRESS].peer != WR_ID_WORLD ||
	    f->peer_identity != WR_ID_WORLD)
		return;
	if (way_is_out(f->way)) {
		if (end_is_remote(by) && node_get(by & ~WR_REMOTE))
			f->peer_ifindex = by;
	} else if (!end_is_local(by) && f->peer_ifindex != by && !(f->traits & RELATED)) {
		f->moved = true;
		f->ct.initiator = f->peer_ifindex;
		f->ct.flags &= ~WR_CT_VIA_STACK;
		f->ct.flags |= f->peer_ifindex ? 0 : WR_CT_VIA_STACK;
	}
}

/*
 * What is known now of the end that is no endpoint of this node, if it was looked up: another node may have its
 * address, or there is another slot for the node. Then the entry follows; everything else is found in the packet's way.
 */
static __always_inline void flow_follow(struct flow *f)
{
	const bool own = f->forward == way_is_out(f->way);
	const __u32 theirs = other_end(&f->ct, own);

	/* An error may be from any node on the way. */
	if (!end_is_remote(theirs) || (f->way == WAY_FROM_NODE && (f->traits & RELATED)))
		return;
	/* It was the node itself that began the flow, from an address which does not lead there otherwise. */
	if (f->own_address_of)
		f->peer_ifindex = WR_REMOTE | f->own_address_of;
	if (!end_is_remote(f->peer_ifindex) || f->peer_ifindex == theirs)
		return;
	f->moved = true;
	if (own)
		f->ct.responder = f->peer_ifindex;
	else
		f->ct.initiator = f->peer_ifindex;
}

/* Whether flow_locate() has found the other end where, or as whom, the entry does not have it. */
static __always_inline bool flow_is_elsewhere(const struct flow *f)
{
	return f->located && !end_is_local(other_end(&f->ct, f->forward)) &&
	       f->peer_ifindex != other_end(&f->ct, f->forward);
}

/* The entry is about where the stranger is now, and as whom it was judged. */
static __always_inline void flow_found_again(struct flow *f)
{
	*other_revision(&f->ct, f->forward) = f->cluster_revision;
	f->moved = true;
}

/* Whether the entry, which is to have these flags, lives on for more than it would without the packet. */
static __always_inline bool flow_refreshes(const struct flow *f, __u32 flags)
{
	return (__s32)(ct_now() + ct_life(f->l4_proto, flags) - f->ct.expires) > REFRESH_TICKS;
}

/* The packet belongs to the entry that was found, of which f->ct is a copy. */
static __always_inline void flow_known(struct packet *p, struct flow *f, const struct found *found, bool current)
{
	__u32 next = tcp_progress(p, found);

	if (p->l4_proto != IPPROTO_TCP && !(found->flags & WR_CT_ANSWERED) && !found->forward)
		f->answers = FLOW_REPLIED;
	f->changes = next != found->flags;
	f->refreshes = flow_refreshes(f, next);
	f->turns = packet_turns(p, found);
	f->stranger = end_is_local(f->ct.initiator) ? f->ct.at[WR_EGRESS].peer : f->ct.at[WR_INGRESS].peer;
	f->via_stack = found->flags & WR_CT_VIA_STACK;
	if (way_is_out(f->way)) {
		if (f->located && f->peer_identity) {
			current = current && f->stranger == f->peer_identity;
			f->stranger = f->peer_identity;
		}
		f->peer_ifindex = other_end(&f->ct, f->forward);
		f->peer_identity = found->other ? found->other->identity : f->stranger;
	} else if ((f->forward || f->way == WAY_FROM_NODE) && !(p->traits & RELATED)) {
		f->stranger = p->peer_identity;
	}
	trace_entry(&f->ct, WR_TRACE_CT_FOUND | (f->where == CT_IN_TABLE ? 0 : WR_TRACE_CT_NEW) |
			   (f->forward ? 0 : WR_TRACE_CT_REPLY) | (p->traits & RELATED ? WR_TRACE_CT_RELATED : 0));
	if (!current) {
		trace_step(WR_TRACE_CT_REJUDGED);
		f->step = FLOW_STALE;
		next |= found->flags & CT_DENIED ? 0 : WR_CT_ALLOWED_BEFORE;
	} else if (found->flags & CT_DENIED) {
		f->step = FLOW_DENIED;
	} else if (f->turns) {
		f->step = FLOW_TURNS;
	} else if (dry_run || (p->traits & FOLLOWS)) {
		f->step = FLOW_PASSES;
	} else {
		f->step = f->answers ? FLOW_ANSWERED : f->moved ? FLOW_FOUND_AGAIN : FLOW_MOVES_ON;
	}
	f->ct.flags = next;
}

/* What is to be done about the packet's flow. */
OUT_OF_LINE int flow_look(struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	struct found found = { 0 };
	bool fits;

	if (!at || !f)
		return WR_REASON_NO_ENDPOINT;
	/* What a pod sends to a service that is none any more. */
	if (f->found && (f->ct.flags & WR_CT_SERVICE) && f->way != WAY_FROM_POD)
		return WR_REASON_SERVICE_CLASH;
	if (f->found != FLOW_LIVES)
		return flow_unknown(f, false);
	flow_follow_world(f);
	flow_follow(f);
	p.ifindex = f->ifindex;
	p.l4_proto = f->l4_proto;
	p.peer_ifindex = f->peer_ifindex;
	p.peer_identity = f->peer_identity;
	p.traits = f->traits;
	found.ct = &f->ct;
	found.flags = f->ct.flags;
	found.forward = f->forward;
	fits = flow_fits(&p, &found, f->way, f->v6) && !flow_is_elsewhere(f);
	if (!fits || flow_begins_anew(&p, &found)) {
		/* Against a living flow's direction, or from elsewhere in the place of a flow towards the pod. */
		const enum wr_reason reason =
			flow_unknown(f, fits ? !f->forward :
					       !way_is_out(f->way) && f->forward && f->ct.responder == p.ifindex);

		if (fits && !found.forward && connection_stands(f->l4_proto, found.flags))
			f->lives = FLOW_NEVER_REPLACES;
		return reason;
	}
	if (flow_is_mistranslated(&p, &found, f->way))
		return WR_REASON_SERVICE_CLASH;
	p.ep = p.ifindex ? endpoint_get(p.ifindex) : NULL;
	if (p.ifindex && !p.ep)
		return WR_REASON_NO_ENDPOINT;
	p.word.both = p.ep ? policy_word_read(p.ep) : 0;
	if (f->located)
		flow_found_again(f);
	flow_known(&p, f, &found, flow_is_current(&p, &found, f->way));
	return WR_REASON_NONE;
}

/* What a TCP segment's numbers say about what flow_look() has found. */
static __always_inline void segment(struct __sk_buff *skb, struct flow *f)
{
	struct numbers n = { 0 };

	if (f->step != FLOW_BEGINS && (f->ct.flags & WR_CT_ESTABLISHED) && !(f->traits & TCP_RST) &&
	    ends_are_checked(&f->ct, f->stranger))
		return;
	if (!(f->traits & FOLLOWS) &&
	    !bpf_skb_load_bytes(skb, (f->traits >> L4_OFF_SHIFT) + __builtin_offsetof(struct tcphdr, seq), &n, sizeof(n))) {
		n.seq = bpf_ntohl(n.seq);
		n.ack = bpf_ntohl(n.ack);
		if (f->step == FLOW_BEGINS)
			segment_begins(f, &n);
		else
			segment_goes_on(f, &n);
	}
}

OUT_OF_LINE int flow_segment(struct __sk_buff *skb, struct flow *f)
{
	if (!f)
		return 0;
	segment(skb, f);
	f->ack[0] = f->ct.ack[0];
	f->ack[1] = f->ct.ack[1];
	return 0;
}

/* Between whom the flow is that this packet begins. */
static __always_inline enum wr_reason flow_ends(struct flow *f)
{
	const bool sent = way_is_out(f->way);
	const __u32 from = sent ? f->ifindex : f->peer_ifindex, to = sent ? f->peer_ifindex : f->ifindex;

	if (sent && end_is_local(to) && !endpoint_get(to))
		return WR_REASON_NO_ENDPOINT;
	if (end_is_remote(f->peer_ifindex) && !f->peer_identity)
		f->peer_identity = WR_ID_SOME_POD;
	f->stranger = f->peer_identity;
	f->ct.flags = f->swapped * WR_CT_SWAPPED | (f->traits & TRANSLATED);
	if (f->way == WAY_TO_POD || f->way == WAY_FROM_HOST)
		f->ct.flags |= WR_CT_VIA_STACK;
	f->ct.initiator = from;
	f->ct.responder = to;
	if (!end_is_local(f->peer_ifindex))
		*other_revision(&f->ct, sent) = f->cluster_revision;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason flow_decide(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	flow_load(f);
	if (f->lost)
		flow_locate(skb, at, f);
	reason = flow_look(at, f);
	if (!reason && f->step == FLOW_BEGINS) {
		if (way_is_out(f->way) && !f->located)
			flow_locate(skb, at, f);
		reason = flow_ends(f);
	}
	if (!reason && f->l4_proto == IPPROTO_TCP)
		flow_segment(skb, f);
	if (reason || f->step == FLOW_PASSES)
		return reason;
	if (f->step != FLOW_ANSWERED && f->step != FLOW_MOVES_ON && f->step != FLOW_FOUND_AGAIN)
		judge_flow(at, f);
	return flow_settle(f);
}

#endif
