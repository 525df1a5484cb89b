/* SPDX-License-Identifier: BSD-2-Clause */
#include "json.h"

#include <errno.h>

/* jansson's limit (2048) protects its stack; no input of ours is nested deeper than this. */
#define JSON_MAX_DEPTH 64

/* Finds the first bracket nested too deeply: true, and its position. The parser reports malformed text. */
static bool too_deep(const char *text, size_t size, int *line, int *column)
{
	bool string = false, escape = false;
	int depth = 0;

	*line = 1;
	*column = 0;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		(*column)++;
		if (c == '\n') {
			(*line)++;
			*column = 0;
		}
		if (string) {
			if (!escape && c == '"')
				string = false;
			escape = !escape && c == '\\';
		} else if (c == '"') {
			string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_MAX_DEPTH)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

json_t *json_parse_object(const char *text, size_t size, const char *what, struct err *err)
{
	json_error_t error;
	int line, column;
	json_t *json;

	if (too_deep(text, size, &line, &column)) {
		err_set(err, EINVAL, "%s: line %d, column %d: nested more than %d levels deep", what, line, column,
			JSON_MAX_DEPTH);
		return NULL;
	}
	json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	if (!json) {
		err_set(err, EINVAL, "%s: line %d, column %d: %s", what, error.line, error.column, error.text);
		return NULL;
	}
	if (!json_is_object(json)) {
		json_decref(json);
		err_set(err, EINVAL, "%s: line 1, column 1: not a JSON object", what);
		return NULL;
	}
	return json;
}

/* The value of `key` into *value if it is there, not null and `ok`. */
static int getter(const json_t *obj, const char *key, bool (*ok)(const json_t *), const char *type, json_t **value,
		  struct err *err)
{
	json_t *found = json_object_get(obj, key);

	if (!found || json_is_null(found))
		return -ENOENT;
	if (!ok(found))
		return err_set(err, EINVAL, "\"%s\" must be %s", key, type);
	*value = found;
	return 0;
}

static bool is_string(const json_t *v)
{
	return json_is_string(v);
}

static bool is_bool(const json_t *v)
{
	return json_is_boolean(v);
}

static bool is_integer(const json_t *v)
{
	return json_is_integer(v);
}

static bool is_object(const json_t *v)
{
	return json_is_object(v);
}

static bool is_array(const json_t *v)
{
	return json_is_array(v);
}

int json_get_string(const json_t *obj, const char *key, const char **value, struct err *err)
{
	json_t *found = NULL;
	int ret = getter(obj, key, is_string, "a string", &found, err);

	if (ret == 0)
		*value = json_string_value(found);
	return ret;
}

int json_get_bool(const json_t *obj, const char *key, bool *value, struct err *err)
{
	json_t *found = NULL;
	int ret = getter(obj, key, is_bool, "true or false", &found, err);

	if (ret == 0)
		*value = json_is_true(found);
	return ret;
}

int json_get_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *value, struct err *err)
{
	json_t *found = NULL;
	int ret = getter(obj, key, is_integer, "an integer", &found, err);

	if (ret < 0)
		return ret;
	if (json_integer_value(found) < min || json_integer_value(found) > max)
		return err_set(err, EINVAL, "\"%s\" must be from %lld to %lld", key, (long long)min, (long long)max);
	*value = json_integer_value(found);
	return 0;
}

int json_get_object(const json_t *obj, const char *key, json_t **value, struct err *err)
{
	return getter(obj, key, is_object, "an object", value, err);
}

int json_get_array(const json_t *obj, const char *key, json_t **value, struct err *err)
{
	return getter(obj, key, is_array, "an array", value, err);
}

json_t *json_ip(const struct ip *ip)
{
	char text[IP_STRLEN];

	return ip->family ? json_string(ip_format(ip, text)) : json_null();
}

json_t *json_prefix(const struct prefix *prefix)
{
	char text[PREFIX_STRLEN];

	return prefix->ip.family ? json_string(prefix_format(prefix, text)) : json_null();
}

json_t *json_ips(const struct ip *v, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		if (v[i].family)
			json_array_append_new(array, json_ip(&v[i]));
	}
	return array;
}

json_t *json_prefixes(const struct prefix *v, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		if (v[i].ip.family)
			json_array_append_new(array, json_prefix(&v[i]));
	}
	return array;
}
