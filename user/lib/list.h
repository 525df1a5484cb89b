/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive doubly linked lists: the head and each element have a struct list. Zeros: an empty list, or an element on
 * no list; so does one that points to itself. No operation can fail, so no change stops half-way.
 */
#ifndef WARREN_LIST_H
#define WARREN_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline struct list *list_next(const struct list *l)
{
	return l->next ? l->next : (struct list *)l;
}

static inline bool list_empty(const struct list *l)
{
	return list_next(l) == l;
}

static inline void list_remove(struct list *e)
{
	if (e->next) {
		e->prev->next = e->next;
		e->next->prev = e->prev;
	}
	list_init(e);
}

/* Moves it from its present list, if any, to the end of this one. */
static inline void list_append(struct list *head, struct list *e)
{
	list_remove(e);
	if (!head->next)
		list_init(head);
	e->prev = head->prev;
	e->next = head;
	head->prev->next = e;
	head->prev = e;
}

/* ... to its beginning. */
static inline void list_prepend(struct list *head, struct list *e)
{
	list_remove(e);
	list_append(list_next(head), e);
}

/* Appends it unless it is on a list. */
static inline void list_mark(struct list *head, struct list *e)
{
	if (list_empty(e))
		list_append(head, e);
}

#define list_first(head, type, member) (list_empty(head) ? NULL : container_of((head)->next, type, member))

#define list_each(pos, head, member)                                                                  \
	for (pos = container_of(list_next(head), __typeof__(*pos), member); &pos->member != (head);   \
	     pos = container_of(pos->member.next, __typeof__(*pos), member))

/* The body may take `pos` off the list and free it. */
#define list_each_safe(pos, after, head, member)                                                      \
	for (pos = container_of(list_next(head), __typeof__(*pos), member),                           \
	    after = container_of(list_next(&pos->member), __typeof__(*pos), member);                  \
	     &pos->member != (head); pos = after, after = container_of(after->member.next, __typeof__(*pos), member))

#endif
