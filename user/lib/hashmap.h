/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hash map of keys and values, each of one size, in one block of memory. (Structures that are in tables are in
 * table.h.) Zeros and the sizes: an empty one.
 */
#ifndef WARREN_HASHMAP_H
#define WARREN_HASHMAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap {
	size_t key_size, value_size; /* value_size 0: a set of keys */
	size_t count;
	size_t room;   /* a power of two, or 0 */
	char *slots;   /* of a key and its value; all zeros in the key: empty. One more at the end for a key of zeros */
	bool has_zero; /* that one is in use */
	uint64_t seed; /* of the hash: keys that collide cannot be chosen in advance */
};

int hashmap_put(struct hashmap *m, const void *key, const void *value); /* 1: added; 0: replaced; -ENOMEM */
bool hashmap_get(const struct hashmap *m, const void *key, void *value); /* whether it has the key; value may be NULL */
bool hashmap_remove(struct hashmap *m, const void *key);		 /* whether it had the key */
void hashmap_free(struct hashmap *m);
/* The slot after `slot` (NULL: the first), in no order; NULL: none. The map must not change meanwhile. */
const void *hashmap_next(const struct hashmap *m, const void *slot);

/* --- from number to number; zeros are an empty one --- */

struct u64_pair {
	uint64_t key, value;
};

static inline int u64map_set(struct hashmap *m, uint64_t key, uint64_t value)
{
	m->key_size = m->value_size = sizeof(uint64_t);
	return hashmap_put(m, &key, &value) < 0 ? -ENOMEM : 0;
}

static inline bool u64map_get(const struct hashmap *m, uint64_t key, uint64_t *value)
{
	return hashmap_get(m, &key, value);
}

static inline void u64map_remove(struct hashmap *m, uint64_t key)
{
	hashmap_remove(m, &key);
}

#define u64map_for_each(m, pair) for (const struct u64_pair *pair = NULL; (pair = hashmap_next(m, pair));)

#endif
