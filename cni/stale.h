/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Removal of stale attachments: those whose pod is gone, and those with an interrupted ADD or DEL. Only attachments of
 * our own network and records of an earlier boot, which belong to no network; never an attachment whose pod may be
 * alive.
 */
#ifndef WARREN_CNI_STALE_H
#define WARREN_CNI_STALE_H

#include <stdbool.h>

#include "attachment.h"
#include "cni.h"
#include "nl.h"

/*
 * For ADD: starts a new reaper for each attachment whose reaper was killed. Errors are logged; ADD does not depend on
 * it.
 */
void cleanup_deleting(const struct cni *cni);

/*
 * Tears down every attachment that is dead or being deleted and that no other process holds locked; returns how many. A
 * damaged record does not show whether its pod is alive: it is logged, and removed only if no pod's device can belong
 * to it.
 */
unsigned cleanup_dead(const struct cni *cni, struct nl *host);

/* Whether cleanup_dead() would find anything. Takes no lock. */
bool cleanup_needed(const struct cni *cni);

/*
 * cleanup_dead() for GC: spares attachments for which valid() is true, waits for locks, passes each error to failed().
 */
struct cleanup {
	const struct cni *cni;
	struct nl *host;
	int lock_timeout_ms;
	bool (*valid)(const struct attachment *a, void *arg);      /* NULL: none is valid */
	void (*failed)(const struct err *err, void *arg);          /* NULL: errors are only logged */
	void *arg;
	unsigned count;
};
void cleanup_attachments(struct cleanup *cleanup);

/* Deletes the endpoints whose device is gone. The kernel does not reuse an ifindex before the next boot. */
int cleanup_endpoints(struct nl *host, struct err *err);

#endif
