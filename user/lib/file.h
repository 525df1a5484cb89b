/* SPDX-License-Identifier: BSD-2-Clause */
/* Small files read whole and written atomically; directories. */
#ifndef WARREN_FILE_H
#define WARREN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/*
 * The whole file, NUL-terminated, into *data (caller frees) and *size (without the NUL). -EFBIG if larger than `limit`.
 * `fd` may be a pipe. `path` is its name in errors.
 */
int file_read_fd(int fd, const char *path, size_t limit, char **data, size_t *size, struct err *err);
int file_read(const char *path, size_t limit, char **data, size_t *size, struct err *err);
/* The same for regular files only: -EBADMSG, without blocking, for a directory, link, FIFO, socket or device. */
int file_read_regular(const char *path, size_t limit, char **data, size_t *size, struct err *err);

#define FILE_PATH_MAX 1024 /* of the paths below, with the NUL */

/*
 * Replaces `path` by rename(2) from a temporary file in the same directory: a reader sees the old text or the new one,
 * also after a power cut. It is on the disk when the call returns, except on tmpfs, where fsync has no effect. On
 * failure (full disk) the old file is untouched and the temporary one removed. Writers of one path must hold a lock. A
 * killed writer leaves file_temporary(path), which the next one reuses.
 */
int file_temporary(const char *path, char temporary[FILE_PATH_MAX], struct err *err);
int file_write(const char *path, const void *data, size_t size, struct err *err);

/*
 * The same for files that outlive the boot. The temporary file is `path`.new: readers that select files of a directory
 * by suffix ignore it, unlike .`path`. One writer of a path at a time.
 */
int file_write_durable(const char *path, const void *data, size_t size, mode_t mode, struct err *err);
/* Removes the file and, if a killed writer has left it, the temporary one. */
int file_remove_durable(const char *path, struct err *err);

/*
 * The path here of what is `path` below another root directory, where links lead as in that root. `root` NULL: `path`
 * itself, whether it exists or not.
 */
int file_in_root(const char *root, const char *path, char real[FILE_PATH_MAX], struct err *err);
bool file_exists_in_root(const char *root, const char *path);

/* mkdir -p, mode 0700. */
int dir_make(const char *path, struct err *err);

/* rm -r, within one filesystem; success if absent. */
int dir_remove(const char *path, struct err *err);

#endif
