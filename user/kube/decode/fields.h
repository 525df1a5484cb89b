/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A jansson value with its path in the object, so that an error names the field as the API server does:
 * "spec.ingress[0].ports[1].port: must be ...". Fields are on the stack, each with a pointer to its parent.
 *
 * null is treated as absent, as in the API's typed structures. Getters return 0, or -EINVAL with an error for a value
 * of another type.
 */
#ifndef WARREN_KUBE_FIELDS_H
#define WARREN_KUBE_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct field {
	const json_t *json; /* NULL: absent */
	const struct field *parent;
	const char *key; /* in its parent; NULL: an element of an array */
	size_t index;
	struct err *err;
};

/* Whole objects and arrays; absent ones are empty. */
int field_object(const struct field *parent, const char *key, struct field *object);
int field_array(const struct field *parent, const char *key, struct field *array);
size_t field_count(const struct field *array);
/* One element of an array, which must be an object (null: an empty one) or a string (null: ""). */
int field_object_at(const struct field *array, size_t index, struct field *object);
int field_string_at(const struct field *array, size_t index, struct field *element, const char **string);
/* Calls fn for each element, which must be an object, until one call fails. */
int field_each(const struct field *array, int (*fn)(const struct field *element, void *arg), void *arg);

/* Members of an object. Absent ones: NULL, false; field_integer() returns -ENOENT without an error. */
int field_string(const struct field *parent, const char *key, const char **string);
int field_bool(const struct field *parent, const char *key, bool *value);
int field_integer(const struct field *parent, const char *key, int64_t *value);
const json_t *field_json(const struct field *parent, const char *key);

/* *index: of the member's string in `texts`; unless required, 0 if it is absent or empty. */
int field_one_of(const struct field *parent, const char *key, bool required, const char *const *texts, size_t count, size_t *index);

/* -EINVAL: the object has a member that is not one of `keys` (ended by NULL). */
int field_check_members(const struct field *object, const char *const *keys);

/* Sets the error for member `key` (NULL: for the field itself). Returns -EINVAL. */
int field_error(const struct field *f, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
