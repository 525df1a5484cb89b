/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other nodes in the maps (abi/node.h). The agent, which holds LOCK_AGENT, is the only writer; any process may read.
 * dp_nodes_open() completes or removes what a killed writer has left.
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
	struct ip addresses[8]; /* all of the node's own */
	size_t address_count;
	struct ip local, remote; /* outer addresses, of one family; `remote` is one of the addresses */
	uint32_t uplink, mtu;
	bool direct;
	bool keyed; /* tunnel packets to it carry a keyed tag */
	uint64_t tx_tag[WR_TUNNEL_KEYS], rx_tag[WR_TUNNEL_KEYS]; /* as in wr_node; they may change in place */
};

struct dp_nodes;
int dp_nodes_open(struct dp_nodes **nodes, struct err *err);
void dp_nodes_close(struct dp_nodes *nodes);

/*
 * Adds the node, or changes the one in `slot` (0: a new one), in an order in which no packet goes to the wrong node.
 * Returns its slot, which is a new one if more than the uplink and keyed tags have changed. -EEXIST: a CIDR overlaps or
 * an address equals that of the node in *other. -ENOSPC.
 */
int dp_node_put(struct dp_nodes *nodes, uint32_t slot, const struct dp_node *node, uint32_t *other, struct err *err);
int dp_node_delete(struct dp_nodes *nodes, uint32_t slot, struct err *err); /* an empty slot is no error */
/* Every node in the maps, also those of an earlier agent; stops at fn's first non-zero return. */
int dp_node_each(int (*fn)(uint32_t slot, const struct dp_node *node, const struct wr_metric totals[WR_DIRECTIONS], void *arg), void *arg,
		 struct err *err);

/* Sets the identity of an address. `identity` WR_ID_UNKNOWN deletes it; an absent one is no error. */
int dp_ipcache_put(struct dp_nodes *nodes, const struct ip *ip, uint64_t identity, struct err *err);
int dp_ipcache_each(int (*fn)(const struct ip *ip, uint64_t identity, void *arg), void *arg, struct err *err);

/* Sets this node's own part except the revision, which dp_nodes_commit() increments after any change. */
int dp_cluster_set(struct dp_nodes *nodes, const struct wr_cluster *cluster, struct err *err);
int dp_cluster_get(struct wr_cluster *cluster, struct err *err);
/*
 * After changes: a new revision, which makes the programs revalidate cached slots. Does nothing without changes; the
 * first call after dp_nodes_open() always increments, in case an earlier writer was killed before its commit.
 */
int dp_nodes_commit(struct dp_nodes *nodes, struct err *err);

#endif
