/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists and watches of the API server, in JSON or protobuf: objects as jansson values, one at a time. */
#ifndef WARREN_KUBE_OBJECT_STREAM_H
#define WARREN_KUBE_OBJECT_STREAM_H

#include <jansson.h>

#include "stream.h"

/* For the header Accept. The first byte of the response tells the encoding. */
#define STREAM_ACCEPT "application/vnd.kubernetes.protobuf,application/json"
#define STREAM_ACCEPT_JSON "application/json"

/* A non-zero return ends stream_feed(), which returns it. */
struct stream_sink {
	/* A list's kind and metadata, before its items. */
	int (*head)(void *arg, const json_t *list);
	/* An item of a list (type NULL), or the object of an event. */
	int (*object)(void *arg, const char *type, const json_t *object);
	/* An object that cannot be parsed; the stream continues after it. */
	int (*unreadable)(void *arg, const struct err *err);
	void *arg;
};

struct object_stream;
/* `kind`: of a list's items, such as "Pod". NULL: no memory. */
struct object_stream *stream_open(enum stream_shape shape, const char *kind, const struct stream_sink *sink);
/* `err` must be empty. -EINVAL: not a list or watch of the API. */
int stream_feed(struct object_stream *s, const void *data, size_t size, struct err *err);
bool stream_complete(const struct object_stream *s); /* not cut off */
bool stream_is_protobuf(const struct object_stream *s);
void stream_free(struct object_stream *s);

#endif
