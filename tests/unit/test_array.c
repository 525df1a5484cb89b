/* SPDX-License-Identifier: BSD-2-Clause */
#include "array.h"

#include <stdlib.h>
#include <string.h>

#include "rig.h"

/* Compared by number; the text distinguishes equal elements. */
struct element {
	int number;
	char *text;
};

static int number_cmp(const void *a, const void *b)
{
	return ((const struct element *)a)->number - ((const struct element *)b)->number;
}

static int key_cmp(const void *key, const void *element)
{
	return *(const int *)key - ((const struct element *)element)->number;
}

static int dropped;

static void drop(void *e)
{
	free(((struct element *)e)->text);
	dropped++;
}

static void sorts_without_duplicates(void **state)
{
	static const struct {
		const char *numbers, *sorted;
	} table[] = {
		{ "", "" },		{ "3", "3" },	  { "333", "3" },	{ "12", "12" },
		{ "21", "12" },		{ "1123", "123" }, { "3211", "123" },	{ "1223", "123" },
		{ "41424", "124" },	{ "99", "9" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t count = 0, room = 0, left;
		struct element *v = NULL;
		char sorted[8] = "";

		for (const char *c = table[i].numbers; *c; c++)
			assert_int_equal(array_push(v, room, count, (struct element){ *c - '0', strdup("x") }), 0);
		dropped = 0;
		left = array_sort_unique(v, count, sizeof(*v), number_cmp, drop);
		assert_int_equal(left + (size_t)dropped, count);
		for (size_t j = 0; j < left; j++) {
			sorted[j] = (char)('0' + v[j].number);
			assert_string_equal(v[j].text, "x"); /* not freed */
			free(v[j].text);
		}
		assert_string_equal(sorted, table[i].sorted);
		free(v);
	}
}

static void finds_where_a_key_belongs(void **state)
{
	static const struct element v[] = { { 1 }, { 3 }, { 3 }, { 5 } };
	static const size_t at[] = { 0, 0, 1, 1, 3, 3, 4 }; /* for each number from 0 */

	for (int key = 0; key < (int)ARRAY_SIZE(at); key++)
		assert_int_equal(array_lower_bound(&key, v, ARRAY_SIZE(v), sizeof(v[0]), key_cmp), at[key]);
	assert_int_equal(array_lower_bound(&(int){ 1 }, NULL, 0, sizeof(v[0]), key_cmp), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts_without_duplicates),
		cmocka_unit_test(finds_where_a_key_belongs),
	};

	return cmocka_run_group_tests_name("array", tests, NULL, NULL);
}
