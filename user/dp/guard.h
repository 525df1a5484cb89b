/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The node's guard: Warren's nftables table (`table inet warren`), for what the programs alone cannot see to.
 *
 *   input, forward (priority mangle)  what comes from a pod device (interface group) without from_pod's mark is dropped
 *   forward                           what carries mark_host_only is dropped (quarantine)
 *   postrouting (priority srcnat)     what carries mark_masquerade and leaves the node (neither by a pod's device nor by
 *                                     warren0, the way to other nodes' pods) is masqueraded
 *
 * And on a member of a cluster (wr_config.tunnel_port), since a datagram to the tunnel's port from a node's address is
 * believed, and the programs' own pass no hook at all:
 *
 *   forward                           from a pod device to that port (after DNAT): dropped
 *   output (priority filter)          from a process's socket to that port (after DNAT): dropped. What no process sends is
 *                                     left alone: a tunnel device of the kernel's, forwarding for others.
 *   tunnel (postrouting, after srcnat) to that port with a translated source, so with an address of this node, whoever
 *                                     sent it (a virtual machine, another runtime's container): dropped
 *
 *   postrouting                       what is masqueraded of UDP gets a source port below those that tunnel packets have
 *
 * Each rule counts and carries a comment that says why.
 */
#ifndef WARREN_GUARD_H
#define WARREN_GUARD_H

#include <stdbool.h>

#include "abi/abi.h"
#include "err.h"

int guard_replace(const struct wr_config *cfg, struct err *err); /* atomically: no moment without it */
int guard_ensure(const struct wr_config *cfg, struct err *err);	  /* the same, unless it is whole */
int guard_delete(struct err *err);				  /* absent is no error */
/* Whether it stands as guard_replace() makes it: *whole. `present`: whether there is a table of that name at all. */
int guard_check(const struct wr_config *cfg, bool *present, bool *whole, struct err *err);

#endif
