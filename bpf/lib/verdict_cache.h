/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict cache. What conntrack and policy have decided about a packet holds for the next ones of its flow in the
 * same direction, for about a second and as long as nothing changes that the decision depends on. Then conntrack is
 * looked up again, so that its entry lives on.
 *
 * A slot holds the whole key and every dependency as plain fields, and all of them are compared: a hash says only where
 * to look, so that two keys with one hash cost a miss. A slot is one cache line, and for IPv6 a second one with what
 * NAT needs.
 *
 * Writers take a slot by its sequence, which is odd as long as one has it; who does not get it fills nothing. A packet
 * that misses remembers the sequence that it saw before conntrack was looked up, and fills under that one only: a
 * verdict that was forgotten meanwhile (verdict_forget()) does not come back. Readers look at the sequence before and
 * after the fields. What orders their loads is an address dependency, since kernel 6.1 has no barrier but an atomic
 * operation with a result.
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

/* Set by the loader, another one for each load; without the seed nothing is cached. */
const volatile struct {
	__u64 seed;
	__u32 nh[8];
} verdict_secret __weak = { 0 };

/* In `what`, above the protocol. */
enum verdict_kind {
	VERDICT_SENT = 0,	   /* by the endpoint */
	VERDICT_RECEIVED = 1 << 8, /* from another node, for the endpoint */
	VERDICT_NAT = 1 << 9,	   /* one end becomes another one: the destination, ... */
	VERDICT_ANSWERS = 1 << 10, /* ... or of a backend's answers the source */
	VERDICT_REST_SHIFT =
	    16, /* above: IPv4: the port that NAT writes; IPv6: the peer's node, 0 if it is an endpoint */
};
#define VERDICT_KEY (0xff | VERDICT_RECEIVED)

struct verdict_slot {
	__u32 sequence;
	__u32 tick;
	/* Key: `what` too, as far as VERDICT_KEY goes, and the far address. */
	__u32 ifindex; /* of the endpoint; 0: nothing is here */
	__u32 ports;   /* source and destination, as they stand in the packet */
	__u32 what;
	/* What the decision depends on. */
	__u32 revision;	     /* of the endpoint's policy */
	__u32 peer_revision; /* of the peer's, or the cluster's if it is on another node */
	__u32 pad;
	__u64 identity;	     /* the endpoint's */
	__u64 peer_identity; /* an endpoint's; or as whom a node has sent it; or 0 */
	union {
		struct {
			__be32 far;
			__u32 peer; /* ifindex, or WR_REMOTE | slot of the node */
			__be32 nat;
			__u32 pad;
		} v4;
		/* Without NAT, of a peer that is an endpoint: its ifindex, in the place of the address that it has. */
		__be32 far6[4];
	};
};
_Static_assert(sizeof(struct verdict_slot) == 64, "a slot is a cache line");

/* IPv6: what NAT does, and to whom the packet goes. */
struct verdict_line {
	__be32 addr[4];
	__u32 peer;
	__u32 port;
	__u32 pad[10];
};
_Static_assert(sizeof(struct verdict_line) == 64, "so is this");

struct verdict_set4 {
	struct verdict_slot way[2];
};
struct verdict_set6 {
	struct verdict_slot way[2];
	struct verdict_line line[2];
};

/* The programs' own, neither pinned nor in the registry. Elements of arrays that can be mapped begin on a page: a line
 * is one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << VERDICT_SET_BITS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct verdict_set4);
} verdicts4 SEC(".maps") __weak;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << VERDICT_SET_BITS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct verdict_set6);
} verdicts6 SEC(".maps") __weak;

/* --- where -------------------------------------------------------------------------------------------------------- */

/*
 * NH (RFC 4418 section 5.2.2): sums with secrets, multiplied two by two. Which flows share a set cannot be chosen by
 * whoever does not know the secret. The last multiplication brings all of it into the topmost bits.
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

/* The set of the packets between p->ifindex and `far`, as its first slot. */
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

