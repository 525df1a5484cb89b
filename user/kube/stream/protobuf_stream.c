/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A watch: frames of {4 bytes length, highest first; WatchEvent}. A list: "k8s\0", then a runtime.Unknown, whose field
 * 2 (raw) is the list: {ListMeta metadata = 1; repeated <kind> items = 2}. Other fields are skipped.
 */
#include "protobuf_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "k8s"
/* Longer than any response: a larger length means that it is not protobuf. */
#define LENGTH_MAX (1ull << 32)
#define FRAME_MAX (256u << 20)

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* wire types */

enum step {
	STEP_MAGIC,
	STEP_FRAME,  /* a frame's length */
	STEP_TAG,
	STEP_LENGTH,
	STEP_NUMBER, /* a varint that is skipped */
	STEP_BYTES,
};

enum meaning { SKIPPED, HEAD, OBJECT };

struct protobuf_stream {
	struct stream_callbacks callbacks;
	bool list, inside, headed, ended; /* inside: in the list; ended: after it */
	enum step step;
	enum meaning meaning; /* of the current bytes */
	uint64_t number;      /* a varint or a frame's length, so far */
	unsigned count;	      /* bytes of it */
	unsigned tag;
	uint64_t left;	      /* bytes left of the current field */
	uint64_t left_inside; /* bytes left of the list */
	size_t too_long;      /* 0, or the size of an object that is dropped */
	struct stream_buffer buffer;
};

struct protobuf_stream *protobuf_stream_open(enum stream_shape shape, const struct stream_callbacks *callbacks)
{
	struct protobuf_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->callbacks = *callbacks;
	s->list = shape == STREAM_LIST;
	s->step = s->list ? STEP_MAGIC : STEP_FRAME;
	return s;
}

static int bytes_begin(struct protobuf_stream *s, uint64_t size, enum meaning meaning)
{
	s->step = STEP_BYTES;
	s->left = size;
	s->meaning = meaning;
	s->too_long = meaning != SKIPPED && size > STREAM_OBJECT_MAX ? (size_t)size : 0;
	return 0;
}

static int bytes_end(struct protobuf_stream *s, struct err *err)
{
	enum meaning meaning = s->meaning;
	int ret = 0;

	s->step = s->list ? STEP_TAG : STEP_FRAME;
	if (meaning == SKIPPED)
		return 0;
	if (s->too_long && meaning == HEAD)
		return err_set(err, EINVAL, "a list with more than %u bytes before its items", STREAM_OBJECT_MAX);
	if (s->too_long)
		ret = s->callbacks.too_long(s->callbacks.arg, s->too_long);
	else if (stream_append(&s->buffer, "", 0) < 0) /* so that data is not NULL, even if empty */
		ret = -ENOMEM;
	else if (meaning == HEAD)
		ret = s->callbacks.head(s->callbacks.arg, s->buffer.data, s->buffer.size);
	else
		ret = s->callbacks.object(s->callbacks.arg, s->buffer.data, s->buffer.size);
	s->headed |= meaning == HEAD;
	stream_reset(&s->buffer);
	return ret;
}

static int garbage(struct err *err, const char *what)
{
	return err_set(err, EINVAL, "not protobuf of the API: %s", what);
}

/* --- a list --- */

static int length_known(struct protobuf_stream *s, uint64_t length, struct err *err)
{
	unsigned field = s->tag >> 3;

	if (length > LENGTH_MAX || (s->inside && length > s->left_inside))
		return garbage(err, "a field that is longer than its message");
	if (!s->inside && field == 2 && !s->ended) {
		s->inside = true;
		s->left_inside = length;
		s->step = STEP_TAG;
		return 0;
	}
	if (s->inside && field == 1 && !s->headed)
		return bytes_begin(s, length, HEAD);
	if (s->inside && field == 2 && !s->headed)
		return garbage(err, "a list whose items come before its metadata");
	return bytes_begin(s, length, s->inside && field == 2 ? OBJECT : SKIPPED);
}

