/* SPDX-License-Identifier: BSD-2-Clause */
/* The endpoints' policy words, by mmap: one 64-bit store each. Identity first, then {class, revision}. */
#ifndef WARREN_WORDS_H
#define WARREN_WORDS_H

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
/* Under LOCK_ENDPOINTS. An endpoint that has gone is skipped; *missing (may be NULL) counts these. */
int dp_words_set(struct dp_words *words, const struct dp_word *set, size_t count, size_t *missing, struct err *err);

#endif
