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
#include "lib/host_backend.h"
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
	/* A client outside reaches another node's host as it does its pods: through the tunnel. */
	if (f->hook == HOOK_FROM_HOST && f->own_address_of)
		f->peer_ifindex = WR_REMOTE | f->own_address_of;
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
	if (f->peer_ifindex == WR_OWN_HOST)
		return 0;
	read_barrier(); /* the revision must be read before the maps */
	IN_FAMILY(f->v6, locate, skb, at, f);
	return 0;
}

/* Whether it is this node's outer address: that of its pods in the host's network. */
static __always_inline bool is_outer_address(const union addr *addr, const bool v6)
{
	const struct wr_cluster *c = cluster_get();

	return c && cluster_has_outer(c, addr, v6);
}

/* The packet begins a new flow: the entry found, if any, has expired or belongs to another flow. */
static __always_inline enum wr_reason flow_new(struct flow *f, bool lives)
{
	if (f->found != FLOW_NONE)
		trace_step(WR_TRACE_CT_FOUND | WR_TRACE_CT_STALE);
	if (f->flags & FOLLOWS)
		return f->flags & RELATED ? WR_REASON_ICMP_ERROR : WR_REASON_FRAGMENT;
	if (!f->ifindex && f->hook == HOOK_FROM_NODE && !f->to_host)
		return WR_REASON_TUNNEL_TARGET;
	f->step = FLOW_NEW;
	f->forward = true;
	f->replaced_owner = ct_owner(&f->ct);
	f->replace = lives && !(f->ct.flags & WR_CT_DENIED) ? FLOW_REPLACE_IF_ALLOWED : FLOW_REPLACE_ANY;
	if (f->ct.flags & WR_CT_TRANSLATED)
		f->flags |= REPLACES;
	__builtin_memset(&f->ct, 0, sizeof(f->ct));
	return WR_REASON_NONE;
}

/* --- flows with the world ----------------------------------------------------------------------------------------- */

/*
 * World addresses are on no node: their packets arrive through this node's stack or another's, which may translate
 * them, and replies return there. Every host on the LAN can send such a packet with a client's address, through each
 * node, so a packet alone is no evidence that the client has moved: it would turn the replies of a connection aside. A
 * packet by another path than the flow's passes (the world may send by any path, and policy is the same), but replies
 * stay on the flow's path. The flow moves
 * - if the node by which it came is deleted;
 * - TCP: by a segment whose numbers only the ends can know, or by a repeated SYN (segment_moves());
 * - other protocols have no such numbers: while the flow is not established, with every packet, as each reply follows a
 *   packet of the client at once; an established flow only after its path has been silent for this time, longer than
 *   what keeps a flow alive in the translators on the way (RFC 4787 section 4.3; SCTP heartbeats: 30 s).
 * The replies to a flow that the pod itself has begun go to this node's stack, and those of a service to its client to
 * the node that the client uses, whatever path the other end's packets take. Of flows through a service here only those
 * move that may (WR_CT_MOVES): another node's service, with another address, may lead to the same backend.
 */
#define WORLD_SILENT WR_CT_SECONDS(60)

static __always_inline bool end_is_gone(__u32 end)
{
	return end_is_remote(end) && !node_get(end & ~WR_REMOTE);
}

static __always_inline bool world_has_moved(struct __sk_buff *skb, const struct flow *f)
{
	struct numbers n = { 0 };

	if ((f->flags & FOLLOWS) || !f->forward || (f->ct.flags & (WR_CT_TRANSLATED | WR_CT_MOVES)) == WR_CT_TRANSLATED)
		return false;
	if (end_is_gone(f->ct.initiator))
		return true;
	if (f->l4_proto == IPPROTO_TCP)
		return numbers_read(skb, f->flags, &n) && segment_moves(f, &n);
	return !ct_is_established(f->l4_proto, f->ct.flags) || ct_now() - f->ct.ack[0] > WORLD_SILENT;
}

