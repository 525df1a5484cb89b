/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which objects of a kind the owner has been told, by namespace and name: enough to say what has changed or is gone, without
 * keeping the objects.
 */
#ifndef WARREN_K8S_KNOWN_H
#define WARREN_K8S_KNOWN_H

#include "object.h"
#include "table.h"

struct known_item {
	struct table_link link;
	uint64_t fingerprint; /* as it was told last */
	uint64_t version;     /* resourceVersion as it was seen last */
	unsigned generation;  /* the list in which it was seen last */
	bool told;	      /* the owner has it, from here */
	bool complained;
	unsigned char name;   /* where it begins in text, after the namespace */
	char text[];
};

static inline const char *known_namespace(const struct known_item *i)
{
	return i->text;
}

static inline const char *known_name(const struct known_item *i)
{
	return i->text + i->name;
}

struct known {
	struct table items;
	size_t told;
	uint8_t key[SIPHASH_KEY_SIZE]; /* of hashes and fingerprints: nobody can craft objects that look alike */
};
int known_init(struct known *k, struct err *err);
void known_free(struct known *k);
struct known_item *known_find(const struct known *k, const char *namespace, const char *name); /* or NULL */
struct known_item *known_get(struct known *k, const char *namespace, const char *name); /* made, if need be; NULL: no memory */
void known_set_told(struct known *k, struct known_item *i, bool told);
void known_drop(struct known *k, struct known_item *i);

#endif
