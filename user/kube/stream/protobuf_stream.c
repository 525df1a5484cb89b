/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A watch: frames of {4 bytes length, highest first; WatchEvent}. A list: "k8s\0", then a runtime.Unknown, whose field
 * 2 (raw) is the list: {ListMeta metadata = 1; repeated <kind> items = 2}. Other fields are skipped.
 */
#include "stream.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define MAGIC "k8s"
/* Longer than any response: a larger length means that it is not protobuf. */
#define LENGTH_MAX (1ull << 32)
#define FRAME_MAX (256u << 20)

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */

struct protobuf_stream {
	struct stream_callbacks callbacks;
	bool list, begun, inside, headed, ended; /* begun: after the magic; inside: in the list; ended: after it */
	uint64_t left_inside; /* bytes left of the list */
	uint64_t skip;	      /* bytes left of what is not used */
	struct stream_buffer buffer; /* begins with a frame or a field */
};

struct protobuf_stream *protobuf_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks)
{
	struct protobuf_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->callbacks = *callbacks;
	s->list = shape == STREAM_LIST;
	return s;
}

static int garbage(struct err *err, const char *what)
{
	return err_set(err, EINVAL, "not protobuf of the API: %s", what);
}

/* --- fields --- */

/* Returns the number of bytes used; 0: it is not complete; -EINVAL: too long. */
static int varint_parse(const uint8_t *data, size_t size, uint64_t *number, struct err *err)
{
	*number = 0;
	for (size_t i = 0; i < size && i < 10; i++) {
		if (i < 9)
			*number |= (uint64_t)(data[i] & 0x7f) << (7 * i);
		if (!(data[i] & 0x80))
			return (int)i + 1;
	}
	return size < 10 ? 0 : garbage(err, "a number of more than 10 bytes");
}

/* The beginning of a field. */
struct header {
	unsigned field; /* its number; 0: not of type BYTES */
	size_t size;	/* of the header itself */
	uint64_t length; /* of what follows it */
};

/* 1; 0: not complete; -EINVAL */
static int header_parse(const uint8_t *data, size_t size, struct header *h, struct err *err)
{
	uint64_t tag, number = 0;
	int n = varint_parse(data, size, &tag, err), more = 0;

	if (n <= 0)
		return n;
	if (tag >> 3 == 0 || tag > UINT32_MAX)
		return garbage(err, "a field without a number");
	*h = (struct header){ 0 };
	switch (tag & 7) {
	case BYTES:
		h->field = (unsigned)(tag >> 3);
		/* fallthrough */
	case VARINT:
		more = varint_parse(data + n, size - (size_t)n, &number, err);
		if (more <= 0)
			return more;
		h->length = h->field ? number : 0;
		break;
	case FIXED64:
		h->length = 8;
		break;
	case FIXED32:
		h->length = 4;
		break;
	default:
		return garbage(err, "a field of an unknown type");
	}
	h->size = (size_t)n + (size_t)more;
	return h->length > LENGTH_MAX ? garbage(err, "a field that is longer than its message") : 1;
}

/* --- frames and fields with their content; each returns the bytes used, 0: more are needed --- */

static ssize_t skip(struct protobuf_stream *s, const struct header *h)
{
	s->skip = h->length;
	return (ssize_t)h->size;
}

static ssize_t deliver(struct protobuf_stream *s, char *data, size_t size, const struct header *h,
		       int (*callback)(void *arg, char *data, size_t size))
{
	int ret;

	if (h->length > STREAM_OBJECT_MAX) {
		ret = s->callbacks.too_long(s->callbacks.arg, h->length);
		return ret ? ret : skip(s, h);
	}
	if (size - h->size < h->length)
		return 0;
	ret = callback(s->callbacks.arg, data + h->size, h->length);
	return ret ? ret : (ssize_t)(h->size + h->length);
}

