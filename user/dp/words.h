/* SPDX-License-Identifier: BSD-2-Clause */
/* The endpoints' policy words, by mmap: one 64-bit store each. Identity first, then {class, revision}. */
#ifndef WARREN_WORDS_H
#define WARREN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct dp_words;
struct dp_word {
	uint32_t ifindex;
	uint32_t policy_class;
	uint32_t revision;
	uint64_t identity;
};
int dp_words_open(struct dp_words **words, struct err *err);
void dp_words_close(struct dp_words *words);
/*
 * Under LOCK_ENDPOINTS. An endpoint that is not there is skipped, and missing[i] set (NULL: nobody wants to know): who
 * asks afterwards may find one that has come since, and has not got its word.
 */
int dp_words_set(struct dp_words *words, const struct dp_word *set, size_t count, bool *missing, struct err *err);

#endif
