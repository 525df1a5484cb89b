/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast this machine's time stamp counter counts. An emulated machine has that counter, too, and measures it with
 * emulated timers as it boots: on a busy machine it is wrong by far, and then so are all its clocks. So it is given.
 */
#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "tsc.h"

#define MEASURE_NS 200000000

#ifdef __x86_64__
static uint64_t now(uint64_t *ns)
{
	uint64_t before, ticks, best = UINT64_MAX, at = 0;
	struct timespec ts;

	/* Of some readings that which was interrupted least. */
	for (int i = 0; i < 100; i++) {
		before = __builtin_ia32_rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ticks = __builtin_ia32_rdtsc() - before;
		if (ticks < best) {
			best = ticks;
			at = before + ticks / 2;
			*ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		}
	}
	return at;
}

int tsc_khz(void)
{
	const struct timespec pause = { .tv_nsec = MEASURE_NS };
	uint64_t ns[2], ticks = now(&ns[0]);

	nanosleep(&pause, NULL);
	ticks = now(&ns[1]) - ticks;
	return (int)(ticks * 1000000 / (ns[1] - ns[0]));
}
#else
int tsc_khz(void)
{
	return -EOPNOTSUPP;
}
#endif
