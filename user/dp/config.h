/* SPDX-License-Identifier: BSD-2-Clause */
/* A node's settings: those fixed when its maps are made, and those that change while the programs run. */
#ifndef WARREN_CONFIG_H
#define WARREN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct node_options {
	uint32_t max_endpoints; /* 0: as loaded, else WR_MAX_ENDPOINTS */
	int mark_shift;         /* lowest of the three mark bits, 0..29; -1: as loaded, else NODE_MARK_SHIFT */
	uint32_t ct_entries;    /* room of ct4, and of ct6; 0: auto: as loaded, else by memory (ct_size.h) */
	bool reload;            /* load the programs even if this build's are loaded already */
	bool agent;             /* the caller is the node's agent, and holds LOCK_AGENT */
	const char *cgroup;     /* as in sockets_attach() */
};
#define NODE_OPTIONS_DEFAULT { 0, -1, 0, false, false, NULL }
#define NODE_MARK_SHIFT 24
#define NODE_CT_ENTRIES_MIN 1024
#define NODE_CT_ENTRIES_MAX (1 << 24)

/* --- while the programs run; -ENOENT: nothing is loaded --- */

/* The MTU of new pods whose network configuration has none; 0: that of the default route's device. */
int dp_pod_mtu_set(uint16_t mtu, struct err *err);

/*
 * From now on only the programs may send from this node to this UDP port: the nftables guard drops the rest. Only
 * members of a cluster have this rule, since it would block other users of Geneve. 0: no such rules. Does nothing if
 * the rules are in place; node_down() removes them.
 */
int dp_tunnel_port_set(uint16_t port, struct err *err);

#endif
