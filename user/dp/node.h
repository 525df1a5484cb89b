/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and unmaking a node: programs, pins, nftables table, gateway link, sysctls. */
#ifndef WARREN_NODE_H
#define WARREN_NODE_H

#include "config.h"
#include "endpoint.h"

struct node_report {
	bool fresh;        /* nothing was loaded before */
	unsigned replaced; /* endpoints and uplinks whose programs were replaced in place */
	uint32_t ct_entries; /* room of ct4, and of ct6 */
};

/*
 * Loads this build's programs and pins them; what is already loaded is upgraded in place: maps are kept, programs are
 * replaced on every endpoint without a gap. Also (re)makes the nftables table, warren0 and the sysctls. Idempotent;
 * takes LOCK_NODE. On failure of a first init nothing is left but WARREN_LOCK_FILE.
 */
int node_init(const struct node_options *options, struct node_report *report, struct err *err);

/*
 * The part of node_init() that takes more than CAP_NET_ADMIN and CAP_BPF: bpffs, and forwarding by sysctl. After it
 * node_init() writes to no sysctl.
 */
int node_prepare(struct err *err);

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

#endif
