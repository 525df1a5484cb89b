/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs on devices that are no pod's: from_host on warren0, from_uplink on uplinks. For node.c. */
#ifndef WARREN_UPLINK_H
#define WARREN_UPLINK_H

#include "link.h"
#include "tc.h"

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
