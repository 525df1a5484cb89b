/* SPDX-License-Identifier: BSD-2-Clause */
/* One object of any kind. */
#ifndef WARREN_KUBE_OBJECT_H
#define WARREN_KUBE_OBJECT_H

#include "err.h"
#include "objects.h"
#include "siphash.h"

enum object_kind { OBJECT_NONE, OBJECT_NAMESPACE, OBJECT_POD, OBJECT_POLICY, OBJECT_NODE, OBJECT_SERVICE, OBJECT_SLICE };

/* Zeroed: no object. */
struct object {
	enum object_kind kind;
	union {
		void *any;
		struct namespace_object *namespace;
		struct pod_object *pod;
		struct policy_object *policy;
		struct node_object *node;
		struct service_object *service;
		struct slice_object *slice;
	};
};
void object_free(struct object *o);

/* The name of its kind, as in manifests. */
const char *object_kind_name(enum object_kind kind);
/* Both borrowed; the namespace is "" for a kind that is not namespaced. */
void object_names(const struct object *o, const char **namespace, const char **name);

/* A keyed hash of all fields, its name included: detects changes without a copy of the object. */
uint64_t object_fingerprint(const uint8_t key[SIPHASH_KEY_SIZE], const struct object *o);

#endif
