/* SPDX-License-Identifier: BSD-2-Clause */
/* Decides which node owns a prefix that several claim (cluster.h): pod CIDRs and node addresses, all alike. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "cluster_internal.h"

struct claim {
	struct prefix prefix;
	bool address; /* a node's address, not a pod CIDR */
	struct member *member;
};

#define CLAIMS_EACH (2 + NODE_ADDRESSES)

/* A prefix that one or more nodes claim. */
struct claimed {
	struct prefix prefix;
	struct claimed *parent;		  /* the smallest one that contains it; NULL: none */
	const struct claim *first;	  /* of the claims of this prefix, which are adjacent */
	const struct claim *owner;	  /* the owner's claim; NULL: none */
	const struct claim *owner_inside; /* an owner's claim of a prefix inside this one; NULL: none */
};

/* All claims, and their prefixes. Both sorted: a prefix comes after those that contain it. */
struct claims {
	struct claim *v;
	size_t count;
	struct claimed *claimed;
	size_t claimed_count;
	struct member **order; /* by precedence_cmp() */
};

static void claims_free(struct claims *all)
{
	free(all->v);
	free(all->claimed);
	free(all->order);
}

static size_t claims_of(struct member *m, struct claim claims[CLAIMS_EACH])
{
	size_t count = 0;

	for (int i = 0; i < 2; i++) {
		if (m->object->cidrs[i].ip.family)
			claims[count++] = (struct claim){ m->object->cidrs[i], false, m };
	}
	for (size_t i = 0; i < m->object->address_count; i++) {
		const struct ip *ip = &m->object->addresses[i];

		claims[count++] = (struct claim){ { *ip, (uint8_t)ip_bits(ip) }, true, m };
	}
	return count;
}

static int claim_cmp(const void *pa, const void *pb)
{
	const struct claim *a = pa, *b = pb;

	return prefix_cmp(&a->prefix, &b->prefix);
}

static int claimed_cmp(const void *prefix, const void *claimed)
{
	return prefix_cmp(prefix, &((const struct claimed *)claimed)->prefix);
}

static struct claimed *claimed_find(const struct claims *all, const struct prefix *prefix)
{
	return bsearch(prefix, all->claimed, all->claimed_count, sizeof(*all->claimed), claimed_cmp);
}

/* The API server sets when a Node was created; its kubelet cannot. */
static int precedence_cmp(const void *pa, const void *pb)
{
	const struct member *a = *(struct member *const *)pa, *b = *(struct member *const *)pb;
	const int64_t x = a->object && a->object->created ? a->object->created : INT64_MAX;
	const int64_t y = b->object && b->object->created ? b->object->created : INT64_MAX;

	return x == y ? strcmp(a->name, b->name) : x < y ? -1 : 1;
}

/* --- collection --- */

static void collect_prefixes(struct claims *all)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct prefix *prefix = &all->v[i].prefix;
		struct claimed *parent = all->claimed_count ? &all->claimed[all->claimed_count - 1] : NULL;

		if (parent && prefix_cmp(&parent->prefix, prefix) == 0)
			continue;
		while (parent && !prefix_contains(&parent->prefix, &prefix->ip))
			parent = parent->parent;
		all->claimed[all->claimed_count++] =
		    (struct claimed){ .prefix = *prefix, .parent = parent, .first = &all->v[i] };
	}
}

static int claims_collect(struct cluster *c, struct claims *all)
{
	all->v = calloc(c->count * CLAIMS_EACH + 1, sizeof(*all->v));
	all->claimed = calloc(c->count * CLAIMS_EACH + 1, sizeof(*all->claimed));
	all->order = calloc(c->count + 1, sizeof(struct member *));
	if (!all->v || !all->claimed || !all->order)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		all->order[i] = c->members[i];
		if (c->members[i]->object)
			all->count += claims_of(c->members[i], all->v + all->count);
	}
	qsort(all->v, all->count, sizeof(*all->v), claim_cmp);
	qsort(all->order, c->count, sizeof(struct member *), precedence_cmp);
	collect_prefixes(all);
	return 0;
}

/* Another member's claim that owns an overlapping prefix; NULL: none. */
static const struct claim *find_conflict(const struct claimed *claimed, const struct member *m)
{
	if (claimed->owner_inside && claimed->owner_inside->member != m)
		return claimed->owner_inside;
	for (; claimed; claimed = claimed->parent) {
		if (claimed->owner && claimed->owner->member != m)
			return claimed->owner;
	}
	return NULL;
}

static void assign(struct claims *all, const struct prefix *prefix, const struct member *m)
{
	struct claimed *claimed = claimed_find(all, prefix);
	const struct claim *claim = claimed->first;

	while (claim->member != m)
		claim++;
	claimed->owner = claim;
	for (claimed = claimed->parent; claimed; claimed = claimed->parent)
		claimed->owner_inside = claim;
}

/* --- owners --- */

