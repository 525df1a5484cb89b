/* SPDX-License-Identifier: BSD-2-Clause */
/* Renders a document as JSON, as text, or as a line of a stream. */
#include <ctype.h>
#include <string.h>

#include "out_internal.h"

/* --- JSON --- */

json_t *out_render_json(const struct node *n)
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
			failed = json_array_append_new(value, out_render_json(c));
		else
			failed = json_object_set_new(value, c->key ?: "", out_render_json(c));
		if (failed) {
			json_decref(value);
			return NULL;
		}
	}
	return value;
}

/* --- text --- */

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

/* The blanks before or after a cell's text. */
static void pad(struct out *o, const struct layout *layout, size_t taken, bool before, bool last)
{
	bool right = layout->numbers && !layout->words;

	if (before == right && layout->room > taken && !(last && !before))
		spaces(o, layout->room - taken);
	if (!before)
		fputs(last ? "\n" : "  ", o->file);
}

static void put_row(struct out *o, const struct node *const *cells, const struct layout *layout, int count)
{
	for (int i = 0; i < count; i++) {
		pad(o, &layout[i], width(cells[i]->text), true, i + 1 == count);
		put_text(o, cells[i]);
		pad(o, &layout[i], width(cells[i]->text), false, i + 1 == count);
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
	for (int i = 0; i < count; i++) {
		pad(o, &layout[i], width(cells[i]->key), true, i + 1 == count);
		put_label(o, cells[i]->key, true);
		pad(o, &layout[i], width(cells[i]->key), false, i + 1 == count);
	}
	for (const struct node *row = table->first; row; row = row->next) {
		int n = columns(row, cells, 0);

		spaces(o, indent);
		put_row(o, cells, layout, n < count ? n : count);
	}
}

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
			out_render_text(o, c, indent + (titled ? 2 : 0));
		}
	}
}

void out_render_text(struct out *o, const struct node *n, size_t indent)
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
			out_render_text(o, c, indent);
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

void out_render_line(struct out *o)
{
	const struct node *cells[COLUMNS_MAX];
	int n = columns(o->root, cells, 0);

	for (int i = 0; i < n; i++) {
		if (width(cells[i]->text) > o->stream[i].room)
			o->stream[i].room = width(cells[i]->text);
	}
	put_row(o, cells, o->stream, n);
}
