/* SPDX-License-Identifier: BSD-2-Clause */
/* YAML and JSON text to jansson values. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "documents.h"
#include "rig.h"

static int append(json_t *document, int number, void *arg)
{
	char **text = arg, *dump = json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY), *joined;

	assert_non_null(dump);
	assert_true(asprintf(&joined, "%s%s%s", *text ? *text : "", *text ? " | " : "", dump) > 0);
	free(dump);
	free(*text);
	*text = joined;
	return 0;
}

/* The documents as compact JSON, " | " between them, or "error: ...". To be freed. */
static char *parse(const char *text, size_t size)
{
	struct err err = { 0 };
	char *out = NULL;
	int ret = documents_parse(text, size, "it", append, &out, &err);

	if (ret == 0)
		return out ? out : strdup("");
	assert_int_equal(ret, -EINVAL);
	free(out);
	assert_true(asprintf(&out, "error: %s", err.msg) > 0);
	return out;
}

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	const char *what, *text;
	size_t size;
	const char *out;
} texts[] = {
	{ "nothing", TEXT(""), "" },
	{ "a comment only", TEXT("# nothing\n"), "" },
	{ "an empty document", TEXT("---\n"), "null" },
	{ "JSON", TEXT(" {\"a\": [1, true, null, \"x\"]}\n"), "{\"a\":[1,true,null,\"x\"]}" },
	{ "JSON, duplicate key", TEXT("{\"a\": 1, \"a\": 2}"), "error: it: line 1, column 12: duplicate object key near '\"a\"'" },
	{ "JSON, NUL", TEXT("{\"a\": \"\\u0000\"}"), "error: it: line 1, column 14: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'" },
	{ "JSON, two objects", TEXT("{} {}"), "error: it: line 1, column 4: end of file expected near '{'" },
	{ "several documents", TEXT("a: 1\n---\nb: 2\n---\n- 3\n"), "{\"a\":1} | {\"b\":2} | [3]" },
	{ "end marks", TEXT("---\na: 1\n...\n---\nb: 2\n...\n"), "{\"a\":1} | {\"b\":2}" },
	{ "separator with a comment", TEXT("a: 1\n--- # next\nb: 2\n"), "{\"a\":1} | {\"b\":2}" },
	{ "byte order mark", TEXT("\xef\xbb\xbf" "a: 1\n"), "{\"a\":1}" },
	{ "byte order mark, JSON", TEXT("\xef\xbb\xbf{\"a\": 1}"), "{\"a\":1}" },
	{ "CRLF", TEXT("a: x\r\nb:\r\n- z\r\n"), "{\"a\":\"x\",\"b\":[\"z\"]}" },
	{ "block text", TEXT("a: |\n  one\n  two\nb: >-\n  one\n  two\n"), "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}" },
	{ "JSON's escapes in YAML", TEXT("a: \"\\u00e9\\/\\x41\"\n"), "{\"a\":\"\xc3\xa9/A\"}" },
	{ "tab as indentation", TEXT("a:\n\tb: 1\n"), "error: it: line 2, column 1: found character that cannot start any token" },
	{ "bad indentation", TEXT("a:\n  b: 1\n c: 2\n"), "error: it: line 3, column 2: did not find expected key" },
	{ "a mapping cut short", TEXT("a: {b: 1\n"), "error: it: line 2, column 1: did not find expected ',' or '}'" },
	{ "a quote cut short", TEXT("a: \"b\n"), "error: it: line 2, column 1: found unexpected end of stream" },
	{ "control character", TEXT("a: b\x01\n"), "error: it: byte 5: control characters are not allowed" },
	{ "NUL byte", TEXT("a: b\0c\n"), "error: it: byte 5: control characters are not allowed" },
	{ "NUL escape", TEXT("a: \"b\\0\"\n"), "error: it: line 1, column 4: a string contains a NUL character" },
	{ "not UTF-8", TEXT("a: \xff\n"), "error: it: byte 4: invalid leading UTF-8 octet" },
	{ "UTF-16", TEXT("\xff\xfe" "a\0:\0"), "error: it: byte 1: invalid leading UTF-8 octet" },
	{ "duplicate key", TEXT("a: 1\nb: 2\na: 3\n"), "error: it: line 3, column 1: duplicate key \"a\"" },
	{ "duplicate key, other types", TEXT("1: a\n\"1\": b\n"), "error: it: line 2, column 1: duplicate key \"1\"" },
	{ "keys that are no strings", TEXT("1: a\nyes: b\n"), "{\"1\":\"a\",\"true\":\"b\"}" },
	{ "a null key", TEXT("~: a\n"), "error: it: line 1, column 1: a key must be a string, an integer or a boolean" },
	{ "a list as a key", TEXT("? [a]\n: b\n"), "error: it: line 1, column 3: a key must be a string, an integer or a boolean" },
	{ "an empty key", TEXT("\"\": a\n"), "{\"\":\"a\"}" },
	{ "error in the second document", TEXT("a: 1\n---\n[\n"), "error: it: line 4, column 1: did not find expected node content" },
	{ "explicit strings", TEXT("[!!str 1, !!str yes, ! x]\n"), "[\"1\",\"yes\",\"x\"]" },
	{ "explicit types", TEXT("[!!int \"1\", !!bool on, !!float 1, !!null '']\n"), "[1,true,1,null]" },
	{ "a type that does not fit", TEXT("a: !!int x\n"), "error: it: line 1, column 4: \"x\" is not of type !!int" },
	{ "binary", TEXT("a: !!binary eA==\n"), "error: it: line 1, column 4: \"eA==\" is not of type !!binary" },
	{ "a private tag", TEXT("a: !mine x\n"), "error: it: line 1, column 4: tag !mine is not supported" },
	{ "a set", TEXT("!!set {a: }\n"), "error: it: line 1, column 1: tag tag:yaml.org,2002:set is not supported" },
	{ "anchors", TEXT("a: &x {b: 1}\nc: *x\nd: [*x, &y s, *y]\n"), "{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},\"s\",\"s\"]}" },
	{ "an anchor again", TEXT("[&x 1, *x, &x 2, *x]\n"), "[1,1,2,2]" },
	{ "an unknown anchor", TEXT("a: *x\n"), "error: it: line 1, column 4: alias *x has no complete anchor" },
	{ "a value inside itself", TEXT("&x [*x]\n"), "error: it: line 1, column 5: alias *x has no complete anchor" },
	{ "anchors end with their document", TEXT("a: &x 1\n---\nb: *x\n"), "error: it: line 3, column 4: alias *x has no complete anchor" },
	{ "an alias as a key", TEXT("a: &x b\n*x : c\n"), "error: it: line 2, column 1: an alias as a key is not supported" },
	{ "an anchor on a key", TEXT("&x a: b\n"), "error: it: line 1, column 1: an anchor on a key is not supported" },
	{ "merge", TEXT("- &x {a: 1, b: 2}\n- {<<: *x, b: 3}\n- {b: 4, <<: *x}\n"), "[{\"a\":1,\"b\":2},{\"b\":3,\"a\":1},{\"b\":4,\"a\":1}]" },
	{ "merge a list", TEXT("- &x {a: 1}\n- &y {a: 2, b: 2}\n- {<<: [*x, *y]}\n"), "[{\"a\":1},{\"a\":2,\"b\":2},{\"a\":1,\"b\":2}]" },
	{ "merge what is no mapping", TEXT("- {<<: 1}\n"), "error: it: line 1, column 8: << takes a mapping or a list of mappings" },
	{ "YAML's braces at the start are taken for JSON", TEXT("{a: 1}\n"), "error: it: line 1, column 2: string or '}' expected near 'a'" },
	{ "merge twice", TEXT("<<: {a: 1}\n<<: {b: 1}\n"), "error: it: line 2, column 1: duplicate key \"<<\"" },
	{ "a quoted merge key is a key", TEXT("\"<<\": 1\n"), "{\"<<\":1}" },
};

