/* SPDX-License-Identifier: BSD-2-Clause */
/* Network namespaces by path. */
#ifndef WARREN_NETNS_H
#define WARREN_NETNS_H

#include <stdint.h>

#include "err.h"

/* Opens a network namespace by path and returns an fd >= 0. -ENOENT: it is gone; -EINVAL: it is something else. */
int netns_open(const char *path, struct err *err);
/* The current one. */
int netns_open_self(struct err *err);
/* Device and inode number: what identifies a namespace as long as anything holds it. */
int netns_id(int fd, uint64_t *dev, uint64_t *inode, struct err *err);
/* Makes the calling thread enter it. */
int netns_enter(int fd, struct err *err);

/*
 * Runs fn in a thread of its own and waits for its end. There it may enter network namespaces, and need not come
 * back: a process that goes on afterwards must not depend on finding its way.
 */
int netns_apart(int (*fn)(void *arg, struct err *err), void *arg, struct err *err);

#endif