/* Where a verdict is, or may be filled in. `slot` NULL: nowhere. */
struct verdict_place {
	struct verdict_slot *slot;
	__u32 sequence;
};

/* IPv6: its second line. */
static __always_inline struct verdict_line *verdict_line(struct verdict_slot *slot, const bool v6)
{
	return (void *)slot + (v6 ? sizeof(((struct verdict_set6 *)0)->way) : 0);
}

/* What a verdict would depend on, read before conntrack was looked up: read afterwards it could be of a policy that
 * denies. */
struct verdict_basis {
	__u64 identity, peer_identity;
	__u32 peer; /* ifindex of the other end; 0: it is no endpoint */
	__u32 peer_revision;
};

/* Whether the slot is not of the same endpoint and ports: 0 or 1, without a branch. */
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
 * The slot of the set that is the packet's, if either is; it may also be another one's with the same endpoint and
 * ports. So each key has but one of the two.
 */
static __always_inline struct verdict_slot *verdict_way(struct verdict_slot *set, const struct packet *p)
{
	return verdict_is_other(set, p) ? set + 1 : set;
}

/*
 * Of a set that does not have the packet's key, the slot to fill, if one is to be. Where both are another flow's and
 * live, one is displaced by one miss in eight: a crowded set is not written all the time.
 */
static __always_inline void verdict_choose(struct verdict_place *place, struct verdict_slot *set,
					   const struct packet *p, __u32 tick)
{
	const volatile struct verdict_slot *first = set, *second = set + 1;
	struct verdict_slot *slot = set;

	/* Else the second one has the packet's endpoint and ports. */
	if (verdict_is_other(second, p) && first->tick == tick && second->tick == tick) {
		const __u32 dice = bpf_get_prandom_u32();

		if (dice & VERDICT_DISPLACE) {
			*place = (struct verdict_place){ 0 };
			return;
		}
		if (dice & (VERDICT_DISPLACE + 1))
			slot = set + 1;
	} else if (!verdict_is_other(second, p) || first->tick == tick) {
		slot = set + 1;
	}
	place->slot = slot;
	place->sequence = sequence_read(&slot->sequence, 0);
}

/* --- read --------------------------------------------------------------------------------------------------------- */

/*
 * What begins or ends something never goes by a cached verdict, nor does what only goes with a flow. A SYN-ACK, which does not
 * either, fills in one for what its sender sends next.
 */
#define VERDICT_NEVER (TCP_FIN | TCP_RST | BEGINS | ASSOCIATES | FOLLOWS | FIRST_FRAGMENT)

static __always_inline bool verdict_is_for(const struct packet *p)
{
	return !dry_run && verdict_secret.seed && !(p->traits & VERDICT_NEVER);
}

enum verdict_found { VERDICT_MISS, VERDICT_HIT, VERDICT_HIT_NAT };

