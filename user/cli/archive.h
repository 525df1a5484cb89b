/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes a compressed archive of files in memory: POSIX ustar, which every tar reads, through zlib. (libarchive would
 * add four shared libraries to every start of `warren`, for one fixed header.)
 */
#ifndef WARREN_ARCHIVE_H
#define WARREN_ARCHIVE_H

#include <stddef.h>
#include <time.h>

#include "err.h"

#define ARCHIVE_NAME_MAX 100 /* of a file name in it, with the NUL */

struct archive;

/* Takes over fd, also on failure. `directory`: prefix of all names; `when`: modification time of all files. */
int archive_open(int fd, const char *directory, time_t when, struct archive **archive, struct err *err);
int archive_add(struct archive *archive, const char *name, const void *data, size_t size, struct err *err);
/* Finishes and frees it, also on failure. */
int archive_close(struct archive *archive, struct err *err);
/* Frees it without finishing it. */
void archive_drop(struct archive *archive);

#endif
