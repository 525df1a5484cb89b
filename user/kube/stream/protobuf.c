/* SPDX-License-Identifier: BSD-2-Clause */
#include "protobuf.h"

#include <errno.h>
#include <pb_decode.h>
#include <stdio.h>
#include <string.h>

#include "array.h"
#include "objects.h"
#include "protobuf_messages.h"

#define MAGIC "k8s" /* with its NUL: the beginning of a runtime.Unknown */

/* --- values --- */

/* A stream's state is a pointer to the next byte, so that fields need not be copied. */
static bool bytes_next(pb_istream_t *in, pb_byte_t *to, size_t count)
{
	const pb_byte_t *at = in->state;

	if (to && count == 1)
		*to = *at;
	else if (to)
		memcpy(to, at, count);
	in->state = (void *)(at + count);
	return true;
}

static pb_istream_t stream_of(const void *data, size_t size)
{
	return (pb_istream_t){ .callback = bytes_next, .state = (void *)data, .bytes_left = size };
}

/* A field's bytes, not copied. */
static const char *take_bytes(pb_istream_t *in, size_t *size)
{
	const char *bytes;
	pb_istream_t field;

	if (!pb_make_string_substream(in, &field))
		return NULL;
	bytes = field.state;
	*size = field.bytes_left;
	field.state = (void *)(bytes + *size);
	field.bytes_left = 0;
	return pb_close_string_substream(in, &field) ? bytes : NULL;
}

/* pb_skip_field() would copy the bytes, a few at a time. */
static bool skip_field(pb_istream_t *in, pb_wire_type_t type)
{
	size_t size;

	return type == PB_WT_STRING ? take_bytes(in, &size) != NULL : pb_skip_field(in, type);
}

static json_t *string_read(pb_istream_t *in)
{
	size_t size;
	const char *bytes = take_bytes(in, &size);

	return bytes ? json_stringn(bytes, size) : NULL; /* NULL, if it is not UTF-8 */
}

static json_t *number_read(pb_istream_t *in)
{
	uint64_t number;

	return pb_decode_varint(in, &number) ? json_integer((json_int_t)number) : NULL;
}

static json_t *bool_read(pb_istream_t *in)
{
	uint64_t number;

	return pb_decode_varint(in, &number) ? json_boolean(number != 0) : NULL;
}

/* Calls `field` for each field; false if one cannot be read. */
static bool fields_read(pb_istream_t *in, bool (*field)(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg), void *arg)
{
	pb_wire_type_t type;
	uint32_t number;
	bool end;

	while (pb_decode_tag(in, &type, &number, &end)) {
		if (!field(in, number, type, arg))
			return false;
	}
	return end;
}

/* The same for a field that is a message. */
static bool inside(pb_istream_t *in, bool (*field)(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg), void *arg)
{
	pb_istream_t message;

	return pb_make_string_substream(in, &message) && fields_read(&message, field, arg) &&
	       pb_close_string_substream(in, &message);
}

/* --- messages --- */

struct reading {
	const struct wire_message *message;
	json_t *object;
};

static bool message_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg);

static json_t *message_read(pb_istream_t *in, const struct wire_message *message)
{
	struct reading reading = { message, json_object() };

	if (reading.object && inside(in, message_field, &reading))
		return reading.object;
	json_decref(reading.object);
	return NULL;
}

/* --- maps, IntOrString --- */

static bool is_used_annotation(const char *annotation)
{
	return strncmp(annotation, "kubernetes.io/config.", 21) == 0 || strcmp(annotation, NODE_AGENT_ANNOTATION) == 0 ||
	       strncmp(annotation, "k8s.io/initial-events-end", 25) == 0;
}

struct pair {
	json_t *key, *value;
};

static bool pair_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	struct pair *pair = arg;
	json_t **to = number == 1 ? &pair->key : &pair->value;

	if (number > 2 || type != PB_WT_STRING)
		return skip_field(in, type);
	json_decref(*to);
	*to = string_read(in);
	return *to != NULL;
}

/* One entry, which an object has many of: not a message of the table, which would make a JSON object of each. */
static bool map_read(pb_istream_t *in, json_t *map, bool annotations)
{
	json_auto_t *no_text = json_string("");
	struct pair pair = { 0 };
	const char *key;
	bool ok = map && inside(in, pair_field, &pair);

	key = pair.key ? json_string_value(pair.key) : "";
	ok = ok && strlen(key) == json_string_length(pair.key ? pair.key : no_text);
	if (ok && (!annotations || is_used_annotation(key)))
		ok = json_object_set(map, key, pair.value ? pair.value : no_text) == 0;
	json_decref(pair.key);
	json_decref(pair.value);
	return ok;
}

/* Of a message, 0 is omitted. */
static json_t *int_or_string_read(pb_istream_t *in)
{
	json_auto_t *message = message_read(in, &wire_int_or_string);
	bool is_string = json_object_get(message, "type");
	json_t *value = json_object_get(message, is_string ? "strVal" : "intVal");

	if (value || !message)
		return json_incref(value);
	return is_string ? json_string("") : json_integer(0);
}

static json_t *value_read(pb_istream_t *in, const struct wire_field *f)
{
	switch (f->form) {
	case WIRE_STRING:
		return string_read(in);
	case WIRE_NUMBER:
		return number_read(in);
	case WIRE_BOOL:
		return bool_read(in);
	case WIRE_MESSAGE:
		return message_read(in, f->message);
	case WIRE_INT_OR_STRING:
		return int_or_string_read(in);
	default:
		return skip_field(in, PB_WT_STRING) ? json_true() : NULL;
	}
}

