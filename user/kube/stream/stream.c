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

void stream_reset(struct stream_buffer *b)
{
	b->size = 0;
	if (b->room > ROOM_KEPT)
		stream_buffer_free(b);
}

void stream_buffer_free(struct stream_buffer *b)
{
	free(b->data);
	*b = (struct stream_buffer){ 0 };
}
