/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The denylist in the maps (abi/deny.h). It is the operator's: no agent writes it, and nothing but `down` forgets it.
 * Writers take LOCK_NODE; one that is killed leaves a list that can be read and written, with what it had done by then.
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
	uint64_t idle_ms; /* since the last one, if there was one */
};

/* *changed counts those that were not there before; were there. -ENOSPC. */
int dp_deny_add(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err);
int dp_deny_delete(const struct prefix *prefixes, size_t count, size_t *changed, struct err *err);
int dp_deny_flush(size_t *changed, struct err *err);
/* By family, then by address. */
int dp_deny_each(int (*fn)(const struct dp_deny *deny, void *arg), void *arg, struct err *err);

#endif
