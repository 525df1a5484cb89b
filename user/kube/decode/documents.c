/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "documents.h"
#include "json.h"
#include "scalar.h"
#include "str.h"

#define YAML_DEPTH 64 /* levels, with those of aliases; as in user/lib/json.c */
#define YAML_TAG "tag:yaml.org,2002:"

/* A list or mapping that is being read. */
struct frame {
	json_t *container;
	char *anchor;	 /* or NULL */
	char *key;	 /* of a mapping, whose value is next; NULL: a key is next */
	json_t *merge;	 /* members of <<, added after all keys; NULL: none */
	size_t first;	 /* builder.nodes before it */
	unsigned height; /* levels, its own included */
};

struct builder {
	yaml_parser_t parser;
	const char *what;
	struct err *err;
	struct frame stack[YAML_DEPTH];
	unsigned depth;
	size_t nodes;	 /* of this document, with those of aliases */
	json_t *anchors; /* name -> [value, nodes, height]; an alias shares the value */
	json_t *document;
};

/* A complete value that is not placed yet. */
struct node {
	json_t *value;
	const char *anchor;
	size_t nodes;
	unsigned height; /* 0: a scalar */
};

static int fail(struct builder *b, const yaml_mark_t *mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct builder *b, const yaml_mark_t *mark, const char *fmt, ...)
{
	char message[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	str_printable(message);
	return err_set(b->err, EINVAL, "%s: line %zu, column %zu: %s", b->what, mark->line + 1, mark->column + 1,
		       message);
}

static int no_memory(struct builder *b)
{
	return err_errno(b->err, ENOMEM, "%s", b->what);
}

static void frame_free(struct frame *f)
{
	json_decref(f->container);
	json_decref(f->merge);
	free(f->anchor);
	free(f->key);
	*f = (struct frame){ 0 };
}

/* Frees the document, also an incomplete one. */
static void builder_clear(struct builder *b)
{
	while (b->depth)
		frame_free(&b->stack[--b->depth]);
	json_decref(b->anchors);
	json_decref(b->document);
	b->anchors = b->document = NULL;
	b->nodes = 0;
}

static int remember_anchor(struct builder *b, const struct node *n)
{
	if (!b->anchors)
		b->anchors = json_object();
	if (json_object_set_new(b->anchors, n->anchor,
				json_pack("[O,I,I]", n->value, (json_int_t)n->nodes, (json_int_t)n->height)) < 0)
		return no_memory(b);
	return 0;
}

/* <<: the members of a mapping, or of a list of them (the first has precedence). The own keys have precedence. */
static int merge(struct builder *b, struct frame *f, const json_t *value, const yaml_mark_t *mark)
{
	const json_t *element;
	size_t i;

	f->merge = json_object();
	if (!f->merge)
		return no_memory(b);
	if (json_is_object(value))
		return json_object_update_missing(f->merge, (json_t *)value) < 0 ? no_memory(b) : 0;
	if (!json_is_array(value))
		return fail(b, mark, "<< takes a mapping or a list of mappings");
	json_array_foreach(value, i, element) {
		if (!json_is_object(element))
			return fail(b, mark, "<< takes a mapping or a list of mappings");
		if (json_object_update_missing(f->merge, (json_t *)element) < 0)
			return no_memory(b);
	}
	return 0;
}

static int place_member(struct builder *b, struct frame *f, json_t *value, const yaml_mark_t *mark)
{
	_cleanup_free_ char *key = take_ptr(f->key);

	if (key[0] == '\0') /* mapping_key()'s name for << */
		return merge(b, f, value, mark);
	return json_object_set(f->container, key + 1, value) < 0 ? no_memory(b) : 0;
}

/* Adds a value to the innermost container. Takes ownership. */
static int place(struct builder *b, const struct node *n, const yaml_mark_t *mark)
{
	json_auto_t *value = n->value;
	struct frame *f;

	if (n->anchor && remember_anchor(b, n) < 0)
		return -ENOMEM;
	if (!b->depth) {
		b->document = take_ptr(value);
		return 0;
	}
	f = &b->stack[b->depth - 1];
	if (f->height < n->height + 1)
		f->height = n->height + 1;
	if (json_is_object(f->container))
		return place_member(b, f, value, mark);
	return json_array_append(f->container, value) < 0 ? no_memory(b) : 0;
}

static int count(struct builder *b, size_t nodes, const yaml_mark_t *mark)
{
	if (nodes > DOCUMENT_NODES - b->nodes)
		return fail(b, mark, "the document has more than %d values, including those of aliases", DOCUMENT_NODES);
	b->nodes += nodes;
	return 0;
}

static bool expects_key(const struct builder *b)
{
	const struct frame *f = b->depth ? &b->stack[b->depth - 1] : NULL;

	return f && json_is_object(f->container) && !f->key;
}

/* --- scalars --- */

/* Whether the value has the type of an explicit tag. */
static bool tag_fits(const char *tag, const json_t *value)
{
	if (strcmp(tag, "null") == 0)
		return json_is_null(value);
	if (strcmp(tag, "bool") == 0)
		return json_is_boolean(value);
	if (strcmp(tag, "int") == 0)
		return json_is_integer(value);
	return strcmp(tag, "float") == 0 && json_is_number(value);
}

static int scalar_value(struct builder *b, const yaml_event_t *e, json_t **value)
{
	const char *text = (const char *)e->data.scalar.value, *tag = (const char *)e->data.scalar.tag;
	size_t size = e->data.scalar.length;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, string;
	int error;

	if (memchr(text, '\0', size))
		return fail(b, &e->start_mark, "a string contains a NUL character");
	if (tag && strcmp(tag, "!") == 0)
		tag = YAML_TAG "str"; /* ! is an explicit string */
	if (tag && strncmp(tag, YAML_TAG, strlen(YAML_TAG)) != 0)
		return fail(b, &e->start_mark, "tag %s is not supported", tag);
	tag = tag ? tag + strlen(YAML_TAG) : NULL;
	string = tag ? strcmp(tag, "str") == 0 : !plain;
	*value = string ? json_stringn(text, size) : scalar_resolve(text, size, &error);
	if (!*value && !string && error == -EDOM)
		return fail(b, &e->start_mark, "%s is not a number in JSON", text);
	if (!*value)
		return no_memory(b);
	if (tag && !string && !tag_fits(tag, *value)) {
		json_decref(take_ptr(*value));
		return fail(b, &e->start_mark, "\"%s\" is not of type !!%s", text, tag);
	}
	return 0;
}

/* A key's text: JSON keys are strings, so integers and booleans are converted. */
static int key_text(struct builder *b, const json_t *value, char **text, const yaml_mark_t *mark)
{
	int n = -1;

	if (json_is_string(value))
		n = asprintf(text, "k%s", json_string_value(value));
	else if (json_is_integer(value))
		n = asprintf(text, "k%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		n = asprintf(text, "k%s", json_is_true(value) ? "true" : "false");
	else
		return fail(b, mark, "a key must be a string, an integer or a boolean");
	if (n < 0) {
		*text = NULL;
		return no_memory(b);
	}
	return 0;
}

/* Stores the key in its frame as "k<key>", or as "" for a merge key. */
static int mapping_key(struct builder *b, const yaml_event_t *e, const json_t *value)
{
	struct frame *f = &b->stack[b->depth - 1];
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !e->data.scalar.tag;
	bool merging = plain && strcmp((const char *)e->data.scalar.value, "<<") == 0;
	_cleanup_free_ char *text = NULL;
	int ret;

	if (e->data.scalar.anchor)
		return fail(b, &e->start_mark, "an anchor on a key is not supported");
	if (merging) {
		text = strdup("");
		ret = text ? 0 : no_memory(b);
	} else {
		ret = key_text(b, value, &text, &e->start_mark);
	}
	if (ret < 0)
		return ret;
	if (merging ? f->merge != NULL : json_object_get(f->container, text + 1) != NULL)
		return fail(b, &e->start_mark, "duplicate key \"%s\"", merging ? "<<" : text + 1);
	f->key = take_ptr(text);
	return 0;
}

static int scalar(struct builder *b, const yaml_event_t *e)
{
	json_t *value = NULL;
	int ret = scalar_value(b, e, &value);

	if (ret < 0)
		return ret;
	if (expects_key(b)) {
		ret = mapping_key(b, e, value);
		json_decref(value);
		return ret;
	}
	ret = count(b, 1, &e->start_mark);
	if (ret < 0) {
		json_decref(value);
		return ret;
	}
	return place(b, &(struct node){ value, (const char *)e->data.scalar.anchor, 1, 0 }, &e->start_mark);
}

/* --- lists, mappings, aliases --- */

static int open_container(struct builder *b, const yaml_event_t *e, bool mapping)
{
	const char *anchor = (const char *)(mapping ? e->data.mapping_start.anchor : e->data.sequence_start.anchor);
	const char *tag = (const char *)(mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag);
	struct frame *f;

	if (expects_key(b))
		return fail(b, &e->start_mark, "a key must be a string, an integer or a boolean");
	if (tag && strcmp(tag, mapping ? YAML_TAG "map" : YAML_TAG "seq") != 0)
		return fail(b, &e->start_mark, "tag %s is not supported", tag);
	if (b->depth == YAML_DEPTH)
		return fail(b, &e->start_mark, "nested more than %d levels deep", YAML_DEPTH);
	if (count(b, 1, &e->start_mark) < 0)
		return -EINVAL;
	f = &b->stack[b->depth++];
	*f = (struct frame){ .container = mapping ? json_object() : json_array(), .first = b->nodes - 1, .height = 1 };
	if (anchor)
		f->anchor = strdup(anchor);
	return !f->container || (anchor && !f->anchor) ? no_memory(b) : 0;
}

static int close_container(struct builder *b, const yaml_event_t *e)
{
	struct frame f = b->stack[--b->depth];
	struct node n = { f.container, f.anchor, b->nodes - f.first, f.height };
	int ret;

	f.container = NULL;
	if (f.merge && json_object_update_missing(n.value, f.merge) < 0) {
		json_decref(n.value);
		ret = no_memory(b);
	} else {
		ret = place(b, &n, &e->start_mark);
	}
	frame_free(&f);
	return ret;
}

/* An anchor is registered when its value is complete, so no value contains itself. */
static int alias(struct builder *b, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;
	const json_t *anchor = json_object_get(b->anchors, name);
	struct node n = { 0 };

	if (!anchor)
		return fail(b, &e->start_mark, "alias *%s has no complete anchor", name);
	if (expects_key(b))
		return fail(b, &e->start_mark, "an alias as a key is not supported");
	n.nodes = (size_t)json_integer_value(json_array_get(anchor, 1));
	n.height = (unsigned)json_integer_value(json_array_get(anchor, 2));
	if (b->depth + n.height > YAML_DEPTH)
		return fail(b, &e->start_mark, "nested more than %d levels deep, including aliases", YAML_DEPTH);
	if (count(b, n.nodes, &e->start_mark) < 0)
		return -EINVAL;
	n.value = json_incref(json_array_get(anchor, 0));
	return place(b, &n, &e->start_mark);
}

static int handle_event(struct builder *b, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return open_container(b, e, false);
	case YAML_MAPPING_START_EVENT:
		return open_container(b, e, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return close_container(b, e);
	case YAML_ALIAS_EVENT:
		return alias(b, e);
	default:
		return 0;
	}
}

static int parser_error(struct builder *b)
{
	const yaml_parser_t *p = &b->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(b);
	if (p->error == YAML_READER_ERROR)
		return err_set(b->err, EINVAL, "%s: byte %zu: %s", b->what, p->problem_offset + 1, p->problem);
	return fail(b, &p->problem_mark, "%s", p->problem);
}

static int yaml_run(struct builder *b, int (*fn)(json_t *document, int number, void *arg), void *arg)
{
	yaml_event_type_t type;
	int number = 0, ret;

	do {
		yaml_event_t event;

		if (!yaml_parser_parse(&b->parser, &event))
			return parser_error(b);
		type = event.type;
		ret = handle_event(b, &event);
		yaml_event_delete(&event);
		if (ret == 0 && type == YAML_DOCUMENT_END_EVENT) {
			ret = fn(b->document, ++number, arg);
			builder_clear(b);
		}
	} while (ret == 0 && type != YAML_STREAM_END_EVENT);
	return ret;
}

static int yaml_documents(const char *text, size_t size, const char *what,
			  int (*fn)(json_t *document, int number, void *arg), void *arg, struct err *err)
{
	struct builder b = { .what = what, .err = err };
	int ret;

	if (!yaml_parser_initialize(&b.parser))
		return no_memory(&b);
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, size);
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	ret = yaml_run(&b, fn, arg);
	builder_clear(&b);
	yaml_parser_delete(&b.parser);
	return ret;
}

/* --- JSON --- */

/* An upper bound of the number of values, before anything is allocated. */
static size_t json_values(const char *text, size_t size)
{
	bool string = false;
	size_t values = 1;

	for (size_t i = 0; i < size; i++) {
		if (string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			string = !string;
		else if (!string && (text[i] == ',' || text[i] == '[' || text[i] == '{'))
			values++;
	}
	return values;
}

static int json_document(const char *text, size_t size, const char *what,
			 int (*fn)(json_t *document, int number, void *arg), void *arg, struct err *err)
{
	json_auto_t *json = NULL;

	if (json_values(text, size) > DOCUMENT_NODES)
		return err_set(err, EINVAL, "%s: the document has more than %d values", what, DOCUMENT_NODES);
	json = json_parse_object(text, size, what, err);
	if (!json) {
		if (err)
			str_printable(err->msg);
		return -EINVAL;
	}
	return fn(json, 1, arg);
}

int documents_parse(const char *text, size_t size, const char *what, int (*fn)(json_t *document, int number, void *arg),
		    void *arg, struct err *err)
{
	size_t start = 0;

	if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3; /* a byte order mark */
		size -= 3;
	}
	while (start < size && strchr(" \t\r\n", text[start]) && text[start])
		start++;
	if (start < size && text[start] == '{')
		return json_document(text, size, what, fn, arg, err);
	return yaml_documents(text, size, what, fn, arg, err);
}
