/* SPDX-License-Identifier: BSD-2-Clause */
/* Teardown of an attachment, complete or not: for DEL, GC, and an ADD that finds an unfinished ADD or DEL. */
#ifndef WARREN_CNI_TEARDOWN_H
#define WARREN_CNI_TEARDOWN_H

#include <stdbool.h>

#include "addresses.h"
#include "attachment.h"
#include "cni.h"
#include "nl.h"

/*
 * Deletes endpoint, routes and addresses: afterwards none of its packets passes, and its addresses can be allocated
 * again. Deletes the link too if the endpoint cannot be deleted. Continues after errors and returns the first.
 */
int teardown(const struct cni *cni, struct nl *host, const struct attachment *a, enum free_addresses how,
	     struct err *err);

/* Deletes the link (16 to 24 ms) and then the record. */
int teardown_link(struct nl *host, const struct attachment *a, struct err *err);

/*
 * teardown_link() in a new process (the reaper), which the caller does not wait for. It inherits `lock`, so that the
 * next command for this attachment waits for its end.
 */
int teardown_link_later(const struct attachment *a, int lock, struct err *err);

/*
 * --- stale attachments: those whose pod is gone, and those with an interrupted ADD or DEL ---
 * Only attachments of our own network and records of an earlier boot, which belong to no network; never an attachment
 * whose pod may be alive.
 */

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
