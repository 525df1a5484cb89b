/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dry runs. A dry-run program is an attached program of this build loaded a second time, with the pinned maps and with
 * `dry_run` set. It changes only map trace, and is never attached. It stays pinned for the next dry run.
 */
#ifndef WARREN_TRACE_H
#define WARREN_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include "abi/maps.h"
#include "err.h"

/*
 * Runs the dry-run program of `program` (WARREN_PROG_*) on this frame. `entered`: ifindex by which the frame entered
 * the host; 0: made by the host (to_pod and from_host only). *tc_verdict is the program's return value. A lock
 * serializes dry runs. -EPROTO: another build's programs are loaded. -ENODEV: no such device in the caller's netns.
 */
int dp_trace(const char *program, uint32_t ifindex, uint32_t entered, const void *frame, size_t length,
	     struct wr_trace *trace, int *tc_verdict, struct err *err);

#endif
