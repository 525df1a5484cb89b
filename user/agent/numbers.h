/* SPDX-License-Identifier: BSD-2-Clause */
/* A table from 64-bit number to 64-bit number. The number 0 is no key. */
#ifndef WARREN_AGENT_NUMBERS_H
#define WARREN_AGENT_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct number_pair {
	uint64_t key, value; /* key 0: the slot is empty */
};

/* All zeros is an empty table. */
struct numbers {
	struct number_pair *slots;
	size_t room, count;
};

int numbers_set(struct numbers *n, uint64_t key, uint64_t value); /* -ENOMEM */
bool numbers_get(const struct numbers *n, uint64_t key, uint64_t *value);
void numbers_remove(struct numbers *n, uint64_t key);
void numbers_free(struct numbers *n);

/* Every pair, in no order; the table must not be changed meanwhile. (An empty one has no slots to reckon from.) */
#define numbers_for_each(n, pair)                                                                                      \
	for (const struct number_pair *pair = (n)->slots, *pair##_end = (n)->room ? pair + (n)->room : pair;           \
	     pair != pair##_end; pair++)                                                                               \
		if (pair->key)

#endif
