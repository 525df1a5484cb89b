/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A compressed archive of files made up in memory: POSIX ustar, which every tar reads, through zlib. (libarchive would
 * bring four more libraries into every `warren` that starts, for one fixed header.)
 */
#ifndef WARREN_ARCHIVE_H
#define WARREN_ARCHIVE_H

#include <stddef.h>
#include <time.h>

#include "err.h"

#define ARCHIVE_NAME_MAX 100 /* of a file in it, with the NUL */

struct archive;

/* Writes to fd, which it takes over, also on failure. `folder`: before all names; `when`: the age of all files. */
int archive_open(int fd, const char *folder, time_t when, struct archive **archive, struct err *err);
int archive_add(struct archive *archive, const char *name, const void *data, size_t size, struct err *err);
/* Ends and forgets it, also on failure. */
int archive_close(struct archive *archive, struct err *err);
/* Forgets one that need not be whole. */
void archive_drop(struct archive *archive);

#endif
