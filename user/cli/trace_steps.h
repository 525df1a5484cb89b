/* SPDX-License-Identifier: BSD-2-Clause */
/* A synthetic packet, the program that runs on it, and the recorded steps. */
#ifndef WARREN_TRACE_STEPS_H
#define WARREN_TRACE_STEPS_H

#include <string.h>

#include "flow_side.h"
#include "frame.h"
#include "nexthop.h"
#include "progs.h"
#include "trace.h"

struct trace_run {
	struct cli *cli;
	struct endpoints endpoints;
	struct flow flow;
	const char *program; /* WARREN_PROG_* */
	uint32_t device;     /* to which it is attached: an endpoint's device, an uplink or warren0 */
	uint32_t entered;    /* ingress device of the packet; 0: sent by the host itself */
	const struct remote_node *sender; /* the node that sends the tunnel packet, or NULL */
	struct nexthop nexthop;			  /* of the sender, from the kernel's routes */
	struct link_info link;		  /* the uplink */
	uint64_t carried;		  /* identity in the tunnel packet */
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

/* Table "steps", in the order of the packet's path. */
void out_trace_steps(struct trace_run *run);

#endif
