/* SPDX-License-Identifier: BSD-2-Clause */
/* One description, two renderings. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "out.h"
#include "rig.h"

/* The output of `describe` in this format; the caller frees. A temporary file, so that fileno() works. */
static char *render(enum out_format format, void (*describe)(struct out *o))
{
	FILE *f = tmpfile();
	struct out *o = out_new(format, f);
	char *text = calloc(1, 65536);
	struct err err = { 0 };

	assert_non_null(o);
	describe(o);
	assert_int_equal(out_flush(o, &err), 0);
	out_free(o);
	rewind(f);
	fread(text, 1, 65535, f);
	fclose(f);
	return text;
}

static void expect(void (*describe)(struct out *o), const char *text, const char *json)
{
	_cleanup_free_ char *got = render(OUT_TEXT, describe);
	_cleanup_free_ char *got_json = render(OUT_JSON, describe);
	json_auto_t *expected = json_loads(json, JSON_DECODE_ANY, NULL), *have;

	assert_string_equal(got, text);
	have = json_loads(got_json, JSON_DECODE_ANY, NULL);
	assert_non_null(expected);
	assert_non_null(have);
	if (!json_equal(expected, have))
		fail_msg("JSON is %s, not %s", got_json, json);
}

static void a_record(struct out *o)
{
	out_record(o, NULL);
	out_string(o, "name", "x");
	out_uint(o, "host_device", 18446744073709551615ull & INT64_MAX);
	out_bool(o, "up", true);
	out_string(o, "nothing", NULL);
	out_string(o, "empty", "");
	out_field(o, "hidden", json_integer(5), NULL, OUT_PLAIN);
	out_record(o, "inner");
	out_string(o, "a", "b");
	out_end(o);
	out_end(o);
	out_note(o, "and %s", "so on");
}

static void test_record(void **state)
{
	expect(
	    a_record,
	    "name:        x\n"
	    "host device: 9223372036854775807\n"
	    "up:          yes\n"
	    "nothing:     -\n"
	    "empty:       -\n"
	    "inner:\n"
	    "  a: b\n"
	    "and so on\n",
	    "{\"name\": \"x\", \"host_device\": 9223372036854775807, \"up\": true, \"nothing\": null, \"empty\": \"\","
	    " \"hidden\": 5, \"inner\": {\"a\": \"b\"}}");
}

static void a_row(struct out *o, uint64_t id, const char *name, const char *address)
{
	json_t *addresses = json_array();

	json_array_append_new(addresses, json_string(address));
	json_array_append_new(addresses, json_string("fd00::1"));
	out_record(o, NULL);
	out_record(o, "key");
	out_uint(o, "id", id);
	out_end(o);
	out_record(o, "value");
	out_string(o, "host_name", name);
	out_strings(o, "addresses", addresses, ",");
	out_end(o);
	out_end(o);
}

static void a_table(struct out *o)
{
	out_table(o, NULL, "none here");
	a_row(o, 7, "n\xc3\xa4me", "10.0.0.1");
	a_row(o, 12345, NULL, "10.0.0.22");
	out_end(o);
}

static void test_table(void **state)
{
	expect(a_table,
	       "   ID  HOST NAME  ADDRESSES\n"
	       "    7  n\xc3\xa4me       10.0.0.1,fd00::1\n"
	       "12345  -          10.0.0.22,fd00::1\n",
	       "[{\"key\": {\"id\": 7}, \"value\": {\"host_name\": \"n\xc3\xa4me\", \"addresses\": [\"10.0.0.1\", "
	       "\"fd00::1\"]}},"
	       " {\"key\": {\"id\": 12345}, \"value\": {\"host_name\": null, \"addresses\": [\"10.0.0.22\", "
	       "\"fd00::1\"]}}]");
}

static void an_empty_table(struct out *o)
{
	out_record(o, NULL);
	out_table(o, "rows", "none here");
	out_end(o);
	out_end(o);
}

static void test_empty(void **state)
{
	expect(an_empty_table, "rows:\n  none here\n", "{\"rows\": []}");
}

static void a_list(struct out *o)
{
	out_list(o, NULL, NULL);
	out_record(o, NULL);
	out_block(o, "text", "one\n\ttwo\n");
	out_end(o);
	out_record(o, NULL);
	out_block(o, "text", "three");
	out_end(o);
	out_end(o);
}

static void test_list(void **state)
{
	expect(a_list, "one\n\ttwo\n\nthree\n", "[{\"text\": \"one\\n\\ttwo\\n\"}, {\"text\": \"three\"}]");
}

