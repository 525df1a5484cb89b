/* SPDX-License-Identifier: BSD-2-Clause */
/* Hashes of objects. Different objects have different hashed texts. */
#ifndef WARREN_POLICY_OBJECT_HASH_H
#define WARREN_POLICY_OBJECT_HASH_H

#include "objects.h"
#include "siphash.h"

void siphash_labels(struct siphash *h, const struct labels *labels);
void siphash_ports(struct siphash *h, const struct named_port *ports, size_t count);
void siphash_selector(struct siphash *h, const struct selector *selector);
void siphash_policy(struct siphash *h, const struct policy_object *policy); /* all but its names */

#endif
