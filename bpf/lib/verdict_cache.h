/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict cache. The verdict of conntrack and policy about a packet applies to the next packets of its flow in the
 * same direction, for about a second and as long as nothing changes that it depends on. Then conntrack is looked up
 * again, which extends the entry's timeout.
 *
 * A slot has the whole key and every dependency as plain fields, and all of them are compared. The hash only selects
 * the set, so two keys with the same hash cost a miss. A slot is one cache line; IPv6 has a second one for NAT.
 *
 * A writer locks a slot by its sequence, which is odd meanwhile; a CPU that cannot lock it fills nothing. A packet that
 * misses keeps the sequence from before the conntrack lookup and fills only under that one, so a verdict that was
 * invalidated meanwhile (verdict_invalidate()) is not written again. Readers compare the sequence before and after the
 * fields. An address dependency orders their loads, since kernel 6.1 has no barrier other than an atomic operation with
 * a result.
 */
#ifndef WARREN_LIB_VERDICT_CACHE_H
#define WARREN_LIB_VERDICT_CACHE_H

#include "lib/cluster.h"
#include "lib/conntrack.h"
#include "lib/endpoint.h"
#include "lib/sequence.h"

#define VERDICT_SET_BITS 14   /* sets of two slots */
#define VERDICT_TICKS_SHIFT 3 /* 1.07 s */
#define VERDICT_DISPLACE 7

/* Set by the loader, random for each load; without the seed nothing is cached. */
const volatile struct {
	__u64 seed;
	__u32 nh[8];
} verdict_secret __weak = { 0 };

/* In `what`, above the protocol. */
enum verdict_kind {
	VERDICT_SENT = 0,	   /* the endpoint sends it */
	VERDICT_RECEIVED = 1 << 8, /* the endpoint receives it from another node */
	VERDICT_NAT = 1 << 9,	   /* the verdict includes NAT: of the destination, ... */
	VERDICT_REPLY = 1 << 10, /* ... or, for a backend's replies, of the source */
	VERDICT_REST_SHIFT =
	    16, /* above: IPv4: the new port of NAT; IPv6: the slot of the peer's node, 0 if it is an endpoint */
};
#define VERDICT_KEY (0xff | VERDICT_RECEIVED)

struct verdict_slot {
	__u32 sequence;
	__u32 tick;
	/* The key: these, the bits VERDICT_KEY of `what`, and the far address. */
	__u32 ifindex; /* of the endpoint; 0: empty */
	__u32 ports;   /* source and destination, as in the packet */
	__u32 what;
	/* The dependencies of the verdict. */
	__u32 revision;	     /* of the endpoint's policy */
	__u32 peer_revision; /* of the peer's policy; the cluster's if the peer is on another node */
	__u32 pad;
	__u64 identity;	     /* the endpoint's */
	__u64 peer_identity; /* of an endpoint; or as carried in a node's packet; or 0 */
	union {
		struct {
			__be32 far;
			__u32 peer; /* ifindex, or WR_REMOTE | slot of the node */
			__be32 nat;
			__u32 pad;
		} v4;
		/* Without NAT, for a peer that is an endpoint: its ifindex instead of its address. */
		__be32 far6[4];
	};
};
_Static_assert(sizeof(struct verdict_slot) == 64, "a slot is a cache line");

/* IPv6 with NAT: the new address and port, and the peer. */
struct verdict_line {
	__be32 addr[4];
	__u32 peer;
	__u32 port;
	__u32 pad[10];
};
_Static_assert(sizeof(struct verdict_line) == 64, "a line is a cache line");

struct verdict_set4 {
	struct verdict_slot slot[2];
};
struct verdict_set6 {
	struct verdict_slot slot[2];
	struct verdict_line line[2];
};

CACHE(verdicts4, VERDICT_SET_BITS, struct verdict_set4)
CACHE(verdicts6, VERDICT_SET_BITS, struct verdict_set6)

/* --- slots -------------------------------------------------------------------------------------------------------- */

