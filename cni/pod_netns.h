/* SPDX-License-Identifier: BSD-2-Clause */
/* A pod's network namespace, entered once to open sockets in it. */
#ifndef WARREN_CNI_POD_NETNS_H
#define WARREN_CNI_POD_NETNS_H

#include "nl.h"

struct pod_netns {
	int fd, self; /* the pod's, and our own, to which every function returns */
	uint64_t dev, inode; /* of the pod's */
	struct nl nl, ethtool; /* NETLINK_ROUTE, NETLINK_GENERIC */
};
#define POD_NETNS_CLOSED { .fd = -1, .self = -1 }

/*
 * Opens both at once, or first the namespace, without entering it, and then the sockets. Call pod_netns_close() also
 * after a failure. If the path cannot be opened, n->fd is < 0 and the error has its code.
 */
int pod_netns_open(struct pod_netns *n, const char *path, struct err *err);
int pod_netns_find(struct pod_netns *n, const char *path, struct err *err);
int pod_netns_open_sockets(struct pod_netns *n, struct err *err);
void pod_netns_close(struct pod_netns *n);
#define _cleanup_pod_netns_ __attribute__((cleanup(pod_netns_close)))

/* Runs fn in it. */
int pod_netns_run(const struct pod_netns *n, int (*fn)(void *arg, struct err *err), void *arg, struct err *err);

#endif
