/* SPDX-License-Identifier: BSD-2-Clause */
#include "u64map.h"

#include <errno.h>
#include <stdlib.h>

/* Open addressing with linear probing, at most three quarters full. */
static size_t place(const struct u64map *n, uint64_t key)
{
	return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (n->room - 1);
}

static struct u64map_pair *find(const struct u64map *n, uint64_t key)
{
	size_t i = place(n, key);

	while (n->slots[i].key && n->slots[i].key != key)
		i = (i + 1) & (n->room - 1);
	return &n->slots[i];
}

static int grow(struct u64map *n)
{
	struct u64map more = { .room = n->room ? 2 * n->room : 16 };

	more.slots = calloc(more.room, sizeof(*more.slots));
	if (!more.slots)
		return -ENOMEM;
	u64map_for_each(n, pair)
		*find(&more, pair->key) = *pair;
	more.count = n->count;
	free(n->slots);
	*n = more;
	return 0;
}

int u64map_set(struct u64map *n, uint64_t key, uint64_t value)
{
	struct u64map_pair *slot;

	if (4 * (n->count + 1) > 3 * n->room) {
		int ret = grow(n);

		if (ret < 0)
			return ret;
	}
	slot = find(n, key);
	if (!slot->key)
		n->count++;
	*slot = (struct u64map_pair){ key, value };
	return 0;
}

bool u64map_get(const struct u64map *n, uint64_t key, uint64_t *value)
{
	const struct u64map_pair *slot = n->room ? find(n, key) : NULL;

	if (!slot || !slot->key)
		return false;
	if (value)
		*value = slot->value;
	return true;
}

void u64map_remove(struct u64map *n, uint64_t key)
{
	struct u64map_pair *slot = n->room ? find(n, key) : NULL;
	size_t hole, i;

	if (!slot || !slot->key)
		return;
	n->count--;
	/* Pairs behind the hole whose place is at or before it move into it, so that no search ends too early. */
	hole = i = (size_t)(slot - n->slots);
	for (;;) {
		i = (i + 1) & (n->room - 1);
		if (!n->slots[i].key)
			break;
		if (((i - place(n, n->slots[i].key)) & (n->room - 1)) < ((i - hole) & (n->room - 1)))
			continue;
		n->slots[hole] = n->slots[i];
		hole = i;
	}
	n->slots[hole].key = 0;
}

void u64map_free(struct u64map *n)
{
	free(n->slots);
	*n = (struct u64map){ 0 };
}
