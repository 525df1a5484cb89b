/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs on devices that are no pod's: from_host on warren0, from_uplink on uplinks. */
#ifndef WARREN_UPLINK_H
#define WARREN_UPLINK_H

#include "link.h"
#include "tc.h"

/*
 * from_uplink on a device, tc ingress; `detach` takes it away. (from_host sits on warren0 from node_init() on.) An
 * absent device is -ENODEV.
 */
int dp_uplink_attach(uint32_t ifindex, struct err *err);
int dp_uplink_detach(uint32_t ifindex, struct err *err);
/* Devices that carry it. */
int dp_uplink_each(int (*fn)(uint32_t ifindex, void *arg), void *arg, struct err *err);

/* --- for node.c and node_check.c --- */

/* Attaches from_host to warren0 (egress) and to its other end (ingress), or replaces it there. */
int uplink_host_attach(struct nl *nl, const struct link_info *warren0, struct err *err);
/* As uplink_check(), of both. */
int uplink_host_check(struct nl *nl, const struct link_info *warren0, bool *good, struct err *err);
/* Gives every device that carries from_uplink the one that is pinned now. */
int uplink_replace_all(struct nl *nl, unsigned *count, struct err *err);
/* Takes from_uplink away everywhere, whichever build's it is. */
int uplink_detach_all(struct nl *nl, struct err *err);
/* Whether the pinned program is where it should be, and nothing runs ahead of it. A device that is gone is no error. */
int uplink_check(struct nl *nl, uint32_t ifindex, enum tc_hook hook, const char *program, bool *good, struct err *err);

#endif
