/* SPDX-License-Identifier: BSD-2-Clause */
/* One file of manifests, read whole. */
#ifndef WARREN_K8S_READING_H
#define WARREN_K8S_READING_H

#include <stdbool.h>

#include "decode.h"

struct reading {
	struct object *objects;
	size_t count, room;
	bool broken; /* not all of its objects are known: none may be missed */
	size_t problems;
	struct err first; /* of the problems */
	int document;	  /* that is being decoded, from 1 */
};

/*
 * All objects of a file, or none of them if it cannot be read or parsed (then it is broken; so it is if an object is
 * not valid). -ENOENT: there is no such file; -ENOMEM. To be freed in any case.
 */
int reading_fill(struct reading *r, int directory, const char *name);
void reading_note(struct reading *r, const struct err *problem);
void reading_free(struct reading *r);

#endif