static __always_inline void world_moves(struct flow *f)
{
	f->moved = true;
	f->ct.initiator = f->peer_ifindex;
	f->ct.flags &= ~(WR_CT_VIA_STACK | WR_CT_TRANSLATED | WR_CT_MOVES);
	if (!f->peer_ifindex)
		f->ct.flags |= f->flags & TRANSLATED ? WR_CT_TRANSLATED | WR_CT_MOVES : WR_CT_VIA_STACK;
}

/* A packet of the world to an endpoint. */
static __always_inline void world_arrives(struct __sk_buff *skb, struct flow *f)
{
	const __u32 path = other_end(&f->ct, !f->forward);

	if (end_is_local(path))
		return;
	if (f->peer_ifindex != path) {
		f->other_path = !world_has_moved(skb, f);
		if (f->other_path)
			return;
		world_moves(f);
	}
	if (f->l4_proto != IPPROTO_TCP && f->forward && ct_now() - f->ct.ack[0] > REFRESH_TICKS) {
		f->ct.ack[0] = ct_now();
		f->changes = true;
	}
}

/*
 * If the node was deleted by which the world came, it is reached through this node. It is not checked whether the slot
 * still has the same node: a node that has forwarded nothing accepts no reply.
 */
OUT_OF_LINE int flow_follow_world(struct __sk_buff *skb, struct flow *f)
{
	bool initiator, responder; /* it is the world */

	if (!f || f->found != FLOW_LIVE || f->peer_identity != WR_ID_WORLD)
		return 0;
	initiator = f->ct.at[WR_INGRESS].peer == WR_ID_WORLD;
	responder = f->ct.at[WR_EGRESS].peer == WR_ID_WORLD;
	if (!hook_is_egress(f->hook)) {
		if ((f->forward && initiator) || (!f->forward && responder))
			world_arrives(skb, f);
		return 0;
	}
	if (f->forward || !initiator || (f->ct.flags & WR_CT_TRANSLATED))
		return 0;
	if (end_is_remote(f->ct.initiator) && !end_is_gone(f->ct.initiator))
		f->peer_ifindex = f->ct.initiator;
	return 0;
}

/*
 * Whether a packet that does not match the live entry must not replace it: the entry's flow is this endpoint's, with an
 * end elsewhere; the packet has not come from there, and no program has checked its source.
 */
static __always_inline bool flow_is_held(const struct flow *f, __u32 flags)
{
	const bool own = !f->forward;
	const __u32 peer_end = other_end(&f->ct, own);

	if (hook_is_egress(f->hook) || end_is_local(peer_end) || end_is_gone(peer_end) || sender_is_authentic(f))
		return false;
	return f->l4_proto == IPPROTO_TCP ? tcp_is_open(f->l4_proto, flags) : ct_is_established(f->l4_proto, flags);
}

/* --- classification ----------------------------------------------------------------------------------------------- */

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
	return (__s32)(ct_now() + wr_ct_life(f->l4_proto, flags) - f->ct.expires) > REFRESH_TICKS;
}

