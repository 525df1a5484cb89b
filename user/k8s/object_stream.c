/* SPDX-License-Identifier: BSD-2-Clause */
#include "object_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "json_stream.h"
#include "str.h"

struct object_stream {
	struct stream_sink sink;
	enum pieces_shape shape;
	struct json_stream *json; /* NULL before the first byte */
	struct err *err;	  /* of the feeding that is going on */
};

/*
 * An annotation may hold a NUL, as \u0000: names and labels, which are what is used, do not. A key that is there twice is
 * what no server writes.
 */
static int parse(const char *text, size_t size, json_t **json, struct err *err)
{
	json_error_t error;

	*json = json_loadb(text, size, JSON_ALLOW_NUL, &error);
	if (*json)
		return 0;
	if (json_error_code(&error) == json_error_out_of_memory)
		return err_errno(err, ENOMEM, "cannot parse it");
	err_set(err, EINVAL, "cannot be parsed: %s", error.text);
	str_printable(err->msg);
	return -EINVAL;
}

static int on_head(void *arg, char *data, size_t size)
{
	struct object_stream *s = arg;
	json_auto_t *list = NULL;
	int ret = parse(data, size, &list, s->err);

	return ret < 0 ? err_wrap(s->err, "a list") : s->sink.head(s->sink.arg, list);
}

static int unreadable(struct object_stream *s, struct err *err)
{
	err_wrap(err, s->shape == PIECES_LIST ? "an item" : "an event");
	return s->sink.unreadable(s->sink.arg, err);
}

static int on_piece(void *arg, char *data, size_t size)
{
	struct object_stream *s = arg;
	struct err err = { 0 };
	json_auto_t *json = NULL;
	const json_t *object;
	const char *type;
	int ret = parse(data, size, &json, &err);

	if (ret < 0)
		return ret == -ENOMEM ? ret : unreadable(s, &err);
	if (s->shape == PIECES_LIST)
		return s->sink.object(s->sink.arg, NULL, json);
	type = json_string_value(json_object_get(json, "type"));
	object = json_object_get(json, "object");
	if (type && json_is_object(object))
		return s->sink.object(s->sink.arg, type, object);
	return err_set(s->err, EINVAL, "not an event of a watch: a document without type or object");
}

static int on_too_long(void *arg, size_t size)
{
	struct err err = { 0 };

	err_set(&err, EMSGSIZE, "%zu bytes are more than the %u that an object may have", size, PIECE_MAX);
	return unreadable(arg, &err);
}

struct object_stream *stream_open(enum pieces_shape shape, const struct stream_sink *sink)
{
	struct object_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->sink = *sink;
	s->shape = shape;
	return s;
}

int stream_feed(struct object_stream *s, const void *data, size_t size, struct err *err)
{
	const struct pieces pieces = { on_head, on_piece, on_too_long, s };
	int ret;

	if (!s->json)
		s->json = json_stream_open(s->shape, &pieces);
	if (!s->json)
		return err_errno(err, ENOMEM, "cannot read the answer");
	s->err = err;
	ret = json_stream_feed(s->json, data, size, err);
	return ret == -ENOMEM && !err->num ? err_errno(err, ENOMEM, "cannot hold an object") : ret;
}

bool stream_complete(const struct object_stream *s)
{
	return s->json ? json_stream_complete(s->json) : s->shape == PIECES_EVENTS;
}

void stream_free(struct object_stream *s)
{
	if (!s)
		return;
	json_stream_free(s->json);
	free(s);
}
