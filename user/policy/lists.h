/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Containers whose links live inside their elements: doubly linked lists, and hash tables with many elements a hash. No
 * operation on them can fail, so what must be consistent never stops half-way.
 */
#ifndef WARREN_POLICY_LISTS_H
#define WARREN_POLICY_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* --- lists: of a head and its elements, each a struct list. An element on no list points to itself. --- */

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_remove(struct list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	list_init(e);
}

/* To the end of a list, from wherever it was. */
static inline void list_append(struct list *head, struct list *e)
{
	list_remove(e);
	e->prev = head->prev;
	e->next = head;
	head->prev->next = e;
	head->prev = e;
}

/* To the end of a list, unless it is on one. */
static inline void list_mark(struct list *head, struct list *e)
{
	if (list_empty(e))
		list_append(head, e);
}

#define list_first(head, type, member) (list_empty(head) ? NULL : container_of((head)->next, type, member))

#define list_each(pos, head, member)                                                                  \
	for (pos = container_of((head)->next, __typeof__(*pos), member); &pos->member != (head);      \
	     pos = container_of(pos->member.next, __typeof__(*pos), member))

/* The body may take `pos` off the list and free it. */
#define list_each_safe(pos, after, head, member)                                                      \
	for (pos = container_of((head)->next, __typeof__(*pos), member),                              \
	    after = container_of(pos->member.next, __typeof__(*pos), member);                         \
	     &pos->member != (head); pos = after, after = container_of(after->member.next, __typeof__(*pos), member))

/* --- tables --- */

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
struct table_link *table_again(const struct table_link *e); /* the next element with the hash of this one */
struct table_link *table_walk(const struct table *t, size_t *bucket, const struct table_link *after);

#define table_each_hash(pos, t, h, member)                                                            \
	for (struct table_link *link_ = table_find(t, h);                                             \
	     link_ && (pos = container_of(link_, __typeof__(*pos), member), true); link_ = table_again(link_))

/* All elements; the body may remove and free `pos`. */
#define table_each(pos, t, member)                                                                    \
	for (size_t bucket_ = 0, step_ = 1; step_; step_ = 0)                                         \
		for (struct table_link *link_ = table_walk(t, &bucket_, NULL), *after_ = NULL;        \
		     link_ && (after_ = table_walk(t, &bucket_, link_),                               \
			      pos = container_of(link_, __typeof__(*pos), member), true);             \
		     link_ = after_)

/* --- arrays --- */

/* Room for one more element; -ENOMEM leaves the array as it was. */
int array_grow(void *array, size_t *room, size_t count, size_t size);

#endif
