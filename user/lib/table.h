/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive hash tables; several elements may have the same hash. As with lists, no operation can fail.
 */
#ifndef WARREN_TABLE_H
#define WARREN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "list.h"

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

struct table {
	struct table_link **buckets; /* NULL until the first element */
	struct table_link *one;      /* the only bucket while there is no memory for more */
	size_t mask, count;
};

void table_free(struct table *t); /* the elements are the caller's */
void table_add(struct table *t, struct table_link *e, uint64_t hash);
void table_remove(struct table *t, struct table_link *e);
struct table_link *table_find(const struct table *t, uint64_t hash);
struct table_link *table_next_equal(const struct table_link *e); /* the next element with the hash of this one */
struct table_link *table_walk(const struct table *t, size_t *bucket, const struct table_link *after);

#define table_each_hash(pos, t, h, member)                                                            \
	for (struct table_link *link_ = table_find(t, h);                                             \
	     link_ && (pos = container_of(link_, __typeof__(*pos), member), true); link_ = table_next_equal(link_))

/* All elements; the body may remove and free `pos`. */
#define table_each(pos, t, member)                                                                    \
	for (size_t bucket_ = 0, step_ = 1; step_; step_ = 0)                                         \
		for (struct table_link *link_ = table_walk(t, &bucket_, NULL), *after_ = NULL;        \
		     link_ && (after_ = table_walk(t, &bucket_, link_),                               \
			      pos = container_of(link_, __typeof__(*pos), member), true);             \
		     link_ = after_)

#endif
