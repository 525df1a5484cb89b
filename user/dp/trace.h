/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dry runs: a program's twin, which is the same program of this build loaded a second time over the pinned maps with
 * `dry_run` set. It changes nothing but map trace, and is never attached. It stays pinned for the next dry run.
 */
#ifndef WARREN_TRACE_H
#define WARREN_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "abi/maps.h"
#include "err.h"

/*
 * Runs the twin of `program` (WARREN_PROG_*) on this frame. `entered`: ifindex by which it came into the host, 0: made
 * by it (to_pod and from_host only). Writes the verdict that tc would get to *tc_verdict. Takes turns with other dry
 * runs by a lock. -EPROTO: what is loaded is another build's. -ENODEV: no such device in the caller's netns.
 */
int dp_trace(const char *program, uint32_t ifindex, uint32_t entered, const void *frame, size_t length,
	     struct wr_trace *trace, int *tc_verdict, struct err *err);

#endif