static void report_conflict(struct member *m, const struct claim *mine, const struct claim *theirs)
{
	char a[PREFIX_STRLEN], b[PREFIX_STRLEN];

	if (mine->address)
		ip_format(&mine->prefix.ip, a);
	else
		prefix_format(&mine->prefix, a);
	if (theirs->address)
		ip_format(&theirs->prefix.ip, b);
	else
		prefix_format(&theirs->prefix, b);
	if (theirs->member == m)
		member_problem(m, "its %s %s is in its own pod CIDR %s", mine->address ? "address" : "pod CIDR", a, b);
	else
		member_problem(m, "its %s %s overlaps %s %s of node %.63s, which had it first",
			       mine->address ? "address" : "pod CIDR", a, theirs->address ? "address" : "pod CIDR", b,
			       theirs->member->name);
}

/* A node with an address in its own pod CIDR is never programmed. */
static bool overlaps_itself(struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = claims_of(m, claims);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (prefix_overlaps(&claims[i].prefix, &claims[j].prefix)) {
				report_conflict(m, &claims[i], &claims[j]);
				return true;
			}
		}
	}
	return false;
}

static bool has_claim(const struct claim *claims, size_t count, const struct prefix *prefix)
{
	for (size_t i = 0; i < count; i++) {
		if (prefix_cmp(&claims[i].prefix, prefix) == 0)
			return true;
	}
	return false;
}

/*
 * Established prefixes that it has withdrawn, or that this node claims, are no longer established. It owns the others.
 */
static void assign_established(struct claims *all, struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = m->object ? claims_of(m, claims) : 0, kept = 0;

	for (size_t i = 0; i < m->established_count; i++) {
		const struct prefix prefix = m->established[i];

		if (!has_claim(claims, count, &prefix) || find_conflict(claimed_find(all, &prefix), m))
			continue;
		m->established[kept++] = prefix;
		if (!m->not_programmed)
			assign(all, &prefix, m);
	}
	m->established_count = kept;
}

static void assign_all(struct claims *all, struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = claims_of(m, claims);

	for (size_t i = 0; i < count && !m->not_programmed; i++) {
		const struct claim *conflict = find_conflict(claimed_find(all, &claims[i].prefix), m);

		m->not_programmed = conflict;
		if (conflict)
			report_conflict(m, &claims[i], conflict);
	}
	if (m->not_programmed)
		return;
	m->established_count = count;
	for (size_t i = 0; i < count; i++) {
		m->established[i] = claims[i].prefix;
		assign(all, &claims[i].prefix, m);
	}
}

int conflicts_resolve(struct cluster *c)
{
	_cleanup_(claims_free) struct claims all = { 0 };

	if (claims_collect(c, &all) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->not_programmed = c->members[i]->object && overlaps_itself(c->members[i]);
	if (c->own)
		assign_all(&all, c->own);
	for (size_t i = 0; i < c->count; i++) {
		if (all.order[i] != c->own)
			assign_established(&all, all.order[i]);
	}
	for (size_t i = 0; i < c->count; i++) {
		if (all.order[i] != c->own && all.order[i]->object)
			assign_all(&all, all.order[i]);
	}
	return 0;
}

/* --- after a start --- */

static size_t found_claims(const struct dp_node *found, struct prefix prefixes[CLAIMS_EACH])
{
	size_t count = 0;

	for (int i = 0; i < 2; i++) {
		if (found->cidrs[i].ip.family)
			prefixes[count++] = found->cidrs[i];
	}
	for (size_t i = 0; i < found->address_count; i++)
		prefixes[count++] = (struct prefix){ found->addresses[i], (uint8_t)ip_bits(&found->addresses[i]) };
	return count;
}

/* Which of these prefixes the member claims; `kept` may be NULL. */
static size_t claims_among(struct member *m, const struct prefix *prefixes, size_t count, struct prefix *kept)
{
	struct claim claims[CLAIMS_EACH];
	size_t claimed = claims_of(m, claims), n = 0;

	for (size_t i = 0; i < count; i++) {
		if (!has_claim(claims, claimed, &prefixes[i]))
			continue;
		if (kept)
			kept[n] = prefixes[i];
		n++;
	}
	return n;
}

/*
 * The maps hold no node names: the owner is the member that claims most of the prefixes; of several, the first in
 * precedence.
 */
static struct member *find_owner(const struct cluster *c, const struct claims *all, const struct prefix *prefixes,
				 size_t count)
{
	struct member *best = NULL;
	size_t max = 0;

	for (size_t i = 0; i < count; i++) {
		const struct claimed *claimed = claimed_find(all, &prefixes[i]);
		const struct claim *claim = claimed ? claimed->first : NULL;

		for (; claim && claim < all->v + all->count && prefix_cmp(&claim->prefix, &prefixes[i]) == 0; claim++) {
			struct member *m = claim->member;
			const size_t n = m->own ? 0 : claims_among(m, prefixes, count, NULL);

			if (n < max || !n || (n == max && best && precedence_cmp(&m, &best) >= 0))
				continue;
			best = m;
			max = n;
		}
	}
	return best;
}

int conflicts_adopt(struct cluster *c)
{
	_cleanup_(claims_free) struct claims all = { 0 };

	if (claims_collect(c, &all) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->stale.node_count; i++) {
		struct prefix prefixes[CLAIMS_EACH];
		size_t count = found_claims(&c->stale.nodes[i].node, prefixes);
		struct member *m = find_owner(c, &all, prefixes, count);

		if (m && !m->established_count)
			m->established_count = claims_among(m, prefixes, count, m->established);
	}
	return 0;
}
