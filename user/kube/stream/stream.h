/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a list or a watch of the API server, in any encoding. */
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

/* A growing buffer; stream_reset() frees a large one. */
struct stream_buffer {
	char *data;
	size_t size, room;
};
int stream_append(struct stream_buffer *b, const void *data, size_t size); /* -ENOMEM */
void stream_reset(struct stream_buffer *b);
void stream_buffer_free(struct stream_buffer *b);

#endif
