/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SipHash-2-4 (Aumasson, Bernstein 2012), a keyed hash with a 64-bit result: without the key collisions cannot be
 * constructed. Input may be added part by part, without concatenating it in memory. A string is preceded by its length,
 * so that different sequences of strings are different inputs.
 */
#ifndef WARREN_SIPHASH_H
#define WARREN_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_SIZE 16

struct siphash {
	uint64_t v[4];
	uint64_t tail; /* bytes not mixed in yet, the first one lowest */
	uint64_t size; /* all bytes so far */
};

void siphash_begin(struct siphash *h, const uint8_t key[SIPHASH_KEY_SIZE]);
void siphash_bytes(struct siphash *h, const void *data, size_t size);
void siphash_number(struct siphash *h, uint64_t number); /* 8 bytes, the lowest first */
void siphash_string(struct siphash *h, const char *string);
uint64_t siphash_end(struct siphash *h);

/* The hash of one buffer. */
uint64_t siphash24(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t size);

#endif