static int tag_known(struct protobuf_stream *s, uint64_t tag, struct err *err)
{
	if (tag >> 3 == 0 || tag > UINT32_MAX)
		return garbage(err, "a field without a number");
	s->tag = (unsigned)tag;
	switch (tag & 7) {
	case VARINT:
		s->step = STEP_NUMBER;
		return 0;
	case BYTES:
		s->step = STEP_LENGTH;
		return 0;
	case FIXED64:
		return bytes_begin(s, 8, SKIPPED);
	case FIXED32:
		return bytes_begin(s, 4, SKIPPED);
	default:
		return garbage(err, "a field of an unknown type");
	}
}

/* A byte of a tag, a length or a number. */
static int varint_byte(struct protobuf_stream *s, uint8_t byte, struct err *err)
{
	uint64_t number;

	if (s->count == 10)
		return garbage(err, "a number of more than 10 bytes");
	if (s->count < 9)
		s->number |= (uint64_t)(byte & 0x7f) << (7 * s->count);
	s->count++;
	if (byte & 0x80)
		return 0;
	number = s->number;
	s->number = 0;
	s->count = 0;
	if (s->step == STEP_TAG)
		return tag_known(s, number, err);
	if (s->step == STEP_LENGTH)
		return length_known(s, number, err);
	s->step = STEP_TAG;
	return 0;
}

static int magic_byte(struct protobuf_stream *s, uint8_t byte, struct err *err)
{
	if (byte != (uint8_t)MAGIC[s->count++])
		return garbage(err, "it does not begin with \"k8s\"");
	if (s->count == sizeof(MAGIC)) {
		s->count = 0;
		s->step = STEP_TAG;
	}
	return 0;
}

/* --- a watch --- */

static int frame_byte(struct protobuf_stream *s, uint8_t byte, struct err *err)
{
	uint64_t length;

	s->number = s->number << 8 | byte;
	if (++s->count < 4)
		return 0;
	length = s->number;
	s->number = 0;
	s->count = 0;
	if (length > FRAME_MAX)
		return garbage(err, "an event of more than 256 MiB");
	return bytes_begin(s, length, OBJECT);
}

/* --- both --- */

static int byte(struct protobuf_stream *s, uint8_t byte, struct err *err)
{
	switch (s->step) {
	case STEP_MAGIC:
		return magic_byte(s, byte, err);
	case STEP_FRAME:
		return frame_byte(s, byte, err);
	default:
		return varint_byte(s, byte, err);
	}
}

/* Takes bytes of the current field. */
static int take_some(struct protobuf_stream *s, const uint8_t *data, size_t size, size_t *used)
{
	*used = size < s->left ? size : (size_t)s->left;
	s->left -= *used;
	return s->meaning == SKIPPED || s->too_long ? 0 : stream_append(&s->buffer, data, *used);
}

int protobuf_stream_feed(struct protobuf_stream *s, const uint8_t *data, size_t size, struct err *err)
{
	int ret = 0;

	while (ret == 0 && (size || (s->step == STEP_BYTES && !s->left))) {
		bool was_inside = s->inside;
		size_t used = 1;

		if (s->step == STEP_BYTES && !s->left) {
			used = 0;
			ret = bytes_end(s, err);
		} else if (s->step == STEP_BYTES) {
			ret = take_some(s, data, size, &used);
		} else {
			ret = byte(s, *data, err);
		}
		data += used;
		size -= used;
		if (was_inside && used > s->left_inside)
			return garbage(err, "a list that is shorter than its fields");
		s->left_inside -= was_inside ? used : 0;
		if (s->inside && !s->left_inside && s->step == STEP_TAG && !s->count) {
			s->inside = false;
			s->ended = true;
		} else if (s->inside && !s->left_inside && s->step != STEP_BYTES) {
			return garbage(err, "a list that ends within a field");
		}
	}
	return ret;
}

bool protobuf_stream_complete(const struct protobuf_stream *s)
{
	return s->list ? s->ended && s->headed && s->step == STEP_TAG && !s->count : s->step == STEP_FRAME && !s->count;
}

void protobuf_stream_free(struct protobuf_stream *s)
{
	if (!s)
		return;
	stream_buffer_free(&s->buffer);
	free(s);
}
