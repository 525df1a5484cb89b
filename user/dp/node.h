/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and unmaking a node: programs, pins, nftables table, gateway link, sysctls. */
#ifndef WARREN_NODE_H
#define WARREN_NODE_H

#include "dp.h"

struct node_options {
	uint32_t max_endpoints; /* 0: as loaded, else WR_MAX_ENDPOINTS */
	int mark_shift;         /* lowest of the three mark bits, 0..29; -1: as loaded, else NODE_MARK_SHIFT */
	uint32_t ct_entries;    /* room of ct4, and of ct6; 0: as loaded, else WR_CT_ENTRIES */
};
#define NODE_OPTIONS_DEFAULT { 0, -1, 0 }
#define NODE_MARK_SHIFT 24
#define NODE_CT_ENTRIES_MIN 1024
#define NODE_CT_ENTRIES_MAX (1 << 24)

struct node_report {
	bool fresh;        /* nothing was loaded before */
	unsigned replaced; /* endpoints and uplinks whose programs were replaced in place */
};

/*
 * Loads this build's programs and pins them; what is already loaded is upgraded in place: maps are kept, programs are
 * replaced on every endpoint without a gap. Also (re)makes the nftables table, warren0 and the sysctls. Idempotent;
 * takes LOCK_NODE. On failure of a first init nothing is left but WARREN_LOCK_FILE.
 */
int node_init(const struct node_options *options, struct node_report *report, struct err *err);

/*
 * What ADD calls: opens the data plane, after node_init if nothing is loaded, and restores the nftables table if it
 * has gone.
 */
int node_ensure(struct dp *dp, struct err *err);

/*
 * Leaves nothing: filters, pins, nftables table, warren0, routes, sysctls as they were, WARREN_RUN_DIR. Refuses with
 * -EBUSY while endpoints exist unless `force`, which deletes their links too. Goes on past errors, reports the first.
 */
int node_down(bool force, struct err *err);

/*
 * Nobody on this node but the programs may send to this UDP port from now on (the nftables guard): what a cluster's
 * member needs, and what other users of Geneve on a host without a cluster must be spared. 0: no such rules. Changes
 * nothing if all is so already; node_down() ends it.
 */
int node_set_tunnel_port(uint16_t port, struct err *err);

#endif
