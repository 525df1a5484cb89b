/* SPDX-License-Identifier: BSD-2-Clause */
#include "keyset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fnv.h"

#define FIRST_ROOM 64

static char *key_at(const struct keyset *set, size_t slot)
{
	return set->keys + slot * set->key_size;
}

static size_t home_of(const struct keyset *set, const void *key)
{
	const uint64_t hash = fnv1a(key, set->key_size);

	/* FNV's low bits do not depend on the high bits of its input. */
	return (hash ^ hash >> 29) & (set->room - 1);
}

/* The slot of the key, or the free slot for it. There always is a free one. */
static size_t find(const struct keyset *set, const void *key)
{
	size_t slot = home_of(set, key);

	while (set->taken[slot] && memcmp(key_at(set, slot), key, set->key_size) != 0)
		slot = (slot + 1) & (set->room - 1);
	return slot;
}

static void put(struct keyset *set, size_t slot, const void *key)
{
	memcpy(key_at(set, slot), key, set->key_size);
	set->taken[slot] = 1;
}

static int grow(struct keyset *set)
{
	struct keyset larger = { .key_size = set->key_size,
				 .count = set->count,
				 .room = set->room ? 2 * set->room : FIRST_ROOM };

	larger.keys = calloc(larger.room, larger.key_size);
	larger.taken = calloc(larger.room, 1);
	if (!larger.keys || !larger.taken) {
		keyset_free(&larger);
		return -ENOMEM;
	}
	for (size_t slot = 0; slot < set->room; slot++) {
		if (set->taken[slot])
			put(&larger, find(&larger, key_at(set, slot)), key_at(set, slot));
	}
	keyset_free(set);
	*set = larger;
	return 0;
}

int keyset_add(struct keyset *set, const void *key)
{
	size_t slot;

	/* At most three quarters full. */
	if (4 * (set->count + 1) > 3 * set->room && grow(set) < 0)
		return -ENOMEM;
	slot = find(set, key);
	if (set->taken[slot])
		return 0;
	put(set, slot, key);
	set->count++;
	return 1;
}

bool keyset_remove(struct keyset *set, const void *key)
{
	size_t hole, slot;

	if (!set->count)
		return false;
	hole = find(set, key);
	if (!set->taken[hole])
		return false;
	/* Linear probing: moves later keys into the hole that a lookup would not find behind it. */
	for (slot = (hole + 1) & (set->room - 1); set->taken[slot]; slot = (slot + 1) & (set->room - 1)) {
		size_t home = home_of(set, key_at(set, slot));

		if (((slot - home) & (set->room - 1)) >= ((slot - hole) & (set->room - 1))) {
			put(set, hole, key_at(set, slot));
			hole = slot;
		}
	}
	set->taken[hole] = 0;
	set->count--;
	return true;
}

void keyset_free(struct keyset *set)
{
	free(set->keys);
	free(set->taken);
	set->keys = NULL;
	set->taken = NULL;
	set->count = set->room = 0;
}
