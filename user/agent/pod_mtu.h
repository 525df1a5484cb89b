/* SPDX-License-Identifier: BSD-2-Clause */
/* The MTU of pods that are there already, and of warren0. */
#ifndef WARREN_AGENT_POD_MTU_H
#define WARREN_AGENT_POD_MTU_H

#include "nl.h"

/*
 * Gives every attachment whose network names no MTU this one, at both ends. `nl`: NETLINK_ROUTE in the node's netns.
 * Returns how many it could not be given to (err: one of them, and why); the others have it. -errno: they could not
 * even be listed.
 */
int pod_mtu_follow(struct nl *nl, uint32_t mtu, struct err *err);
/* warren0, both ends. */
int pod_mtu_gateway(struct nl *nl, uint32_t mtu, struct err *err);

#endif
