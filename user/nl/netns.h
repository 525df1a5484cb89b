/* SPDX-License-Identifier: BSD-2-Clause */
/* Network namespaces by path. */
#ifndef WARREN_NETNS_H
#define WARREN_NETNS_H

#include <stdint.h>

#include "err.h"

/* Opens a network namespace by path and returns an fd >= 0. -ENOENT: it is gone; -EINVAL: not a network namespace. */
int netns_open(const char *path, struct err *err);
/* The current one. */
int netns_open_self(struct err *err);
/* Device and inode number: what identifies a namespace as long as anything holds it. */
int netns_id(int fd, uint64_t *dev, uint64_t *inode, struct err *err);
/* Makes the calling thread enter it. */
int netns_enter(int fd, struct err *err);

/*
 * Runs fn in a new thread and waits for its end. The thread may enter network namespaces without going back: the
 * caller's thread never leaves its own.
 */
int netns_run_in_thread(int (*fn)(void *arg, struct err *err), void *arg, struct err *err);

#endif
