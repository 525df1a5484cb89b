/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A directory, followed by inotify through all that can happen to it: it is renamed, deleted, replaced, mounted over,
 * and comes back. Folders in it are not followed.
 */
#ifndef WARREN_K8S_FOLDER_H
#define WARREN_K8S_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct folder;

/* What a look at it has found. */
struct folder_news {
	bool away;      /* there is none: nothing else is set */
	struct err why; /* it is away */
	bool another;   /* it is not the one whose files were accepted last */
	bool all;       /* `names` are all that it holds, sorted; else those that have come, gone or changed */
	char **names;
	size_t count, room;
	int fd; /* to read them from. (An open folder would not be known to be deleted: it is not kept open.) */
};
#define FOLDER_NO_NEWS ((struct folder_news){ .fd = -1 })
void folder_news_free(struct folder_news *news);

/* Only files with a `wanted` name are told of. It must be there now. */
int folder_open(struct folder **f, const char *path, bool (*wanted)(const char *name), struct err *err);
const char *folder_path(const struct folder *f);
int folder_fd(const struct folder *f); /* to be polled for reading; then: */
/*
 * What has happened since the last look; `all`: all files, whatever has happened. On failure it is lost: the next look
 * is to be one for all files. `news` is to be freed in any case.
 */
int folder_look(struct folder *f, bool all, struct folder_news *news, struct err *err);
/* The files of the last look, which was one for all, are taken for what the folder holds. */
void folder_accept(struct folder *f);
void folder_close(struct folder *f);

#endif
