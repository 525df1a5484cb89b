/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs on devices other than pods': from_host on warren0, from_uplink and to_uplink on uplinks. */
#ifndef WARREN_UPLINK_H
#define WARREN_UPLINK_H

#include "link.h"
#include "tc.h"

/*
 * Attach from_uplink to a device's tc ingress and to_uplink to its tc egress, and detach both. (node_init() attaches
 * from_host to warren0.) -ENODEV: no such device. -EOPNOTSUPP: a VLAN device that leaves the tag in its frames.
 */
int dp_uplink_attach(uint32_t ifindex, struct err *err);
int dp_uplink_detach(uint32_t ifindex, struct err *err);
/* Every device that has from_uplink. */
int dp_uplink_each(int (*fn)(uint32_t ifindex, void *arg), void *arg, struct err *err);

/* --- for node.c and node_check.c --- */

/* Attaches from_host to warren0 (egress) and to its other end (ingress), or replaces it there. */
int uplink_host_attach(struct nl *nl, const struct link_info *warren0, struct err *err);
/* uplink_check() for both. */
int uplink_host_check(struct nl *nl, const struct link_info *warren0, bool *good, struct err *err);
/* Replaces both by the pinned programs on every device that has from_uplink. */
int uplink_replace_all(struct nl *nl, unsigned *count, struct err *err);
/* Detaches both, of any build, from all devices. */
int uplink_detach_all(struct nl *nl, struct err *err);
/* *good: the pinned program is attached and no other program runs before it. A deleted device is no error. */
int uplink_check(struct nl *nl, uint32_t ifindex, enum tc_hook hook, const char *program, bool *good, struct err *err);

#endif
