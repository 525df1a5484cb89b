/* SPDX-License-Identifier: BSD-2-Clause */
/* Growing arrays, allocated with malloc(). */
#ifndef WARREN_ARRAY_H
#define WARREN_ARRAY_H

#include <errno.h>
#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Room for one more element in *array, an array of `size` bytes each; -ENOMEM leaves it as it was. */
int array_grow(void *array, size_t *room, size_t count, size_t size);

/* Appends a value to an array: 0, or -ENOMEM. */
#define array_push(v, room, count, ...)                                                               \
	(array_grow(&(v), &(room), (count), sizeof(*(v))) < 0 ? -ENOMEM : ((v)[(count)++] = __VA_ARGS__, 0))

/* The index of the first element of a sorted array that is not below `key`; `count`, if all are. */
size_t array_lower_bound(const void *key, const void *v, size_t count, size_t size,
			 int (*cmp)(const void *key, const void *element));

/*
 * Sorts an array, which may be empty and NULL, and leaves one of each run of equal elements. `drop` (may be NULL) frees
 * what the others hold. Returns how many are left.
 */
size_t array_sort_unique(void *v, size_t count, size_t size, int (*cmp)(const void *, const void *),
			 void (*drop)(void *element));

#endif
