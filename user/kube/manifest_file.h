/* SPDX-License-Identifier: BSD-2-Clause */
/* One file of manifests. */
#ifndef WARREN_KUBE_MANIFEST_FILE_H
#define WARREN_KUBE_MANIFEST_FILE_H

#include <stdbool.h>

#include "err.h"
#include "objects.h"

struct manifest_file {
	struct object *objects;
	size_t count, room;
	bool broken; /* its objects are not all known, so absent ones are not removed */
	size_t problems;
	struct err first; /* first problem */
	int document;	  /* being decoded, from 1 */
};

/*
 * All objects of a file, or none if it cannot be read or parsed. It is then broken, and also if an object is invalid.
 * -ENOENT: no such file; -ENOMEM. The caller always frees `f`.
 */
int manifest_file_read(struct manifest_file *f, int directory, const char *name);
void manifest_file_note(struct manifest_file *f, const struct err *problem);
void manifest_file_free(struct manifest_file *f);

#endif
