/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The slow path: flow_decide() processes a packet and its flow in steps, out of line. lib/flow_commit.h writes the
 * result.
 */
#ifndef WARREN_LIB_FLOW_DECIDE_H
#define WARREN_LIB_FLOW_DECIDE_H

#include "lib/fib.h"
#include "lib/flow.h"
#include "lib/flow_commit.h"
#include "lib/evaluate.h"
#include "lib/node.h"
#include "lib/tcp_segment.h"

/* Whether the other end was located under another revision of the cluster. */
static __always_inline bool peer_is_stale(struct flow *f)
{
	const bool own = f->forward; /* only the receivers of an endpoint's packets are looked up */
	const __u32 peer_end = other_end(&f->ct, own);

	if (end_is_local(peer_end) || ((f->ct.flags & WR_CT_VIA_STACK) && !peer_end))
		return false;
	return *other_revision(&f->ct, own) != f->cluster_revision;
}

/* Checks f->ct, a copy of the packet's entry, if there is one. */
OUT_OF_LINE int flow_load(struct flow *f)
{
	if (!f || !f->found)
		return 0;
	/* A service's entry has no fields of a flow. */
	if (ct_expired(&f->ct, ct_now()) || (f->ct.flags & WR_CT_SERVICE))
		f->found = FLOW_DEAD;
	f->forward = f->swapped == (f->ct.flags & WR_CT_SWAPPED);
	f->peer_stale = f->found == FLOW_LIVE && hook_is_egress(f->hook) && peer_is_stale(f);
	return 0;
}

/*
 * An address in another node's pod CIDR. WR_ID_UNKNOWN: it is not in the ipcache; the entry may have the identity from
 * packets of that node.
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

	if (f->hook == HOOK_FROM_POD)
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

/* Looks up location and identity of the destination of an endpoint's packet. */
OUT_OF_LINE int flow_locate(struct __sk_buff *skb, const struct addresses *at, struct flow *f)
{
	if (!at || !f)
		return 0;
	f->located = true;
	read_barrier(); /* the revision must be read before the maps */
	IN_FAMILY(f->v6, locate, skb, at, f);
	return 0;
}

/* The packet begins a new flow: the entry found, if any, has expired or belongs to another flow. */
static __always_inline enum wr_reason flow_new(struct flow *f, bool lives)
{
	if (f->found != FLOW_NONE)
		trace_step(WR_TRACE_CT_FOUND | WR_TRACE_CT_STALE);
	if (f->flags & FOLLOWS)
		return f->flags & RELATED ? WR_REASON_ICMP_ERROR : WR_REASON_FRAGMENT;
	if (!f->ifindex && f->hook == HOOK_FROM_NODE)
		return WR_REASON_TUNNEL_TARGET;
	f->step = FLOW_NEW;
	f->forward = true;
	f->replaced_owner = ct_owner(&f->ct);
	f->replace = lives && !(f->ct.flags & CT_DENIED) ? FLOW_REPLACE_IF_ALLOWED : FLOW_REPLACE_ANY;
	if (f->ct.flags & WR_CT_TRANSLATED)
		f->flags |= REPLACES;
	__builtin_memset(&f->ct, 0, sizeof(f->ct));
	return WR_REASON_NONE;
}

/*
 * World addresses are on no node: their packets arrive through this node's stack or another's, which may translate
 * them. Replies go where the last packet came from. If that other node was deleted, the world is reached through this
 * node. It is not checked whether the slot still has the same node: a node that has forwarded nothing accepts no reply.
 */
static __always_inline void flow_follow_world(struct flow *f)
{
	const __u32 by = f->ct.initiator;

	/* Replies of a service to its client outside go to the node that the client uses. */
	if ((f->ct.flags & WR_CT_TRANSLATED) || f->forward == hook_is_egress(f->hook) || f->ct.at[WR_INGRESS].peer != WR_ID_WORLD ||
	    f->peer_identity != WR_ID_WORLD)
		return;
	if (hook_is_egress(f->hook)) {
		if (end_is_remote(by) && node_get(by & ~WR_REMOTE))
			f->peer_ifindex = by;
	} else if (!end_is_local(by) && f->peer_ifindex != by && !(f->flags & RELATED)) {
		f->moved = true;
		f->ct.initiator = f->peer_ifindex;
		f->ct.flags &= ~WR_CT_VIA_STACK;
		f->ct.flags |= f->peer_ifindex ? 0 : WR_CT_VIA_STACK;
	}
}

