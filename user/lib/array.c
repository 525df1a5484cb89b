/* SPDX-License-Identifier: BSD-2-Clause */
#include "array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int array_grow(void *array, size_t *room, size_t count, size_t size)
{
	size_t larger = *room ? *room * 2 : 4;
	void *grown;

	if (count < *room)
		return 0;
	grown = reallocarray(*(void **)array, larger, size);
	if (!grown)
		return -ENOMEM;
	*(void **)array = grown;
	*room = larger;
	return 0;
}

size_t array_lower_bound(const void *key, const void *v, size_t count, size_t size,
			 int (*cmp)(const void *key, const void *element))
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (cmp(key, (const char *)v + middle * size) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t array_sort_unique(void *v, size_t count, size_t size, int (*cmp)(const void *, const void *),
			 void (*drop)(void *element))
{
	char *kept = v;

	if (!count) /* no arithmetic with NULL */
		return 0;
	qsort(v, count, size, cmp);
	for (char *e = kept + size, *end = kept + count * size; e < end; e += size) {
		if (cmp(kept, e) != 0) {
			kept += size;
			if (kept != e)
				memcpy(kept, e, size);
		} else if (drop) {
			drop(e);
		}
	}
	return (size_t)(kept - (char *)v) / size + 1;
}
