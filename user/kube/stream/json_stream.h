/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits the API server's JSON as it is received: a watch into events, one document after another, a list into items.
 * Holds at most one object at a time. It follows only strings and brackets; the rest is left to the JSON parser.
 */
#ifndef WARREN_KUBE_JSON_STREAM_H
#define WARREN_KUBE_JSON_STREAM_H

#include "stream.h"

struct json_stream;
/* NULL: no memory. */
struct json_stream *json_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks);
/* 0; -EINVAL: not JSON (see err); -ENOMEM; or a callback's return. After an error the stream can only be freed. */
int json_stream_feed(struct json_stream *s, const char *data, size_t size, struct err *err);
bool json_stream_complete(const struct json_stream *s); /* no unfinished document */
void json_stream_free(struct json_stream *s);

#endif
