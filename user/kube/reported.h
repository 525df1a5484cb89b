/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The objects of a kind that the owner has been given, by namespace and name. Holds fingerprints instead of the
 * objects: enough to detect changes and removals.
 */
#ifndef WARREN_KUBE_REPORTED_H
#define WARREN_KUBE_REPORTED_H

#include "err.h"
#include "objects.h"
#include "table.h"

struct reported_object {
	struct table_link link;
	uint64_t fingerprint; /* of the last put */
	uint64_t version;     /* last resourceVersion */
	unsigned generation;  /* last list that had it */
	bool held;	      /* the owner has it, from this reflector */
	bool problem_reported;
	unsigned char name;   /* offset in text, after the namespace */
	char text[];
};

static inline const char *reported_namespace(const struct reported_object *i)
{
	return i->text;
}

static inline const char *reported_name(const struct reported_object *i)
{
	return i->text + i->name;
}

struct reported {
	struct table items;
	size_t held; /* items that the owner has */
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes and fingerprints: random, so that collisions cannot be crafted */
};
int reported_init(struct reported *r, struct err *err);
void reported_free(struct reported *r);
struct reported_object *reported_find(const struct reported *r, const char *namespace, const char *name); /* or NULL */
/* Adds it if absent; NULL: no memory. */
struct reported_object *reported_get(struct reported *r, const char *namespace, const char *name);
void reported_set_held(struct reported *r, struct reported_object *i, bool held);
void reported_drop(struct reported *r, struct reported_object *i);

#endif
