/* SPDX-License-Identifier: BSD-2-Clause */
/* A pod's identity: a number that each node computes from the pod's labels. */
#ifndef WARREN_POLICY_IDENTITY_H
#define WARREN_POLICY_IDENTITY_H

#include "policy.h"

/*
 * The identity of pods with these labels: kind pod in the top byte, 56 bits of the hash below. The hashed text has
 * every string preceded by its length, in a fixed order, so that two label sets never have the same text.
 * `namespace_labels` may be NULL (no such namespace object).
 */
uint64_t identity_compute(const uint8_t key[POLICY_KEY_SIZE], const char *namespace,
			  const struct labels *namespace_labels, const struct labels *labels,
			  const struct named_port *ports, size_t port_count);

#endif
