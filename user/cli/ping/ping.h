/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP echo to many addresses at once, over one raw socket per family; and to other nodes. */
#ifndef WARREN_PING_H
#define WARREN_PING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"
#include "peers.h"

#define PING_COUNT_MAX 10000

struct ping_target {
	struct ip to;
	uint32_t sent, received; /* without duplicates and replies after the timeout */
	uint64_t min_ns, max_ns, sum_ns;
	int error; /* errno of the last send error or ICMP error; 0: none */
};

struct ping {
	struct ip source[2]; /* [0] IPv4, [1] IPv6; family 0: there are no targets of that family */
	uint32_t count;	     /* requests to each target, 1 to PING_COUNT_MAX */
	uint64_t interval_ns; /* from one round to the next */
	uint64_t timeout_ns;  /* a later reply does not count */
	struct ping_target *targets;
	size_t target_count;
};

/* Returns when all targets have replied or the last request has timed out. -EADDRNOTAVAIL: a source is not local. */
int ping_run(struct ping *ping, struct err *err);

/* --- of nodes --- */

/*
 * Pings other nodes by ICMP echo from this node's gateway address to theirs, which are the first of their pod CIDRs.
 * Requests and replies so take the path of pod traffic: warren0, the tunnel, the other node's stack, and back.
 */
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
