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

/*
 * Features that neither a pod's device nor warren0 may have: such packets are lost through encapsulation, while a ping
 * passes. Without them the device cuts what it is given into single packets.
 */
extern const char *const node_features_off[];
extern const size_t node_features_off_count;

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
 * Gives the node its gateway address of one network (first of the pod CIDR by default) on warren0 and an unreachable
 * route for the rest of that CIDR, so that a packet for a pod that does not exist never takes the default route.
 * Appends to a batch. `warren0_ifindex` from node_gateway_ifindex().
 */
void node_gateway_add(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
		      const struct ip *gateway);
/* Takes both away again; `gateway` NULL: the route alone. */
void node_gateway_delete(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
			 const struct ip *gateway);
int node_gateway_ifindex(struct nl *nl, uint32_t *ifindex, struct err *err);

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

struct node_check {
	bool loaded;        /* programs and maps are pinned */
	bool nft_present, nft_whole;
	bool gateway_link;  /* warren0 exists and is up */
	bool from_host;     /* ... and carries from_host */
	unsigned uplinks;   /* devices by which packets leave for other nodes, as map nodes says */
	unsigned uplinks_faulty; /* of these: gone, or without from_uplink, or with another program ahead of it */
	bool forwarding4, forwarding6;
	unsigned endpoints, endpoints_max;
	unsigned faulty;    /* endpoints with a dp_fault */
	char version[32];   /* that loaded the programs */
};
/* The state of the node; not being loaded is no error. */
int node_check(struct node_check *check, struct err *err);

#endif
