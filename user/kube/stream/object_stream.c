/* SPDX-License-Identifier: BSD-2-Clause */
#include "object_stream.h"

#include <errno.h>
#include <stdlib.h>

#include "protobuf.h"
#include "str.h"

struct object_stream {
	struct stream_sink sink;
	enum stream_shape shape;
	const char *kind;
	struct json_stream *json; /* both NULL before the first byte */
	struct protobuf_stream *protobuf;
	struct err *err;	  /* of the running stream_feed() */
};

/* Annotations may hold \u0000; names and labels do not. No server writes duplicate keys, so they are not checked. */
static int parse_json(const char *text, size_t size, json_t **json, struct err *err)
{
	json_error_t error;

	*json = json_loadb(text, size, JSON_ALLOW_NUL, &error);
	if (*json)
		return 0;
	if (json_error_code(&error) == json_error_out_of_memory)
		return err_errno(err, ENOMEM, "cannot parse an object");
	err_set(err, EINVAL, "cannot be parsed: %s", error.text);
	str_printable(err->msg);
	return -EINVAL;
}

static int parse_head(const struct object_stream *s, const char *data, size_t size, json_t **json, struct err *err)
{
	return s->protobuf ? protobuf_list_head(data, size, json, err) : parse_json(data, size, json, err);
}

static int parse_json_event(const char *text, size_t size, json_t **type, json_t **object, struct err *err)
{
	json_auto_t *event = NULL;
	int ret = parse_json(text, size, &event, err);

	*type = json_incref(json_object_get(event, "type"));
	*object = json_incref(json_object_get(event, "object"));
	return ret;
}

/* *type: of an event. */
static int parse_object(const struct object_stream *s, const char *data, size_t size, json_t **type, json_t **object,
		       struct err *err)
{
	if (s->shape == STREAM_EVENTS)
		return s->protobuf ? protobuf_event(data, size, type, object, err) : parse_json_event(data, size, type, object, err);
	return s->protobuf ? protobuf_item(s->kind, data, size, object, err) : parse_json(data, size, object, err);
}

static int on_head(void *arg, char *data, size_t size)
{
	struct object_stream *s = arg;
	json_auto_t *list = NULL;
	int ret = parse_head(s, data, size, &list, s->err);

	return ret < 0 ? err_wrap(s->err, "a list") : s->sink.head(s->sink.arg, list);
}

static int unreadable(struct object_stream *s, struct err *err)
{
	err_wrap(err, s->shape == STREAM_LIST ? "an item" : "an event");
	str_printable(err->msg);
	return s->sink.unreadable(s->sink.arg, err);
}

static int on_object(void *arg, char *data, size_t size)
{
	struct object_stream *s = arg;
	struct err err = { 0 };
	json_auto_t *type = NULL, *object = NULL;
	int ret = parse_object(s, data, size, &type, &object, &err);

	if (ret < 0)
		return ret == -ENOMEM ? ret : unreadable(s, &err);
	if (s->shape == STREAM_LIST)
		return s->sink.object(s->sink.arg, NULL, object);
	if (json_is_string(type) && json_is_object(object))
		return s->sink.object(s->sink.arg, json_string_value(type), object);
	return err_set(s->err, EINVAL, "not an event of a watch: a document without type or object");
}

static int on_too_long(void *arg, size_t size)
{
	struct err err = { 0 };

	err_set(&err, EMSGSIZE, "%zu bytes exceed the limit of %u for an object", size, STREAM_OBJECT_MAX);
	return unreadable(arg, &err);
}

struct object_stream *stream_open(enum stream_shape shape, const char *kind, const struct stream_sink *sink)
{
	struct object_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->sink = *sink;
	s->shape = shape;
	s->kind = kind;
	return s;
}

/*
 * A protobuf list begins with "k8s", a protobuf watch with a frame's length, whose first byte is 0 below 16 MiB.
 * Anything else goes to the JSON stream, whose errors show the first byte.
 */
static int begin(struct object_stream *s, uint8_t first)
{
	const struct stream_callbacks callbacks = { on_head, on_object, on_too_long, s };

	if (first == (s->shape == STREAM_LIST ? 'k' : 0))
		s->protobuf = protobuf_stream_open(s->shape, &callbacks);
	else
		s->json = json_stream_open(s->shape, &callbacks);
	return s->protobuf || s->json ? 0 : -ENOMEM;
}

int stream_feed(struct object_stream *s, const void *data, size_t size, struct err *err)
{
	int ret = 0;

	if (!size)
		return 0;
	if (!s->json && !s->protobuf)
		ret = begin(s, *(const uint8_t *)data);
	s->err = err;
	if (s->protobuf)
		ret = protobuf_stream_feed(s->protobuf, data, size, err);
	else if (s->json)
		ret = json_stream_feed(s->json, data, size, err);
	return ret == -ENOMEM && !err->num ? err_errno(err, ENOMEM, "cannot store an object") : ret;
}

bool stream_complete(const struct object_stream *s)
{
	if (s->protobuf)
		return protobuf_stream_complete(s->protobuf);
	return s->json ? json_stream_complete(s->json) : s->shape == STREAM_EVENTS;
}

bool stream_is_protobuf(const struct object_stream *s)
{
	return s->protobuf != NULL;
}

void stream_free(struct object_stream *s)
{
	if (!s)
		return;
	json_stream_free(s->json);
	protobuf_stream_free(s->protobuf);
	free(s);
}