static void members(struct out *o)
{
	json_auto_t *json = json_loads("{\"text\": \"x\", \"number\": 5, \"null\": null, \"array\": [1], \"object\": {}}", 0, NULL);

	out_record(o, NULL);
	for (const char *const *key = (const char *[]){ "text", "number", "null", "array", "object", "absent", NULL }; *key; key++)
		out_member(o, *key, json);
	out_end(o);
}

static void test_members(void **state)
{
	expect(members, "text:   x\nnumber: 5\nnull:   -\nabsent: -\n",
	       "{\"text\": \"x\", \"number\": 5, \"null\": null, \"array\": [1], \"object\": {}, \"absent\": null}");
}

/* Names of pods must not contain control sequences on a terminal; JSON must stay UTF-8. */
static void hostile(struct out *o)
{
	out_record(o, NULL);
	out_string(o, "name", "\033[31mred\n\x7f");
	out_string(o, "bytes", "a\xff");
	out_string(o, "c1",
		   "\xc2\x9b"
		   "31m");
	out_end(o);
}

static void test_hostile(void **state)
{
	expect(hostile, "name:  ?[31mred??\nbytes: a?\nc1:    ??31m\n",
	       "{\"name\": \"\\u001b[31mred\\n\\u007f\", \"bytes\": \"a?\", \"c1\": \"\\u009b31m\"}");
}

static void test_stream(void **state)
{
	FILE *f = tmpfile();
	struct out *o = out_new(OUT_TEXT, f);
	char text[256] = "";
	const char *const words[] = { "a", "longer", "b" };

	for (int i = 0; i < 3; i++) {
		out_record(o, NULL);
		out_string(o, "word", words[i]);
		out_uint(o, "number", (uint64_t)i);
		out_end(o);
		assert_int_equal(out_flush_line(o, NULL), 0);
	}
	out_free(o);
	rewind(f);
	fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	assert_string_equal(text, "a  0\nlonger  1\nb       2\n");
}

static void a_state(struct out *o)
{
	out_table(o, NULL, NULL);
	out_record(o, NULL);
	out_word(o, "state", "ok", OUT_GREEN);
	out_string(o, "detail", "x");
	out_end(o);
	out_record(o, NULL);
	out_word(o, "state", "wrong", OUT_RED);
	out_string(o, "detail", "y");
	out_end(o);
	out_record(o, NULL);
	out_word(o, "state", "notice", OUT_YELLOW);
	out_string(o, "detail", "z");
	out_end(o);
	out_end(o);
}

/* The output on a terminal. The caller frees. */
static char *render_on_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	char *text = calloc(1, 4096);
	struct out *o;
	FILE *f;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	f = fopen(ptsname(master), "w");
	assert_non_null(f);
	o = out_new(OUT_TEXT, f);
	a_state(o);
	assert_int_equal(out_flush(o, NULL), 0);
	out_free(o);
	fclose(f);
	for (ssize_t n, used = 0; (n = read(master, text + used, (size_t)(4095 - used))) > 0;)
		used += n;
	close(master);
	return text;
}

/* Colours are for terminals only, and do not disturb the columns. */
static void test_colours(void **state)
{
	_cleanup_free_ char *coloured = NULL, *plain = NULL, *file = render(OUT_TEXT, a_state);

	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	coloured = render_on_terminal();
	setenv("NO_COLOR", "1", 1);
	plain = render_on_terminal();
	assert_string_equal(coloured, "STATE   DETAIL\r\n\033[32mok\033[0m      x\r\n\033[31mwrong\033[0m   y\r\n"
				      "\033[33mnotice\033[0m  z\r\n");
	assert_string_equal(plain, "STATE   DETAIL\r\nok      x\r\nwrong   y\r\nnotice  z\r\n");
	assert_string_equal(file, "STATE   DETAIL\nok      x\nwrong   y\nnotice  z\n");
}

/* Misuse and lost output are errors, and the next document is not touched by them. */
static void test_failures(void **state)
{
	FILE *f = fopen("/dev/full", "w");
	struct out *o = out_new(OUT_JSON, f);
	struct err err = { 0 };

	out_record(o, NULL);
	assert_int_equal(out_flush(o, &err), -ENOMEM); /* not ended */
	out_end(o);
	assert_int_equal(out_flush(o, &err), -ENOMEM); /* ended too often */
	out_record(o, NULL);
	out_end(o);
	assert_int_equal(out_flush(o, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "cannot write the output"));
	out_free(o);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),	cmocka_unit_test(test_table),	 cmocka_unit_test(test_empty),
		cmocka_unit_test(test_list),	cmocka_unit_test(test_hostile),	 cmocka_unit_test(test_stream),
		cmocka_unit_test(test_colours), cmocka_unit_test(test_failures), cmocka_unit_test(test_members),
	};

	return cmocka_run_group_tests_name("out", tests, NULL, NULL);
}