/*
 * Updates the location of the end that is not an endpoint of this node, if it was looked up: another node may have its
 * address, or the node has another slot. For packets from other nodes the location comes with the packet.
 */
static __always_inline void flow_follow(struct flow *f)
{
	const bool own = f->forward == hook_is_egress(f->hook);
	const __u32 peer_end = other_end(&f->ct, own);

	/* Any node on the path may send an error. */
	if (!end_is_remote(peer_end) || (f->hook == HOOK_FROM_NODE && (f->flags & RELATED)))
		return;
	/* The node itself initiated the flow, from an address that no pod CIDR leads to. */
	if (f->own_address_of)
		f->peer_ifindex = WR_REMOTE | f->own_address_of;
	if (!end_is_remote(f->peer_ifindex) || f->peer_ifindex == peer_end)
		return;
	f->moved = true;
	if (own)
		f->ct.responder = f->peer_ifindex;
	else
		f->ct.initiator = f->peer_ifindex;
}

/* Whether flow_locate() has found the other end at another location than the entry's. */
static __always_inline bool flow_is_elsewhere(const struct flow *f)
{
	return f->located && !end_is_local(other_end(&f->ct, f->forward)) &&
	       f->peer_ifindex != other_end(&f->ct, f->forward);
}

/* Stores the current revision: the entry's location and identity of the other end have been looked up. */
static __always_inline void flow_revalidate(struct flow *f)
{
	*other_revision(&f->ct, f->forward) = f->cluster_revision;
	f->moved = true;
}

/* Whether the packet extends the timeout of the entry, which will have these flags. */
static __always_inline bool flow_refreshes(const struct flow *f, __u32 flags)
{
	return (__s32)(ct_now() + ct_life(f->l4_proto, flags) - f->ct.expires) > REFRESH_TICKS;
}

/* The packet belongs to the entry that was found: sets f's state. `current`: the entry's verdicts are valid. */
static __always_inline void flow_existing(struct packet *p, struct flow *f, const struct flow_entry *entry,
					  bool current)
{
	__u32 next = tcp_progress(p, entry);

	if (p->l4_proto != IPPROTO_TCP && !(entry->flags & WR_CT_REPLIED) && !entry->forward)
		f->reply = FLOW_REPLIED;
	f->changes = next != entry->flags;
	f->refreshes = flow_refreshes(f, next);
	f->reversed = packet_is_reversed(p, entry);
	f->peer = end_is_local(f->ct.initiator) ? f->ct.at[WR_EGRESS].peer : f->ct.at[WR_INGRESS].peer;
	f->via_stack = entry->flags & WR_CT_VIA_STACK;
	if (hook_is_egress(f->hook)) {
		if (f->located && f->peer_identity) {
			current = current && f->peer == f->peer_identity;
			f->peer = f->peer_identity;
		}
		f->peer_ifindex = other_end(&f->ct, f->forward);
		f->peer_identity = entry->other ? entry->other->identity : f->peer;
	} else if ((f->forward || f->hook == HOOK_FROM_NODE) && !(p->flags & RELATED)) {
		f->peer = p->peer_identity;
	}
	trace_entry(&f->ct, WR_TRACE_CT_FOUND | (f->where == CT_IN_TABLE ? 0 : WR_TRACE_CT_NEW) |
			   (f->forward ? 0 : WR_TRACE_CT_REPLY) | (p->flags & RELATED ? WR_TRACE_CT_RELATED : 0));
	if (!current) {
		trace_step(WR_TRACE_CT_REEVALUATED);
		f->step = FLOW_STALE;
		next |= entry->flags & CT_DENIED ? 0 : WR_CT_ALLOWED_BEFORE;
		/* The initiator's identity came with the packet, and is evaluated under this revision. */
		if (f->forward && !hook_is_egress(f->hook))
			f->ct.at[WR_EGRESS].revision = f->cluster_revision;
	} else if (entry->flags & CT_DENIED) {
		f->step = FLOW_DENIED;
	} else if (f->reversed) {
		f->step = FLOW_REVERSED;
	} else if (dry_run || (p->flags & FOLLOWS)) {
		f->step = FLOW_PASS;
	} else {
		f->step = f->reply ? FLOW_PROGRESS : f->moved ? FLOW_REVALIDATED : FLOW_REFRESH;
	}
	f->ct.flags = next;
}

