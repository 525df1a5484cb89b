/* SPDX-License-Identifier: BSD-2-Clause */
#include "out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "out_internal.h"

struct out *out_new(enum out_format format, FILE *file)
{
	struct out *o = calloc(1, sizeof(*o));
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (!o)
		return NULL;
	o->format = format;
	o->file = file;
	o->colours = isatty(fileno(file)) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
	return o;
}

static void node_free(struct node *n)
{
	while (n) {
		struct node *next = n->next;

		node_free(n->first);
		json_decref(n->value);
		free(n->text);
		free(n);
		n = next;
	}
}

void out_drop(struct out *o)
{
	node_free(o->root);
	o->root = NULL;
	o->depth = 0;
	o->failed = false;
}

void out_free(struct out *o)
{
	if (!o)
		return;
	node_free(o->root);
	free(o);
}

/* --- building --- */

/* Output must be UTF-8: in other text, bytes above 127 are replaced by '?'. The caller frees. */
static char *utf8(const char *text)
{
	json_auto_t *valid = json_string(text);
	char *copy = strdup(text);

	for (char *p = copy; p && *p && !valid; p++) {
		if (*p & 0x80)
			*p = '?';
	}
	return copy;
}

/* Names and packets are untrusted: no control character (C0 or, in UTF-8, C1) may reach the terminal. */
static char *printable(const char *text, bool lines)
{
	char *copy = utf8(text);

	for (unsigned char *p = (unsigned char *)copy; p && *p; p++) {
		if ((*p < ' ' && !(lines && (*p == '\n' || *p == '\t'))) || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
	return copy;
}

static struct node *append(struct out *o, enum kind kind, const char *key, const char *text)
{
	struct node *n = calloc(1, sizeof(*n));
	struct node *parent = o->depth ? o->open[o->depth - 1] : NULL, *last = o->root;

	if (!n)
		goto fail;
	n->kind = kind;
	n->key = key;
	if (text) {
		n->text = printable(text, kind == BLOCK || kind == NOTE);
		if (!n->text)
			goto fail;
	}
	if (!parent && o->root && kind != NOTE)
		goto fail; /* a document has one root, which notes may follow */
	while (!parent && last && last->next)
		last = last->next;
	if (!parent && last)
		last->next = n;
	else if (!parent)
		o->root = n;
	else if (parent->last)
		parent->last->next = n;
	else
		parent->first = n;
	if (parent)
		parent->last = n;
	return n;
fail:
	if (n)
		free(n->text);
	free(n);
	o->failed = true;
	return NULL;
}

static void begin(struct out *o, enum kind kind, const char *key, const char *empty)
{
	struct node *n = o->depth < DEPTH_MAX ? append(o, kind, key, empty) : NULL;

	if (n)
		o->open[o->depth++] = n;
	else
		o->failed = true;
}

void out_record(struct out *o, const char *key)
{
	begin(o, RECORD, key, NULL);
}

void out_table(struct out *o, const char *key, const char *empty)
{
	begin(o, TABLE, key, empty);
}

void out_list(struct out *o, const char *key, const char *empty)
{
	begin(o, LIST, key, empty);
}

void out_end(struct out *o)
{
	if (o->depth)
		o->depth--;
	else
		o->failed = true;
}

static void field(struct out *o, enum kind kind, const char *key, json_t *value, const char *text,
		  enum out_colour colour)
{
	struct node *n = value ? append(o, kind, key, text && !*text ? "-" : text) : NULL;

	if (!n) {
		json_decref(value);
		o->failed = true;
		return;
	}
	n->value = value;
	n->colour = colour;
}

void out_field(struct out *o, const char *key, json_t *value, const char *text, enum out_colour colour)
{
	field(o, FIELD, key, value, text, colour);
}

void out_json(struct out *o, const char *key, json_t *value)
{
	field(o, FIELD, key, value, NULL, OUT_PLAIN);
}

static json_t *json_text(const char *text)
{
	_cleanup_free_ char *valid = utf8(text);

	return valid ? json_string(valid) : NULL;
}

void out_word(struct out *o, const char *key, const char *word, enum out_colour colour)
{
	field(o, FIELD, key, word ? json_text(word) : json_null(), word ?: "-", colour);
}

void out_string(struct out *o, const char *key, const char *value)
{
	out_word(o, key, value, OUT_PLAIN);
}

void out_block(struct out *o, const char *key, const char *text)
{
	field(o, BLOCK, key, json_text(text), text, OUT_PLAIN);
}

void out_uint(struct out *o, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	field(o, FIELD, key, json_integer((json_int_t)value), text, OUT_PLAIN);
}

void out_named(struct out *o, const char *key, const char *name, uint64_t number)
{
	if (name)
		out_string(o, key, name);
	else
		out_uint(o, key, number);
}

void out_hex(struct out *o, const char *key, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "0x%08x", value);
	out_string(o, key, text);
}

void out_bool(struct out *o, const char *key, bool value)
{
	field(o, FIELD, key, json_boolean(value), value ? "yes" : "no", OUT_PLAIN);
}

void out_strings(struct out *o, const char *key, json_t *array, const char *separator)
{
	_cleanup_free_ char *text = NULL;
	size_t size, i;
	json_t *item;
	FILE *f = open_memstream(&text, &size);

	if (!f) {
		json_decref(array);
		o->failed = true;
		return;
	}
	json_array_foreach(array, i, item)
		fprintf(f, "%s%s", i ? separator : "", json_string_value(item));
	if (fclose(f) != 0)
		o->failed = true;
	field(o, FIELD, key, array, text, OUT_PLAIN);
}

void out_column(struct out *o, const char *key, const char *column, const json_t *texts, const char *empty)
{
	json_t *text;
	size_t i;

	out_table(o, key, empty);
	json_array_foreach(texts, i, text) {
		out_record(o, NULL);
		out_string(o, column, json_string_value(text));
		out_end(o);
	}
	out_end(o);
}

void out_member(struct out *o, const char *key, const json_t *object)
{
	json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		out_uint(o, key, (uint64_t)json_integer_value(value));
	else if (json_is_array(value) || json_is_object(value))
		out_json(o, key, json_incref(value));
	else
		out_string(o, key, json_string_value(value));
}

/* {"app": "web", "tier": "front"} as "app=web,tier=front", in order. The caller frees. */
static char *labels_text(json_t *labels)
{
	const char *key;
	json_t *value;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool first = true;

	if (!f)
		return NULL;
	json_object_foreach(labels, key, value) {
		fprintf(f, "%s%s=%s", first ? "" : ",", key, json_string_value(value) ?: "");
		first = false;
	}
	fclose(f);
	return text;
}

void out_labels(struct out *o, const char *key, json_t *labels)
{
	_cleanup_free_ char *text = labels_text(labels);

	out_field(o, key, labels ? json_incref(labels) : json_null(), text ?: "", OUT_PLAIN);
}

void out_note(struct out *o, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		o->failed = true;
		return;
	}
	append(o, NOTE, NULL, text);
}

/* --- writing --- */

static int flush(struct out *o, bool line, struct err *err)
{
	json_auto_t *json = NULL;
	bool failed = o->failed || o->depth;

	if (o->root && !failed && o->format == OUT_JSON) {
		json = out_render_json(o->root);
		failed = !json;
		if (!failed && json_dumpf(json, o->file, line ? JSON_COMPACT : JSON_INDENT(2)) == 0)
			fputc('\n', o->file);
	} else if (o->root && !failed) {
		if (line)
			out_render_line(o);
		for (const struct node *n = line ? NULL : o->root; n; n = n->next)
			out_render_text(o, n, 0);
	}
	out_drop(o);
	if (failed)
		return err_set(err, ENOMEM, "cannot format the output");
	if (fflush(o->file) != 0 || ferror(o->file))
		return err_errno(err, errno ?: EIO, "cannot write the output");
	return 0;
}

int out_flush(struct out *o, struct err *err)
{
	return flush(o, false, err);
}

int out_flush_line(struct out *o, struct err *err)
{
	return flush(o, true, err);
}
