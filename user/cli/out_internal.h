/* SPDX-License-Identifier: BSD-2-Clause */
/* The document: a tree that out.c builds and out_render.c renders. */
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
	struct node *root;
	struct node *open[DEPTH_MAX]; /* containers not yet ended, outermost first */
	int depth;
	struct layout stream[COLUMNS_MAX]; /* of the lines that a stream has printed */
};

/* NULL without memory. */
json_t *out_render_json(const struct node *n);
void out_render_text(struct out *o, const struct node *n, size_t indent);
/* The root as one line. The later lines of a stream are unknown, so its columns widen as needed. */
void out_render_line(struct out *o);

#endif
