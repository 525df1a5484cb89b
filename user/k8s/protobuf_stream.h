/* SPDX-License-Identifier: BSD-2-Clause */
/* What the API server sends in protobuf, taken apart as it comes in: as json_stream.h. The head of a list is its ListMeta. */
#ifndef WARREN_K8S_PROTOBUF_STREAM_H
#define WARREN_K8S_PROTOBUF_STREAM_H

#include "pieces.h"

struct protobuf_stream;
struct protobuf_stream *protobuf_stream_open(enum pieces_shape shape, const struct pieces *pieces); /* NULL: no memory */
/* 0; -EINVAL: it is not what it should be (err says why); -ENOMEM; or what `pieces` has said. */
int protobuf_stream_feed(struct protobuf_stream *s, const uint8_t *data, size_t size, struct err *err);
bool protobuf_stream_complete(const struct protobuf_stream *s);
void protobuf_stream_free(struct protobuf_stream *s);

#endif
