/* SPDX-License-Identifier: BSD-2-Clause */
/* The document is a tree of nodes. Commands build it; out_flush() renders it as JSON, as text, or as a line of a stream. */
#include "out.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

#define COLUMNS_MAX 32
#define DEPTH_MAX 16

enum kind { RECORD, TABLE, LIST, FIELD, BLOCK, NOTE };

struct node {
	enum kind kind;
	const char *key; /* a literal of the caller's */
	json_t *value;	 /* of a field */
	char *text;	 /* of a field or note; of a table: its text if it is empty */
	enum out_colour colour;
	struct node *first, *last, *next;
};

/* Layout of a column. Columns of numbers are aligned to the right. */
struct layout {
	size_t room;
	bool numbers, words;
};

struct out {
	enum out_format format;
	FILE *file;
	bool colours;
	bool failed;
	struct node document;	      /* its only child, and notes that follow it */
	struct node *open[DEPTH_MAX]; /* containers not yet ended, outermost first */
	int depth;
	struct layout stream[COLUMNS_MAX]; /* of the lines that a stream has printed */
};

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
	node_free(o->document.first);
	o->document = (struct node){ 0 };
	o->depth = 0;
	o->failed = false;
}

void out_free(struct out *o)
{
	if (o)
		out_drop(o);
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
	struct node *parent = o->depth ? o->open[o->depth - 1] : &o->document;

	if (!n || (!o->depth && parent->first && kind != NOTE))
		goto fail;
	n->kind = kind;
	n->key = key;
	if (text) {
		n->text = printable(text, kind == BLOCK || kind == NOTE);
		if (!n->text)
			goto fail;
	}
	*(parent->last ? &parent->last->next : &parent->first) = n;
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

void out_fieldf(struct out *o, const char *key, json_t *value, enum out_colour colour, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		o->failed = true;
	}
	va_end(ap);
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
	out_fieldf(o, key, json_integer((json_int_t)value), OUT_PLAIN, "%llu", (unsigned long long)value);
}

