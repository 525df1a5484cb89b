/* SPDX-License-Identifier: BSD-2-Clause */
/* Random damage to frames. */
#ifndef WARREN_TEST_DAMAGE_H
#define WARREN_TEST_DAMAGE_H

#include "harness.h"

/* A test, or a part of one, has its own numbers, below 65536: the same ones whatever ran before it. */
void random_start(uint64_t part);
uint32_t random_below(uint32_t n);
/* What remains can be run. */
void frame_damage(struct frame *f);

#endif