/* Selects f->step. */
OUT_OF_LINE int flow_classify(struct addresses *at, struct flow *f)
{
	struct packet p = { .at = at };
	struct flow_entry entry = { 0 };
	bool matches;

	if (!at || !f)
		return WR_REASON_NO_ENDPOINT;
	/* A pod's packet to an address that is no longer a service's. */
	if (f->found && (f->ct.flags & WR_CT_SERVICE) && f->hook != HOOK_FROM_POD)
		return WR_REASON_SERVICE_CLASH;
	if (f->found != FLOW_LIVE)
		return flow_new(f, false);
	flow_follow_world(f);
	flow_follow(f);
	flow_view(f, &p, &entry);
	matches = flow_matches(&p, &entry, f->hook, f->v6) && !flow_is_elsewhere(f);
	if (!matches || flow_is_new(&p, &entry)) {
		/* A flow of this pod with a client outside, through a service. */
		const bool external = (f->ct.flags & WR_CT_TRANSLATED) && !f->ct.initiator && f->ct.responder == p.ifindex;
		/* Against the direction of a live flow, or from another end in place of a flow to the pod. */
		const enum wr_reason reason =
			flow_new(f, matches ? !f->forward :
					       !hook_is_egress(f->hook) && f->forward && f->ct.responder == p.ifindex);

		if ((matches ? !entry.forward : external) && tcp_is_open(f->l4_proto, entry.flags))
			f->replace = FLOW_REPLACE_NEVER;
		return reason;
	}
	if (flow_nat_differs(&p, &entry, f->hook))
		return WR_REASON_SERVICE_CLASH;
	p.ep = p.ifindex ? endpoint_get(p.ifindex) : NULL;
	if (p.ifindex && !p.ep)
		return WR_REASON_NO_ENDPOINT;
	p.policy_tag.both = p.ep ? policy_tag_read(p.ep) : 0;
	if (f->located)
		flow_revalidate(f);
	flow_existing(&p, f, &entry, flow_is_current(&p, &entry, f->hook));
	return WR_REASON_NONE;
}

/* Sets the ends of a new flow. */
static __always_inline enum wr_reason flow_ends(struct flow *f)
{
	const bool sent = hook_is_egress(f->hook);
	const __u32 from = sent ? f->ifindex : f->peer_ifindex, to = sent ? f->peer_ifindex : f->ifindex;

	if (sent && end_is_local(to) && !endpoint_get(to))
		return WR_REASON_NO_ENDPOINT;
	if (end_is_remote(f->peer_ifindex) && !f->peer_identity)
		f->peer_identity = WR_ID_SOME_POD;
	f->peer = f->peer_identity;
	f->ct.flags = f->swapped * WR_CT_SWAPPED | (f->flags & TRANSLATED);
	if (f->hook == HOOK_TO_POD || (f->hook == HOOK_FROM_HOST && !(f->flags & TRANSLATED)))
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
	if (f->peer_stale)
		flow_locate(skb, at, f);
	reason = flow_classify(at, f);
	if (!reason && f->step == FLOW_NEW) {
		if (hook_is_egress(f->hook) && !f->located)
			flow_locate(skb, at, f);
		reason = flow_ends(f);
	}
	if (!reason && f->l4_proto == IPPROTO_TCP)
		flow_segment(skb, f);
	if (reason || f->step == FLOW_PASS)
		return reason;
	if (f->step != FLOW_PROGRESS && f->step != FLOW_REFRESH && f->step != FLOW_REVALIDATED)
		evaluate_flow(at, f);
	return flow_commit(f);
}

#endif
