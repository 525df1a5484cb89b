/* SPDX-License-Identifier: BSD-2-Clause */
/* The decoders of the kinds, and their shared helpers. decode.c has the table of kinds. */
#ifndef WARREN_KUBE_KINDS_H
#define WARREN_KUBE_KINDS_H

#include "fields.h"
#include "objects.h"

struct metadata;

struct kind {
	enum object_kind kind;
	size_t size; /* of its object */
	const char *name, *list, *group, *version; /* group "": the core group */
	bool namespaced;
	bool (*name_valid)(const char *s);
	const char *name_rule; /* error for an invalid name */
	/* Fills in the zeroed object; 0, -EINVAL or -ENOMEM. */
	int (*decode)(const struct field *document, const struct metadata *m, struct object *o);
};

struct metadata {
	const struct kind *kind;
	struct field field;
	const char *namespace, *name; /* namespace: with the default; "" if the kind is not namespaced */
};

/* Reads namespace and name without validation; -EINVAL: cannot be read. */
int metadata_read(const struct field *document, const struct kind *kind, struct metadata *m);
/* Validates apiVersion, names and labels. `labels` may be NULL. */
int metadata_check(const struct field *document, const struct metadata *m, struct labels *labels);

/* Copies of both. */
int names_copy(const struct metadata *m, char **namespace, char **name);

/* A map of labels, checked; an absent one is empty. */
int labels_read(const struct field *map, struct labels *labels);
/* An array of `count` elements of `size`, zeroed; NULL for none. */
int array_make(const struct field *f, void *array, size_t count, size_t size);
/* The same for member `key` of the parent, a list of objects, which is then filled by a call of fn for each of them. */
int array_read(const struct field *parent, const char *key, void *array, size_t size,
	       int (*fn)(const struct field *element, void *arg), void *arg);
/* Calls add for each string of the member `list`, or for the member `single`, which must be the first if both are set. */
int list_or_single_read(const struct field *parent, const char *list, const char *single,
			int (*add)(const struct field *f, const char *key, const char *text, void *arg), void *arg);
/* Adds an address to those of a pod or Service: at most one of each family. */
int ip_pair_add(const struct field *f, const char *key, const char *text, struct ip pair[2]);
/* A member that is one of TCP, UDP, SCTP; default TCP. */
int protocol_read(const struct field *parent, uint8_t *protocol);
/* The name of a Node; "" if absent. */
int node_name_read(const struct field *parent, char **name);
int port_read(const struct field *parent, const char *key, uint16_t *port); /* 1 to 65535; -ENOENT */
/* One port of a Service or an EndpointSlice: name ("" if absent), protocol, port. -ENOENT: all but the port was read. */
int service_port_read(const struct field *f, struct service_port *port);
/* -EINVAL: two elements of the list have the same name or, with `numbers`, the same protocol and port. */
int ports_differ(const struct field *list, const struct service_port *ports, size_t count, bool numbers);
int out_of_memory(const struct field *f);

int namespace_decode(const struct field *document, const struct metadata *m, struct object *o);
int pod_decode(const struct field *document, const struct metadata *m, struct object *o);
int node_decode(const struct field *document, const struct metadata *m, struct object *o);
int network_policy_decode(const struct field *document, const struct metadata *m, struct object *o);
int service_decode(const struct field *document, const struct metadata *m, struct object *o);
int service_cidr_decode(const struct field *document, const struct metadata *m, struct object *o);
int endpoint_slice_decode(const struct field *document, const struct metadata *m, struct object *o);

#endif
