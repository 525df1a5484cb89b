/* SPDX-License-Identifier: BSD-2-Clause */
#include "toml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "str.h"

#define KEY_MAX 1024
#define DEPTH_MAX 32 /* of arrays and inline tables in each other */

struct toml {
	const char *p;
	unsigned line, depth;
	unsigned muted;	   /* not 0: strings are not reported */
	char key[KEY_MAX]; /* of the value at `p` */
	size_t key_len;
	char *value; /* as large as the text */
	void (*string)(const char *key, size_t index, const char *value, void *arg);
	void *arg;
	struct err *err;
};

static int fail(struct toml *t, const char *what)
{
	return err_set(t->err, EINVAL, "line %u: %s", t->line, what);
}

/* --- white space --- */

static void skip_blanks(struct toml *t)
{
	t->p += strspn(t->p, " \t");
}

/* Also ends of lines, and comments. */
static void skip_lines(struct toml *t)
{
	for (;; t->p++) {
		if (*t->p == '#')
			t->p += strcspn(t->p, "\n");
		if (*t->p == '\n')
			t->line++;
		if (!*t->p || !strchr(" \t\r\n", *t->p))
			return;
	}
}

static int end_line(struct toml *t)
{
	skip_blanks(t);
	if (*t->p && !strchr("#\r\n", *t->p))
		return fail(t, "the line should end here");
	skip_lines(t);
	return 0;
}

/* --- strings --- */

static char *put_utf8(char *to, unsigned long c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (char)(0xe0 | c >> 12);
		} else {
			*to++ = (char)(0xf0 | c >> 18);
			*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (c & 0x3f));
	return to;
}

/* What is after a backslash; NULL: no such thing. It is never longer than its notation. */
static char *unescape(struct toml *t, char *to)
{
	static const char names[] = "btnfre\"\\", values[] = "\b\t\n\f\r\033\"\\";
	const char c = *t->p++, *name = c ? strchr(names, c) : NULL;
	unsigned digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
	unsigned long code = 0;

	if (name) {
		*to++ = values[name - names];
		return to;
	}
	if (!digits)
		return NULL;
	for (; digits; digits--, t->p++) {
		const int digit = hex_digit(*t->p);

		if (digit < 0)
			return NULL;
		code = code << 4 | (unsigned)digit;
	}
	return code && code < 0x110000 ? put_utf8(to, code) : NULL;
}

/* From quote to quote, into t->value. */
static int read_string(struct toml *t)
{
	const char quote = *t->p++;
	char *to = t->value;

	while (*t->p != quote) {
		if (!*t->p || *t->p == '\n')
			return fail(t, "a string does not end");
		if (*t->p != '\\' || quote == '\'') {
			*to++ = *t->p++;
			continue;
		}
		t->p++;
		to = unescape(t, to);
		if (!to)
			return fail(t, "no such escape in a string");
	}
	t->p++;
	*to = '\0';
	return 0;
}

/* One that three quotes begin and end; it may end with one or two more, which are its own. */
static int skip_multi_line(struct toml *t)
{
	const char quote = *t->p, end[] = { quote, quote, quote, '\0' };

	for (t->p += 3; strncmp(t->p, end, 3) != 0; t->p++) {
		if (*t->p == '\\' && quote == '"' && t->p[1])
			t->p++;
		if (!*t->p)
			return fail(t, "a string does not end");
		t->line += *t->p == '\n';
	}
	t->p += 3;
	for (int more = 0; more < 2 && *t->p == quote; more++)
		t->p++;
	return 0;
}

/* --- keys --- */

static int append_key(struct toml *t, const char *part, size_t len)
{
	if (t->key_len + len + 2 > KEY_MAX)
		return fail(t, "a key is too long");
	if (t->key_len)
		t->key[t->key_len++] = '/';
	memcpy(t->key + t->key_len, part, len);
	t->key_len += len;
	t->key[t->key_len] = '\0';
	return 0;
}

