/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks whether the node is as node_init() makes it. */
#ifndef WARREN_NODE_CHECK_H
#define WARREN_NODE_CHECK_H

#include <stdbool.h>

#include "err.h"

struct node_check {
	bool loaded;        /* programs and maps are pinned */
	bool nft_present, nft_whole;
	bool gateway_link;  /* warren0 exists and is up */
	bool from_host;     /* ... and carries from_host */
	unsigned uplinks;   /* devices by which packets leave for other nodes, from map nodes */
	unsigned uplinks_faulty; /* of these: gone, without from_uplink, or with another program before it */
	bool sockets;       /* the host's sockets use services */
	bool forwarding4, forwarding6;
	unsigned endpoints, endpoints_max;
	unsigned faulty;    /* endpoints with a dp_fault */
	char version[32];   /* that loaded the programs */
};
/* The state of the node; a node that is not loaded is no error. */
int node_check(struct node_check *check, struct err *err);

#endif
