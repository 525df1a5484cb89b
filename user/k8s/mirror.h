/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server holds of a kind, told to an owner by difference: lists and events in, puts and removals out.
 *
 * Two mirrors of one kind may stand for different parts of it (pods of this node, pods of others). Their watches run side by
 * side, so that an object which goes from one part to the other may be new here before it is gone there: of the two the
 * younger (by resourceVersion) counts, and is removed but once.
 */
#ifndef WARREN_K8S_MIRROR_H
#define WARREN_K8S_MIRROR_H

#include <jansson.h>

#include "known.h"
#include "source.h"

struct mirror {
	enum object_kind kind;
	bool (*wanted)(const struct object *o, const char *node); /* NULL: all are */
	const char *node;
	const struct object_events *events;
	struct mirror *twin;
	struct known known;
	unsigned generation;
};
int mirror_init(struct mirror *m, struct err *err);
void mirror_free(struct mirror *m); /* without a word */

/* From here on until mirror_sweep() what is put is what there is. */
void mirror_list_begins(struct mirror *m);
void mirror_sweep(struct mirror *m); /* the list was whole: removes what was not put */
/* -ENOMEM: to be put again. -EINVAL: not an object with a name. An invalid one is complained about and stays as it was told. */
int mirror_put(struct mirror *m, const json_t *object);
int mirror_delete(struct mirror *m, const json_t *object);
void mirror_clear(struct mirror *m); /* removes all */
/* The server's versions are less than they were: what is put from here on is younger than what there is, of the twin too. */
void mirror_forget_versions(struct mirror *m);

/* metadata.resourceVersion as the number that it is (Kubernetes 1.35 documents it); 0: there is none. */
uint64_t resource_version(const json_t *object);

#endif
