/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by the files that implement nodes.h: nodes.c makes changes, nodes_repair.c completes or removes those of a
 * killed writer.
 */
#ifndef WARREN_DP_NODES_INTERNAL_H
#define WARREN_DP_NODES_INTERNAL_H

#include "array.h"
#include "internal.h"
#include "nodes.h"

#define NODE_CIDRS ARRAY_SIZE(((struct dp_node *)0)->cidrs)
#define NODE_ADDRESSES ARRAY_SIZE(((struct dp_node *)0)->addresses)

/* A used slot: its content, and the node with all addresses that refer to the slot. */
struct node_entry {
	struct wr_node raw;
	struct dp_node node;
	struct wr_metric totals[WR_DIRECTIONS]; /* if requested */
};

/* Pod CIDRs of one family, sorted by address; none overlaps another. */
struct cidr_list {
	struct cidr_slot {
		struct prefix cidr;
		uint32_t slot;
	} *at;
	size_t count, room;
};

struct dp_nodes {
	int nodes, nodes4, nodes6, node_addr4, node_addr6, ipcache4, ipcache6, metrics, cluster;
	struct node_entry *slots[WR_NODE_SLOTS]; /* NULL: empty */
	struct cidr_list cidrs[2];		 /* IPv4, IPv6 */
	uint32_t last_id, last_slot;		 /* the newest node's */
	bool dirty;				 /* something was written since the last commit */
	/* Slots to which only flows of the present revision still refer: cleared by the commit. */
	uint32_t *retired;
	size_t retired_count, retired_room;
};

/* --- nodes_codec.c --- */

void node_raw_encode(const struct dp_node *node, uint32_t id, struct wr_node *raw);
void node_raw_decode(const struct wr_node *raw, struct dp_node *node); /* addresses are in other maps */
bool node_has_cidr(const struct dp_node *node, const struct prefix *cidr);
bool node_has_address(const struct dp_node *node, const struct ip *ip);

/* --- nodes_cidrs.c --- */

/* The slot, other than `but`, of a node whose CIDR overlaps this one; 0: none. */
uint32_t cidr_owner(const struct dp_nodes *nodes, const struct prefix *cidr, uint32_t but);
int cidrs_reserve(struct dp_nodes *nodes, struct err *err); /* room for the CIDRs of one more node */
void node_cidrs_add(struct dp_nodes *nodes, uint32_t slot);
void node_cidrs_remove(struct dp_nodes *nodes, uint32_t slot);

/* --- nodes_read.c --- */

/* Opens the maps and reads slots and addresses. */
int nodes_read(struct dp_nodes **nodes, struct err *err);
void nodes_closep(struct dp_nodes **nodes);
/* As dp_map_walk(), empty slots too. */
int nodes_walk(int fd, const char *name, dp_map_fn fn, void *arg, struct err *err);

/* --- nodes.c --- */

int node_prefix_put(struct dp_nodes *nodes, const struct prefix *cidr, uint32_t slot, struct err *err);
int node_prefix_delete(struct dp_nodes *nodes, const struct prefix *cidr, struct err *err);
int node_address_put(struct dp_nodes *nodes, const struct ip *ip, uint32_t slot, struct err *err);
int node_address_delete(struct dp_nodes *nodes, const struct ip *ip, struct err *err);
/* Empties the slot and removes its counters. */
int node_slot_clear(struct dp_nodes *nodes, uint32_t slot, const struct wr_node *was, struct err *err);

#endif
