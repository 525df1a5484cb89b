/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kubernetes objects from their JSON, with the API's defaulting and validation. Everything is hostile input: errors
 * name the object and the field, in printable ASCII.
 */
#ifndef WARREN_K8S_DECODE_H
#define WARREN_K8S_DECODE_H

#include <jansson.h>

#include "object.h"

/*
 * One document: one object, or those of a List (v1 List, or a kind's own, such as PodList), to fn, which takes
 * the object over; nothing for other kinds. An invalid NetworkPolicy whose namespace and name can be read is an object
 * with `invalid` set; any other invalid object is an error to `complain` (and the rest of a list goes on). Returns the
 * first non-zero of fn, or -ENOMEM.
 */
struct object_sink {
	int (*object)(void *arg, struct object *o);
	void (*complain)(void *arg, const struct err *err);
	void *arg;
};
int objects_decode(const json_t *document, const struct object_sink *sink);

/* One object that is of this kind, whether it says so or not (items of lists do not). Else as objects_decode(). */
int object_decode_as(enum object_kind kind, const json_t *document, const struct object_sink *sink);

/* Labels from a JSON object of strings (metadata.labels), checked as the API does. */
int labels_decode(const json_t *json, struct labels *labels, struct err *err);

#endif
