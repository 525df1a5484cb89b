/* SPDX-License-Identifier: BSD-2-Clause */
/* Benchmark of the compiler at the size of a real cluster. */
#ifndef WARREN_TEST_BENCH_H
#define WARREN_TEST_BENCH_H

#include "policy.h"

int bench(void); /* prints a JSON object a line; returns an exit status */

/* The same rules and `count` pods, each with a label that no other has. */
void bench_unique_pods(size_t count, struct policy_counts *counts);

#endif
