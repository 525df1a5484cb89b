/* SPDX-License-Identifier: BSD-2-Clause */
#include "pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 8192
#define ROOM_KEPT 65536

int piece_append(struct piece_buffer *b, const void *data, size_t size)
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

void piece_reset(struct piece_buffer *b)
{
	b->size = 0;
	if (b->room > ROOM_KEPT)
		piece_buffer_free(b);
}

void piece_buffer_free(struct piece_buffer *b)
{
	free(b->data);
	*b = (struct piece_buffer){ 0 };
}
