/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other nodes in the maps (abi/node.h): written by the agent, read by everybody. One writer at a time: who holds
 * LOCK_AGENT. What a writer that was killed has left half done, dp_nodes_open() finds and mends.
 */
#ifndef WARREN_DP_NODES_H
#define WARREN_DP_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/maps.h"
#include "addr.h"
#include "err.h"

struct dp_node {
	struct prefix cidrs[2]; /* pod CIDRs; family 0: none */
	struct ip addresses[8]; /* all that are the node's own */
	size_t address_count;
	struct ip local, remote; /* outer addresses, of one family; `remote` is one of the addresses */
	uint32_t uplink, mtu;
	bool direct;
	bool keyed; /* what is sent to it through a tunnel carries a keyed word */
	uint64_t tx_word[WR_TUNNEL_KEYS], rx_word[WR_TUNNEL_KEYS]; /* as in wr_node; they may change in place */
};

struct dp_nodes;
int dp_nodes_open(struct dp_nodes **nodes, struct err *err);
void dp_nodes_close(struct dp_nodes *nodes);

/*
 * Adds the node, or changes the one in `slot` (0: a new one), in an order in which no packet ever goes to a node that it
 * is not for. Returns its slot, which is another one if more than the uplink and keyed words have changed. -EEXIST: a CIDR overlaps or an
 * address equals that of the node in *other. -ENOSPC.
 */
int dp_node_put(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err);
int dp_node_delete(struct dp_nodes *nodes, uint32_t slot, struct err *err); /* an empty slot is no error */
/* What is in the maps, also what an earlier agent has left; stops at fn's first non-zero return. */
int dp_node_each(int (*fn)(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg), void *arg,
		 struct err *err);

/* Whose address it is. Absent keys are no error. `identity` WR_ID_UNKNOWN deletes. */
int dp_ipcache_put(struct dp_nodes *nodes, const struct ip *ip, uint64_t identity, struct err *err);
int dp_ipcache_each(int (*fn)(const struct ip *ip, uint64_t identity, void *arg), void *arg, struct err *err);

/* This node's own part, but for the revision, which every change above and this one draws: see dp_nodes_commit(). */
int dp_cluster_set(struct dp_nodes *nodes, const struct wr_cluster *cluster, struct err *err);
int dp_cluster_get(struct wr_cluster *cluster, struct err *err);
/*
 * After changes: a new revision, so that what programs remember is looked up again. Nothing if nothing has changed; the
 * first one after dp_nodes_open() always draws, for a writer that was killed before its own.
 */
int dp_nodes_commit(struct dp_nodes *nodes, struct err *err);

#endif
