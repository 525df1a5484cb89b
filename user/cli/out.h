/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one print path. A command builds its result as records, tables and fields; out_flush() renders them as aligned
 * text or as JSON. A field's key is also its label in text: "host_device" is shown as "host device:" in a record and as
 * HOST DEVICE above a column.
 *
 * These functions return no errors: out_flush() returns the first one (no memory, a value that cannot be encoded).
 */
#ifndef WARREN_OUT_H
#define WARREN_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

struct out;

enum out_format { OUT_TEXT, OUT_JSON };
enum out_colour { OUT_PLAIN, OUT_GREEN, OUT_YELLOW, OUT_RED };

/* NULL without memory. Colours are used if `file` is a terminal and NO_COLOR is not set. */
struct out *out_new(enum out_format format, FILE *file);
void out_free(struct out *o);

/*
 * Containers; `key` is NULL at the top of a document, and for the rows of a table or list. In JSON a record is an
 * object, a table or list an array. In text a table has a line per record (nested records are flattened into columns);
 * an empty table is replaced by `empty`. A list shows its records one below the other.
 */
void out_record(struct out *o, const char *key);
void out_table(struct out *o, const char *key, const char *empty);
void out_list(struct out *o, const char *key, const char *empty);
void out_end(struct out *o);

/* Fields. NULL is null in JSON and "-" in text; so is an empty string in text. */
void out_string(struct out *o, const char *key, const char *value);
void out_uint(struct out *o, const char *key, uint64_t value);
void out_optional(struct out *o, const char *key, bool valid, uint64_t value); /* null unless it is valid */
void out_named(struct out *o, const char *key, const char *name, uint64_t number); /* NULL name: the number */
void out_hex(struct out *o, const char *key, uint32_t value); /* a string: 0x01000000 */
void out_bool(struct out *o, const char *key, bool value); /* text: yes, no */
void out_word(struct out *o, const char *key, const char *word, enum out_colour colour);
void out_block(struct out *o, const char *key, const char *text); /* several lines without a label */
/* Any JSON value, whose reference is stolen, and its text. */
void out_field(struct out *o, const char *key, json_t *value, const char *text, enum out_colour colour);
void out_fieldf(struct out *o, const char *key, json_t *value, enum out_colour colour, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
void out_json(struct out *o, const char *key, json_t *value); /* steals the reference; shown in JSON only */
/* An array of strings, whose reference is stolen; in text joined by `separator`. */
void out_strings(struct out *o, const char *key, json_t *array, const char *separator);
/* A table of one column, from an array of strings. */
void out_column(struct out *o, const char *key, const char *column, const json_t *texts, const char *empty);
/* A member of a JSON object. Arrays and objects are shown in JSON only. */
void out_member(struct out *o, const char *key, const json_t *object);
void out_json_member(struct out *o, const char *key, const json_t *object); /* in JSON only; null if it is missing */
/* An object of strings, in text "app=web,tier=front"; NULL: null. */
void out_labels(struct out *o, const char *key, json_t *labels);
/* A line that is shown in text only. */
void out_note(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes and frees the document. -EPIPE: the reader has closed the output. */
int out_flush(struct out *o, struct err *err);
/* The same for one record of a stream: a line of text, whose columns widen as needed, or of JSON. */
int out_flush_line(struct out *o, struct err *err);
/* Frees the document without writing it. */
void out_drop(struct out *o);

#endif
