/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * jansson (own a value with its json_auto_t) with strict parsing and typed getters whose errors name the key.
 * Getters: 0 if found, -ENOENT if the key is absent or null (output untouched, no error set), -EINVAL (err set) if it
 * has another type.
 */
#ifndef WARREN_JSON_H
#define WARREN_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

/*
 * Exactly one JSON object: duplicate keys, NUL bytes (also as \u0000), invalid UTF-8, trailing text and deep nesting
 * are errors that give line and column. `what` is the input's name in them. NULL on error.
 */
json_t *json_parse_object(const char *text, size_t size, const char *what, struct err *err);

int json_get_string(const json_t *obj, const char *key, const char **value, struct err *err); /* borrowed */
int json_get_bool(const json_t *obj, const char *key, bool *value, struct err *err);
int json_get_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *value, struct err *err);
int json_get_object(const json_t *obj, const char *key, json_t **value, struct err *err); /* borrowed */
int json_get_array(const json_t *obj, const char *key, json_t **value, struct err *err);  /* borrowed */

/* The text at `key`; NULL if there is none. */
static inline const char *json_text_at(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

/* As text; null for family 0. */
json_t *json_ip(const struct ip *ip);
json_t *json_prefix(const struct prefix *prefix);
/* Arrays, without elements of family 0. */
json_t *json_ips(const struct ip *v, size_t count);
json_t *json_prefixes(const struct prefix *v, size_t count);

#endif
