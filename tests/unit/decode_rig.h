/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of manifests' texts and the objects decoded from them. */
#ifndef WARREN_TEST_DECODE_RIG_H
#define WARREN_TEST_DECODE_RIG_H

#include "object_text.h"
#include "rig.h"
#include "object_names.h"

static inline int on_object(void *arg, struct object *o)
{
	fputs(ftell(arg) ? "\n" : "", arg);
	object_text(arg, o);
	object_free(o);
	return 0;
}

static inline void on_problem(void *arg, const struct err *err)
{
	fprintf(arg, "%s! %s", ftell(arg) ? "\n" : "", err->msg);
}

static inline int on_document(json_t *document, int number, void *arg)
{
	return objects_decode(document, &(struct object_sink){ on_object, on_problem, arg });
}

/* A line each object, "! ..." each problem. To be freed. */
static inline char *decode(const char *text)
{
	struct err err = { 0 };
	size_t size;
	char *out;
	FILE *f = open_memstream(&out, &size);

	assert_non_null(f);
	if (documents_parse(text, strlen(text), "it", on_document, f, &err) < 0)
		fail_msg("%s\n%s", err.msg, text);
	fclose(f);
	return out;
}

struct expected {
	const char *text, *out;
};

/* Texts and outcomes are inserted into formats; an outcome that is a problem is not. */
static inline void check(const struct expected *v, size_t count, const char *text_format, const char *out_format)
{
	int failed = 0;

	for (size_t i = 0; i < count; i++) {
		char *text, *expected, *out;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		assert_true(asprintf(&text, text_format, v[i].text) >= 0);
		assert_true(asprintf(&expected, v[i].out[0] == '!' ? "%s" : out_format, v[i].out) >= 0);
#pragma GCC diagnostic pop
		out = decode(text);
		if (strcmp(out, expected) != 0) {
			print_error("%s\n     got %s\nexpected %s\n", v[i].text, out, expected);
			failed++;
		}
		free(text);
		free(expected);
		free(out);
	}
	assert_int_equal(failed, 0);
}
#define CHECK(table, text_format, out_format) check(table, sizeof(table) / sizeof(table[0]), text_format, out_format)

#define SPELLED "must be a string (in quotes, if it looks like a number or a boolean)"

#endif
