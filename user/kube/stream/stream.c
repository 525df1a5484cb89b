/* SPDX-License-Identifier: BSD-2-Clause */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 8192
#define ROOM_KEPT 65536

int stream_append(struct stream_buffer *b, const void *data, size_t size)
{
	size_t room = b->room ? b->room : ROOM_FIRST;
	char *grown;

	while (room - b->size < size)
		room *= 2;
	if (room != b->room) {
		grown = realloc(b->data, room);
		if (!grown)
			return -ENOMEM;
		b->data = grown;
		b->room = room;
	}
	if (size)
		memcpy(b->data + b->size, data, size);
	b->size += size;
	return 0;
}

void stream_drop(struct stream_buffer *b, size_t size)
{
	char *smaller;

	b->size -= size;
	if (size && b->size)
		memmove(b->data, b->data + size, b->size);
	if (b->room <= ROOM_KEPT || b->size > ROOM_KEPT)
		return;
	smaller = realloc(b->data, ROOM_KEPT);
	if (!smaller)
		return;
	b->data = smaller;
	b->room = ROOM_KEPT;
}

void stream_buffer_free(struct stream_buffer *b)
{
	free(b->data);
	*b = (struct stream_buffer){ 0 };
}
