/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "resident.h"
#include "rig.h"

#define SIZE (4u << 20)
static const char constants[SIZE] = { [0] = 1, [SIZE - 1] = 1 };	   /* in the file, and only read */
static const char *const relocated[] = { "one", "two", constants, "four" }; /* written by the dynamic linker */
static char written[SIZE] = { 1 };

/* KiB of /proc/self/status. */
static size_t resident(const char *what)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	size_t kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, what, strlen(what)) == 0)
			sscanf(line + strlen(what), ": %zu", &kib);
	}
	assert_true(kib > 0);
	return kib;
}

static unsigned sum_of(const char *bytes)
{
	const volatile char *v = bytes;
	unsigned sum = 0;

	for (size_t i = 0; i < SIZE; i++)
		sum += (unsigned)v[i];
	return sum;
}

static void what_was_only_read_goes_and_comes_back(void **state)
{
	size_t before;

	assert_int_equal(sum_of(constants), 2);
	before = resident("RssFile");
	assert_true(before >= SIZE >> 10);
	resident_trim();
	assert_true(resident("RssFile") + (SIZE >> 10) <= before + 256);
	assert_int_equal(sum_of(constants), 2);
	assert_true(resident("RssFile") >= SIZE >> 10);
}

static void what_was_written_stays(void **state)
{
	_cleanup_free_ char *heap = strdup("text");
	size_t before;

	memset(written, 7, sizeof(written));
	before = resident("RssAnon");
	assert_true(before >= SIZE >> 10);
	resident_trim();
	assert_true(resident("RssAnon") + 1024 >= before);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(written[i], 7);
	assert_string_equal(heap, "text");
	assert_string_equal(relocated[0], "one");
	assert_ptr_equal(relocated[2], constants);
	assert_string_equal(relocated[3], "four");
}

/* The last one of the blocks is kept: the end of the heap is not free. */
static void free_memory_goes(void **state)
{
#if defined(__SANITIZE_ADDRESS__)
	skip(); /* whose allocator it is not */
#endif
	static char *blocks[SIZE / 1024];
	size_t before;

	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
		blocks[i] = malloc(1024);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, 1024);
	}
	before = resident("RssAnon");
	for (size_t i = 0; i < ARRAY_SIZE(blocks) - 1; i++)
		free(blocks[i]);
	resident_trim();
	assert_true(resident("RssAnon") + (SIZE >> 11) <= before);
	free(blocks[ARRAY_SIZE(blocks) - 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_only_read_goes_and_comes_back),
		cmocka_unit_test(what_was_written_stays),
		cmocka_unit_test(free_memory_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
