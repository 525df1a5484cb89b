/* SPDX-License-Identifier: BSD-2-Clause */
#include "hashmap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Open addressing with linear probing, at most three quarters full. */
#define FIRST_ROOM 16

static size_t slot_size(const struct hashmap *m)
{
	return m->key_size + m->value_size;
}

static char *slot_at(const struct hashmap *m, size_t i)
{
	return m->slots + i * slot_size(m);
}

/* The output function of SplitMix64. */
static uint64_t mix(uint64_t hash)
{
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
	return hash ^ hash >> 31;
}

static uint64_t load64(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static bool is_zero(const struct hashmap *m, const char *key)
{
	char any = 0;

	if (m->key_size == sizeof(uint64_t))
		return !load64(key);
	for (size_t i = 0; i < m->key_size; i++)
		any |= key[i];
	return !any;
}

static bool is_used(const struct hashmap *m, size_t i)
{
	return i == m->room ? m->has_zero : !is_zero(m, slot_at(m, i));
}

static bool has_key(const struct hashmap *m, size_t i, const char *key)
{
	return m->key_size == sizeof(uint64_t) ? load64(slot_at(m, i)) == load64(key)
					       : memcmp(slot_at(m, i), key, m->key_size) == 0;
}

/* The slot where the search for the key begins. */
static size_t home_of(const struct hashmap *m, const char *key)
{
	uint64_t hash = m->seed, last = 0;
	size_t left = m->key_size;

	for (; left >= sizeof(last); left -= sizeof(last), key += sizeof(last))
		hash = mix(hash ^ load64(key));
	if (left) {
		memcpy(&last, key, left);
		hash = mix(hash ^ last);
	}
	return hash & (m->room - 1);
}

/* The slot of the key, or the empty slot for it. There always is an empty one. */
static size_t find(const struct hashmap *m, const char *key)
{
	size_t i = is_zero(m, key) ? m->room : home_of(m, key);

	while (is_used(m, i) && !has_key(m, i, key))
		i = (i + 1) & (m->room - 1);
	return i;
}

static int grow(struct hashmap *m)
{
	struct hashmap larger = *m;
	const char *slot = NULL;

	larger.room = m->room ? 2 * m->room : FIRST_ROOM;
	larger.slots = calloc(larger.room + 1, slot_size(m));
	if (!larger.slots)
		return -ENOMEM;
	/* A failure only loses protection against chosen keys. */
	if (!m->room && getrandom(&larger.seed, sizeof(larger.seed), GRND_NONBLOCK) < 0)
		larger.seed = 0;
	while ((slot = hashmap_next(m, slot)))
		memcpy(slot_at(&larger, find(&larger, slot)), slot, slot_size(m));
	free(m->slots);
	*m = larger;
	return 0;
}

int hashmap_put(struct hashmap *m, const void *key, const void *value)
{
	size_t i;
	int added;

	if (4 * (m->count + 1) > 3 * m->room && grow(m) < 0)
		return -ENOMEM;
	i = find(m, key);
	added = !is_used(m, i);
	m->has_zero |= i == m->room;
	memcpy(slot_at(m, i), key, m->key_size);
	if (m->value_size)
		memcpy(slot_at(m, i) + m->key_size, value, m->value_size);
	m->count += (size_t)added;
	return added;
}

bool hashmap_get(const struct hashmap *m, const void *key, void *value)
{
	const size_t i = m->count ? find(m, key) : 0;

	if (!m->count || !is_used(m, i))
		return false;
	if (value)
		memcpy(value, slot_at(m, i) + m->key_size, m->value_size);
	return true;
}

bool hashmap_remove(struct hashmap *m, const void *key)
{
	const size_t mask = m->room - 1;
	size_t hole = m->count ? find(m, key) : 0;

	if (!m->count || !is_used(m, hole))
		return false;
	m->count--;
	if (hole == m->room) {
		m->has_zero = false;
		return true;
	}
	/* A later slot whose search begins at or before the hole moves into it, so that no search ends too early. */
	for (size_t i = (hole + 1) & mask; is_used(m, i); i = (i + 1) & mask) {
		if (((i - home_of(m, slot_at(m, i))) & mask) < ((i - hole) & mask))
			continue;
		memcpy(slot_at(m, hole), slot_at(m, i), slot_size(m));
		hole = i;
	}
	memset(slot_at(m, hole), 0, m->key_size);
	return true;
}

void hashmap_free(struct hashmap *m)
{
	free(m->slots);
	*m = (struct hashmap){ .key_size = m->key_size, .value_size = m->value_size };
}

const void *hashmap_next(const struct hashmap *m, const void *slot)
{
	size_t i = slot ? (size_t)((const char *)slot - m->slots) / slot_size(m) + 1 : 0;

	while (i < m->room && !is_used(m, i))
		i++;
	return i < m->room || (i == m->room && m->has_zero) ? slot_at(m, i) : NULL;
}
