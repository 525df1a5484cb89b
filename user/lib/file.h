/* SPDX-License-Identifier: BSD-2-Clause */
/* Small files read whole and written atomically; folders. */
#ifndef WARREN_FILE_H
#define WARREN_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/*
 * The whole file, NUL-terminated, into *data (caller frees) and *size (without the NUL). -EFBIG if larger than `limit`.
 * `fd` may be a pipe. `path` names it in errors.
 */
int file_read_fd(int fd, const char *path, size_t limit, char **data, size_t *size, struct err *err);
int file_read(const char *path, size_t limit, char **data, size_t *size, struct err *err);
/* The same of a file that must be one: -EBADMSG for a directory, link, FIFO, socket or device, without waiting for it. */
int file_read_regular(const char *path, size_t limit, char **data, size_t *size, struct err *err);

#define FILE_PATH_MAX 1024 /* of the paths below, with the NUL */

/*
 * Replaces `path` by rename(2) from a temporary file in the same directory: a reader sees the old text or the new
 * one. On the disk when it returns, unless it is in memory only (tmpfs), where fsync means nothing: after a power cut, too,
 * the file is the old text or the new one. On failure (full disk) the old file is untouched and no temporary one is left.
 * Writers of one path take turns by a lock. A writer that was killed leaves file_temporary(path), which the next one
 * reuses.
 */
int file_temporary(const char *path, char temporary[FILE_PATH_MAX], struct err *err);
int file_write(const char *path, const void *data, size_t size, struct err *err);

/*
 * The same for what outlives the boot. The temporary file is `path`.new: no reader of a
 * folder that goes by suffixes takes it for one of its own, as it would .`path`. One writer of a path at a time.
 */
int file_write_durable(const char *path, const void *data, size_t size, mode_t mode, struct err *err);
/* Both, as far as they are there: a writer that was killed leaves the temporary one. */
int file_remove_durable(const char *path, struct err *err);

/* mkdir -p, mode 0700. */
int dir_make(const char *path, struct err *err);

/* rm -r, within one filesystem; success if absent. */
int dir_remove(const char *path, struct err *err);

#endif