static ssize_t frame(struct protobuf_stream *s, char *data, size_t size, struct err *err)
{
	struct header h = { .size = 4 };
	uint32_t length;

	if (size < sizeof(length))
		return 0;
	memcpy(&length, data, sizeof(length));
	h.length = be32toh(length);
	if (h.length > FRAME_MAX)
		return garbage(err, "an event of more than 256 MiB");
	return deliver(s, data, size, &h, s->callbacks.object);
}

static ssize_t magic(struct protobuf_stream *s, const char *data, size_t size, struct err *err)
{
	if (memcmp(data, MAGIC, size < sizeof(MAGIC) ? size : sizeof(MAGIC)) != 0)
		return garbage(err, "it does not begin with \"k8s\"");
	s->begun = size >= sizeof(MAGIC);
	return s->begun ? sizeof(MAGIC) : 0;
}

/* A field of the runtime.Unknown: the list, or one before or after it. */
static ssize_t outer_field(struct protobuf_stream *s, const char *data, size_t size, struct err *err)
{
	struct header h = { 0 };
	int ret = header_parse((const uint8_t *)data, size, &h, err);

	if (ret <= 0)
		return ret;
	if (h.field != 2 || s->ended)
		return skip(s, &h);
	s->inside = true;
	s->left_inside = h.length;
	return (ssize_t)h.size;
}

static ssize_t list_field(struct protobuf_stream *s, char *data, size_t size, struct err *err)
{
	struct header h = { 0 };
	int ret = header_parse((const uint8_t *)data, size < s->left_inside ? size : (size_t)s->left_inside, &h, err);
	ssize_t used;

	if (ret == 0 && size >= s->left_inside)
		return garbage(err, "a list that ends within a field");
	if (ret <= 0)
		return ret;
	if (h.size + h.length > s->left_inside)
		return garbage(err, "a field that is longer than its message");
	if (h.field == 2 && !s->headed)
		return garbage(err, "a list whose items come before its metadata");
	if (h.field == 1 && !s->headed && h.length > STREAM_OBJECT_MAX)
		return err_set(err, EINVAL, "a list with more than %u bytes before its items", STREAM_OBJECT_MAX);
	if (h.field == 1 && !s->headed)
		used = deliver(s, data, size, &h, s->callbacks.head);
	else
		used = h.field == 2 ? deliver(s, data, size, &h, s->callbacks.object) : skip(s, &h);
	if (used <= 0)
		return used;
	s->headed |= h.field == 1;
	s->left_inside -= h.size + h.length;
	return used;
}

static ssize_t next(struct protobuf_stream *s, char *data, size_t size, struct err *err)
{
	if (!s->list)
		return frame(s, data, size, err);
	if (!s->begun)
		return magic(s, data, size, err);
	if (s->inside && s->left_inside)
		return list_field(s, data, size, err);
	s->ended |= s->inside;
	s->inside = false;
	return outer_field(s, data, size, err);
}

/* Removes bytes that are skipped; returns their number. */
static size_t take_skipped(struct protobuf_stream *s, size_t size)
{
	size_t used = size < s->skip ? size : (size_t)s->skip;

	s->skip -= used;
	return used;
}

int protobuf_stream_feed(struct protobuf_stream *s, const uint8_t *data, size_t size, struct err *err)
{
	size_t at = take_skipped(s, size);
	ssize_t used;

	if (stream_append(&s->buffer, data + at, size - at) < 0)
		return -ENOMEM;
	at = 0;
	do {
		used = s->skip ? 0 : next(s, s->buffer.data + at, s->buffer.size - at, err);
		if (used < 0)
			return (int)used;
		at += (size_t)used;
		at += take_skipped(s, s->buffer.size - at);
	} while (used);
	stream_drop(&s->buffer, at);
	return 0;
}

bool protobuf_stream_complete(const struct protobuf_stream *s)
{
	return (!s->list || (s->ended && s->headed)) && !s->skip && !s->buffer.size;
}

void protobuf_stream_free(struct protobuf_stream *s)
{
	if (!s)
		return;
	stream_buffer_free(&s->buffer);
	free(s);
}
