/* SPDX-License-Identifier: BSD-2-Clause */
#include "json_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where objects are: an event is a document by itself; an item is in the list's array. */
#define LIST_DEPTH 1
#define ITEMS_DEPTH 2

struct json_stream {
	struct pieces pieces;
	bool list, items, headed, ended; /* ended: the list's last bracket has been there */
	size_t depth;		 /* of brackets that are open */
	size_t base;		 /* that of what contains an object */
	bool string, escape;
	bool in_piece;		 /* what comes is kept: an object, or the head of a list */
	bool in_metadata;	 /* of the object itself */
	size_t dropped;		 /* 0, or the depth of an array that is left out */
	size_t too_long;	 /* 0, or the size so far of an object that is not kept */
	char key[16];		 /* the last string where keys matter */
	size_t key_size;
	struct piece_buffer buffer;
};

struct json_stream *json_stream_open(enum pieces_shape shape, const struct pieces *pieces)
{
	struct json_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pieces = *pieces;
	s->list = shape == PIECES_LIST;
	s->base = s->list ? ITEMS_DEPTH : 0;
	return s;
}

/* What has been gone through since `from` belongs to the object. */
static int keep(struct json_stream *s, const char *from, const char *to)
{
	size_t size = (size_t)(to - from);

	if (!s->in_piece || s->dropped || !size)
		return 0;
	if (!s->too_long && s->buffer.size + size <= PIECE_MAX)
		return piece_append(&s->buffer, from, size);
	s->too_long = (s->too_long ? s->too_long : s->buffer.size) + size;
	piece_reset(&s->buffer);
	return 0;
}

static int piece_ends(struct json_stream *s)
{
	int ret;

	s->in_piece = false;
	if (s->too_long)
		ret = s->pieces.too_long(s->pieces.arg, s->too_long);
	else
		ret = s->pieces.piece(s->pieces.arg, s->buffer.data, s->buffer.size);
	s->too_long = 0;
	piece_reset(&s->buffer);
	return ret;
}

/* `end` makes a document of what there is. */
static int head_ends(struct json_stream *s, const char *end, struct err *err)
{
	int ret;

	s->headed = true;
	s->in_piece = false;
	if (s->too_long)
		return err_set(err, EINVAL, "a list with more than %u bytes before its items", PIECE_MAX);
	ret = piece_append(&s->buffer, end, strlen(end));
	if (ret == 0)
		ret = s->pieces.head(s->pieces.arg, s->buffer.data, s->buffer.size);
	piece_reset(&s->buffer);
	return ret;
}

static bool key_is(const struct json_stream *s, const char *key)
{
	return s->key_size == strlen(key) && memcmp(s->key, key, s->key_size) == 0;
}

/* Where the members of an object's metadata are. */
static size_t metadata_depth(const struct json_stream *s)
{
	return s->base + (s->list ? 2 : 3);
}

/*
 * metadata.managedFields is half of many objects, of use to nobody here, and may be nested as deeply as whoever wrote the
 * object liked.
 */
static bool is_useless(const struct json_stream *s)
{
	return s->in_metadata && !s->dropped && s->depth == metadata_depth(s) && key_is(s, "managedFields");
}

static bool keys_matter(const struct json_stream *s)
{
	return s->in_piece && (s->depth == LIST_DEPTH || s->depth + 1 == metadata_depth(s) || s->depth == metadata_depth(s));
}

/* A bracket opens. *from: where what is not kept yet begins. */
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
		s->in_piece = true;
		*from = at;
	} else if (s->in_piece && s->depth + 1 == metadata_depth(s) && key_is(s, "metadata")) {
		s->in_metadata = true;
	} else if (is_useless(s)) {
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
	} else if (s->in_piece && s->depth == s->base && (!s->list || s->items)) {
		ret = keep(s, *from, at + 1);
		if (ret == 0)
			ret = piece_ends(s);
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

/* Between documents and between items is nothing but these. */
static bool is_between(const struct json_stream *s, char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || (c == ',' && s->depth);
}

static const char *string_goes_on(struct json_stream *s, const char *at, const char *end)
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

/* A character outside strings that has a meaning. */
static int step(struct json_stream *s, const char **from, const char *at, struct err *err)
{
	bool outside = !s->in_piece && (s->items ? s->depth == ITEMS_DEPTH : s->depth == 0);

	if (outside && !(s->ended && *at == '{') && (*at == '{' || is_between(s, *at) || (*at == ']' && s->items))) {
		/* as it has to be */
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
			at = string_goes_on(s, at, end);
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
	piece_buffer_free(&s->buffer);
	free(s);
}
