/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pings other nodes by ICMP echo from this node's gateway address to theirs, which are the first of their pod CIDRs.
 * Requests and replies so take the path of pod traffic: warren0, the tunnel, the other node's stack, and back.
 */
#ifndef WARREN_NODE_PINGS_H
#define WARREN_NODE_PINGS_H

#include "ping.h"
#include "remotes.h"

struct node_pings {
	struct ping ping; /* the caller sets count, interval_ns and timeout_ns */
	const struct remote_node **nodes; /* of each target, in `before`; targets of a node are adjacent, IPv4 first */
	struct remotes before, after;
};
#define _cleanup_node_pings_ __attribute__((cleanup(node_pings_free)))

/*
 * Opens the maps, reads the nodes and pings those named in cli->many, or all; in the family of --family, or both.
 */
int node_pings_run(struct cli *cli, struct node_pings *p);
void node_pings_free(struct node_pings *p);

/* The problem of a target, in `buf`; NULL: none. */
const char *node_pings_explain(const struct node_pings *p, size_t target, char *buf, size_t size);

#endif