/*
 * NH (RFC 4418 section 5.2.2): sums with secrets, multiplied in pairs. Without the secret, an attacker cannot select
 * flows that share a set. The last multiplication mixes all of it into the topmost bits.
 */
static __always_inline __u64 verdict_nh(__u32 a, __u32 b, const int n)
{
	return (__u64)(__u32)(a + verdict_secret.nh[n]) * (__u32)(b + verdict_secret.nh[n + 1]);
}

static __always_inline __u64 verdict_spread(__u64 nh)
{
	return (nh + verdict_secret.seed) * 0x9e3779b97f4a7c15ull;
}

static __always_inline __u32 verdict_ports(const struct packet *p)
{
	return p->sport | (__u32)p->dport << 16;
}

/* The first slot of the set for packets between p->ifindex and `far`. */
static __always_inline struct verdict_slot *verdict_set(const struct packet *p, const enum verdict_kind kind,
							const union addr *far, const bool v6)
{
	const __be32 *w = far->a6.v6;
	__u64 h = verdict_nh(p->ifindex, p->l4_proto | kind, 0) + verdict_nh(verdict_ports(p), w[0], 2);
	__u32 set;

	if (v6)
		h += verdict_nh(w[1], w[2], 4) + verdict_nh(w[3], 0, 6);
	set = verdict_spread(h) >> (64 - VERDICT_SET_BITS);
	return v6 ? bpf_map_lookup_elem(&verdicts6, &set) : bpf_map_lookup_elem(&verdicts4, &set);
}

/* The slot of a verdict, or the slot to fill; NULL: none. */
struct verdict_place {
	struct verdict_slot *slot;
	__u32 sequence;
};

/* The second line of an IPv6 slot. */
static __always_inline struct verdict_line *verdict_line(struct verdict_slot *slot, const bool v6)
{
	return (void *)slot + (v6 ? sizeof(((struct verdict_set6 *)0)->slot) : 0);
}

/*
 * The dependencies of a verdict, read before the conntrack lookup: read afterwards they could be those of a policy that
 * denies.
 */
struct verdict_basis {
	__u64 identity, peer_identity;
	__u32 peer; /* ifindex of the other end; 0: not an endpoint */
	__u32 peer_revision;
};

/* Whether the slot has another endpoint or other ports: 0 or 1, without a branch. */
static __always_inline __u64 verdict_is_other(const volatile struct verdict_slot *slot, const struct packet *p)
{
	const __u64 differs = (slot->ifindex ^ p->ifindex) | (slot->ports ^ verdict_ports(p));

	return -differs >> 63;
}

static __always_inline __u32 verdict_tick(void)
{
	return ct_now() >> VERDICT_TICKS_SHIFT;
}

/*
 * The slot of the set for the packet's endpoint and ports, if either is. Packets with other peers but the same endpoint
 * and ports use the same slot, so each key has only one of the two.
 */
static __always_inline struct verdict_slot *verdict_slot_of(struct verdict_slot *set, const struct packet *p)
{
	return verdict_is_other(set, p) ? set + 1 : set;
}

/* Whether the slot has a verdict that packets may still hit: an invalidated one is free. */
static __always_inline bool verdict_is_live(const volatile struct verdict_slot *slot, __u32 tick)
{
	return slot->tick == tick && slot->ifindex;
}

/*
 * Selects the slot to fill in a set without the packet's key. If both are other flows' and live, one miss in eight
 * evicts one, so that a crowded set is not written all the time.
 */
static __always_inline void verdict_choose(struct verdict_place *place, struct verdict_slot *set,
					   const struct packet *p, __u32 tick)
{
	const volatile struct verdict_slot *first = set, *second = set + 1;
	struct verdict_slot *slot = set;

	/* Else the second slot has the packet's endpoint and ports. */
	if (verdict_is_other(second, p) && verdict_is_live(first, tick) && verdict_is_live(second, tick)) {
		const __u32 jitter = bpf_get_prandom_u32();

		if (jitter & VERDICT_DISPLACE) {
			*place = (struct verdict_place){ 0 };
			return;
		}
		if (jitter & (VERDICT_DISPLACE + 1))
			slot = set + 1;
	} else if (!verdict_is_other(second, p) || verdict_is_live(first, tick)) {
		slot = set + 1;
	}
	place->slot = slot;
	place->sequence = sequence_read(&slot->sequence, 0);
}