static void parses_texts(void **state)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *out = parse(texts[i].text, texts[i].size);

		if (strcmp(out, texts[i].out) != 0) {
			print_error("%s:\n     got %s\nexpected %s\n", texts[i].what, out, texts[i].out);
			failed++;
		}
		free(out);
	}
	assert_int_equal(failed, 0);
}

/* A plain scalar and its JSON. */
static const struct {
	const char *text, *out;
} scalars[] = {
	{ "web", "\"web\"" },	 { "~", "null" },	 { "null", "null" },	{ "Null", "null" },	  { "nUll", "\"nUll\"" },
	{ "yes", "true" },	 { "Yes", "true" },	 { "YES", "true" },	{ "yEs", "\"yEs\"" },	  { "y", "true" },
	{ "N", "false" },	 { "no", "false" },	 { "on", "true" },	{ "Off", "false" },	  { "true", "true" },
	{ "FALSE", "false" },	 { "0", "0" },		 { "00", "0" },		{ "1", "1" },		  { "+1", "1" },
	{ "-1", "-1" },		 { "0123", "83" },	 { "0129", "129.0" },	{ "0o17", "15" },	  { "0x1F", "31" },
	{ "0xg", "\"0xg\"" },	 { "0x", "\"0x\"" },	 { "0b101", "5" },	{ "-0b1", "-1" },	  { "1_000", "1000" },
	{ "_1", "\"_1\"" },	 { "1e3", "1000.0" },	 { "1.5", "1.5" },	{ "1.", "1.0" },	  { ".5", "0.5" },
	{ ".", "\".\"" },	 { "+", "\"+\"" },	{ "1.2.3", "\"1.2.3\"" }, { "1e", "\"1e\"" },
	{ "1e999", "\"1e999\"" }, { "-.5e+1", "-5.0" }, { "12:30:45", "\"12:30:45\"" }, { "2024-01-02", "\"2024-01-02\"" },
	{ "2024-01-02T03:04:05Z", "\"2024-01-02T03:04:05Z\"" },	 { "9223372036854775807", "9223372036854775807" },
	{ "9223372036854775808", "9.2233720368547758e18" }, { "1s", "\"1s\"" }, { "10.0.0.0/8", "\"10.0.0.0/8\"" },
	{ "::1", "\"::1\"" },	 { "=", "\"=\"" },	 { "<<", "\"<<\"" },	{ "._1", "\"._1\"" },
};

