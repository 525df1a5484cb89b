/* SPDX-License-Identifier: BSD-2-Clause */
/* Keyed hashes: SipHash-2-4 (Aumasson, Bernstein 2012) with a 64-bit result, and the numbers that are made of it. */
#ifndef WARREN_POLICY_IDENTITY_H
#define WARREN_POLICY_IDENTITY_H

#include "policy.h"

uint64_t siphash24(const uint8_t key[POLICY_KEY_SIZE], const void *data, size_t size);

/*
 * The identity of pods with these labels: kind pod in the top byte, 56 bits of the hash below. The hashed text is every
 * string with its length before it, in a fixed order, so that no two label sets have the same text. `namespace_labels`
 * may be NULL (no such namespace object).
 */
uint64_t identity_compute(const uint8_t key[POLICY_KEY_SIZE], const char *namespace,
			  const struct labels *namespace_labels, const struct labels *labels,
			  const struct named_port *ports, size_t port_count);

#endif
