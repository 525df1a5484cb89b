/* SPDX-License-Identifier: BSD-2-Clause */
/* A node's settings: those that its maps are made with, and those that change while the programs run. */
#ifndef WARREN_CONFIG_H
#define WARREN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct node_options {
	uint32_t max_endpoints; /* 0: as loaded, else WR_MAX_ENDPOINTS */
	int mark_shift;         /* lowest of the three mark bits, 0..29; -1: as loaded, else NODE_MARK_SHIFT */
	uint32_t ct_entries;    /* room of ct4, and of ct6; 0: auto: as loaded, else by memory (ct_size.h) */
	bool reload;            /* load the programs also where this build's are loaded already */
};
#define NODE_OPTIONS_DEFAULT { 0, -1, 0, false }
#define NODE_MARK_SHIFT 24
#define NODE_CT_ENTRIES_MIN 1024
#define NODE_CT_ENTRIES_MAX (1 << 24)

/* --- while the programs run; -ENOENT: nothing is loaded --- */

/* What pods made from now on get as MTU where their network names none; 0: that of the device of the default route. */
int dp_pod_mtu_set(uint16_t mtu, struct err *err);

/*
 * Nobody on this node but the programs may send to this UDP port from now on (the nftables guard): what a cluster's
 * member needs, and what other users of Geneve on a host without a cluster must be spared. 0: no such rules. Changes
 * nothing if all is so already; node_down() ends it.
 */
int dp_tunnel_port_set(uint16_t port, struct err *err);

#endif
