/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set of keys of one size. A table's writer keeps one, since the kernel has no exact lookup in an LPM trie (a lookup
 * finds shorter prefixes too, and before 6.13 an update ignores BPF_NOEXIST) and does not report a map's element count.
 */
#ifndef WARREN_KEYSET_H
#define WARREN_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keyset {
	size_t key_size, count;
	size_t room; /* a power of two, or 0 */
	char *keys;
	uint8_t *taken;
};

int keyset_add(struct keyset *set, const void *key);	 /* 1: added; 0: it was there; -ENOMEM */
bool keyset_remove(struct keyset *set, const void *key); /* whether it was there */
void keyset_free(struct keyset *set);

#endif
