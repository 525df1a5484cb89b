/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other nodes are asked by ICMP echo whether they are there: from this node's gateway address to theirs, which are the
 * first of their pod CIDRs. So both ways lead where those of pods' packets do: warren0, the tunnel, the other node's
 * stack, and back.
 */
#ifndef WARREN_NODE_PINGS_H
#define WARREN_NODE_PINGS_H

#include "ping.h"
#include "remotes.h"

struct node_pings {
	struct ping ping; /* count, interval_ns and timeout_ns are the caller's */
	const struct remote_node **nodes; /* of each target, in `before`; those of a node are neighbours, IPv4 first */
	struct remotes before, after;
};
#define _cleanup_node_pings_ __attribute__((cleanup(node_pings_free)))

/*
 * Those nodes that cli->many names, or all; in the families that are asked for. Opens the maps, reads the nodes, pings.
 */
int node_pings_run(struct cli *cli, struct node_pings *p);
void node_pings_free(struct node_pings *p);

/* What is wrong with a target; NULL: nothing is. `buf` may be what is returned. */
const char *node_pings_explain(const struct node_pings *p, size_t target, char *buf, size_t size);

#endif
