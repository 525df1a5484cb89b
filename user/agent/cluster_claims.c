/* SPDX-License-Identifier: BSD-2-Clause */
/* Who counts, where nodes claim the same addresses: pod CIDRs and node addresses, all alike. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "cluster_internal.h"

struct claim {
	struct prefix prefix;
	bool address; /* a node's, no pod CIDR */
	struct member *member;
};

#define CLAIMS_EACH (2 + NODE_ADDRESSES)

/* A prefix that is claimed, by however many. */
struct place {
	struct prefix prefix;
	struct place *around;	     /* the smallest one that contains it; NULL: none */
	const struct claim *first;   /* of those that claim it, which follow one another */
	const struct claim *stands;  /* the one that stands here; NULL: none */
	const struct claim *inside;  /* one that stands somewhere in it; NULL: none */
};

/* All claims, and their prefixes. Both sorted: what contains a prefix comes before it. */
struct claims {
	struct claim *v;
	size_t count;
	struct place *places;
	size_t place_count;
	struct member **order; /* of precedence, where all else is equal */
};

static void claims_free(struct claims *all)
{
	free(all->v);
	free(all->places);
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

static int place_cmp(const void *prefix, const void *place)
{
	return prefix_cmp(prefix, &((const struct place *)place)->prefix);
}

static struct place *place_of(const struct claims *all, const struct prefix *prefix)
{
	return bsearch(prefix, all->places, all->place_count, sizeof(*all->places), place_cmp);
}

/* The API server sets when a Node was created; its kubelet cannot. */
static int precedence_cmp(const void *pa, const void *pb)
{
	const struct member *a = *(struct member *const *)pa, *b = *(struct member *const *)pb;
	const int64_t x = a->object && a->object->created ? a->object->created : INT64_MAX;
	const int64_t y = b->object && b->object->created ? b->object->created : INT64_MAX;

	return x == y ? strcmp(a->name, b->name) : x < y ? -1 : 1;
}

/* --- all of them --- */

static void find_places(struct claims *all)
{
	for (size_t i = 0; i < all->count; i++) {
		const struct prefix *prefix = &all->v[i].prefix;
		struct place *around = all->place_count ? &all->places[all->place_count - 1] : NULL;

		if (around && prefix_cmp(&around->prefix, prefix) == 0)
			continue;
		while (around && !prefix_contains(&around->prefix, &prefix->ip))
			around = around->around;
		all->places[all->place_count++] = (struct place){ .prefix = *prefix, .around = around, .first = &all->v[i] };
	}
}

static int claims_collect(struct cluster *c, struct claims *all)
{
	all->v = calloc(c->count * CLAIMS_EACH + 1, sizeof(*all->v));
	all->places = calloc(c->count * CLAIMS_EACH + 1, sizeof(*all->places));
	all->order = calloc(c->count + 1, sizeof(struct member *));
	if (!all->v || !all->places || !all->order)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		all->order[i] = c->members[i];
		if (c->members[i]->object)
			all->count += claims_of(c->members[i], all->v + all->count);
	}
	qsort(all->v, all->count, sizeof(*all->v), claim_cmp);
	qsort(all->order, c->count, sizeof(struct member *), precedence_cmp);
	find_places(all);
	return 0;
}

/* One that stands, is another member's, and overlaps the prefix; NULL: none. */
static const struct claim *find_rival(const struct place *place, const struct member *m)
{
	if (place->inside && place->inside->member != m)
		return place->inside;
	for (; place; place = place->around) {
		if (place->stands && place->stands->member != m)
			return place->stands;
	}
	return NULL;
}

static void stand(struct claims *all, const struct prefix *prefix, const struct member *m)
{
	struct place *place = place_of(all, prefix);
	const struct claim *claim = place->first;

	while (claim->member != m)
		claim++;
	place->stands = claim;
	for (place = place->around; place; place = place->around)
		place->inside = claim;
}

/* --- who counts --- */

static void blame(struct member *m, const struct claim *mine, const struct claim *theirs)
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

/* One with an address in a pod CIDR of its own counts in no case. */
static bool overlaps_itself(struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = claims_of(m, claims);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (prefix_overlaps(&claims[i].prefix, &claims[j].prefix)) {
				blame(m, &claims[i], &claims[j]);
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

/* What was given up is not established any more, nor is what our own node has now. The rest stands before all that is new. */
static void stand_established(struct claims *all, struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = m->object ? claims_of(m, claims) : 0, kept = 0;

	for (size_t i = 0; i < m->established_count; i++) {
		const struct prefix prefix = m->established[i];

		if (!has_claim(claims, count, &prefix) || find_rival(place_of(all, &prefix), m))
			continue;
		m->established[kept++] = prefix;
		if (!m->left_out)
			stand(all, &prefix, m);
	}
	m->established_count = kept;
}

static void stand_all(struct claims *all, struct member *m)
{
	struct claim claims[CLAIMS_EACH];
	size_t count = claims_of(m, claims);

	for (size_t i = 0; i < count && !m->left_out; i++) {
		const struct claim *rival = find_rival(place_of(all, &claims[i].prefix), m);

		m->left_out = rival;
		if (rival)
			blame(m, &claims[i], rival);
	}
	if (m->left_out)
		return;
	m->established_count = count;
	for (size_t i = 0; i < count; i++) {
		m->established[i] = claims[i].prefix;
		stand(all, &claims[i].prefix, m);
	}
}

int claims_resolve(struct cluster *c)
{
	_cleanup_(claims_free) struct claims all = { 0 };

	if (claims_collect(c, &all) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++)
		c->members[i]->left_out = c->members[i]->object && overlaps_itself(c->members[i]);
	if (c->own)
		stand_all(&all, c->own);
	for (size_t i = 0; i < c->count; i++) {
		if (all.order[i] != c->own)
			stand_established(&all, all.order[i]);
	}
	for (size_t i = 0; i < c->count; i++) {
		if (all.order[i] != c->own && all.order[i]->object)
			stand_all(&all, all.order[i]);
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

/* What the member claims of these; `kept` may be NULL. */
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

/* The maps name no nodes: it is the one that claims most of what is there; of such, the one that takes precedence. */
static struct member *find_owner(const struct cluster *c, const struct claims *all, const struct prefix *prefixes, size_t count)
{
	struct member *best = NULL;
	size_t most = 0;

	for (size_t i = 0; i < count; i++) {
		const struct place *place = place_of(all, &prefixes[i]);
		const struct claim *claim = place ? place->first : NULL;

		for (; claim && claim < all->v + all->count && prefix_cmp(&claim->prefix, &prefixes[i]) == 0; claim++) {
			struct member *m = claim->member;
			const size_t n = m->own ? 0 : claims_among(m, prefixes, count, NULL);

			if (n < most || !n || (n == most && best && precedence_cmp(&m, &best) >= 0))
				continue;
			best = m;
			most = n;
		}
	}
	return best;
}

int claims_adopt(struct cluster *c)
{
	_cleanup_(claims_free) struct claims all = { 0 };

	if (claims_collect(c, &all) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->left.node_count; i++) {
		struct prefix prefixes[CLAIMS_EACH];
		size_t count = found_claims(&c->left.nodes[i].node, prefixes);
		struct member *m = find_owner(c, &all, prefixes, count);

		if (m && !m->established_count)
			m->established_count = claims_among(m, prefixes, count, m->established);
	}
	return 0;
}
