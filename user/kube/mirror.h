/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mirrors the server's objects of one kind to an owner: turns lists and watch events into puts and removals of what
 * differs. Holds names, versions and fingerprints instead of the objects: enough to detect changes and removals.
 *
 * Two mirrors of one kind may hold different parts of it (pods of this node, pods of others). Their watches are
 * independent, so an object that moves from one part to the other may be added here before it is removed there: the
 * newer resourceVersion is used, and the object is removed only once.
 */
#ifndef WARREN_KUBE_MIRROR_H
#define WARREN_KUBE_MIRROR_H

#include <jansson.h>

#include "siphash.h"
#include "source.h"
#include "table.h"

struct mirror {
	enum object_kind kind;
	bool (*filter)(const struct object *o, const char *node); /* NULL: all objects pass */
	const char *node;
	const struct object_events *events;
	struct mirror *peer;
	unsigned generation; /* of the running or last list */
	struct table items;  /* by namespace and name */
	size_t held;	     /* items that the owner has */
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes and fingerprints: random, so that collisions cannot be crafted */
};
int mirror_init(struct mirror *m, struct err *err);
void mirror_free(struct mirror *m); /* without removals */

/* Starts a list. */
void mirror_list_begins(struct mirror *m);
void mirror_remove_unseen(struct mirror *m); /* after a complete list: removes objects that were not in it */
/* -ENOMEM: put it again. -EINVAL: no valid name. An invalid object is reported; its last valid version stays. */
int mirror_put(struct mirror *m, const json_t *object);
int mirror_delete(struct mirror *m, const json_t *object);
void mirror_clear(struct mirror *m); /* removes all */
/* The server's versions went back (etcd was restored): later puts count as newer than all objects, also the peer's. */
void mirror_forget_versions(struct mirror *m);

/* metadata.resourceVersion as a number (documented since Kubernetes 1.35); 0: none. */
uint64_t resource_version(const json_t *object);

#endif
