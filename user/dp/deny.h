/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The denylist in the maps (abi/deny.h). Only the operator's commands write it, never the agent; `down` deletes it.
 * Writers take LOCK_NODE. A killed writer leaves a valid list with the changes made so far.
 */
#ifndef WARREN_DP_DENY_H
#define WARREN_DP_DENY_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"

struct dp_deny {
	struct prefix prefix; /* host bits 0 */
	uint64_t packets, bytes;
	uint64_t idle_ms; /* since the last packet, if there was one */
};

/* *changed counts the prefixes that were added; deleted. -ENOSPC. */
int dp_deny_add(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err);
int dp_deny_delete(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err);
int dp_deny_flush(size_t *changed, struct err *err);
/* By family, then by address. */
int dp_deny_each(int (*fn)(const struct dp_deny *deny, void *arg), void *arg, struct err *err);

#endif
