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

/*
 * Marks (left_out, for the time being) who overlaps anybody. Prefixes overlap only by one containing the other, so
 * sorted ones need no more than a look at those that contain what came before.
 */
static size_t mark_suspects(struct claim *claims, size_t count)
{
	const struct claim *around[130]; /* as many as there are lengths */
	size_t depth = 0, suspects = 0;

	if (count)
		qsort(claims, count, sizeof(*claims), claim_cmp);
	for (size_t i = 0; i < count; i++) {
		struct claim *claim = &claims[i];

		while (depth && !prefix_contains(&around[depth - 1]->prefix, &claim->prefix.ip))
			depth--;
		if (depth) {
			suspects += !claim->member->left_out + !around[depth - 1]->member->left_out;
			claim->member->left_out = around[depth - 1]->member->left_out = true;
		}
		if (!depth || around[depth - 1]->prefix.len < claim->prefix.len)
			around[depth++] = claim;
	}
	return suspects;
}

static bool claims_overlap(const struct claim *a, size_t a_count, const struct claim *b, size_t b_count, size_t *at,
			   size_t *other)
{
	for (*at = 0; *at < a_count; ++*at) {
		for (*other = 0; *other < b_count; ++*other) {
			if (!(a == b && *at == *other) && prefix_overlaps(&a[*at].prefix, &b[*other].prefix))
				return true;
		}
	}
	return false;
}

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
		member_problem(m, "its %s %s overlaps %s %s of node %s, which counts",
			       mine->address ? "address" : "pod CIDR", a, theirs->address ? "address" : "pod CIDR", b,
			       theirs->member->name);
}

/* Of those who overlap anybody: in order of precedence, whoever overlaps nobody before it counts. */
static void settle(struct member **suspects, size_t count)
{
	size_t counting = 0, at, other;

	for (size_t i = 0; i < count; i++) {
		struct member *m = suspects[i];
		struct claim mine[CLAIMS_EACH], theirs[CLAIMS_EACH];
		size_t n = claims_of(m, mine);

		m->left_out = claims_overlap(mine, n, mine, n, &at, &other);
		if (m->left_out) /* an address in one of the CIDRs, which come first */
			blame(m, &mine[other], &mine[at]);
		for (size_t j = 0; j < counting && !m->left_out; j++) {
			m->left_out = claims_overlap(mine, n, theirs, claims_of(suspects[j], theirs), &at, &other);
			if (m->left_out)
				blame(m, &mine[at], &theirs[other]);
		}
		if (!m->left_out)
			suspects[counting++] = m;
	}
}

int claims_resolve(struct cluster *c)
{
	_cleanup_free_ struct claim *claims = calloc(c->count * CLAIMS_EACH + 1, sizeof(*claims));
	_cleanup_free_ struct member **suspects = calloc(c->count + 1, sizeof(struct member *));
	size_t count = 0, suspect_count = 0;

	if (!claims || !suspects)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		c->members[i]->left_out = false;
		if (c->members[i]->object)
			count += claims_of(c->members[i], claims + count);
	}
	if (!mark_suspects(claims, count))
		return 0;
	if (c->own && c->own->left_out)
		suspects[suspect_count++] = c->own;
	for (size_t i = 0; i < c->count; i++) {
		if (c->members[i]->left_out && c->members[i] != c->own)
			suspects[suspect_count++] = c->members[i];
	}
	settle(suspects, suspect_count);
	return 0;
}
