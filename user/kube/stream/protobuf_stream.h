/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits the API server's protobuf as it is received, as json_stream.h does JSON. The head of a list is its ListMeta.
 */
#ifndef WARREN_KUBE_PROTOBUF_STREAM_H
#define WARREN_KUBE_PROTOBUF_STREAM_H

#include "stream.h"

struct protobuf_stream;
/* NULL: no memory. */
struct protobuf_stream *protobuf_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks);
/* 0; -EINVAL: malformed (see err); -ENOMEM; or a callback's return. */
int protobuf_stream_feed(struct protobuf_stream *s, const uint8_t *data, size_t size, struct err *err);
bool protobuf_stream_complete(const struct protobuf_stream *s);
void protobuf_stream_free(struct protobuf_stream *s);

#endif
