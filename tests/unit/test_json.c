/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "rig.h"

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *what, *text;
	size_t size;
	const char *error; /* part of the message; NULL: valid */
} objects[] = {
	{ "empty object", TEXT("{}"), NULL },
	{ "members", TEXT("{\"a\": 1, \"b\": [true, null]}"), NULL },
	{ "brackets in a string do not nest", TEXT("{\"a\": \"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}"), NULL },
	{ "nothing", TEXT(""), "line 1, column 0" },
	{ "space", TEXT(" \n "), "line 2" },
	{ "cut short", TEXT("{\"a\": 1,\n \"b\""), "line 2, column 4" },
	{ "cut in a string", TEXT("{\"a"), "line 1" },
	{ "array", TEXT("[]"), "not a JSON object" },
	{ "number", TEXT("1"), "line 1" },
	{ "text after it", TEXT("{} {}"), "line 1, column 4" },
	{ "duplicate key", TEXT("{\"a\": 1,\n\"a\": 2}"), "line 2, column 3: duplicate object key" },
	{ "duplicate key below", TEXT("{\"x\": {\"a\": 1, \"a\": 1}}"), "duplicate object key" },
	{ "NUL byte", TEXT("{\"a\": \"b\0c\"}"), "line 1" },
	{ "NUL after it", TEXT("{}\0"), "line 1" },
	{ "NUL escape", TEXT("{\"a\": \"\\u0000\"}"), "\\u0000" },
	{ "bad UTF-8", TEXT("{\"a\": \"\xff\"}"), "unable to decode byte 0xff" },
	{ "single quotes", TEXT("{'a': 1}"), "line 1, column 2" },
	{ "comment", TEXT("{} // x"), "line 1" },
	{ "huge number", TEXT("{\"a\": 99999999999999999999}"), "line 1" },
};

static void parses_objects(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct err err = { 0 };
		json_auto_t *json = json_parse_object(objects[i].text, objects[i].size, "it", &err);

		if (!objects[i].error != !!json)
			fail_msg("%s: %s", objects[i].what, json ? "accepted" : err.msg);
		if (objects[i].error && !strstr(err.msg, objects[i].error))
			fail_msg("%s: message \"%s\" lacks \"%s\"", objects[i].what, err.msg, objects[i].error);
	}
}

static void limits_depth(void **state)
{
	char text[600];

	for (int depth = 1; depth <= 256; depth++) {
		struct err err = { 0 };
		int n = sprintf(text, "{\"a\":");
		json_t *json;

		for (int i = 1; i < depth; i++)
			text[n++] = '[';
		for (int i = 1; i < depth; i++)
			text[n++] = ']';
		if (depth == 1)
			text[n++] = '1';
		text[n++] = '}';
		json = json_parse_object(text, (size_t)n, "it", &err);
		assert_int_equal(!!json, depth <= 64);
		if (!json)
			assert_string_equal(err.msg, "it: line 1, column 69: nested more than 64 levels deep");
		json_decref(json);
	}
}

static void getters_name_the_key(void **state)
{
	static const char text[] = "{\"s\":\"x\",\"b\":true,\"i\":7,\"o\":{},\"a\":[],\"n\":null,\"r\":1.5}";
	json_auto_t *json = json_parse_object(text, strlen(text), "it", NULL);
	struct err err = { 0 };
	const char *s = "-";
	json_t *v = NULL;
	int64_t i = -1;
	bool b = false;

	assert_int_equal(json_get_string(json, "s", &s, &err), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_get_bool(json, "b", &b, &err), 0);
	assert_true(b);
	assert_int_equal(json_get_int(json, "i", 0, 7, &i, &err), 0);
	assert_int_equal(i, 7);
	assert_int_equal(json_get_object(json, "o", &v, &err), 0);
	assert_int_equal(json_get_array(json, "a", &v, &err), 0);
	assert_int_equal(err.num, 0);

	assert_int_equal(json_get_string(json, "none", &s, &err), -ENOENT);
	assert_int_equal(json_get_string(json, "n", &s, &err), -ENOENT);
	assert_int_equal(err.num, 0);
	assert_string_equal(s, "x");

	assert_int_equal(json_get_string(json, "i", &s, &err), -EINVAL);
	assert_string_equal(err.msg, "\"i\" must be a string");
	assert_int_equal(json_get_bool(json, "i", &b, &err), -EINVAL);
	assert_int_equal(json_get_int(json, "r", 0, 7, &i, &err), -EINVAL);
	assert_int_equal(json_get_int(json, "i", 0, 6, &i, &err), -EINVAL);
	assert_string_equal(err.msg, "\"i\" must be from 0 to 6");
	assert_int_equal(json_get_object(json, "a", &v, &err), -EINVAL);
	assert_int_equal(json_get_array(json, "o", &v, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_objects),
		cmocka_unit_test(limits_depth),
		cmocka_unit_test(getters_name_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
