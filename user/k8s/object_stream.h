/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists and watches as the API server sends them, in whatever encoding: objects as jansson values, one at a time. */
#ifndef WARREN_K8S_OBJECT_STREAM_H
#define WARREN_K8S_OBJECT_STREAM_H

#include <jansson.h>

#include "pieces.h"

/* What to ask for; which of both it is shows in the first byte. */
#define STREAM_ACCEPT "application/vnd.kubernetes.protobuf,application/json"
#define STREAM_ACCEPT_JSON "application/json"

/* Other than 0 ends the feeding and is what it returns. */
struct stream_sink {
	/* A list's kind and metadata, before its items. */
	int (*head)(void *arg, const json_t *list);
	/* An item of a list (type NULL), or what an event is about. */
	int (*object)(void *arg, const char *type, const json_t *object);
	/* One that cannot be read; the stream goes on behind it. */
	int (*unreadable)(void *arg, const struct err *err);
	void *arg;
};

struct object_stream;
/* `kind`: of a list's items, as in manifests. NULL: no memory. */
struct object_stream *stream_open(enum pieces_shape shape, const char *kind, const struct stream_sink *sink);
/* `err` is empty before. -EINVAL: it is not what the API sends. */
int stream_feed(struct object_stream *s, const void *data, size_t size, struct err *err);
bool stream_complete(const struct object_stream *s); /* it has not been cut off */
bool stream_is_protobuf(const struct object_stream *s);
void stream_free(struct object_stream *s);

#endif