/* --- read --------------------------------------------------------------------------------------------------------- */

/*
 * Packets that begin or end a flow, and those that only follow one, never use a cached verdict. Neither does a SYN-ACK,
 * but it fills one for its sender's next packets.
 */
#define VERDICT_NEVER (TCP_FIN | TCP_RST | BEGINS | ASSOCIATES | FOLLOWS | FIRST_FRAGMENT)

static __always_inline bool verdict_is_cacheable(const struct packet *p)
{
	return !dry_run && verdict_secret.seed && !(p->flags & VERDICT_NEVER);
}

enum verdict_found { VERDICT_MISS, VERDICT_HIT, VERDICT_HIT_NAT };

/* The bits in which a slot differs from the packet, except for the peer. */
static __always_inline __u64 verdict_differs(const volatile struct verdict_slot *s, __u32 what, const struct packet *p,
					     __u32 tick, const enum verdict_kind kind)
{
	return (s->ifindex ^ p->ifindex) | (s->ports ^ verdict_ports(p)) |
	       ((what ^ (p->l4_proto | kind)) & VERDICT_KEY) | (s->tick ^ tick) |
	       (s->revision ^ p->policy_tag.revision) |
	       (s->identity ^ p->ep->identity);
}

static __always_inline __u64 verdict_far_differs(const volatile struct verdict_slot *s, const union addr *far,
						 const bool v6)
{
	if (!v6)
		return s->v4.far ^ far->a4.v4;
	return (s->far6[0] ^ far->a6.v6[0]) | (s->far6[1] ^ far->a6.v6[1]) | (s->far6[2] ^ far->a6.v6[2]) |
	       (s->far6[3] ^ far->a6.v6[3]);
}

static __always_inline __u32 verdict_peer(const volatile struct verdict_slot *s, __u32 what, const bool v6)
{
	if (!v6)
		return s->v4.peer;
	return what >> VERDICT_REST_SHIFT ? WR_REMOTE | what >> VERDICT_REST_SHIFT : s->far6[0];
}

/* The same for the peer, if it is on another node. */
static __always_inline __u64 verdict_remote_differs(const volatile struct verdict_slot *s, const struct packet *p,
						    __u32 peer, const union addr *far, const enum verdict_kind kind,
						    const bool v6)
{
	const __u64 differs = verdict_far_differs(s, far, v6);
	const __u32 revision = kind == VERDICT_SENT ? cluster_revision() : p->cluster_revision;

	if (kind == VERDICT_SENT)
		return differs | (s->peer_revision ^ revision) | s->peer_identity | !revision;
	return differs | (s->peer_revision ^ revision) | (s->peer_identity ^ p->peer_identity) |
	       (peer ^ p->peer_ifindex);
}

/* ... and if it is an endpoint, which must have the address: its policy and identity. */
static __always_inline __u64 verdict_local_differs(const volatile struct verdict_slot *s,
						   const struct wr_endpoint *peer, const union addr *far, const bool v6)
{
	const union policy_tag peer_tag = { .both = policy_tag_read(peer) };
	const __u64 differs = (s->peer_revision ^ peer_tag.revision) | (s->peer_identity ^ peer->identity) |
			      !addr_is_endpoints(far, peer, v6);

	return v6 ? differs : differs | verdict_far_differs(s, far, v6);
}

/*
 * Looks up the verdict of a packet that its endpoint sends, or receives from another node. A hit: the packet passes,
 * and p->peer and p->peer_ifindex are set. VERDICT_HIT_NAT: all but the far end has been compared; verdict_nat_use()
 * compares the rest. A miss: `place` is the slot to fill.
 */
