/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash map from 64-bit number to 64-bit number. The number 0 is no key. */
#ifndef WARREN_AGENT_U64MAP_H
#define WARREN_AGENT_U64MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct u64map_pair {
	uint64_t key, value; /* key 0: the slot is empty */
};

/* All zeros is an empty one. */
struct u64map {
	struct u64map_pair *slots;
	size_t room, count;
};

int u64map_set(struct u64map *n, uint64_t key, uint64_t value);		/* -ENOMEM */
bool u64map_get(const struct u64map *n, uint64_t key, uint64_t *value); /* value may be NULL */
void u64map_remove(struct u64map *n, uint64_t key);
void u64map_free(struct u64map *n);

/* Every pair, in no order; the map must not change meanwhile. (An empty one has no slots.) */
#define u64map_for_each(n, pair)                                                                                       \
	for (const struct u64map_pair *pair = (n)->slots, *pair##_end = (n)->room ? pair + (n)->room : pair;           \
	     pair != pair##_end; pair++)                                                                               \
		if (pair->key)

#endif
