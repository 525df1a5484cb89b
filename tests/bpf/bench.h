/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of `bpftest --bench` share. */
#ifndef WARREN_TEST_BENCH_H
#define WARREN_TEST_BENCH_H

#include "state.h"

#define CLASS 16
#define PEER_OF(n) (WR_PEER_FIRST + (n))

#define FROM_NODE_C_HEAD                                                                                               \
	ETH(), IP(.outer = true, .src = NODE_C, .dst = NODE), UDP(.sport = 50000, .dport = WR_TUNNEL_PORT, .check = V(0)), \
		GENEVE(), OPT(.n = 8, .identity = IDENTITY_C)
#define FROM_NODE_C FROM_NODE_C_HEAD, ETH(), IP(.src = POD_C)

/* A class for A's egress and B's ingress, and as many entries as `entries` says: rules for other peers and ports. */
void policy_fill(unsigned entries);
/* A is isolated both ways; NODE_C, and so many more nodes that there are `nodes`. All tunnels are over IPv4. */
void nodes_prepare(unsigned nodes, unsigned flags, bool v6);

/* Each kind of packet of a TCP connection, without and with many other flows. */
int bench_connections(bool v6);

#endif
