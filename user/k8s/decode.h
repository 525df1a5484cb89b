/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kubernetes objects from YAML and JSON, with the API's defaulting and validation. Everything is hostile input: sizes
 * are limited, errors name the document, the object and the field, in printable ASCII.
 */
#ifndef WARREN_K8S_DECODE_H
#define WARREN_K8S_DECODE_H

#include <jansson.h>

#include "err.h"
#include "objects.h"

/*
 * All documents of a text as jansson values, to fn, numbered from 1; stops at fn's first non-zero return and returns
 * it. A text that begins with { is JSON, one object; any other is YAML, typed as by Kubernetes' own reader (see
 * scalar.h). Duplicate keys are errors; merge keys (<<) are followed. An alias shares its value, but counts as what it
 * stands for: a document has at most DOCUMENT_NODES values, 64 levels deep. `what` names the text in errors.
 */
#define DOCUMENT_NODES 1000000
int documents_parse(const char *text, size_t size, const char *what, int (*fn)(json_t *document, int number, void *arg),
		    void *arg, struct err *err);

enum object_kind { OBJECT_NONE /* a kind that nobody here needs */, OBJECT_NAMESPACE, OBJECT_POD, OBJECT_POLICY, OBJECT_NODE };

struct object {
	enum object_kind kind;
	union {
		struct namespace_object *namespace;
		struct pod_object *pod;
		struct policy_object *policy;
		struct node_object *node;
	};
};
void object_free(struct object *o);

/*
 * One document: one object, or those of a List (v1 List, PodList, NamespaceList, NetworkPolicyList, NodeList), to fn, which takes
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

/* Labels from a JSON object of strings (metadata.labels), checked as the API does. */
int labels_decode(const json_t *json, struct labels *labels, struct err *err);

#endif
