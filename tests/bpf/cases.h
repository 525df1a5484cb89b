/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests that are data: one function, and for each test another row. */
#ifndef WARREN_TEST_CASES_H
#define WARREN_TEST_CASES_H

#include "harness.h"

struct cases {
	struct CMUnitTest *units;
	size_t count;
};

/* One more test, whose *state is a copy of `data`. */
void case_add(struct cases *c, CMUnitTestFunction test, const void *data, size_t size, const char *name, ...)
	__attribute__((format(printf, 5, 6)));
/* Runs them all after `setup` and forgets them; returns how many have failed. */
int cases_run(struct cases *c, const char *group, CMFixtureFunction setup);

#endif
