/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Entries in the windows of ct_new4 and ct_new6 (abi/conntrack.h): lookup, write and eviction under the lock of their
 * set. Endpoints do not compete for slots.
 *
 * In a full set these are evicted, in this order: an entry that has expired or is no longer the endpoint's; a denied or
 * closed flow; a replied datagram flow that is idle, most of which are complete; any other flow that is not established,
 * first one of the new flow's own client or its network; an established flow. Among equals, the one that has been idle for longest. An unreplied flow, unfinished handshake or
 * established flow moves to ct if the endpoint's quota allows it; without room there an established flow stays, and the
 * new one is refused. A denied flow evicts no flow that is live and allowed.
 */
#ifndef WARREN_LIB_CT_WINDOW_H
#define WARREN_LIB_CT_WINDOW_H

#include "lib/ct_table.h"
#include "lib/endpoint.h"
#include "lib/sequence.h"

/* An endpoint's window: one half for the flows that it initiates, one for those that others initiate with it. */
struct ct_window {
	__u32 first, half;
};

static __always_inline void ct_window_of(struct ct_window *w, __u32 ifindex)
{
	const struct wr_endpoint *ep = end_is_local(ifindex) ? endpoint_get(ifindex) : NULL;

	w->first = 0;
	w->half = WR_CT_NODE_SLOTS / 2;
	if (ep && ep->ct_slots) {
		w->first = ep->ct_first;
		w->half = ep->ct_slots / 2;
	}
}

static __always_inline __u32 ct_set(const struct ct_window *w, __u64 hash, bool begun)
{
	return wr_ct_set(hash, w->first, w->half) + (begun ? 0 : w->half);
}

/* One slot of either family. */
struct ct_slot {
	__u32 *tag, *sequence;
	void *key;
	struct wr_ct *ct;
};

static __always_inline bool ct_slot(struct ct_slot *s, __u32 slot, const bool v6)
{
	if (v6) {
		struct wr_ct6_slot *at = bpf_map_lookup_elem(&ct_new6, &slot);

		if (!at)
			return false;
		*s = (struct ct_slot){ &at->tag, &at->sequence, &at->key, &at->ct };
	} else {
		struct wr_ct4_slot *at = bpf_map_lookup_elem(&ct_new4, &slot);

		if (!at)
			return false;
		*s = (struct ct_slot){ &at->tag, &at->sequence, &at->key, &at->ct };
	}
	return true;
}

static __always_inline __u64 ct_key_difference(const void *a, const void *b, const bool v6)
{
	const __u64 *x = a, *y = b;
	__u64 difference = (x[0] ^ y[0]) | (x[1] ^ y[1]);

	if (v6)
		difference |= (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]);
	return difference;
}
_Static_assert(sizeof(struct wr_ct4_key) == 2 * 8 && sizeof(struct wr_ct6_key) == 5 * 8, "ct_key_difference()");

