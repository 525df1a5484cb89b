/* SPDX-License-Identifier: BSD-2-Clause */
/* What a stream of the API server is taken apart into, whatever its encoding. */
#ifndef WARREN_K8S_PIECES_H
#define WARREN_K8S_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * More than any object can have: etcd takes 1.5 MiB, in protobuf. JSON may be longer, by what has to be escaped and by the
 * managed fields, which are cut out before they count.
 */
#define PIECE_MAX (4u << 20)

enum pieces_shape {
	PIECES_EVENTS, /* a watch */
	PIECES_LIST,
};

struct pieces {
	/* A list up to its items: in JSON a document without any. Once, before the first item. */
	int (*head)(void *arg, char *data, size_t size);
	/* An event, or an item of a list. Borrowed. */
	int (*piece)(void *arg, char *data, size_t size);
	/* One that is longer than PIECE_MAX and was not kept. */
	int (*too_long)(void *arg, size_t size);
	void *arg;
};

/* Memory that grows as it must, and is given back after something large. */
struct piece_buffer {
	char *data;
	size_t size, room;
};
int piece_append(struct piece_buffer *b, const void *data, size_t size); /* -ENOMEM */
void piece_reset(struct piece_buffer *b);
void piece_buffer_free(struct piece_buffer *b);

#endif