/* The packet belongs to the entry that was found: sets f's state. `current`: the entry's verdicts are valid. */
static __always_inline void flow_existing(struct packet *p, struct flow *f, const struct flow_entry *entry,
					  bool current)
{
	__u32 next = tcp_progress(f, p, entry);

	if (p->l4_proto != IPPROTO_TCP && !(entry->flags & WR_CT_REPLIED) && !entry->forward)
		f->reply = FLOW_REPLIED;
	f->changes |= next != entry->flags;
	f->refreshes = flow_refreshes(f, next);
	f->reversed = packet_is_reversed(p, entry);
	f->peer = end_is_local(f->ct.initiator) ? f->ct.at[WR_EGRESS].peer : f->ct.at[WR_INGRESS].peer;
	f->via_stack = (entry->flags & WR_CT_VIA_STACK) && !f->other_path;
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
		next |= entry->flags & WR_CT_DENIED ? 0 : WR_CT_ALLOWED_BEFORE;
		/* The initiator's identity came with the packet, and is evaluated under this revision. */
		if (f->forward && !hook_is_egress(f->hook))
			f->ct.at[WR_EGRESS].revision = f->cluster_revision;
	} else if (entry->flags & WR_CT_DENIED) {
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
	bool matches, owned, held, was_denied;
	enum wr_reason reason;

	if (!at || !f)
		return WR_REASON_NO_ENDPOINT;
	if (f->hook == HOOK_FROM_NODE && !f->ifindex && f->peer_identity == WR_ID_WORLD)
		f->to_host = IN_FAMILY(f->v6, is_outer_address, &at->daddr);
	/* A pod's packet to an address that is no longer a service's. */
	if (f->found && (f->ct.flags & WR_CT_SERVICE) && f->hook != HOOK_FROM_POD)
		return WR_REASON_SERVICE_CLASH;
	if (f->found != FLOW_LIVE)
		return flow_new(f, false);
	if (!f->other_path)
		flow_follow(f);
	flow_view(f, &p, &entry);
	matches = flow_matches(&p, &entry, f->hook, f->v6) && !flow_is_elsewhere(f);
	if (!matches || flow_is_new(&p, &entry)) {
		/* In place of a live flow of this endpoint, with another end. */
		owned = !hook_is_egress(f->hook) && p.ifindex == (f->forward ? f->ct.responder : f->ct.initiator);
		held = matches ? !f->forward && tcp_is_open(f->l4_proto, entry.flags) :
				 owned && flow_is_held(f, entry.flags);
		reason = flow_new(f, matches ? !f->forward : owned);
		if (held)
			f->replace = FLOW_REPLACE_NEVER;
		return reason;
	}
	if (flow_nat_differs(&p, &entry, f->hook))
		return WR_REASON_SERVICE_CLASH;
	p.ep = p.ifindex ? endpoint_get(p.ifindex) : NULL;
	if (p.ifindex && !p.ep)
		return WR_REASON_NO_ENDPOINT;
	p.policy_tag.both = p.ep ? policy_tag_read(p.ep) : 0;
	/* A denied peer may have been in no policy map, as no pod had its identity. */
	was_denied = f->located && (f->ct.flags & WR_CT_DENIED);
	if (f->located)
		flow_revalidate(f);
	flow_existing(&p, f, &entry, !was_denied && flow_is_current(&p, &entry, f->hook));
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
	f->ct.flags |= (f->flags & TRANSLATED) && f->nat.moves ? WR_CT_MOVES : 0;
	if (f->hook == HOOK_TO_POD || (f->hook == HOOK_FROM_HOST && !(f->flags & TRANSLATED)))
		f->ct.flags |= WR_CT_VIA_STACK;
	f->ct.initiator = from;
	f->ct.responder = to;
	if (!end_is_local(f->peer_ifindex))
		*other_revision(&f->ct, sent) = f->cluster_revision;
	if (f->l4_proto != IPPROTO_TCP)
		f->ct.ack[0] = ct_now();
	if (f->to_host && !sent)
		f->ct.at[WR_INGRESS].peer = WR_ID_WORLD;
	return WR_REASON_NONE;
}

static __always_inline enum wr_reason flow_decide(struct __sk_buff *skb, struct addresses *at, struct flow *f)
{
	enum wr_reason reason;

	flow_load(f);
	if (f->peer_stale)
		flow_locate(skb, at, f);
	flow_follow_world(skb, f);
	reason = flow_classify(at, f);
	if (!reason && f->step == FLOW_NEW) {
		if (hook_is_egress(f->hook) && !f->located)
			flow_locate(skb, at, f);
		reason = flow_ends(f);
		if (!reason && f->to_host)
			reason = host_flow_check(skb, at, f);
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
