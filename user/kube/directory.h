/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory, watched by inotify. It may be renamed, deleted, replaced, mounted over, and come back. Its
 * subdirectories are not watched.
 */
#ifndef WARREN_KUBE_DIRECTORY_H
#define WARREN_KUBE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct directory;

/* The result of directory_look(). */
struct directory_changes {
	bool missing;   /* no such directory: only `why` is set */
	struct err why;
	bool another;   /* not the directory whose files were accepted last */
	bool all;       /* `names` are all files, sorted; else those that were added, removed or changed */
	char **names;
	size_t count, room;
	int fd; /* of the directory. (Not kept open: inotify does not report the deletion of an open directory.) */
};
#define DIRECTORY_NO_CHANGES ((struct directory_changes){ .fd = -1 })
void directory_changes_free(struct directory_changes *changes);

/* Reports only files whose names it accepts. -ENOENT and others: the directory cannot be opened. */
int directory_open(struct directory **d, const char *path, bool (*accepts)(const char *name), struct err *err);
const char *directory_path(const struct directory *d);
int directory_fd(const struct directory *d); /* when it is readable, call: */
/*
 * The changes since the last look; with `all` all files. On failure they are lost: the next look must be for all files.
 * The caller always frees `changes`.
 */
int directory_look(struct directory *d, bool all, struct directory_changes *changes, struct err *err);
/* Confirms the files of the last look, which was for all files, as the directory's content. */
void directory_accept(struct directory *d);
void directory_close(struct directory *d);

#endif