static int read_key_part(struct toml *t)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	const char *part = t->p;
	size_t len = strspn(part, bare);

	if (*part == '"' || *part == '\'') {
		int ret = read_string(t);

		return ret < 0 ? ret : append_key(t, t->value, strlen(t->value));
	}
	t->p += len;
	return len ? append_key(t, part, len) : fail(t, "there should be a key here");
}

/* Parts with dots between them, after what t->key has. */
static int read_key(struct toml *t)
{
	for (;; t->p++) {
		int ret;

		skip_blanks(t);
		ret = read_key_part(t);
		if (ret < 0)
			return ret;
		skip_blanks(t);
		if (*t->p != '.')
			return 0;
	}
}

/* --- values --- */

static int read_pair(struct toml *t);
static int read_value(struct toml *t, size_t index);

/* Nothing is reported of arrays and tables in an array. */
static int read_element(struct toml *t, size_t index)
{
	const bool nested = *t->p == '[' || *t->p == '{';
	int ret;

	t->muted += nested;
	ret = read_value(t, index);
	t->muted -= nested;
	return ret;
}

/* An array or an inline table, up to `close`. */
static int read_list(struct toml *t, char close)
{
	if (++t->depth > DEPTH_MAX)
		return fail(t, "too many brackets in each other");
	t->p++;
	for (size_t index = 0;; index++) {
		int ret;

		skip_lines(t);
		if (*t->p == close)
			break;
		ret = close == ']' ? read_element(t, index) : read_pair(t);
		if (ret < 0)
			return ret;
		skip_lines(t);
		if (*t->p == close)
			break;
		if (*t->p != ',')
			return fail(t, "there should be a comma or a closing bracket here");
		t->p++;
	}
	t->p++;
	t->depth--;
	return 0;
}

static int read_value(struct toml *t, size_t index)
{
	size_t len;
	int ret;

	switch (*t->p) {
	case '"':
	case '\'':
		if (t->p[1] == *t->p && t->p[2] == *t->p)
			return skip_multi_line(t);
		ret = read_string(t);
		if (ret == 0 && !t->muted)
			t->string(t->key, index, t->value, t->arg);
		return ret;
	case '[':
		return read_list(t, ']');
	case '{':
		return read_list(t, '}');
	}
	len = strcspn(t->p, ",]}#\r\n"); /* a number, a date, a boolean */
	t->p += len;
	return len ? 0 : fail(t, "there should be a value here");
}

/* KEY = VALUE, in the table of t->key, which is the same afterwards. */
static int read_pair(struct toml *t)
{
	const size_t table = t->key_len;
	int ret = read_key(t);

	if (ret == 0 && *t->p != '=')
		ret = fail(t, "there should be a '=' here");
	if (ret < 0)
		return ret;
	t->p++;
	skip_blanks(t);
	ret = read_value(t, 0);
	t->key_len = table;
	t->key[table] = '\0';
	return ret;
}

/* [TABLE] or [[TABLE]], one of an array */
static int read_header(struct toml *t)
{
	const bool array = t->p[1] == '[';
	int ret;

	t->p += 1 + array;
	t->key_len = 0;
	t->muted = array;
	ret = read_key(t);
	if (ret == 0 && (*t->p != ']' || (array && t->p[1] != ']')))
		ret = fail(t, "there should be a closing bracket here");
	t->p += ret < 0 ? 0 : 1 + array;
	return ret;
}

int toml_strings(const char *text, void (*string)(const char *key, size_t index, const char *value, void *arg),
		 void *arg, struct err *err)
{
	_cleanup_free_ char *value = malloc(strlen(text) + 1);
	struct toml t = { .p = text, .line = 1, .value = value, .string = string, .arg = arg, .err = err };
	int ret = 0;

	if (!value)
		return err_errno(err, ENOMEM, "cannot read TOML");
	for (skip_lines(&t); ret == 0 && *t.p;) {
		ret = *t.p == '[' ? read_header(&t) : read_pair(&t);
		if (ret == 0)
			ret = end_line(&t);
	}
	return ret;
}
