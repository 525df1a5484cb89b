/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Leases. What conntrack has said about a packet from one pod to another holds for the next ones, as long as nothing
 * has changed and for about a second: then the entry is asked again, and lives on. A lease is one word, a hash of
 * everything by which the packet was let through, in an array: the hash lookup that it saves is the dearest part of
 * from_pod (35 of 87 ns). Nobody reads one but by computing the same word, so it needs no deletion: another revision,
 * identity, endpoint or second makes another word. The hash is keyed, so that nobody can look for flows that share one.
 *
 * To and from a pod of another node it saves more: who and where that is need not be looked up either, as long as the
 * cluster's revision stands. There the word's low bits are the node's slot.
 */
#ifndef WARREN_LIB_LEASE_H
#define WARREN_LIB_LEASE_H

#include "lib/cluster.h"
#include "lib/conntrack.h"
#include "lib/endpoint.h"

#define LEASE_BITS 15
#define LEASE_NODE (WR_NODE_SLOTS - 1)
_Static_assert((WR_NODE_SLOTS & LEASE_NODE) == 0, "a slot is some bits of a word");
#define LEASE_TICKS_SHIFT 3 /* 1.07 s */

/* Set by the loader, others each time; without the first one there are no leases. */
const volatile struct {
	__u64 seed;
	__u32 address[6];
} lease_secret __weak = { 0 };

/* The programs' own: what is in it means nothing to anybody else, and it is neither pinned nor in the registry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << LEASE_BITS);
	__type(key, __u32);
	__type(value, __u64);
} leases SEC(".maps") __weak;

static __always_inline __u64 lease_mix(__u64 h, __u64 x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

/* What a lease is for: no word of one kind is one of another. */
enum lease_kind {
	LEASE_LOCAL = 0 << 1,     /* from a pod to another one of this node */
	LEASE_TO_NODE = 1 << 1,   /* ... to one of another node */
	LEASE_FROM_NODE = 2 << 1, /* from a pod of another node */
	LEASE_OUTSIDE = 3 << 1,   /* from an address that is no pod's and none of this node's */
	LEASE_SENDER = 4 << 1,    /* tunnel packets from an address, which is a node's */
	LEASE_SERVICE = 5 << 1,   /* of a flow through a service (lib/service_lease.h) */
};

static __always_inline __u64 lease_begin(const struct packet *p, enum lease_kind kind, const bool v6)
{
	return lease_mix(lease_secret.seed,
			 (__u64)p->sport << 48 | (__u64)p->dport << 32 | (__u64)p->l4_proto << 24 | kind | v6);
}

static __always_inline __u64 *lease_by_hash(__u64 h)
{
	const __u32 slot = h >> (64 - LEASE_BITS);

	return bpf_map_lookup_elem(&leases, &slot);
}

/* Of a packet from one endpoint to another: they stand for their addresses. */
static __always_inline __u64 lease_local_hash(const struct packet *p, const bool v6)
{
	return lease_mix(lease_begin(p, LEASE_LOCAL, v6), (__u64)p->ifindex << 32 | p->peer_ifindex);
}

/* Where the lease of a packet to p->peer would be, and what it would say. */
static __always_inline __u64 *lease_at(const struct packet *p, __u64 *word, const bool v6)
{
	const union policy_word theirs = { .both = policy_word_read(p->peer) };
	const __u64 begin = lease_local_hash(p, v6);
	__u64 h;

	h = lease_mix(begin, (__u64)p->word.revision << 32 | theirs.revision);
	h = lease_mix(h, p->ep->identity + (ct_now() >> LEASE_TICKS_SHIFT));
	*word = lease_mix(h, p->peer->identity) & ~(__u64)LEASE_NODE;
	return lease_by_hash(begin);
}

/* Only what neither begins nor ends anything has one. */
#define LEASE_NEVER (TCP_SYN | TCP_FIN | TCP_RST | BEGINS | FOLLOWS)

static __always_inline bool lease_is_for(const struct packet *p)
{
	return !dry_run && lease_secret.seed && !(p->traits & LEASE_NEVER);
}

/*
 * An address that anybody may choose must not have the hash of another one. Mixing IPv6's halves in one after the other
 * would let it: of both numbers the topmost bit goes through a multiplication alone, whatever the key, and a second one
 * takes it back. So an address is multiplied with secrets only: NH (RFC 4418 section 5.2.2), two times, collides with a
 * chance of 2^-64.
 */
static __always_inline __u64 lease_address(const __be32 *w, const volatile __u32 *k)
{
	return (__u64)(__u32)(w[0] + k[0]) * (__u32)(w[1] + k[1]) + (__u64)(__u32)(w[2] + k[2]) * (__u32)(w[3] + k[3]);
}

