/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ipBlocks of a class in one direction as longest-prefix matches: for each prefix of a block or an `except`, the
 * set of blocks that contain it. The set changes only at these prefixes, so the longest match of an address has all
 * blocks that contain the address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

/* Block number `block` begins at this prefix, or (`except`) ends. */
struct edge {
	struct prefix prefix;
	bool except;
	uint32_t block;
};

/* A prefix that encloses the current one, with the blocks that contain it (sorted numbers). */
struct level {
	struct prefix prefix;
	uint32_t *set;
	size_t count;
	uint64_t peer;
};

struct scan {
	const struct policy *p;
	uint8_t direction;
	const struct block_use *blocks;
	struct level *levels;
	size_t depth, room;
	struct cidr_build *out;
};

static int edge_cmp(const void *pa, const void *pb)
{
	const struct edge *a = pa, *b = pb;
	int c = prefix_cmp(&a->prefix, &b->prefix);

	if (c == 0)
		c = a->except - b->except; /* a block that excepts all of itself is empty */
	return c ? c : (a->block > b->block) - (a->block < b->block);
}

static struct edge *edges_make(const struct block_use *blocks, size_t count, size_t *edge_count)
{
	size_t n = count, at = 0;
	struct edge *edges;

	for (size_t i = 0; i < count; i++)
		n += blocks[i].block->except_count;
	edges = calloc(n ? n : 1, sizeof(*edges));
	if (!edges)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		const struct policy_peer *block = blocks[i].block;

		edges[at++] = (struct edge){ block->block, false, (uint32_t)i };
		for (size_t j = 0; j < block->except_count; j++)
			edges[at++] = (struct edge){ block->except[j], true, (uint32_t)i };
	}
	qsort(edges, n, sizeof(*edges), edge_cmp);
	*edge_count = n;
	return edges;
}

static void level_pop(struct scan *s)
{
	free(s->levels[--s->depth].set);
}

static int block_cmp(const void *pa, const void *pb)
{
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;

	return (a > b) - (a < b);
}

static void level_apply(struct level *l, const struct edge *e)
{
	size_t at = array_lower_bound(&e->block, l->set, l->count, sizeof(*l->set), block_cmp);
	bool has = at < l->count && l->set[at] == e->block;

	if (!e->except && !has) {
		memmove(&l->set[at + 1], &l->set[at], (l->count++ - at) * sizeof(*l->set));
		l->set[at] = e->block;
	} else if (e->except && has) {
		memmove(&l->set[at], &l->set[at + 1], (--l->count - at) * sizeof(*l->set));
	}
}

static uint64_t level_peer(const struct scan *s, const struct level *l)
{
	struct siphash h;

	if (!l->count)
		return WR_PEER_NONE;
	siphash_begin(&h, s->p->key);
	for (size_t i = 0; i < l->count; i++)
		siphash_number(&h, s->blocks[l->set[i]].hash);
	return siphash_end(&h) | WR_PEER_CIDR;
}

/* Opens the level of edges[0] and applies the `count` edges at its prefix. */
static int level_push(struct scan *s, const struct edge *edges, size_t count)
{
	const struct level *outer;
	struct level *l;

	if (array_grow(&s->levels, &s->room, s->depth, sizeof(*s->levels)) < 0)
		return -ENOMEM;
	outer = s->depth ? &s->levels[s->depth - 1] : NULL;
	l = &s->levels[s->depth];
	*l = (struct level){ .prefix = edges->prefix };
	l->set = calloc((outer ? outer->count : 0) + count, sizeof(*l->set));
	if (!l->set)
		return -ENOMEM;
	s->depth++;
	if (outer) {
		memcpy(l->set, outer->set, outer->count * sizeof(*l->set));
		l->count = outer->count;
	}
	for (size_t i = 0; i < count; i++)
		level_apply(l, &edges[i]);
	l->peer = level_peer(s, l);
	return 0;
}

/* Adds the level to the output, unless the enclosing level has the same peer. */
static int level_emit(struct scan *s)
{
	const struct level *l = &s->levels[s->depth - 1];
	struct cidr_build *out = s->out;

	if (l->peer == (s->depth > 1 ? s->levels[s->depth - 2].peer : WR_PEER_NONE))
		return 0;
	if (array_push(out->cidrs, out->room, out->count,
		       (struct policy_cidr){ l->prefix.ip, l->prefix.len, s->direction, l->peer }) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < l->count; i++) {
		if (array_push(out->peers, out->peer_room, out->peer_count,
			       (struct block_peer){ s->blocks[l->set[i]].hash, l->peer }) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int scan_edges(struct scan *s, const struct edge *edges, size_t count)
{
	for (size_t i = 0, same; i < count; i += same) {
		for (same = 1; i + same < count; same++) {
			if (edges[i + same].prefix.len != edges[i].prefix.len ||
			    !ip_equal(&edges[i + same].prefix.ip, &edges[i].prefix.ip))
				break;
		}
		while (s->depth && !prefix_contains(&s->levels[s->depth - 1].prefix, &edges[i].prefix.ip))
			level_pop(s);
		if (level_push(s, &edges[i], same) < 0 || level_emit(s) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int peer_cmp(const void *pa, const void *pb)
{
	const struct block_peer *a = pa, *b = pb;

	if (a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return (a->peer > b->peer) - (a->peer < b->peer);
}

static int hash_cmp(const void *pa, const void *pb)
{
	const struct block_use *a = pa, *b = pb;

	return (a->hash > b->hash) - (a->hash < b->hash);
}

size_t blocks_sort(struct block_use *blocks, size_t count)
{
	return array_sort_unique(blocks, count, sizeof(*blocks), hash_cmp, NULL);
}

/* An upper bound: an `except` is not subtracted. */
int cidrs_count(const struct block_use *blocks, size_t count, uint64_t *pairs)
{
	struct around {
		struct prefix prefix;
		uint64_t blocks;
	} around[128 + 1]; /* at most one for each prefix length */
	size_t edge_count = 0, depth = 0;
	struct edge *edges = edges_make(blocks, count, &edge_count);

	if (!edges)
		return -ENOMEM;
	for (size_t i = 0, same; i < edge_count; i += same) {
		uint64_t holding;

		while (depth && !prefix_contains(&around[depth - 1].prefix, &edges[i].prefix.ip))
			depth--;
		holding = depth ? around[depth - 1].blocks : 0;
		for (same = 0; i + same < edge_count && prefix_cmp(&edges[i + same].prefix, &edges[i].prefix) == 0; same++)
			holding += !edges[i + same].except;
		around[depth++] = (struct around){ edges[i].prefix, holding };
		*pairs = saturating_add(*pairs, holding);
	}
	free(edges);
	return 0;
}

/* Appends to out->cidrs and builds out->peers. */
int cidrs_build(const struct policy *p, uint8_t direction, const struct block_use *blocks, size_t count,
		struct cidr_build *out)
{
	struct scan s = { .p = p, .direction = direction, .blocks = blocks, .out = out };
	size_t edge_count = 0;
	struct edge *edges = edges_make(blocks, count, &edge_count);
	int r;

	out->peer_count = 0;
	if (!edges)
		return -ENOMEM;
	r = scan_edges(&s, edges, edge_count);
	while (s.depth)
		level_pop(&s);
	free(s.levels);
	free(edges);
	out->peer_count = array_sort_unique(out->peers, out->peer_count, sizeof(*out->peers), peer_cmp, NULL);
	return r;
}
