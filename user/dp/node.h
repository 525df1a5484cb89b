/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets up and tears down a node: programs, pins, nftables table, gateway link, sysctls. */
#ifndef WARREN_NODE_H
#define WARREN_NODE_H

#include "config.h"
#include "endpoint.h"

struct node_report {
	bool fresh;        /* nothing was loaded before */
	unsigned replaced; /* endpoints and uplinks whose programs were replaced in place */
	uint32_t ct_entries; /* room of ct4, and of ct6 */
	size_t lost_flows; /* by an upgrade: conntrack had no room for them */
	bool sockets; /* the host's sockets use services */
	struct err sockets_err; /* why they do not, if they should: pods are not affected, so node_init() does not fail */
	unsigned upgraded_from; /* the ABI version that was loaded before; 0: this build's or none */
};

/*
 * Loads this build's programs and pins them. A loaded node is upgraded in place: maps are kept, or converted from an
 * earlier ABI version (upgrade.h), and programs are replaced on every endpoint atomically. Also sets up the nftables table, warren0 and the sysctls. Idempotent; takes LOCK_NODE.
 * A failed first init leaves nothing but WARREN_LOCK_FILE.
 */
int node_init(const struct node_options *options, struct node_report *report, struct err *err);

/*
 * The part of node_init() that needs more than CAP_NET_ADMIN and CAP_BPF: bpffs, and forwarding by sysctl. After it
 * node_init() writes no sysctl.
 */
int node_prepare(struct err *err);

/*
 * For ADD: runs node_init() if nothing is loaded, opens the data plane, and restores the nftables table if it is gone.
 */
int node_ensure(struct dp *dp, struct err *err);

/*
 * Removes filters, pins, nftables table, warren0, routes and WARREN_RUN_DIR, and restores the sysctls. -EBUSY while
 * endpoints exist, unless `force`, which deletes their links too. Continues after errors and returns the first.
 */
int node_down(bool force, struct err *err);

#endif