void out_optional(struct out *o, const char *key, bool valid, uint64_t value)
{
	if (valid)
		out_uint(o, key, value);
	else
		out_string(o, key, NULL);
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

/* The caller frees. */
static char *join(const json_t *array, const char *separator)
{
	char *text = NULL;
	size_t size, i;
	json_t *item;
	FILE *f = open_memstream(&text, &size);

	json_array_foreach(array, i, item) {
		if (f)
			fprintf(f, "%s%s", i ? separator : "", json_string_value(item));
	}
	if (f)
		fclose(f);
	return text;
}

void out_strings(struct out *o, const char *key, json_t *array, const char *separator)
{
	_cleanup_free_ char *text = join(array, separator);

	o->failed |= !text;
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

void out_json_member(struct out *o, const char *key, const json_t *object)
{
	json_t *value = json_object_get(object, key);

	out_json(o, key, value ? json_incref(value) : json_null());
}

void out_member(struct out *o, const char *key, const json_t *object)
{
	json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		out_uint(o, key, (uint64_t)json_integer_value(value));
	else if (json_is_array(value) || json_is_object(value))
		out_json_member(o, key, object);
	else
		out_string(o, key, json_string_value(value));
}

void out_labels(struct out *o, const char *key, json_t *labels)
{
	json_auto_t *texts = json_array();
	_cleanup_free_ char *text = NULL;
	const char *name;
	json_t *value;

	json_object_foreach(labels, name, value)
		json_array_append_new(texts, json_sprintf("%s=%s", name, json_string_value(value) ?: ""));
	text = join(texts, ",");
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

/* --- rendering: JSON --- */

static json_t *render_json(const struct node *n)
{
	bool array = n->kind == TABLE || n->kind == LIST;
	json_t *value;

	if (n->kind == FIELD || n->kind == BLOCK)
		return json_incref(n->value);
	value = array ? json_array() : json_object();
	for (const struct node *c = n->first; c; c = c->next) {
		int failed;

		if (c->kind == NOTE)
			continue;
		if (array)
			failed = json_array_append_new(value, render_json(c));
		else
			failed = json_object_set_new(value, c->key ?: "", render_json(c));
		if (failed) {
			json_decref(value);
			return NULL;
		}
	}
	return value;
}

/* --- rendering: text --- */

/* Counts characters: UTF-8 continuation bytes have no width. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static void spaces(struct out *o, size_t n)
{
	fprintf(o->file, "%*s", (int)n, "");
}

static void put_text(struct out *o, const struct node *n)
{
	static const char *const on[] = { [OUT_GREEN] = "\033[32m", [OUT_YELLOW] = "\033[33m", [OUT_RED] = "\033[31m" };

	if (o->colours && n->colour != OUT_PLAIN)
		fprintf(o->file, "%s%s\033[0m", on[n->colour], n->text);
	else
		fputs(n->text, o->file);
}

static void put_label(struct out *o, const char *key, bool upper)
{
	for (; *key; key++)
		fputc(*key == '_' ? ' ' : upper ? toupper((unsigned char)*key) : *key, o->file);
}

/* The fields of a row, nested records included, as columns. */
static int columns(const struct node *row, const struct node **cells, int n)
{
	for (const struct node *c = row->first; c; c = c->next) {
		if (c->kind == RECORD)
			n = columns(c, cells, n);
		else if (c->kind == FIELD && c->text && n < COLUMNS_MAX)
			cells[n++] = c;
	}
	return n;
}

/* A number that is shown as a word is aligned like words. */
static bool is_number(const struct node *cell)
{
	return json_is_integer(cell->value) && !isalpha((unsigned char)cell->text[0]);
}

static void lay_out(const struct node *table, struct layout *layout, int count)
{
	const struct node *cells[COLUMNS_MAX];

	for (const struct node *row = table->first; row; row = row->next) {
		int n = columns(row, cells, 0);

		for (int i = 0; i < n && i < count; i++) {
			if (width(cells[i]->text) > layout[i].room)
				layout[i].room = width(cells[i]->text);
			layout[i].numbers |= is_number(cells[i]);
			layout[i].words |= !is_number(cells[i]) && !json_is_null(cells[i]->value);
		}
	}
}

/* The row of labels, or a row of the table. */
static void put_row(struct out *o, const struct node *const *cells, const struct layout *layout, int count, bool labels)
{
	for (int i = 0; i < count; i++) {
		const size_t taken = width(labels ? cells[i]->key : cells[i]->text);
		const size_t left = layout[i].room > taken ? layout[i].room - taken : 0;
		const bool right = layout[i].numbers && !layout[i].words, last = i + 1 == count;

		spaces(o, right ? left : 0);
		if (labels)
			put_label(o, cells[i]->key, true);
		else
			put_text(o, cells[i]);
		spaces(o, right || last ? 0 : left);
		fputs(last ? "\n" : "  ", o->file);
	}
}

static void render_table(struct out *o, const struct node *table, size_t indent)
{
	const struct node *cells[COLUMNS_MAX];
	struct layout layout[COLUMNS_MAX] = { 0 };
	int count = columns(table->first, cells, 0);

	for (int i = 0; i < count; i++)
		layout[i].room = width(cells[i]->key);
	lay_out(table, layout, count);
	spaces(o, indent);
	put_row(o, cells, layout, count, true);
	for (const struct node *row = table->first; row; row = row->next) {
		int n = columns(row, cells, 0);

		spaces(o, indent);
		put_row(o, cells, layout, n < count ? n : count, false);
	}
}

static void render_node(struct out *o, const struct node *n, size_t indent);

static void render_record(struct out *o, const struct node *record, size_t indent)
{
	size_t room = 0;

	for (const struct node *c = record->first; c; c = c->next) {
		if (c->kind == FIELD && c->text && width(c->key) > room)
			room = width(c->key);
	}
	for (const struct node *c = record->first; c; c = c->next) {
		if (c->kind == FIELD && c->text) {
			spaces(o, indent);
			put_label(o, c->key, false);
			fputc(':', o->file);
			spaces(o, room - width(c->key) + 1);
			put_text(o, c);
			fputc('\n', o->file);
		} else if (c->kind != FIELD) {
			bool titled = c->key && c->kind != BLOCK;

			if (titled) {
				spaces(o, indent);
				put_label(o, c->key, false);
				fputs(":\n", o->file);
			}
			render_node(o, c, indent + (titled ? 2 : 0));
		}
	}
}

static void render_node(struct out *o, const struct node *n, size_t indent)
{
	switch (n->kind) {
	case RECORD:
		render_record(o, n, indent);
		break;
	case TABLE:
	case LIST:
		if (!n->first) {
			spaces(o, indent);
			fprintf(o->file, "%s\n", n->text ?: "none");
		} else if (n->kind == TABLE) {
			render_table(o, n, indent);
		}
		for (const struct node *c = n->kind == LIST ? n->first : NULL; c; c = c->next) {
			render_node(o, c, indent);
			if (c->next)
				fputc('\n', o->file);
		}
		break;
	case FIELD:
	case BLOCK:
	case NOTE:
		spaces(o, indent);
		put_text(o, n);
		if (n->text[0] == '\0' || n->text[strlen(n->text) - 1] != '\n')
			fputc('\n', o->file);
		break;
	}
}

/* One line. The later lines of a stream are unknown, so its columns widen as needed. */
static void render_line(struct out *o, const struct node *root)
{
	const struct node *cells[COLUMNS_MAX];
	int n = columns(root, cells, 0);

	for (int i = 0; i < n; i++) {
		if (width(cells[i]->text) > o->stream[i].room)
			o->stream[i].room = width(cells[i]->text);
	}
	put_row(o, cells, o->stream, n, false);
}

/* --- writing --- */

static int flush(struct out *o, bool line, struct err *err)
{
	const struct node *root = o->document.first;
	json_auto_t *json = NULL;
	bool failed = o->failed || o->depth;

	if (root && !failed && o->format == OUT_JSON) {
		json = render_json(root);
		failed = !json;
		if (!failed && json_dumpf(json, o->file, line ? JSON_COMPACT : JSON_INDENT(2)) == 0)
			fputc('\n', o->file);
	} else if (root && !failed && line) {
		render_line(o, root);
	} else if (!failed) {
		for (const struct node *n = root; n; n = n->next)
			render_node(o, n, 0);
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
