/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The seed of a run of random tests: WARREN_SEED, or drawn. The command that repeats the run is printed at once, as a crash
 * ends everything, and again at the end of a run that has failed.
 */
#ifndef WARREN_TEST_SEED_H
#define WARREN_TEST_SEED_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SEED_MAX 0xffffff /* short enough to type; what adds to a seed stays a seed */

/* One for all files of a program. */
__attribute__((weak)) struct {
	unsigned long value;
	bool known;
	pid_t pid;
} seed_state;

static inline void seed_print_again(int status, void *arg)
{
	if (status && getpid() == seed_state.pid)
		fprintf(stderr, "ERROR: repeat the random tests with WARREN_SEED=%lu %s\n", seed_state.value, program_invocation_name);
}

static inline unsigned long seed_of_run(void)
{
	const char *given = getenv("WARREN_SEED");
	uint32_t drawn = 1;

	if (seed_state.known)
		return seed_state.value;
	/* Not by getrandom(): test_apply has one of its own, which follows this seed. */
	if (!given && getentropy(&drawn, sizeof(drawn)))
		abort();
	seed_state.value = given ? strtoul(given, NULL, 0) : 1 + drawn % SEED_MAX;
	seed_state.known = true;
	seed_state.pid = getpid();
	printf("WARREN_SEED=%lu %s repeats the random tests\n", seed_state.value, program_invocation_name);
	on_exit(seed_print_again, NULL);
	return seed_state.value;
}

#endif
