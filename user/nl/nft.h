/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Warren's nftables table (`table inet warren`), made by libnftnl in one transaction:
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
 * Each rule counts and carries a comment that says why.
 */
#ifndef WARREN_NFT_H
#define WARREN_NFT_H

#include <stdbool.h>

#include "abi/abi.h"
#include "err.h"

/*
 * Replaces the table atomically: no moment without the guard. Where there was one, it takes about 10 ms: the kernel
 * frees the old one, after a grace period, while the socket is closed.
 */
int nft_table_replace(const struct wr_config *cfg, struct err *err);
int nft_table_delete(struct err *err); /* absent is no error */
/*
 * Whether the table stands as nft_table_replace makes it (every chain with its hook, priority and rules): *whole.
 * `present`: whether there is a table of that name at all.
 */
int nft_table_check(const struct wr_config *cfg, bool *present, bool *whole, struct err *err);

#endif
