/* SPDX-License-Identifier: BSD-2-Clause */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void case_add(struct cases *c, CMUnitTestFunction test, const void *data, size_t size, const char *name, ...)
{
	struct CMUnitTest *units = realloc(c->units, (c->count + 1) * sizeof(*units));
	void *copy = malloc(size + !size);
	char *text = NULL;
	va_list ap;

	va_start(ap, name);
	if (!units || !copy || vasprintf(&text, name, ap) < 0)
		abort();
	va_end(ap);
	if (size)
		memcpy(copy, data, size);
	c->units = units;
	c->units[c->count++] = (struct CMUnitTest){ .name = text, .test_func = test, .initial_state = copy };
}

int cases_run(struct cases *c, const char *group, CMFixtureFunction setup)
{
	int failed = _cmocka_run_group_tests(group, c->units, c->count, setup, NULL);

	for (size_t i = 0; i < c->count; i++) {
		free((void *)c->units[i].name);
		free(c->units[i].initial_state);
	}
	free(c->units);
	*c = (struct cases){ 0 };
	return failed;
}
