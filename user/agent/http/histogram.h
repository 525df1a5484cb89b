/* SPDX-License-Identifier: BSD-2-Clause */
/* Durations in fixed buckets, as Prometheus counts them. */
#ifndef WARREN_AGENT_HISTOGRAM_H
#define WARREN_AGENT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Upper bounds in seconds. */
static const double histogram_bounds[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
					   0.02,   0.05,    0.1,    0.25,  1,	   5 };
#define HISTOGRAM_BUCKETS (sizeof(histogram_bounds) / sizeof(histogram_bounds[0]))

struct histogram {
	uint64_t buckets[HISTOGRAM_BUCKETS]; /* not cumulative */
	uint64_t count, sum_ns;
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
	size_t i = 0;

	while (i < HISTOGRAM_BUCKETS && (double)ns / 1e9 > histogram_bounds[i])
		i++;
	if (i < HISTOGRAM_BUCKETS)
		h->buckets[i]++;
	h->count++;
	h->sum_ns += ns;
}

#endif
