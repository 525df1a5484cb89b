/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits a list or a watch of the API server as it is received: a watch into events, a list into its head and items.
 * Holds at most one object at a time, and the last bytes that were received.
 */
#ifndef WARREN_KUBE_STREAM_H
#define WARREN_KUBE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * Larger than any object: etcd accepts 1.5 MiB, in protobuf. JSON is longer by its escapes and by the managed fields,
 * which are removed before they count.
 */
#define STREAM_OBJECT_MAX (4u << 20)

enum stream_shape {
	STREAM_EVENTS, /* a watch */
	STREAM_LIST,
};

struct stream_callbacks {
	/* Once, before the first item: the list without its items; in JSON a complete document. */
	int (*head)(void *arg, char *data, size_t size);
	/* An event of a watch, or an item of a list. Borrowed. */
	int (*object)(void *arg, char *data, size_t size);
	/* An event or item longer than STREAM_OBJECT_MAX, which was dropped. */
	int (*too_long)(void *arg, size_t size);
	void *arg;
};

/*
 * ..._open(): NULL: no memory. ..._feed(): 0; -EINVAL: malformed (see err); -ENOMEM; or a callback's negative return.
 * After an error the stream can only be freed. ..._complete(): nothing is cut off.
 */
struct json_stream;
struct json_stream *json_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks);
int json_stream_feed(struct json_stream *s, const char *data, size_t size, struct err *err);
bool json_stream_complete(const struct json_stream *s);
void json_stream_free(struct json_stream *s);

struct protobuf_stream;
struct protobuf_stream *protobuf_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks);
int protobuf_stream_feed(struct protobuf_stream *s, const uint8_t *data, size_t size, struct err *err);
bool protobuf_stream_complete(const struct protobuf_stream *s);
void protobuf_stream_free(struct protobuf_stream *s);

/* A growing buffer. */
struct stream_buffer {
	char *data;
	size_t size, room;
};
int stream_append(struct stream_buffer *b, const void *data, size_t size); /* -ENOMEM */
void stream_drop(struct stream_buffer *b, size_t size); /* from its beginning; frees room that is not needed any more */
void stream_buffer_free(struct stream_buffer *b);

#endif
