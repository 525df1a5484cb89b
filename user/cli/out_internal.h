/* SPDX-License-Identifier: BSD-2-Clause */
/* What a command has described: a tree, made by out.c and shown by out_render.c. */
#ifndef WARREN_OUT_INTERNAL_H
#define WARREN_OUT_INTERNAL_H

#include <stddef.h>

#include "out.h"

#define COLUMNS_MAX 32
#define DEPTH_MAX 16

enum kind { RECORD, TABLE, LIST, FIELD, BLOCK, NOTE };

struct node {
	enum kind kind;
	const char *key; /* a literal of the caller's */
	json_t *value;	 /* of a field */
	char *text;	 /* of a field or note, or what an empty table shows */
	enum out_colour colour;
	struct node *first, *last, *next;
};

/* How a column is laid out. Numbers stand at the right, below one another. */
struct layout {
	size_t room;
	bool numbers, words;
};

struct out {
	enum out_format format;
	FILE *file;
	bool colours;
	bool failed;
	struct node *root;
	struct node *open[DEPTH_MAX]; /* containers not yet ended, outermost first */
	int depth;
	struct layout stream[COLUMNS_MAX]; /* of a stream's lines so far */
};

/* NULL without memory. */
json_t *out_render_json(const struct node *n);
void out_render_text(struct out *o, const struct node *n, size_t indent);
/* The root as one line. A stream has no end to wait for: its columns grow as they must. */
void out_render_line(struct out *o);

#endif