/* The bits in which a slot differs from what it must be for the packet, whoever the peer is. */
static __always_inline __u64 verdict_differs(const volatile struct verdict_slot *s, __u32 what, const struct packet *p,
					     __u32 tick, const enum verdict_kind kind)
{
	return (s->ifindex ^ p->ifindex) | (s->ports ^ verdict_ports(p)) |
	       ((what ^ (p->l4_proto | kind)) & VERDICT_KEY) | (s->tick ^ tick) | (s->revision ^ p->word.revision) |
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

/* Of a packet to or from another node. */
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

/* ... to an endpoint, which must have the address. The verdict is of its policy and of who it is. */
static __always_inline __u64 verdict_local_differs(const volatile struct verdict_slot *s,
						   const struct wr_endpoint *peer, const union addr *far, const bool v6)
{
	const union policy_word theirs = { .both = policy_word_read(peer) };
	const __u64 differs = (s->peer_revision ^ theirs.revision) | (s->peer_identity ^ peer->identity) |
			      !addr_is_endpoints(far, peer, v6);

	return v6 ? differs : differs | verdict_far_differs(s, far, v6);
}

/*
 * Looks for a verdict about a packet that its endpoint has sent, or has got from another node. A hit: the packet
 * passes, and p->peer and p->peer_ifindex are where it goes. With NAT: all but the far end is as it was found,
 * verdict_nat() looks further. A miss: `place` is where the verdict may be filled in.
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
	if (!verdict_is_for(p))
		return VERDICT_MISS;
	set = verdict_set(p, kind, far, v6);
	if (!set)
		return VERDICT_MISS;
	slot = verdict_way(set, p);
	tick = verdict_tick();
	sequence = sequence_read(&slot->sequence, 0);
	place->slot = slot;
	place->sequence = sequence;
	s = (void *)slot + after(sequence);
	what = s->what;
	differs = verdict_differs(s, what, p, tick, kind) | (sequence & 1) | (p->traits & TCP_SYN);
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

/* What a verdict about what the endpoint sends will depend on, as it is now. */
OUT_OF_LINE int verdict_basis_read(const struct addresses *at, struct verdict_basis *basis, __u32 v6)
{
	const struct wr_endpoint *peer;
	union policy_word theirs;

	if (!at || !basis)
		return 0;
	basis->peer = IN_FAMILY(v6, endpoint_guess, &at->daddr);
	peer = basis->peer ? endpoint_get(basis->peer) : NULL;
	if (peer && IN_FAMILY(v6, addr_is_endpoints, &at->daddr, peer)) {
		theirs.both = policy_word_read(peer);
		basis->peer_revision = theirs.revision;
		basis->peer_identity = *(const volatile __u64 *)&peer->identity;
		return 0;
	}
	basis->peer = 0;
	basis->peer_revision = cluster_revision();
	basis->peer_identity = 0;
	return 0;
}

/* Before conntrack is looked up, in which the packet's ports are part of the key: so the loads are in this order, too.
 */
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

/* --- filled ------------------------------------------------------------------------------------------------------- */

/* What a packet between an endpoint and `far` becomes. */
struct verdict_nat_to {
	union addr addr;
	__be16 port;
	bool answers;
};

/*
 * The packet's flow lets such packets pass: `end` is its other end, on this node or another. `to` NULL: as they are.
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
	slot->revision = p->word.revision;
	slot->peer_revision = basis->peer_revision;
	slot->identity = basis->identity;
	slot->peer_identity = basis->peer_identity;
	if (to)
		what |= VERDICT_NAT | (to->answers ? VERDICT_ANSWERS : 0);
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

/* By a flow's entry: `end` must be where the basis was read. */
static __always_inline void verdict_fill_direct(const struct packet *p, const struct verdict_place *place,
						const struct verdict_basis *basis, __u32 end, __u32 now,
						const enum verdict_kind kind, const bool v6)
{
	const union addr *far = kind == VERDICT_SENT ? &p->at->daddr : &p->at->saddr;

	if (place->slot && (end_is_remote(end) ? !basis->peer && basis->peer_revision : basis->peer == end))
		verdict_fill(p, place, basis, far, end, now >> VERDICT_TICKS_SHIFT, NULL, kind, v6);
}

/* Where a verdict may be filled in that was not looked for. */
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
 * Brings the set to the processor, by a store that nobody reads: the flow that begins now gets its verdict there, and a store
 * waits for memory by itself, while a load would hold up the packet.
 */
static __always_inline void verdict_touch(const struct packet *p, const union addr *far, const bool v6)
{
	struct verdict_slot *set = verdict_set(p, VERDICT_SENT, far, v6);

	if (!set)
		return;
	*(volatile __u32 *)&set[0].pad = 0;
	*(volatile __u32 *)&set[1].pad = 0;
}

/* --- forgotten ---------------------------------------------------------------------------------------------------- */

/*
 * Nothing is cached any more about packets between p->ifindex and `far`; what was being filled in is not either. What
 * else is in the set has to be filled in again.
 */
static __always_inline void verdict_forget(const struct packet *p, const enum verdict_kind kind, const union addr *far,
					   const bool v6)
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
