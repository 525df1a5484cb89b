/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists and watches as the API server sends them, in whatever encoding: objects as jansson values, one at a time. */
#ifndef WARREN_K8S_WIRE_H
#define WARREN_K8S_WIRE_H

#include <jansson.h>

#include "pieces.h"

#define WIRE_ACCEPT "application/json"

/* Other than 0 ends the feeding and is what it returns. */
struct wire_sink {
	/* A list's kind and metadata, before its items. */
	int (*head)(void *arg, const json_t *list);
	/* An item of a list (type NULL), or what an event is about. */
	int (*object)(void *arg, const char *type, const json_t *object);
	/* One that cannot be read; the stream goes on behind it. */
	int (*unreadable)(void *arg, const struct err *err);
	void *arg;
};

struct wire;
struct wire *wire_open(enum pieces_shape shape, const struct wire_sink *sink); /* NULL: no memory */
/* `err` is empty before. -EINVAL: it is not what the API sends. */
int wire_feed(struct wire *w, const void *data, size_t size, struct err *err);
bool wire_complete(const struct wire *w); /* it has not been cut off */
void wire_free(struct wire *w);

#endif
