/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdbool.h>
#include <string.h>
#include <yaml.h>

#include "cleanup.h"
#include "documents.h"
#include "json.h"
#include "str.h"

#define YAML_DEPTH 64 /* levels, with those of aliases; as in user/lib/json.c */
#define YAML_TAG "tag:yaml.org,2002:"

struct reader {
	yaml_parser_t parser;
	const char *what;
	struct err *err;
	size_t nodes;	 /* of this document, with those of aliases */
	json_t *anchors; /* name -> [value, nodes, height]; an alias shares the value */
};

struct value {
	json_t *json;
	unsigned height; /* levels, its own included; 0: a scalar */
};

static int fail(struct reader *r, const yaml_mark_t *mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct reader *r, const yaml_mark_t *mark, const char *fmt, ...)
{
	char message[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	str_printable(message);
	return err_set(r->err, EINVAL, "%s: line %zu, column %zu: %s", r->what, mark->line + 1, mark->column + 1,
		       message);
}

static int no_memory(struct reader *r)
{
	return err_errno(r->err, ENOMEM, "%s", r->what);
}

static int parser_error(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(r);
	if (p->error == YAML_READER_ERROR)
		return err_set(r->err, EINVAL, "%s: byte %zu: %s", r->what, p->problem_offset + 1, p->problem);
	return fail(r, &p->problem_mark, "%s", p->problem);
}

static int count(struct reader *r, size_t nodes, const yaml_mark_t *mark)
{
	if (nodes > DOCUMENT_NODES - r->nodes)
		return fail(r, mark, "the document has more than %d values, including those of aliases", DOCUMENT_NODES);
	r->nodes += nodes;
	return 0;
}

static int next_event(struct reader *r, yaml_event_t *e)
{
	return yaml_parser_parse(&r->parser, e) ? 0 : parser_error(r);
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

static int scalar_value(struct reader *r, const yaml_event_t *e, json_t **value)
{
	const char *text = (const char *)e->data.scalar.value, *tag = (const char *)e->data.scalar.tag;
	size_t size = e->data.scalar.length;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, string;
	int error;

	if (memchr(text, '\0', size))
		return fail(r, &e->start_mark, "a string contains a NUL character");
	if (tag && strcmp(tag, "!") == 0)
		tag = YAML_TAG "str"; /* ! is an explicit string */
	if (tag && strncmp(tag, YAML_TAG, strlen(YAML_TAG)) != 0)
		return fail(r, &e->start_mark, "tag %s is not supported", tag);
	tag = tag ? tag + strlen(YAML_TAG) : NULL;
	string = tag ? strcmp(tag, "str") == 0 : !plain;
	*value = string ? json_stringn(text, size) : scalar_resolve(text, size, &error);
	if (!*value && !string && error == -EDOM)
		return fail(r, &e->start_mark, "%s is not a number in JSON", text);
	if (!*value)
		return no_memory(r);
	if (tag && !string && !tag_fits(tag, *value)) {
		json_decref(take_ptr(*value));
		return fail(r, &e->start_mark, "\"%s\" is not of type !!%s", text, tag);
	}
	return 0;
}

/* --- lists, mappings, aliases --- */

static int value_read(struct reader *r, const yaml_event_t *e, unsigned depth, struct value *v);

/* A value in a list or mapping. */
static int inner_read(struct reader *r, const yaml_event_t *e, unsigned depth, struct value *outer, json_t **json)
{
	struct value inner;
	int ret = value_read(r, e, depth + 1, &inner);

	*json = inner.json;
	if (ret == 0 && outer->height < inner.height + 1)
		outer->height = inner.height + 1;
	return ret;
}

static int list_read(struct reader *r, unsigned depth, struct value *list)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t e = { 0 };
		json_t *element;
		int ret = next_event(r, &e);

		if (ret < 0 || e.type == YAML_SEQUENCE_END_EVENT)
			return ret;
		ret = inner_read(r, &e, depth, list, &element);
		if (ret < 0)
			return ret;
		if (json_array_append_new(list->json, element) < 0)
			return no_memory(r);
	}
}

