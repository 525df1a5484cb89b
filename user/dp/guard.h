/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The node's guard: Warren's nftables table (`table inet warren`), for checks that the programs alone cannot do.
 *
 *   input, forward (priority mangle)  packets from a pod device (interface group) without from_pod's mark are dropped
 *   forward                           packets with mark_host_only are dropped (quarantine)
 *   postrouting (priority srcnat)     packets with mark_masquerade that leave the node (neither by a pod's device nor by
 *                                     warren0, which leads to other nodes' pods) are masqueraded
 *
 * And on a member of a cluster (wr_config.tunnel_port), since a datagram to the tunnel's port from a node's address is
 * accepted, and the programs' own tunnel packets pass no netfilter hook:
 *
 *   forward                           from a pod device to that port (after DNAT): dropped
 *   output (priority filter)          from a process's socket to that port (after DNAT): dropped. Packets without a socket
 *                                     pass: those of the kernel's own tunnel devices.
 *   tunnel (postrouting, after srcnat) to that port with a translated source, which is an address of this node, from any
 *                                     sender (a virtual machine, another runtime's container): dropped
 *
 *   postrouting                       masqueraded UDP gets a source port below those of tunnel packets
 *
 * Each rule has a counter, and a comment with its reason.
 */
#ifndef WARREN_GUARD_H
#define WARREN_GUARD_H

#include <stdbool.h>

#include "abi/abi.h"
#include "err.h"

int guard_replace(const struct wr_config *cfg, struct err *err); /* atomically, in one transaction */
int guard_ensure(const struct wr_config *cfg, struct err *err);	  /* the same, unless it is whole */
int guard_delete(struct err *err);				  /* absent is no error */
/* *whole: the table is as guard_replace() makes it. *present: there is a table of that name. */
int guard_check(const struct wr_config *cfg, bool *present, bool *whole, struct err *err);

#endif
