/* SPDX-License-Identifier: BSD-2-Clause */
/* Small files read whole and written atomically, and locks that leave nothing behind. */
#ifndef WARREN_FILE_H
#define WARREN_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/*
 * The whole file, NUL-terminated, into *data (caller frees) and *size (without the NUL). -EFBIG if larger than `limit`.
 * `fd` may be a pipe. `path` names it in errors.
 */
int file_read_fd(int fd, const char *path, size_t limit, char **data, size_t *size, struct err *err);
int file_read(const char *path, size_t limit, char **data, size_t *size, struct err *err);

#define FILE_PATH_MAX 1024 /* of the paths below, with the NUL */

/*
 * Replaces `path` by rename(2) from a temporary file in the same directory: a reader sees the old text or the new one.
 * No fsync: state lives on tmpfs. On failure (full disk) the old file is untouched and no temporary one is left. Writers
 * of one path take turns by a lock. A writer that was killed leaves file_temporary(path), which the next one reuses.
 */
int file_temporary(const char *path, char temporary[FILE_PATH_MAX], struct err *err);
int file_write(const char *path, const void *data, size_t size, struct err *err);

/* mkdir -p, mode 0700. */
int dir_make(const char *path, struct err *err);

/* rm -r, within one filesystem; success if absent. */
int dir_remove(const char *path, struct err *err);

/*
 * An exclusive lock on one byte of WARREN_LOCK_FILE (an open-file-description lock): the kernel drops it when the holder
 * dies, and nothing is left on disk. Waits at most `timeout_ms`, then -ETIMEDOUT. Returns an fd >= 0 (close to unlock).
 * Lock order: attachment, node, network, endpoints.
 */
enum lock_kind {
	LOCK_NODE,       /* loading and unloading programs; `name` is ignored */
	LOCK_NETWORK,    /* the IPAM state of network `name` */
	LOCK_ATTACHMENT, /* one attachment; `name` is its key */
	LOCK_ENDPOINTS,  /* which slot of map endpoints is free; `name` is ignored */
	LOCK_EVENTS,     /* reading the event ring, which has one reader; `name` is ignored */
	LOCK_AGENT,      /* being the node's agent; `name` is ignored */
	LOCK_TRACE,      /* a dry run, whose result stands in map trace; `name` is ignored */
};
int lock_take(enum lock_kind kind, const char *name, int timeout_ms, struct err *err);

#endif