static __always_inline enum verdict_found verdict_find(struct packet *p, struct verdict_place *place,
						       const enum verdict_kind kind, const bool v6)
{
	const union addr *far = kind == VERDICT_SENT ? &p->at->daddr : &p->at->saddr;
	const volatile struct verdict_slot *s;
	const struct wr_endpoint *local = NULL;
	struct verdict_slot *set, *slot;
	__u32 tick, what, peer, sequence;
	__u64 differs;

	*place = (struct verdict_place){ 0 };
	if (!verdict_is_cacheable(p))
		return VERDICT_MISS;
	set = verdict_set(p, kind, far, v6);
	if (!set)
		return VERDICT_MISS;
	slot = verdict_slot_of(set, p);
	tick = verdict_tick();
	sequence = sequence_read(&slot->sequence, 0);
	place->slot = slot;
	place->sequence = sequence;
	s = (void *)slot + after(sequence);
	what = s->what;
	differs = verdict_differs(s, what, p, tick, kind) | (sequence & 1) | (p->flags & TCP_SYN);
	if (differs) {
		if (slot != set)
			verdict_choose(place, set, p, tick);
		return VERDICT_MISS;
	}
	if (what & VERDICT_NAT)
		return VERDICT_HIT_NAT;
	peer = verdict_peer(s, what, v6);
	if (end_is_remote(peer)) {
		differs = verdict_remote_differs(s, p, peer, far, kind, v6);
	} else {
		local = endpoint_get(peer);
		if (!local || kind != VERDICT_SENT)
			return VERDICT_MISS;
		differs = verdict_local_differs(s, local, far, v6);
	}
	if (differs | (sequence_read(&slot->sequence, differs | what) ^ sequence))
		return VERDICT_MISS;
	if (kind == VERDICT_SENT) {
		p->peer = local;
		p->peer_ifindex = peer;
		p->peer_identity = local ? local->identity : WR_ID_UNKNOWN;
	}
	return VERDICT_HIT;
}

/* Reads the current dependencies of a verdict on the endpoint's packets. */
OUT_OF_LINE int verdict_basis_read(const struct addresses *at, struct verdict_basis *basis, __u32 v6)
{
	const struct wr_endpoint *peer;
	union policy_tag peer_tag;

	if (!at || !basis)
		return 0;
	basis->peer = IN_FAMILY(v6, endpoint_guess, &at->daddr);
	peer = basis->peer ? endpoint_get(basis->peer) : NULL;
	if (peer && IN_FAMILY(v6, addr_is_endpoints, &at->daddr, peer)) {
		peer_tag.both = policy_tag_read(peer);
		basis->peer_revision = peer_tag.revision;
		basis->peer_identity = *(const volatile __u64 *)&peer->identity;
		return 0;
	}
	basis->peer = 0;
	basis->peer_revision = cluster_revision();
	basis->peer_identity = 0;
	return 0;
}

/* Called before the conntrack lookup. The packet's ports are part of that lookup's key, which orders the loads. */
static __always_inline void verdict_prepare(struct packet *p, const struct verdict_place *place,
					    struct verdict_basis *basis, const enum verdict_kind kind, const bool v6)
{
	if (!place->slot)
		return;
	if (kind == VERDICT_SENT) {
		verdict_basis_read(p->at, basis, v6);
	} else {
		basis->peer_identity = p->peer_identity;
		basis->peer = 0;
		basis->peer_revision = p->cluster_revision;
	}
	basis->identity = *(const volatile __u64 *)&p->ep->identity;
	p->sport += after(place->sequence);
}

/* --- fill --------------------------------------------------------------------------------------------------------- */

/* The NAT of a packet between an endpoint and `far`. */
struct verdict_nat_to {
	union addr addr;
	__be16 port;
	bool reply;
};

/*
 * Writes a verdict that allows the packet's flow. `end`: its other end, on this node or another. `to` NULL: without
 * NAT.
 */
