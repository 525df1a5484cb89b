/* SPDX-License-Identifier: BSD-2-Clause */
/* Follows only strings and brackets; the rest is left to the JSON parser. */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An event is a document of its own; an item is in the list's array. */
#define LIST_DEPTH 1
#define ITEMS_DEPTH 2

struct json_stream {
	struct stream_callbacks callbacks;
	bool list, items, headed, ended; /* ended: the list's last bracket was read */
	size_t depth;		 /* open brackets */
	size_t base;		 /* depth of what contains an object */
	bool string, escape;
	bool in_object;		 /* in an object, or in the head of a list: keep the text */
	bool in_metadata;	 /* in the object's own metadata */
	size_t dropped;		 /* 0, or the depth of an array that is skipped */
	size_t too_long;	 /* 0, or the size so far of an object that is dropped */
	char key[16];		 /* the last string where keys matter */
	size_t key_size;
	struct stream_buffer buffer;
};

struct json_stream *json_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks)
{
	struct json_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->callbacks = *callbacks;
	s->list = shape == STREAM_LIST;
	s->base = s->list ? ITEMS_DEPTH : 0;
	return s;
}

/* Appends the text from `from` to `to`, if it belongs to an object. */
static int keep(struct json_stream *s, const char *from, const char *to)
{
	size_t size = (size_t)(to - from);

	if (!s->in_object || s->dropped || !size)
		return 0;
	if (!s->too_long && s->buffer.size + size <= STREAM_OBJECT_MAX)
		return stream_append(&s->buffer, from, size);
	s->too_long = (s->too_long ? s->too_long : s->buffer.size) + size;
	stream_drop(&s->buffer, s->buffer.size);
	return 0;
}

static int object_ends(struct json_stream *s)
{
	int ret;

	s->in_object = false;
	if (s->too_long)
		ret = s->callbacks.too_long(s->callbacks.arg, s->too_long);
	else
		ret = s->callbacks.object(s->callbacks.arg, s->buffer.data, s->buffer.size);
	s->too_long = 0;
	stream_drop(&s->buffer, s->buffer.size);
	return ret;
}

/* `end` completes the text to a document. */
static int head_ends(struct json_stream *s, const char *end, struct err *err)
{
	int ret;

	s->headed = true;
	s->in_object = false;
	if (s->too_long)
		return err_set(err, EINVAL, "a list with more than %u bytes before its items", STREAM_OBJECT_MAX);
	ret = stream_append(&s->buffer, end, strlen(end));
	if (ret == 0)
		ret = s->callbacks.head(s->callbacks.arg, s->buffer.data, s->buffer.size);
	stream_drop(&s->buffer, s->buffer.size);
	return ret;
}

static bool key_is(const struct json_stream *s, const char *key)
{
	return s->key_size == strlen(key) && memcmp(s->key, key, s->key_size) == 0;
}

/* Depth of the members of an object's metadata. */
static size_t metadata_depth(const struct json_stream *s)
{
	return s->base + (s->list ? 2 : 3);
}

/*
 * metadata.managedFields is half of many objects, is not used here, and may be nested as deeply as the author of the
 * object likes.
 */
static bool is_managed_fields(const struct json_stream *s)
{
	return s->in_metadata && !s->dropped && s->depth == metadata_depth(s) && key_is(s, "managedFields");
}

static bool keys_matter(const struct json_stream *s)
{
	return s->in_object && (s->depth == LIST_DEPTH || s->depth + 1 == metadata_depth(s) || s->depth == metadata_depth(s));
}

/* *from: start of the text that is not kept yet. */
static int opens(struct json_stream *s, const char **from, const char *at, struct err *err)
{
	const char *instead = "null";
	int ret = 0;

	if (s->list && s->depth == LIST_DEPTH && *at == '[' && key_is(s, "items") && !s->headed) {
		ret = keep(s, *from, at + 1);
		s->items = true;
		if (ret == 0)
			ret = head_ends(s, "]}", err);
	} else if (*at == '{' && ((s->depth == s->base && (!s->list || s->items)) || (s->list && s->depth == 0))) {
		s->in_object = true;
		*from = at;
	} else if (s->in_object && s->depth + 1 == metadata_depth(s) && key_is(s, "metadata")) {
		s->in_metadata = true;
	} else if (is_managed_fields(s)) {
		ret = keep(s, *from, at);
		if (ret == 0)
			ret = keep(s, instead, instead + strlen(instead));
		s->dropped = s->depth;
	}
	s->depth++;
	return ret;
}

static int closes(struct json_stream *s, const char **from, const char *at, struct err *err)
{
	int ret = 0;

	s->depth--;
	if (s->depth < metadata_depth(s))
		s->in_metadata = false;
	if (s->dropped && s->depth == s->dropped) {
		s->dropped = 0;
		*from = at + 1;
	} else if (s->in_object && s->depth == s->base && (!s->list || s->items)) {
		ret = keep(s, *from, at + 1);
		if (ret == 0)
			ret = object_ends(s);
	} else if (s->list && s->depth == LIST_DEPTH && s->items) {
		s->items = false;
	} else if (s->list && s->depth == 0) {
		s->ended = true;
		if (!s->headed) {
			ret = keep(s, *from, at + 1);
			if (ret == 0)
				ret = head_ends(s, "", err);
		}
	}
	return ret;
}

/* Allowed between documents and between items. */
static bool is_between(const struct json_stream *s, char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || (c == ',' && s->depth);
}

static const char *string_continue(struct json_stream *s, const char *at, const char *end)
{
	bool matters = keys_matter(s);

	for (; at < end; at++) {
		if (s->escape) {
			s->escape = false;
		} else if (*at == '\\') {
			s->escape = true;
		} else if (*at == '"') {
			s->string = false;
			return at + 1;
		}
		if (matters && s->key_size < sizeof(s->key))
			s->key[s->key_size++] = *at;
	}
	return at;
}

static int garbage(char c, struct err *err)
{
	return err_set(err, EINVAL, c >= ' ' && c <= '~' ? "not JSON of the API: '%c' where an object is expected"
							 : "not JSON of the API: byte %#x where an object is expected",
		       (unsigned char)c);
}

/* One character outside strings. */
static int step(struct json_stream *s, const char **from, const char *at, struct err *err)
{
	bool outside = !s->in_object && (s->items ? s->depth == ITEMS_DEPTH : s->depth == 0);

	if (outside && !(s->ended && *at == '{') && (*at == '{' || is_between(s, *at) || (*at == ']' && s->items))) {
		/* valid */
	} else if (outside) {
		return garbage(*at, err);
	}
	if (*at == '{' || *at == '[')
		return opens(s, from, at, err);
	if (*at == '}' || *at == ']')
		return closes(s, from, at, err);
	if (*at == '"') {
		s->string = true;
		if (keys_matter(s))
			s->key_size = 0;
	}
	return 0;
}

int json_stream_feed(struct json_stream *s, const char *data, size_t size, struct err *err)
{
	const char *at = data, *end = data + size, *from = data;
	int ret = 0;

	while (ret == 0 && at < end) {
		if (s->string) {
			at = string_continue(s, at, end);
			continue;
		}
		ret = step(s, &from, at, err);
		at++;
	}
	if (ret == 0)
		ret = keep(s, from, end);
	return ret;
}

bool json_stream_complete(const struct json_stream *s)
{
	return s->list ? s->ended : s->depth == 0;
}

void json_stream_free(struct json_stream *s)
{
	if (!s)
		return;
	stream_buffer_free(&s->buffer);
	free(s);
}