static void resolves_scalars_as_kubernetes(void **state)
{
	for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
		char text[64], expected[64], quoted[64];
		char *out;

		sprintf(text, "- %s\n", scalars[i].text);
		sprintf(expected, "[%s]", scalars[i].out);
		out = parse(text, strlen(text));
		if (strcmp(out, expected) != 0)
			fail_msg("%s: got %s, expected %s", scalars[i].text, out, expected);
		free(out);
		/* In quotes they all are strings. */
		sprintf(quoted, "- \"%s\"\n", scalars[i].text);
		sprintf(expected, "[\"%s\"]", scalars[i].text);
		out = parse(quoted, strlen(quoted));
		if (!strchr(scalars[i].text, '/')) /* which the dump may escape */
			assert_string_equal(out, expected);
		free(out);
	}
}

static void refuses_numbers_json_lacks(void **state)
{
	static const char *const numbers[] = { ".inf", "-.Inf", "+.INF", ".nan", ".NaN" };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char text[32], expected[96];
		char *out;

		sprintf(text, "- %s\n", numbers[i]);
		sprintf(expected, "error: it: line 1, column 3: %s is not a number in JSON", numbers[i]);
		out = parse(text, strlen(text));
		assert_string_equal(out, expected);
		free(out);
	}
}

/* Each of `levels` lists holds the one before it ten times. */
static char *laughs(int levels)
{
	char *text = calloc(1, 64 + (size_t)levels * 80);
	int n = sprintf(text, "- &a0 [x]\n");

	for (int i = 1; i <= levels; i++) {
		n += sprintf(text + n, "- &a%d [", i);
		for (int j = 0; j < 10; j++)
			n += sprintf(text + n, "*a%d%s", i - 1, j < 9 ? "," : "]\n");
	}
	return text;
}

static int ignore(json_t *document, int number, void *arg)
{
	return 0;
}

static void bounds_expanded_aliases(void **state)
{
	struct err err = { 0 };
	char *text = laughs(5), *more = laughs(60);

	assert_int_equal(documents_parse(text, strlen(text), "it", ignore, NULL, &err), 0);
	assert_int_equal(documents_parse(more, strlen(more), "it", ignore, NULL, &err), -EINVAL);
	assert_string_equal(err.msg, "it: line 7, column 20: the document has more than 1000000 values, including those of aliases");
	free(text);
	free(more);
}

