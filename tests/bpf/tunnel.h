/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets between nodes: rows for all four combinations of an inner and an outer family, unless one of them is named. */
#ifndef WARREN_TEST_TUNNEL_H
#define WARREN_TEST_TUNNEL_H

#include "rows.h"

enum tunnel_state {
	T_NO_CLUSTER = 1 << 0,  /* nothing is known of other nodes */
	T_NODE_GONE = 1 << 1,   /* NODE_C's slot is empty */
	T_NO_NODES = 1 << 2,    /* nothing leads to NODE_C or NODE_D */
	T_DIRECT = 1 << 3,      /* NODE_C is on the same link */
	T_DSCP = 1 << 4,
	T_B_GOING = 1 << 5,     /* see S_B_GOING */
	T_OTHER_FAMILY = 1 << 6, /* this node ends no tunnels over the packet's outer family */
	T_SIBLING = 1 << 7,     /* NODE_D in the place of NODE_C: what NODE_D's pods are, NODE_C's are not */
};

struct tunnel_row {
	const char *name;
	enum family inner, outer;
	unsigned state;             /* set of enum tunnel_state */
	enum device entered;        /* from_host */
	uint32_t gso_size;
	struct layer in[LAYERS];
	size_t cut;
	enum wr_reason reason;      /* NONE: passes, and nothing of it is counted */
	struct layer out[LAYERS];   /* empty: as it went in */
	uint64_t identity;          /* of the peer, in the event; default: as the row's option says, if it came so far */
};

extern const struct tunnel_row rows_from_uplink[], rows_from_host[];

/* Puts the node into the row's state. */
void tunnel_prepare(unsigned state, bool over6);

#endif