static __always_inline __u64 lease_mix_address(__u64 h, const union addr *addr, const bool v6)
{
	if (!v6)
		return lease_mix(h, addr->a4.v4);
	h = lease_mix(h, lease_address(addr->a6.v6, lease_secret.address));
	return lease_mix(h, lease_address(addr->a6.v6, lease_secret.address + 2));
}

/* A lease as it would be for this packet. `at` NULL: there can be none. */
struct lease {
	__u64 *at;
	__u64 word;
};

/* Of a packet between p->ep and an address elsewhere. */
static __always_inline __u64 lease_remote_hash(const struct packet *p, enum lease_kind kind, const union addr *far,
					       const bool v6)
{
	const __u64 h = lease_mix_address(lease_begin(p, kind, v6), far, v6);

	return lease_mix(h, (__u64)p->ifindex << 32 | p->word.revision);
}

/* Where its lease would be, and what it would say but for the slot. */
static __always_inline void lease_remote(const struct packet *p, struct lease *lease, enum lease_kind kind, __u64 via,
					 const union addr *far, const bool v6)
{
	const __u64 begin = lease_remote_hash(p, kind, far, v6);
	__u64 h;

	h = lease_mix(begin, (__u64)p->cluster_revision << 32 | (__u32)(ct_now() >> LEASE_TICKS_SHIFT));
	h = lease_mix(h, via);
	lease->word = lease_mix(h, p->ep->identity) & ~(__u64)LEASE_NODE;
	lease->at = lease_by_hash(begin);
}

/* The same of what depends on an address and the cluster's revision alone. */
static __always_inline void lease_by_address(struct lease *lease, enum lease_kind kind, const union addr *source,
					     __u32 revision, const bool v6)
{
	const __u64 h = lease_mix_address(lease_mix(lease_secret.seed, kind | v6), source, v6);

	lease->word = lease_mix(h, revision) & ~(__u64)LEASE_NODE;
	lease->at = lease_secret.seed && !dry_run ? lease_by_hash(h) : NULL;
}

/* The slot that is leased, or 0. */
static __always_inline __u32 lease_slot(const struct lease *lease)
{
	const __u64 word = lease->at ? *lease->at : 0;

	return (word & ~(__u64)LEASE_NODE) == lease->word ? word & LEASE_NODE : 0;
}

/*
 * The flow lets such packets pass: `end` is its other end. Of an end on this node a lease for another node would say
 * slot 0, and the other way round the word would be no lease's: neither is ever believed.
 */
static __always_inline void lease_give(const struct lease *lease, __u32 end)
{
	if (lease->at)
		*lease->at = end_is_remote(end) ? lease->word | (end & LEASE_NODE) : lease->word;
}

/* The same for a pod of another node. */
static __always_inline bool lease_to_node_holds(struct packet *p, struct lease *lease, const bool v6)
{
	__u32 slot;

	p->peer = NULL;
	p->peer_ifindex = 0;
	p->cluster_revision = cluster_revision();
	if (!p->cluster_revision)
		return false;
	lease_remote(p, lease, LEASE_TO_NODE, 0, &p->at->daddr, v6);
	slot = lease_slot(lease);
	if (slot)
		p->peer_ifindex = WR_REMOTE | slot;
	return slot;
}

/* Whether what the node p->peer_ifindex has sent for p->ep, as whoever it says (p->peer_identity), has a lease. */
static __always_inline bool lease_from_node_holds(const struct packet *p, struct lease *lease, const bool v6)
{
	lease->at = NULL;
	if (!lease_is_for(p) || !p->ep || !p->peer_ifindex)
		return false;
	lease_remote(p, lease, LEASE_FROM_NODE, p->peer_identity, &p->at->saddr, v6);
	return lease_slot(lease) == (p->peer_ifindex & LEASE_NODE);
}

/*
 * Whether the packet is for a pod, which is p->peer then, and there is a lease for it. Else `lease` is what conntrack
 * may give: made of revisions and identities that were read before it looks at the entry. Read afterwards they could
 * already be those of a policy that denies.
 */
static __always_inline bool lease_holds(struct packet *p, struct lease *lease, const bool v6)
{
	lease->at = NULL;
	if (!lease_is_for(p))
		return false;
	p->peer_ifindex = endpoint_guess(&p->at->daddr, v6);
	p->peer = p->peer_ifindex ? endpoint_get(p->peer_ifindex) : NULL;
	if (!p->peer || !addr_is_endpoints(&p->at->daddr, p->peer, v6))
		return lease_to_node_holds(p, lease, v6);
	p->peer_identity = p->peer->identity;
	lease->at = lease_at(p, &lease->word, v6);
	return lease->at && *lease->at == lease->word;
}

#endif