/* `depth` lists in one another; the innermost holds `inner`. */
static char *nested(const char *before, int depth, const char *inner)
{
	char *text = calloc(1, strlen(before) + strlen(inner) + 2 * (size_t)depth + 4);

	strcpy(text, before);
	memset(text + strlen(text), '[', (size_t)depth);
	strcat(text, inner);
	memset(text + strlen(text), ']', (size_t)depth);
	strcat(text, "\n");
	return text;
}

static void bounds_depth(void **state)
{
	static const struct {
		const char *before, *inner;
		int depth;
		bool fits;
	} cases[] = {
		{ "", "", 64, true },
		{ "", "", 65, false },
		/* The alias is in depth + 1 lists, and brings two. */
		{ "- &a [[x]]\n- ", "*a", 61, true },
		{ "- &a [[x]]\n- ", "*a", 62, false },
		{ "- &a [[]]\n- ", "*a", 62, false },
		{ "- &a []\n- ", "*a", 62, true },
		{ "- &a []\n- ", "*a", 63, false },
		{ "- &a x\n- ", "*a", 63, true },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = nested(cases[i].before, cases[i].depth, cases[i].inner);
		struct err err = { 0 };
		int ret = documents_parse(text, strlen(text), "it", ignore, NULL, &err);

		if (ret != (cases[i].fits ? 0 : -EINVAL) || (ret < 0 && !strstr(err.msg, "nested more than 64 levels deep")))
			fail_msg("case %zu: %d %s", i, ret, err.msg);
		free(text);
	}
}

static void bounds_values(void **state)
{
	static const struct {
		const char *opening, *end;
		size_t values; /* besides those of the list */
	} cases[] = {
		{ "{\"a\":[", "]}", 2 },
		{ "{\"b\":\"\\\"\",\"a\":[", "]}", 3 },
		{ "a: [", "]\n", 2 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t extra = 0; extra < 2; extra++) {
			size_t values = DOCUMENT_NODES - cases[i].values + extra;
			char *text = calloc(1, 2 * values + 32);
			struct err err = { 0 };
			size_t n = (size_t)sprintf(text, "%s", cases[i].opening);
			int ret;

			for (size_t v = 0; v < values; v++) {
				text[n++] = '1';
				text[n++] = ',';
			}
			strcpy(text + n - 1, cases[i].end);
			ret = documents_parse(text, strlen(text), "it", ignore, NULL, &err);
			if (ret != (extra ? -EINVAL : 0))
				fail_msg("%s, %zu: %d %s", cases[i].opening, values, ret, err.msg);
			if (extra)
				assert_non_null(strstr(err.msg, "the document has more than 1000000 values"));
			free(text);
		}
	}
}

/* The bound is that of one document. */
static void counts_each_document(void **state)
{
	char *one = laughs(5), *text = calloc(6, strlen(one) + 5);

	for (int i = 0; i < 6; i++)
		strcat(strcat(text, "---\n"), one);
	assert_int_equal(documents_parse(text, strlen(text), "it", ignore, NULL, NULL), 0);
	free(one);
	free(text);
}

static int stop_at_two(json_t *document, int number, void *arg)
{
	*(int *)arg = number;
	return number == 2 ? -EBUSY : 0;
}

static void stops_when_the_caller_stops(void **state)
{
	static const char text[] = "a\n---\nb\n---\nc\n---\n[\n";
	int last = 0;

	assert_int_equal(documents_parse(text, strlen(text), "it", stop_at_two, &last, NULL), -EBUSY);
	assert_int_equal(last, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_texts),		       cmocka_unit_test(resolves_scalars_as_kubernetes),
		cmocka_unit_test(refuses_numbers_json_lacks),  cmocka_unit_test(bounds_expanded_aliases),
		cmocka_unit_test(bounds_depth),		       cmocka_unit_test(bounds_values),
		cmocka_unit_test(counts_each_document),
		cmocka_unit_test(stops_when_the_caller_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
