/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decodes Kubernetes objects from JSON, with the API's defaulting and validation. All input is untrusted: errors name
 * the object and the field, in printable ASCII.
 */
#ifndef WARREN_KUBE_DECODE_H
#define WARREN_KUBE_DECODE_H

#include <jansson.h>

#include "err.h"
#include "objects.h"

/*
 * Decodes one document: an object, or the objects of a List (v1 List, or a kind's own, such as PodList). Each goes to
 * object(), which takes ownership; other kinds are ignored. An invalid NetworkPolicy with a readable namespace and name
 * is an object with `invalid` set; any other invalid object goes to report_problem(), and the rest of a list is still
 * decoded. Returns the first non-zero return of object(), or -ENOMEM.
 */
struct object_sink {
	int (*object)(void *arg, struct object *o);
	void (*report_problem)(void *arg, const struct err *err);
	void *arg;
};
int objects_decode(const json_t *document, const struct object_sink *sink);

/* As objects_decode(), for an object of this kind without `kind` (as in lists). */
int object_decode_as(enum object_kind kind, const json_t *document, const struct object_sink *sink);

/* Labels from a JSON object of strings (metadata.labels), checked as the API does. */
int labels_decode(const json_t *json, struct labels *labels, struct err *err);

#endif
