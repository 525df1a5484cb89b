/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SipHash-2-4 over a text that is fed in pieces, so that nothing has to be put together in memory first. A string is
 * fed with its length before it: then no two sequences of strings are one text.
 */
#ifndef WARREN_POLICY_SIPHASH_H
#define WARREN_POLICY_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#include "policy.h"

struct siphash {
	uint64_t v[4];
	uint64_t tail; /* bytes not mixed in yet, the first one lowest */
	uint64_t size; /* all bytes so far */
};

void siphash_begin(struct siphash *h, const uint8_t key[POLICY_KEY_SIZE]);
void siphash_bytes(struct siphash *h, const void *data, size_t size);
void siphash_number(struct siphash *h, uint64_t number); /* 8 bytes, the lowest first */
void siphash_string(struct siphash *h, const char *string);
void siphash_labels(struct siphash *h, const struct labels *labels);
void siphash_ports(struct siphash *h, const struct named_port *ports, size_t count);
void siphash_selector(struct siphash *h, const struct selector *selector);
uint64_t siphash_end(struct siphash *h);

#endif
