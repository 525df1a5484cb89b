/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks that need no cleanup: each is one byte of WARREN_LOCK_FILE (an open-file-description lock), which the kernel
 * releases when the holder dies. Lock order: attachment, node, network, endpoints.
 */
#ifndef WARREN_LOCK_H
#define WARREN_LOCK_H

#include "err.h"

enum lock_kind {
	LOCK_NODE,	 /* loading and unloading programs */
	LOCK_NETWORK,    /* the IPAM state of network `name` */
	LOCK_ATTACHMENT, /* one attachment; `name` is its key */
	LOCK_ENDPOINTS,  /* allocation of slots of map endpoints and of windows */
	LOCK_EVENTS,     /* reading the event ring, which has one reader */
	LOCK_AGENT,      /* held by the node's agent */
	LOCK_TRACE,      /* a dry run, whose result is in map trace */
};

/*
 * An exclusive lock: an fd >= 0 (close to unlock). -ETIMEDOUT after lock_timeout_ms(kind). `name` is for the kinds that
 * have one.
 */
int lock_wait(enum lock_kind kind, const char *name, struct err *err);
/* Waits at most `timeout_ms`. */
int lock_take(enum lock_kind kind, const char *name, int timeout_ms, struct err *err);
/* As lock_wait(), but shared: excludes exclusive holders only. */
int lock_share(enum lock_kind kind, const char *name, struct err *err);
/* How long lock_wait() waits for a lock of this kind, in milliseconds. */
int lock_timeout_ms(enum lock_kind kind);

#endif
