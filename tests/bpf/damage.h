/* SPDX-License-Identifier: BSD-2-Clause */
/* Random damage to frames, the same in every run. */
#ifndef WARREN_TEST_DAMAGE_H
#define WARREN_TEST_DAMAGE_H

#include "harness.h"

/* Where the numbers begin; not 0. */
void random_seed(uint64_t seed);
uint32_t random_below(uint32_t n);
/* What remains can be run. */
void frame_damage(struct frame *f);

#endif