static __always_inline __u64 ct_hash(const union ct_key *key, const bool v6)
{
	const struct wr_config *cfg = config_get();

	return cfg ? wr_ct_hash((const __u32 *)key, cfg->ct_secret, (v6 ? sizeof(key->k6) : sizeof(key->k4)) / 4) : 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Instead of a slot: a writer was active, and what was copied may be inconsistent. */
#define CT_BUSY (~0u - 1)

static __always_inline __u64 ct_copy(struct wr_ct *to, const struct wr_ct *from)
{
	__u64 *out = (void *)to, all = 0;
	const volatile __u64 *in = (const void *)from;

#pragma unroll
	for (__u32 n = 0; n < sizeof(*to) / 8; n++) {
		out[n] = in[n];
		all |= out[n];
	}
	return all;
}
_Static_assert(sizeof(struct wr_ct) % 8 == 0, "ct_copy()");

/*
 * Copies a consistent state of the entry with that key; returns its slot + 1, 0 if the set does not have it, or CT_BUSY.
 */
static __always_inline __u32 ct_set_read(const union ct_key *key, __u32 set, __u32 tag, struct wr_ct *copy,
					 const bool v6)
{
	__u32 before, found = 0;
	struct ct_slot head, s;
	__u64 read;

	if (!ct_slot(&head, set, v6))
		return 0;
	read = before = *(volatile __u32 *)head.sequence;
#pragma clang loop unroll(disable)
	for (__u32 way = 0; way < WR_CT_WAYS; way++) {
		if (!ct_slot(&s, set + way + after(before), v6))
			return 0;
		if (*(volatile __u32 *)s.tag != tag || ct_key_difference(s.key, key, v6))
			continue;
		read |= ct_copy(copy, s.ct);
		found = set + way + 1;
		break;
	}
	if (!ct_slot(&head, set + after(read), v6))
		return 0;
	return !(before & 1) && *(volatile __u32 *)head.sequence == before ? found : CT_BUSY;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

#define CT_LOCK_TRIES 128

/*
 * The tries after the first one. The verifier goes through all of them: inline, that would be most of what it does for
 * a program.
 */
OUT_OF_LINE int ct_lock_again(__u32 *sequence)
{
	if (!sequence)
		return false;
#pragma clang loop unroll(disable)
	for (int tries = 1; tries < CT_LOCK_TRIES; tries++) {
		const __u32 was = *(volatile __u32 *)sequence;

		if (sequence_lock(sequence, was))
			return true;
	}
	return false;
}

/* The holder writes a few words and at most one element of ct, so the wait is short; it is also bounded. */
static __always_inline bool ct_lock(__u32 *sequence)
{
	return sequence_lock(sequence, *(volatile __u32 *)sequence) || ct_lock_again(sequence);
}

static __always_inline void ct_unlock(__u32 *sequence)
{
	sequence_move(sequence, 1);
}

/* Locks the set of the slot; false: the slot no longer has that key. */
static __always_inline bool ct_slot_lock(struct ct_slot *head, struct ct_slot *s, const union ct_key *key, __u32 slot,
					 const bool v6)
{
	if (!ct_slot(head, slot & ~(WR_CT_WAYS - 1), v6) || !ct_slot(s, slot, v6) || !ct_lock(head->sequence))
		return false;
	if (*s->tag && !ct_key_difference(s->key, key, v6))
		return true;
	ct_unlock(head->sequence);
	return false;
}

/* `expires` of an entry is written only if it changes by more than this, about a second, so that the cache line stays clean. */
#define REFRESH_TICKS 8

/* Eviction order: the lowest goes first. */
enum ct_worth {
	CT_WORTH_NOTHING,
	CT_WORTH_CLOSED,
	CT_WORTH_COMPLETE,
	CT_WORTH_OWN, /* as CT_WORTH_NEW, and initiated from the new flow's network */
	CT_WORTH_NEW,
	CT_WORTH_ESTABLISHED
};

/* Replied and not of TCP: may be complete, and never moves to ct before it is established. */
static __always_inline bool ct_is_exchange(const struct wr_ct *ct, __u8 l4_proto)
{
	return l4_proto != IPPROTO_TCP && (ct->flags & WR_CT_REPLIED);
}

/*
 * `end`: the endpoint at this end of the flow, as in the entry; `owner`: owner of the window, 0: the node. `idle`: ticks
 * since the entry's last refresh.
 */
static __always_inline __u32 ct_worth(const struct wr_ct *ct, __u8 l4_proto, __u32 owner, __u32 end, __u32 now,
				      __s32 idle)
{
	if (ct_expired(ct, now) || (owner && end != owner))
		return CT_WORTH_NOTHING;
	if ((ct->flags & WR_CT_DENIED) || wr_ct_is_closed(l4_proto, ct->flags))
		return CT_WORTH_CLOSED;
	if (ct_is_established(l4_proto, ct->flags))
		return CT_WORTH_ESTABLISHED;
	return ct_is_exchange(ct, l4_proto) && idle > REFRESH_TICKS ? CT_WORTH_COMPLETE : CT_WORTH_NEW;
}

/* The ends of a flow: their windows may hold its entry. */
struct ct_ends {
	__u32 own;       /* the endpoint that the packet is evaluated for; 0: none */
	bool two;        /* the other end is an endpoint of this node, too */
	struct ct_window of_own, of_peer;
};

static __always_inline void ct_ends(struct ct_ends *ends, __u32 own, __u32 peer)
{
	ends->own = own;
	ends->two = end_is_local(peer) && peer != own;
	ct_window_of(&ends->of_own, own);
	if (ends->two)
		ct_window_of(&ends->of_peer, peer);
}

/* Arguments and result of functions out of line: the key to look up, the entry found, or the entry to write. */
struct ct_query {
	union ct_key key;
	struct ct_ends ends;
	__u32 where; /* location of the entry: see lib/ct_entry.h */
	bool v6;
	bool begun;  /* write it to the half window of flows that ends.own initiated */
	struct wr_ct ct; /* or a struct wr_ct_service */
};

/* Used by one function after the other. The caller sets key, ends and v6. */
SCRATCH(ct_queries, struct ct_query, ct_query)

/* A slot's eviction value: its worth above, then for how long it has been in use, then whether it moves to ct. */
#define CT_WORTH_SHIFT 33
#define CT_MOVES 1u

/* The initiator's network: a /24, or the upper half of an IPv6 address. */
static __always_inline __u64 ct_network(const union ct_key *key, const struct wr_ct *ct, const bool v6)
{
	__u32 end = ct->flags & WR_CT_SWAPPED;

	asm volatile("" : "+r"(end));
	if (v6)
		return (__u64)key->k6.addr[end & 1].v6[0] << 32 | key->k6.addr[end & 1].v6[1];
	return key->k4.addr[end & 1].v4 & bpf_htonl(0xffffff00);
}

/*
 * Whether the entry's flow was initiated from the network of the new flow's initiator. In a half window for flows that
 * others initiate, one client's flood evicts its own flows and leaves the handshakes of others; one with forged sources
 * of all networks does not.
 */
static __always_inline bool ct_same_network(const void *key, const struct wr_ct *ct, const struct ct_query *n,
					    const bool v6)
{
	return ct_network(key, ct, v6) == ct_network(&n->key, &n->ct, v6);
}
_Static_assert(WR_CT_SWAPPED == 1, "ct_network(): the flag is the end");

/* Eviction value of a slot of a locked set for ct_victim(): the lowest is evicted. 0: the slot has ct_query()->key. */
OUT_OF_LINE __u64 ct_slot_value(__u32 slot, __u32 tag, __u32 now)
{
	const struct ct_query *n = ct_query();
	struct ct_slot s;
	bool exchange;
	__u8 l4_proto;
	__u64 worth;
	__s32 idle;

	if (!n || !(n->v6 ? ct_slot(&s, slot, true) : ct_slot(&s, slot, false)))
		return ~0ull;
	if (!*s.tag)
		return 1 << 1;
	if (*s.tag == tag &&
	    !(n->v6 ? ct_key_difference(s.key, &n->key, true) : ct_key_difference(s.key, &n->key, false)))
		return 0;
	l4_proto = n->v6 ? ((struct wr_ct6_key *)s.key)->l4_proto : ((struct wr_ct4_key *)s.key)->l4_proto;
	exchange = ct_is_exchange(s.ct, l4_proto);
	idle = now - (s.ct->expires - wr_ct_life(l4_proto, s.ct->flags));
	worth = ct_worth(s.ct, l4_proto, n->ends.of_own.first ? n->ends.own : 0,
			 n->begun ? s.ct->initiator : s.ct->responder, now, idle);
	/* Among equals the idle time decides, which grows with time: the value falls. */
	if (worth == CT_WORTH_NEW &&
	    (n->v6 ? ct_same_network(s.key, s.ct, n, true) : ct_same_network(s.key, s.ct, n, false)))
		worth = CT_WORTH_OWN;
	return worth << CT_WORTH_SHIFT | (__u64)((1u << 31) - (__u32)idle) << 1 |
	       (worth == CT_WORTH_ESTABLISHED || (worth >= CT_WORTH_OWN && !exchange));
}

static __always_inline __u64 ct_lesser(__u64 a, __u64 b)
{
	const __u64 less = -(__u64)(b < a);

	return a ^ ((a ^ b) & less);
}

/*
 * Returns the slot to write, and its value in the upper bits. The lower two bits of a value are replaced by its slot.
 * Among entries of the same tick the first in turn is evicted: each write to the set advances the turn by one slot.
 */
static __always_inline __u64 ct_victim(__u32 set, __u32 tag, __u32 turn)
{
	const __u32 now = ct_now();
	__u64 least = ~0ull;

#pragma unroll
	for (__u32 n = 0; n < WR_CT_WAYS; n++) {
		const __u64 value = ct_slot_value(set + ((turn + n) & (WR_CT_WAYS - 1)), tag, now);

		least = ct_lesser(least, value << 2 | n);
	}
	return least ^ ((least ^ (least + turn)) & (WR_CT_WAYS - 1));
}

/*
 * Writes the entry over the one with its key, or over the victim. 0: done, or the victim has precedence over the new
 * entry, a denial; else the set could not be locked, or all its flows are established and do not fit into ct.
 */
static __always_inline int ct_window_put(const struct ct_query *q, const bool v6)
{
	const __u64 hash = ct_hash(&q->key, v6);
	const __u32 set = ct_set(&q->ends.of_own, hash, q->begun), tag = wr_ct_tag(hash);
	struct ct_slot head, s;
	__u64 victim;
	__u32 worth;
	int ret = 0;

	if (!ct_slot(&head, set, v6) || !ct_lock(head.sequence))
		return -1;
	victim = ct_victim(set, tag, *head.sequence >> 1);
	worth = victim >> (CT_WORTH_SHIFT + 2);
	if (ct_slot(&s, set + (victim & (WR_CT_WAYS - 1)), v6) &&
	    !(worth >= CT_WORTH_COMPLETE && (q->ct.flags & WR_CT_DENIED))) {
		/* In ct, the gc rechecks whether a service's entry still has a flow: it must do so in its next run. */
		if (s.ct->flags & WR_CT_SERVICE)
			s.ct->expires = ct_now();
		if ((victim >> 2 & CT_MOVES) && !ct_table_add(s.key, s.ct, worth == CT_WORTH_ESTABLISHED, v6)) {
			ret = worth == CT_WORTH_ESTABLISHED ? -1 : 0;
			if (!ret)
				ct_count(WR_CT_STAT_EVICTED);
		}
		if (!ret) {
			*s.tag = tag;
			if (v6)
				*(struct wr_ct6_key *)s.key = q->key.k6;
			else
				*(struct wr_ct4_key *)s.key = q->key.k4;
			ct_copy(s.ct, &q->ct);
		}
	}
	ct_unlock(head.sequence);
	return ret;
}

/* Writes ct_query()->ct to the window of ct_query()->ends.own. */
OUT_OF_LINE int ct_write(void)
{
	const struct ct_query *q = ct_query();

	if (!q)
		return -1;
	return IN_FAMILY(q->v6, ct_window_put, q);
}

#endif