/* <<: the members of a mapping, or of a list of them (the first has precedence). The own keys have precedence. */
static int merge(struct reader *r, json_t **merged, const json_t *value, const yaml_mark_t *mark)
{
	const json_t *element;
	size_t i;

	*merged = json_object();
	if (!*merged)
		return no_memory(r);
	if (json_is_object(value))
		return json_object_update_missing(*merged, (json_t *)value) < 0 ? no_memory(r) : 0;
	if (!json_is_array(value))
		return fail(r, mark, "<< takes a mapping or a list of mappings");
	json_array_foreach(value, i, element) {
		if (!json_is_object(element))
			return fail(r, mark, "<< takes a mapping or a list of mappings");
		if (json_object_update_missing(*merged, (json_t *)element) < 0)
			return no_memory(r);
	}
	return 0;
}

/* JSON keys are strings, so integers and booleans are converted. */
static int key_text(struct reader *r, const json_t *key, char **text, const yaml_mark_t *mark)
{
	int n = -1;

	if (json_is_string(key))
		n = asprintf(text, "%s", json_string_value(key));
	else if (json_is_integer(key))
		n = asprintf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(key));
	else if (json_is_boolean(key))
		n = asprintf(text, "%s", json_is_true(key) ? "true" : "false");
	else
		return fail(r, mark, "a key must be a string, an integer or a boolean");
	if (n >= 0)
		return 0;
	*text = NULL;
	return no_memory(r);
}

/* *text NULL: the merge key <<. */
static int key_read(struct reader *r, const yaml_event_t *e, char **text)
{
	json_auto_t *key = NULL;
	int ret;

	if (e->type == YAML_ALIAS_EVENT)
		return fail(r, &e->start_mark, "an alias as a key is not supported");
	if (e->type != YAML_SCALAR_EVENT)
		return fail(r, &e->start_mark, "a key must be a string, an integer or a boolean");
	ret = scalar_value(r, e, &key);
	if (ret < 0)
		return ret;
	if (e->data.scalar.anchor)
		return fail(r, &e->start_mark, "an anchor on a key is not supported");
	if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !e->data.scalar.tag &&
	    strcmp((const char *)e->data.scalar.value, "<<") == 0)
		return 0;
	return key_text(r, key, text, &e->start_mark);
}

/* *merged: the members of <<, which are added after all keys. */
static int member_read(struct reader *r, const yaml_event_t *key_event, unsigned depth, struct value *mapping, json_t **merged)
{
	_cleanup_(yaml_event_delete) yaml_event_t e = { 0 };
	_cleanup_free_ char *key = NULL;
	json_auto_t *json = NULL;
	int ret = key_read(r, key_event, &key);

	if (ret < 0)
		return ret;
	if (key ? json_object_get(mapping->json, key) != NULL : *merged != NULL)
		return fail(r, &key_event->start_mark, "duplicate key \"%s\"", key ?: "<<");
	ret = next_event(r, &e);
	ret = ret < 0 ? ret : inner_read(r, &e, depth, mapping, &json);
	if (ret < 0)
		return ret;
	if (!key)
		return merge(r, merged, json, &e.start_mark);
	return json_object_set(mapping->json, key, json) < 0 ? no_memory(r) : 0;
}

static int mapping_read(struct reader *r, unsigned depth, struct value *mapping)
{
	json_auto_t *merged = NULL;

	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t e = { 0 };
		int ret = next_event(r, &e);

		if (ret < 0)
			return ret;
		if (e.type == YAML_MAPPING_END_EVENT)
			return merged && json_object_update_missing(mapping->json, merged) < 0 ? no_memory(r) : 0;
		ret = member_read(r, &e, depth, mapping, &merged);
		if (ret < 0)
			return ret;
	}
}

/* An anchor is registered when its value is complete, so no value contains itself. */
static int anchor_add(struct reader *r, const char *name, const struct value *v, size_t nodes)
{
	if (!r->anchors)
		r->anchors = json_object();
	return json_object_set_new(r->anchors, name, json_pack("[O,I,I]", v->json, (json_int_t)nodes, (json_int_t)v->height)) < 0
		       ? no_memory(r)
		       : 0;
}