/* The member of that name, created if absent. Borrowed. */
static json_t *member(json_t *object, const char *name, json_t *(*make)(void))
{
	json_t *found = json_object_get(object, name);

	if (found)
		return found;
	return json_object_set_new_nocheck(object, name, make()) == 0 ? json_object_get(object, name) : NULL;
}

/* Omitted in JSON (omitempty). */
static bool is_nothing(const struct wire_field *f, const json_t *value)
{
	return (f->form == WIRE_STRING && json_string_length(value) == 0) || (f->form == WIRE_NUMBER && json_integer_value(value) == 0);
}

static bool known_field(pb_istream_t *in, const struct wire_field *f, json_t *object)
{
	json_t *value;

	if (f->form == WIRE_MAP || f->form == WIRE_ANNOTATIONS)
		return map_read(in, member(object, f->name, json_object), f->form == WIRE_ANNOTATIONS);
	value = value_read(in, f);
	if (f->list)
		return json_array_append_new(member(object, f->name, json_array), value) == 0;
	if (value && is_nothing(f, value)) {
		json_decref(value);
		return true;
	}
	return json_object_set_new_nocheck(object, f->name, value) == 0;
}

static bool message_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	const struct reading *reading = arg;
	const struct wire_field *f = reading->message->fields;
	char name[24];

	while (f->number && f->number != number)
		f++;
	if (f->number)
		return type == (f->form == WIRE_NUMBER || f->form == WIRE_BOOL ? PB_WT_VARINT : PB_WT_STRING) &&
		       known_field(in, f, reading->object);
	if (reading->message->strict) {
		snprintf(name, sizeof(name), "field %u", number);
		if (json_object_set_new(reading->object, name, json_true()) < 0)
			return false;
	}
	return skip_field(in, type);
}

static int decode(const struct wire_message *message, const void *data, size_t size, json_t **object, struct err *err)
{
	pb_istream_t in = stream_of(data, size);
	struct reading reading = { message, json_object() };

	if (reading.object && fields_read(&in, message_field, &reading)) {
		*object = reading.object;
		return 0;
	}
	json_decref(reading.object);
	return err_set(err, EINVAL, "cannot be decoded: %s", PB_GET_ERROR(&in));
}

/* --- lists, events --- */

int protobuf_list_head(const void *data, size_t size, json_t **list, struct err *err)
{
	json_t *metadata = NULL;
	int ret = decode(&wire_list_meta, data, size, &metadata, err);

	if (ret < 0)
		return ret;
	*list = json_pack("{so}", "metadata", metadata);
	return *list ? 0 : err_errno(err, ENOMEM, "a list");
}

int protobuf_item(const char *kind, const void *data, size_t size, json_t **object, struct err *err)
{
	const struct wire_message *message = wire_message_of(kind);

	return message ? decode(message, data, size, object, err) : err_set(err, ENOTSUP, "unknown kind %.64s", kind);
}

/* meta/v1 WatchEvent { string type = 1; RawExtension { bytes raw = 1; } object = 2; } */
struct event {
	json_t *type;
	const char *raw;
	size_t size;
};

static bool raw_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	struct event *event = arg;

	if (number != 1 || type != PB_WT_STRING || event->raw)
		return skip_field(in, type);
	event->raw = take_bytes(in, &event->size);
	return event->raw != NULL;
}

static bool event_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	struct event *event = arg;

	if (number == 1 && type == PB_WT_STRING && !event->type)
		return (event->type = string_read(in)) != NULL;
	if (number == 2 && type == PB_WT_STRING)
		return inside(in, raw_field, event);
	return skip_field(in, type);
}

/* runtime.Unknown { TypeMeta { string apiVersion = 1; string kind = 2; } typeMeta = 1; bytes raw = 2; } */
struct unknown {
	json_t *kind;
	struct event content;
};

static bool type_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	struct unknown *unknown = arg;

	if (number != 2 || type != PB_WT_STRING || unknown->kind)
		return skip_field(in, type);
	return (unknown->kind = string_read(in)) != NULL;
}

static bool unknown_field(pb_istream_t *in, uint32_t number, pb_wire_type_t type, void *arg)
{
	struct unknown *unknown = arg;

	if (number == 1 && type == PB_WT_STRING)
		return inside(in, type_field, unknown);
	return number == 2 ? raw_field(in, 1, type, &unknown->content) : skip_field(in, type);
}

bool protobuf_is_object(const void *data, size_t size)
{
	return size >= sizeof(MAGIC) && memcmp(data, MAGIC, sizeof(MAGIC)) == 0;
}

int protobuf_object(const void *data, size_t size, json_t **object, struct err *err)
{
	struct unknown unknown = { 0 };
	pb_istream_t in;
	int ret;

	if (!protobuf_is_object(data, size))
		return err_set(err, EINVAL, "an object does not begin with \"k8s\"");
	in = stream_of((const char *)data + sizeof(MAGIC), size - sizeof(MAGIC));
	if (fields_read(&in, unknown_field, &unknown) && unknown.kind)
		ret = protobuf_item(json_string_value(unknown.kind), unknown.content.raw, unknown.content.size, object, err);
	else
		ret = err_set(err, EINVAL, "cannot be decoded: %s", PB_GET_ERROR(&in));
	json_decref(unknown.kind);
	return ret;
}

int protobuf_event(const void *data, size_t size, json_t **type, json_t **object, struct err *err)
{
	pb_istream_t in = stream_of(data, size);
	struct event event = { 0 };
	int ret = -EINVAL;

	if (fields_read(&in, event_field, &event) && event.type && event.raw)
		ret = protobuf_object(event.raw, event.size, object, err);
	else
		err_set(err, EINVAL, "cannot be decoded: %s", PB_GET_ERROR(&in));
	if (ret == 0)
		*type = event.type;
	else
		json_decref(event.type);
	return ret;
}
