/* SPDX-License-Identifier: BSD-2-Clause */
#include "fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "str.h"

#define NOT_A_STRING "must be a string (in quotes, if it looks like a number or a boolean)"

/* Writes the path of `f`, truncated to the room; returns the number of bytes used. */
static size_t path(const struct field *f, char *text, size_t room)
{
	size_t used = f->parent ? path(f->parent, text, room) : 0;
	int n = 0;

	if (!f->parent)
		text[0] = '\0';
	else if (f->key)
		n = snprintf(text + used, room - used, "%s%s", used ? "." : "", f->key);
	else
		n = snprintf(text + used, room - used, "[%zu]", f->index);
	used += (size_t)n;
	return used < room ? used : room - 1;
}

int field_error(const struct field *f, const char *key, const char *fmt, ...)
{
	struct field member = { .parent = f, .key = key };
	char where[192], message[288];
	va_list ap;

	path(key ? &member : f, where, sizeof(where));
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	str_printable(where);
	str_printable(message);
	return err_set(f->err, EINVAL, "%s%s%s", where, where[0] ? ": " : "", message);
}

const json_t *field_json(const struct field *parent, const char *key)
{
	const json_t *json = json_object_get(parent->json, key);

	return json_is_null(json) ? NULL : json;
}

int field_object(const struct field *parent, const char *key, struct field *object)
{
	*object = (struct field){ field_json(parent, key), parent, key, 0, parent->err };
	if (object->json && !json_is_object(object->json))
		return field_error(object, NULL, "must be an object");
	return 0;
}

int field_array(const struct field *parent, const char *key, struct field *array)
{
	*array = (struct field){ field_json(parent, key), parent, key, 0, parent->err };
	if (array->json && !json_is_array(array->json))
		return field_error(array, NULL, "must be a list");
	return 0;
}

size_t field_count(const struct field *array)
{
	return json_array_size(array->json);
}

static struct field element_at(const struct field *array, size_t index)
{
	const json_t *json = json_array_get(array->json, index);

	return (struct field){ json_is_null(json) ? NULL : json, array, NULL, index, array->err };
}

int field_object_at(const struct field *array, size_t index, struct field *object)
{
	*object = element_at(array, index);
	if (object->json && !json_is_object(object->json))
		return field_error(object, NULL, "must be an object");
	return 0;
}

int field_each(const struct field *array, int (*fn)(const struct field *element, void *arg), void *arg)
{
	struct field element;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < field_count(array); i++)
		ret = field_object_at(array, i, &element) ?: fn(&element, arg);
	return ret;
}

int field_string_at(const struct field *array, size_t index, struct field *element, const char **string)
{
	*element = element_at(array, index);
	*string = "";
	if (!element->json)
		return 0;
	if (!json_is_string(element->json))
		return field_error(element, NULL, NOT_A_STRING);
	*string = json_string_value(element->json);
	return 0;
}

int field_string(const struct field *parent, const char *key, const char **string)
{
	const json_t *json = field_json(parent, key);

	*string = NULL;
	if (!json)
		return 0;
	if (!json_is_string(json))
		return field_error(parent, key, NOT_A_STRING);
	*string = json_string_value(json);
	return 0;
}

int field_bool(const struct field *parent, const char *key, bool *value)
{
	const json_t *json = field_json(parent, key);

	*value = json_is_true(json);
	if (json && !json_is_boolean(json))
		return field_error(parent, key, "must be true or false");
	return 0;
}

int field_integer(const struct field *parent, const char *key, int64_t *value)
{
	const json_t *json = field_json(parent, key);

	if (!json)
		return -ENOENT;
	if (!json_is_integer(json))
		return field_error(parent, key, "must be an integer");
	*value = json_integer_value(json);
	return 0;
}

/* "a, b<last>c" into text. */
static void list_texts(const char *const *texts, size_t count, const char *last, char *text, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < room; i++)
		used += (size_t)snprintf(text + used, room - used, "%s%s", !i ? "" : i + 1 < count ? ", " : last, texts[i]);
}

int field_one_of(const struct field *parent, const char *key, bool required, const char *const *texts, size_t count, size_t *index)
{
	char allowed[128];
	const char *text;

	*index = 0;
	if (field_string(parent, key, &text) < 0)
		return -EINVAL;
	text = text ? text : "";
	if (!required && !*text)
		return 0;
	for (; *index < count; (*index)++) {
		if (strcmp(texts[*index], text) == 0)
			return 0;
	}
	list_texts(texts, count, " or ", allowed, sizeof(allowed));
	return field_error(parent, key, "\"%s\" must be %s", text, allowed);
}

int field_check_members(const struct field *object, const char *const *keys)
{
	char names[160];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object->json, key, value) {
		size_t known = 0, count = 0;

		for (; keys[count]; count++)
			known += strcmp(keys[count], key) == 0;
		if (known)
			continue;
		list_texts(keys, count, ", ", names, sizeof(names));
		return field_error(object, key, "unknown field (known fields: %s)", names);
	}
	return 0;
}
