/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire.h"

#include <errno.h>
#include <stdlib.h>

#include "json_stream.h"
#include "str.h"

struct wire {
	struct wire_sink sink;
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
	struct wire *w = arg;
	json_auto_t *list = NULL;
	int ret = parse(data, size, &list, w->err);

	return ret < 0 ? err_wrap(w->err, "a list") : w->sink.head(w->sink.arg, list);
}

static int unreadable(struct wire *w, struct err *err)
{
	err_wrap(err, w->shape == PIECES_LIST ? "an item" : "an event");
	return w->sink.unreadable(w->sink.arg, err);
}

static int on_piece(void *arg, char *data, size_t size)
{
	struct wire *w = arg;
	struct err err = { 0 };
	json_auto_t *json = NULL;
	const json_t *object;
	const char *type;
	int ret = parse(data, size, &json, &err);

	if (ret < 0)
		return ret == -ENOMEM ? ret : unreadable(w, &err);
	if (w->shape == PIECES_LIST)
		return w->sink.object(w->sink.arg, NULL, json);
	type = json_string_value(json_object_get(json, "type"));
	object = json_object_get(json, "object");
	if (type && json_is_object(object))
		return w->sink.object(w->sink.arg, type, object);
	return err_set(w->err, EINVAL, "not an event of a watch: a document without type or object");
}

static int on_too_long(void *arg, size_t size)
{
	struct err err = { 0 };

	err_set(&err, EMSGSIZE, "%zu bytes are more than the %u that an object may have", size, PIECE_MAX);
	return unreadable(arg, &err);
}

struct wire *wire_open(enum pieces_shape shape, const struct wire_sink *sink)
{
	struct wire *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->sink = *sink;
	w->shape = shape;
	return w;
}

int wire_feed(struct wire *w, const void *data, size_t size, struct err *err)
{
	const struct pieces pieces = { on_head, on_piece, on_too_long, w };
	int ret;

	if (!w->json)
		w->json = json_stream_open(w->shape, &pieces);
	if (!w->json)
		return err_errno(err, ENOMEM, "cannot read the answer");
	w->err = err;
	ret = json_stream_feed(w->json, data, size, err);
	return ret == -ENOMEM && !err->num ? err_errno(err, ENOMEM, "cannot hold an object") : ret;
}

bool wire_complete(const struct wire *w)
{
	return w->json ? json_stream_complete(w->json) : w->shape == PIECES_EVENTS;
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	json_stream_free(w->json);
	free(w);
}
