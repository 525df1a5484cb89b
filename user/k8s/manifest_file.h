/* SPDX-License-Identifier: BSD-2-Clause */
/* One file of manifests, read whole. */
#ifndef WARREN_K8S_MANIFEST_FILE_H
#define WARREN_K8S_MANIFEST_FILE_H

#include <stdbool.h>

#include "object.h"

struct manifest_file {
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
int manifest_file_read(struct manifest_file *f, int directory, const char *name);
void manifest_file_note(struct manifest_file *f, const struct err *problem);
void manifest_file_free(struct manifest_file *f);

#endif
