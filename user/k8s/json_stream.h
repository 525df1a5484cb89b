/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the API server sends in JSON, taken apart as it comes in: events of a watch, one document after another, or a list,
 * item by item. No more than one of them is held. The brackets alone are followed; what is between them is the parser's.
 */
#ifndef WARREN_K8S_JSON_STREAM_H
#define WARREN_K8S_JSON_STREAM_H

#include "pieces.h"

struct json_stream;
struct json_stream *json_stream_open(enum pieces_shape shape, const struct pieces *pieces); /* NULL: no memory */
/* 0; -EINVAL: it is no JSON (err says why); -ENOMEM; or what `pieces` has said. After an error only freeing makes sense. */
int json_stream_feed(struct json_stream *s, const char *data, size_t size, struct err *err);
bool json_stream_complete(const struct json_stream *s); /* nothing has been begun that has not ended */
void json_stream_free(struct json_stream *s);

#endif