static int alias_read(struct reader *r, const yaml_event_t *e, unsigned depth, struct value *v)
{
	const char *name = (const char *)e->data.alias.anchor;
	const json_t *anchor = json_object_get(r->anchors, name);

	if (!anchor)
		return fail(r, &e->start_mark, "alias *%s has no complete anchor", name);
	v->height = (unsigned)json_integer_value(json_array_get(anchor, 2));
	if (depth + v->height > YAML_DEPTH)
		return fail(r, &e->start_mark, "nested more than %d levels deep, including aliases", YAML_DEPTH);
	if (count(r, (size_t)json_integer_value(json_array_get(anchor, 1)), &e->start_mark) < 0)
		return -EINVAL;
	v->json = json_incref(json_array_get(anchor, 0));
	return 0;
}

static int container_read(struct reader *r, const yaml_event_t *e, unsigned depth, struct value *v)
{
	bool mapping = e->type == YAML_MAPPING_START_EVENT;
	const char *tag = (const char *)(mapping ? e->data.mapping_start.tag : e->data.sequence_start.tag);

	if (tag && strcmp(tag, mapping ? YAML_TAG "map" : YAML_TAG "seq") != 0)
		return fail(r, &e->start_mark, "tag %s is not supported", tag);
	if (depth == YAML_DEPTH)
		return fail(r, &e->start_mark, "nested more than %d levels deep", YAML_DEPTH);
	v->height = 1;
	v->json = mapping ? json_object() : json_array();
	if (!v->json)
		return no_memory(r);
	return mapping ? mapping_read(r, depth, v) : list_read(r, depth, v);
}

static const yaml_char_t *anchor_of(const yaml_event_t *e)
{
	if (e->type == YAML_SCALAR_EVENT)
		return e->data.scalar.anchor;
	return e->type == YAML_MAPPING_START_EVENT ? e->data.mapping_start.anchor : e->data.sequence_start.anchor;
}

/* The value that begins with the event, within `depth` lists and mappings. On failure it is NULL. */
static int value_read(struct reader *r, const yaml_event_t *e, unsigned depth, struct value *v)
{
	const size_t before = r->nodes;
	int ret;

	*v = (struct value){ 0 };
	if (e->type == YAML_ALIAS_EVENT)
		return alias_read(r, e, depth, v);
	ret = count(r, 1, &e->start_mark);
	if (ret == 0)
		ret = e->type == YAML_SCALAR_EVENT ? scalar_value(r, e, &v->json) : container_read(r, e, depth, v);
	if (ret == 0 && anchor_of(e))
		ret = anchor_add(r, (const char *)anchor_of(e), v, r->nodes - before);
	if (ret < 0)
		json_decref(take_ptr(v->json));
	return ret;
}

/* --- documents --- */

static int document_read(struct reader *r, int number, int (*fn)(json_t *document, int number, void *arg), void *arg)
{
	_cleanup_(yaml_event_delete) yaml_event_t e = { 0 }, end = { 0 };
	struct value document = { 0 };
	int ret = next_event(r, &e);

	r->nodes = 0;
	ret = ret < 0 ? ret : value_read(r, &e, 0, &document);
	ret = ret < 0 ? ret : next_event(r, &end);
	ret = ret < 0 ? ret : fn(document.json, number, arg);
	json_decref(document.json);
	json_decref(take_ptr(r->anchors));
	return ret;
}

static int yaml_documents(const char *text, size_t size, const char *what,
			  int (*fn)(json_t *document, int number, void *arg), void *arg, struct err *err)
{
	struct reader r = { .what = what, .err = err };
	yaml_event_type_t type = YAML_NO_EVENT;
	int number = 0, ret = 0;

	if (!yaml_parser_initialize(&r.parser))
		return no_memory(&r);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	while (ret == 0 && type != YAML_STREAM_END_EVENT) {
		yaml_event_t e;

		ret = next_event(&r, &e);
		type = e.type;
		yaml_event_delete(&e);
		if (ret == 0 && type == YAML_DOCUMENT_START_EVENT)
			ret = document_read(&r, ++number, fn, arg);
	}
	yaml_parser_delete(&r.parser);
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