static __always_inline void verdict_fill(const struct packet *p, const struct verdict_place *place,
					 const struct verdict_basis *basis, const union addr *far, __u32 end,
					 __u32 tick, const struct verdict_nat_to *to, const enum verdict_kind kind,
					 const bool v6)
{
	struct verdict_slot *slot = place->slot;
	__u32 what = p->l4_proto | kind;

	if (!slot || !sequence_lock(&slot->sequence, place->sequence))
		return;
	slot->tick = tick;
	slot->ifindex = p->ifindex;
	slot->ports = verdict_ports(p);
	slot->revision = p->policy_tag.revision;
	slot->peer_revision = basis->peer_revision;
	slot->identity = basis->identity;
	slot->peer_identity = basis->peer_identity;
	if (to)
		what |= VERDICT_NAT | (to->reply ? VERDICT_REPLY : 0);
	if (!v6) {
		slot->v4.far = far->a4.v4;
		slot->v4.peer = end;
		slot->v4.nat = to ? to->addr.a4.v4 : 0;
		what |= to ? (__u32)to->port << VERDICT_REST_SHIFT : 0;
	} else {
		const bool by_ifindex = !to && !end_is_remote(end);

#pragma unroll
		for (int n = 0; n < 4; n++)
			slot->far6[n] = by_ifindex ? (n ? 0 : end) : far->a6.v6[n];
		what |= end_is_remote(end) ? end << VERDICT_REST_SHIFT : 0;
		if (to) {
			struct verdict_line *line = verdict_line(slot, v6);

#pragma unroll
			for (int n = 0; n < 4; n++)
				line->addr[n] = to->addr.a6.v6[n];
			line->peer = end;
			line->port = to->port;
		}
	}
	slot->what = what;
	if (sequence_unlock(&slot->sequence, place->sequence))
		return;
	*(volatile __u32 *)&slot->ifindex = 0;
	sequence_move(&slot->sequence, 1);
}

/* Caches the verdict of a flow's entry, if `end` is the peer whose dependencies are in `basis`. */
static __always_inline void verdict_fill_direct(const struct packet *p, const struct verdict_place *place,
						const struct verdict_basis *basis, __u32 end, __u32 now,
						const enum verdict_kind kind, const bool v6)
{
	const union addr *far = kind == VERDICT_SENT ? &p->at->daddr : &p->at->saddr;

	if (place->slot && (end_is_remote(end) ? !basis->peer && basis->peer_revision : basis->peer == end))
		verdict_fill(p, place, basis, far, end, now >> VERDICT_TICKS_SHIFT, NULL, kind, v6);
}

/* The slot for a verdict that was not looked up. */
static __always_inline void verdict_place_find(const struct packet *p, struct verdict_place *place,
					       const enum verdict_kind kind, const union addr *far, __u32 tick,
					       const bool v6)
{
	struct verdict_slot *set = verdict_set(p, kind, far, v6);

	*place = (struct verdict_place){ 0 };
	if (!set)
		return;
	if (verdict_is_other(set, p)) {
		verdict_choose(place, set, p, tick);
		return;
	}
	place->slot = set;
	place->sequence = sequence_read(&set->sequence, 0);
}

/*
 * Prefetches the set with a store that is never read: the new flow's verdict will be written there. The CPU does not
 * wait for a store, while a load would delay the packet.
 */
static __always_inline void verdict_touch(const struct packet *p, const union addr *far, const bool v6)
{
	struct verdict_slot *set = verdict_set(p, VERDICT_SENT, far, v6);

	if (!set)
		return;
	*(volatile __u32 *)&set[0].pad = 0;
	*(volatile __u32 *)&set[1].pad = 0;
}

/* --- invalidate --------------------------------------------------------------------------------------------------- */

/*
 * Invalidates the verdicts of packets between p->ifindex and `far`, and those being filled. The other flows of the set
 * have to be cached again.
 */
static __always_inline void verdict_invalidate(const struct packet *p, const enum verdict_kind kind,
					       const union addr *far, const bool v6)
{
	struct verdict_slot *set = verdict_set(p, kind, far, v6);

	if (!set)
		return;
#pragma unroll
	for (int n = 0; n < 2; n++) {
		sequence_move(&set[n].sequence, 2);
		*(volatile __u32 *)&set[n].ifindex = 0;
	}
}

#endif
