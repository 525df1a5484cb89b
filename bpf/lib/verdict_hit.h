/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether a packet passes by a cached verdict (lib/verdict_cache.h). A verdict about a flow through a service includes
 * NAT: without it, a packet takes 600 to 800 ns longer than a direct one, with it 150 to 200 (single calls).
 */
#ifndef WARREN_LIB_VERDICT_HIT_H
#define WARREN_LIB_VERDICT_HIT_H

#include "lib/flow_entry.h"
#include "lib/nat.h"
#include "lib/verdict_cache.h"

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

/*
 * Whether the packet passes by a cached verdict. Then p->peer and p->peer_ifindex are set, and a flow through a service
 * has been rewritten, unless *reason is set. Else `place` and *basis are for flow_pass() to cache the verdict.
 */
static __always_inline bool verdict_cached(struct packet *p, struct verdict_place *place, struct verdict_basis *basis,
					   enum wr_reason *reason, const enum verdict_kind kind, const bool v6)
{
	const enum verdict_found hit = verdict_find(p, place, kind, v6);
	struct verdict_packet *vp = NULL;
	__u32 peer = 0;

	*reason = WR_REASON_NONE;
	if (hit == VERDICT_HIT)
		return true;
	if (hit == VERDICT_HIT_NAT)
		vp = verdict_packet_get();
	if (vp) {
		__builtin_memset(vp, 0, sizeof(*vp));
		vp->flags = p->flags;
		vp->sport = p->sport;
		vp->dport = p->dport;
		vp->l4_proto = p->l4_proto;
		vp->v6 = v6;
		vp->sequence = place->sequence;
		if (kind == VERDICT_RECEIVED) {
			vp->node = p->peer_ifindex;
			vp->sender = p->peer_identity;
		}
		peer = verdict_nat_use(p->skb, p->at, vp, place->slot, verdict_line(place->slot, v6));
	}
	if (!peer) {
		verdict_prepare(p, place, basis, kind, v6);
		return false;
	}
	if (kind == VERDICT_SENT) {
		p->peer_ifindex = peer;
		*reason = peer_get(p);
	}
	if (vp->failed)
		*reason = WR_REASON_RUNT;
	return true;
}

#endif
