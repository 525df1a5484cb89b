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

/* A map of labels, checked; an absent one is empty. */
int labels_read(const struct field *map, struct labels *labels);
/* An array of `count` elements of `size`, zeroed; NULL for none. */
int array_make(const struct field *f, void *array, size_t count, size_t size);
/* A member that is one of TCP, UDP, SCTP; default TCP. */
int protocol_read(const struct field *parent, uint8_t *protocol);
int port_read(const struct field *parent, const char *key, uint16_t *port); /* 1 to 65535; -ENOENT */
/* The unique fields of an element of a list of ports. */
struct port_identity {
	const char *name;
	uint32_t number; /* protocol << 16 | port, host order */
	uint32_t index;
};
/* -EINVAL: two elements have the same name or, with `numbers`, the same protocol and port. Sorts `ports`. */
int ports_differ(const struct field *list, struct port_identity *ports, size_t count, bool numbers);
/* Not loopback, link-local, multicast, unspecified, or IPv4 in IPv6. */
bool ip_is_reachable(const struct ip *ip);
int out_of_memory(const struct field *f);

int namespace_decode(const struct field *document, const struct metadata *m, struct object *o);
int pod_decode(const struct field *document, const struct metadata *m, struct object *o);
int node_decode(const struct field *document, const struct metadata *m, struct object *o);
int network_policy_decode(const struct field *document, const struct metadata *m, struct object *o);
int service_decode(const struct field *document, const struct metadata *m, struct object *o);
int endpoint_slice_decode(const struct field *document, const struct metadata *m, struct object *o);

#endif
