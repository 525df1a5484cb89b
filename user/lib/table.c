/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <stdlib.h>

void table_free(struct table *t)
{
	if (t->buckets != &t->one)
		free(t->buckets);
	*t = (struct table){ 0 };
}

/* Without memory the table keeps its size and becomes slower. */
static void table_grow(struct table *t)
{
	size_t size = (t->mask + 1) * 2;
	struct table_link **buckets;

	if (!t->buckets) {
		t->buckets = &t->one;
		return;
	}
	buckets = calloc(size, sizeof(*buckets));
	if (!buckets)
		return;
	for (size_t i = 0; i <= t->mask; i++) {
		struct table_link *e = t->buckets[i], *next;

		for (; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (size - 1)];
			buckets[e->hash & (size - 1)] = e;
		}
	}
	if (t->buckets != &t->one)
		free(t->buckets);
	t->buckets = buckets;
	t->mask = size - 1;
}

void table_add(struct table *t, struct table_link *e, uint64_t hash)
{
	struct table_link **bucket;

	if (t->count > t->mask || !t->buckets)
		table_grow(t);
	bucket = &t->buckets[hash & t->mask];
	e->hash = hash;
	e->next = *bucket;
	*bucket = e;
	t->count++;
}

void table_remove(struct table *t, struct table_link *e)
{
	struct table_link **at = &t->buckets[e->hash & t->mask];

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	e->next = NULL;
	t->count--;
}

static struct table_link *with_hash(struct table_link *e, uint64_t hash)
{
	while (e && e->hash != hash)
		e = e->next;
	return e;
}

struct table_link *table_find(const struct table *t, uint64_t hash)
{
	return t->buckets ? with_hash(t->buckets[hash & t->mask], hash) : NULL;
}

struct table_link *table_next_equal(const struct table_link *e)
{
	return with_hash(e->next, e->hash);
}

struct table_link *table_walk(const struct table *t, size_t *bucket, const struct table_link *after)
{
	if (after && after->next)
		return after->next;
	for (size_t i = after ? *bucket + 1 : 0; t->buckets && i <= t->mask; i++) {
		if (t->buckets[i]) {
			*bucket = i;
			return t->buckets[i];
		}
	}
	return NULL;
}
