/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Maglev's table of backends (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
 * section 3.4): each element names a backend, all have nearly the same number of elements, and a backend that goes
 * changes few elements but its own. It depends on the key and on the set of backends only, not on their order.
 */
#ifndef WARREN_DP_MAGLEV_H
#define WARREN_DP_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

#include "services.h"
#include "siphash.h"

/*
 * Sizes of tables are primes, four times apart: a Service whose table changes its size gets new choices for nearly all of
 * its new flows, so that must be rare. Tables have at least MAGLEV_PER_BACKEND elements for each backend, up to the
 * largest size.
 */
#define MAGLEV_SIZES 1021, 4093, 16381, 65521
#define MAGLEV_SIZE_DEFAULT 1021
#define MAGLEV_SIZE_MAX 65521
#define MAGLEV_PER_BACKEND 100

/* For so many backends, at least `least`; 0: one backend needs no table. */
uint32_t maglev_size(uint32_t least, size_t backends);
/* How many elements of map service_tables it takes. */
size_t maglev_blocks(uint32_t size);

/* Fills in the index of a backend for each element. -ENOMEM */
int maglev_fill(const uint8_t key[SIPHASH_KEY_SIZE], const struct dp_backend *backends, size_t count, uint32_t *elements,
		uint32_t size);

#endif
