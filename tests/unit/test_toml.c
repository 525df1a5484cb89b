/* SPDX-License-Identifier: BSD-2-Clause */
/* The strings of TOML texts, and the line in the error where a text is not TOML. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "rig.h"
#include "toml.h"

static void print(const char *key, size_t index, const char *value, void *arg)
{
	fprintf(arg, "%s[%zu]=%s;", key, index, value);
}

static int strings(const char *text, char **found, struct err *err)
{
	size_t size;
	FILE *f = open_memstream(found, &size);
	int ret = toml_strings(text, print, f, err);

	assert_int_equal(fclose(f), 0);
	return ret;
}

static const struct {
	const char *text, *strings;
} texts[] = {
	{ "", "" },
	{ "# a comment\n\n \t\r\n", "" },
	{ "a = \"x\"", "a[0]=x;" },
	{ "a.b . c=\"x\" # a comment\n", "a/b/c[0]=x;" },
	{ "[t]\r\na = 'x'\r\n[u.\"v.w\"]\nb = \"y\"\n", "t/a[0]=x;u/v.w/b[0]=y;" },
	{ "a = [ \"x\", # one\n 'y',\n]\nb = []\n", "a[0]=x;a[1]=y;" },
	{ "a = [ [\"x\"], { b = \"y\" }, \"z\" ]\n", "a[2]=z;" },
	{ "a = { b = 'x', c.d = 'y', e = ['z'] }\nf = 'w'\n", "a/b[0]=x;a/c/d[0]=y;a/e[0]=z;f[0]=w;" },
	{ "[[t]]\na = 'x'\n[u]\nb = 'y'\n", "u/b[0]=y;" },
	{ "a = 1\nb = true\nc = 1979-05-27 07:32:00\nd = 0.5\n", "" },
	{ "a = \"\"\"x\n\\\"\"\"\\\"\n\"\"\"\"\"\nb = '''\n''y'''\nc = 'z'\n", "c[0]=z;" },
	{ "a = \"\"\nb = ''\n", "a[0]=;b[0]=;" },
	{ "a = \"\\t\\\"\\\\\\u00e9\\U0001F600\"\nb = '\\t'\n", "a[0]=\t\"\\\xc3\xa9\xf0\x9f\x98\x80;b[0]=\\t;" },
};

static void strings_of_texts(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ char *found = NULL;
		struct err err = { 0 };

		assert_ok(strings(texts[i].text, &found, &err));
		assert_string_equal(found, texts[i].strings);
	}
}

static const struct {
	const char *text, *message;
} bad[] = {
	{ "\n\na", "line 3: there should be a '=' here" },
	{ "a = ", "line 1: there should be a value here" },
	{ "a = \"x\ny\"", "line 1: a string does not end" },
	{ "a = '''\n\n'", "line 3: a string does not end" },
	{ "a = \"\\q\"", "line 1: no such escape in a string" },
	{ "a = \"\\uD8\"", "line 1: no such escape in a string" },
	{ "a = \"\\u0000\"", "line 1: no such escape in a string" },
	{ "a = [ 1\n 'x' 'y' ]\n", "line 2: there should be a comma or a closing bracket here" },
	{ "a = [ 'x' 'y' ]", "line 1: there should be a comma or a closing bracket here" },
	{ "a = 'x' b = 'y'", "line 1: the line should end here" },
	{ "[a\n", "line 1: there should be a closing bracket here" },
	{ "[[a]\n", "line 1: there should be a closing bracket here" },
	{ "[a] b = 1", "line 1: the line should end here" },
	{ "= 1", "line 1: there should be a key here" },
};

static void texts_that_are_not_toml(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *found = NULL;
		struct err err = { 0 };

		assert_int_equal(strings(bad[i].text, &found, &err), -EINVAL);
		assert_string_equal(err.msg, bad[i].message);
	}
}

static void bounds(void **state)
{
	_cleanup_free_ char *found = NULL, *found_too = NULL;
	char text[4096] = "a = ";
	struct err err = { 0 };

	memset(text + 4, '[', 33);
	assert_int_equal(strings(text, &found, &err), -EINVAL);
	assert_string_equal(err.msg, "line 1: too many brackets in each other");
	memset(text, 'k', 2000);
	assert_int_equal(strings(text, &found_too, &err), -EINVAL);
	assert_string_equal(err.msg, "line 1: a key is too long");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_of_texts),
		cmocka_unit_test(texts_that_are_not_toml),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
