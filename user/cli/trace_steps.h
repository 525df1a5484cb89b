/* SPDX-License-Identifier: BSD-2-Clause */
/* A made-up packet, the program that sees it, and what that found. */
#ifndef WARREN_TRACE_STEPS_H
#define WARREN_TRACE_STEPS_H

#include <string.h>

#include "flow_side.h"
#include "frame.h"
#include "hops.h"
#include "progs.h"
#include "trace.h"

struct trace_run {
	struct cli *cli;
	struct endpoints endpoints;
	struct flow flow;
	const char *program; /* WARREN_PROG_* */
	uint32_t device;     /* on which it sits: of the endpoint whose program runs, an uplink, warren0 */
	uint32_t entered;    /* by which the packet came into the host; 0: it made it */
	const struct remote_node *sender; /* whose tunnel packet it is, or NULL */
	struct hop hop;			  /* the way to it, as the kernel says */
	struct link_info link;		  /* the uplink */
	uint64_t carried;		  /* the identity in it */
	struct frame frame;
	uint8_t bytes[FRAME_TUNNEL_MAX];
	size_t length;
	struct wr_trace trace;
	int tc_verdict;
};

static inline bool trace_runs(const struct trace_run *run, const char *program)
{
	return strcmp(run->program, program) == 0;
}

/* Table "steps": what was found, in the order of a packet's way. */
void out_trace_steps(struct trace_run *run);

#endif
