/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locks that leave nothing behind: each is one byte of WARREN_LOCK_FILE (an open-file-description lock), which the
 * kernel drops when the holder dies. Lock order: attachment, node, network, endpoints.
 */
#ifndef WARREN_LOCK_H
#define WARREN_LOCK_H

#include "err.h"

enum lock_kind {
	LOCK_NODE,	 /* loading and unloading programs */
	LOCK_NETWORK,    /* the IPAM state of network `name` */
	LOCK_ATTACHMENT, /* one attachment; `name` is its key */
	LOCK_ENDPOINTS,  /* which slot of map endpoints is free */
	LOCK_EVENTS,     /* reading the event ring, which has one reader */
	LOCK_AGENT,      /* being the node's agent */
	LOCK_TRACE,      /* a dry run, whose result stands in map trace */
};

/*
 * An exclusive lock: an fd >= 0 (close to unlock). Waits as long as befits the kind, then -ETIMEDOUT. `name` is for
 * the kinds that have one.
 */
int lock_wait(enum lock_kind kind, const char *name, struct err *err);
/* Waits at most `timeout_ms`. */
int lock_take(enum lock_kind kind, const char *name, int timeout_ms, struct err *err);
/* As lock_wait(), shared: several may hold it so, and nobody exclusively meanwhile. */
int lock_share(enum lock_kind kind, const char *name, struct err *err);
/* How long lock_wait() waits for a lock of this kind, in milliseconds. */
int lock_timeout_ms(enum lock_kind kind);

#endif
