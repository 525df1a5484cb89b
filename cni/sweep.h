/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding and finishing what others did not finish. Only attachments of our own network, and records of an earlier boot,
 * which are of none; never one whose pod may live.
 */
#ifndef WARREN_CNI_SWEEP_H
#define WARREN_CNI_SWEEP_H

#include <stdbool.h>

#include "attachment.h"
#include "cni.h"
#include "nl.h"

/* What ADD does in passing: gives killed reapers' links to new ones. Fails silently, as it is nobody's errand. */
void sweep_deleting(const struct cni *cni);

/*
 * Takes down every attachment that is dead or being deleted, and that nobody is working on; returns how many. A damaged
 * record does not say whether its pod lives: it is reported, and removed only where no pod's device can belong to it.
 */
unsigned sweep_dead(const struct cni *cni, struct nl *host);

/* Whether sweep_dead() would find anything. Takes no lock. */
bool sweep_needed(const struct cni *cni);

/* As sweep_dead, for GC: spares those that `valid` names, waits for others' work, tells `failed` of each error. */
struct sweep {
	const struct cni *cni;
	struct nl *host;
	int lock_timeout_ms;
	bool (*valid)(const struct attachment *a, void *arg);      /* NULL: none is */
	void (*failed)(const struct err *err, void *arg);          /* NULL: they are logged only */
	void *arg;
	unsigned count;
};
void sweep_attachments(struct sweep *sweep);

/* Endpoints whose device is gone, and which no record leads to: an index is not used again before the next boot. */
int sweep_endpoints(struct nl *host, struct err *err);

#endif
