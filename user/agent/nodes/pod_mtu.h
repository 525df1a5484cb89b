/* SPDX-License-Identifier: BSD-2-Clause */
/* The MTU of existing pods, and of warren0. */
#ifndef WARREN_AGENT_POD_MTU_H
#define WARREN_AGENT_POD_MTU_H

#include "nl.h"

/*
 * Sets the MTU of both ends of every attachment whose network configuration sets none. `nl`: NETLINK_ROUTE in the
 * node's netns. Returns how many failed (err: one of them, and why); the others have it. -errno: they could not be
 * listed.
 */
int pod_mtu_follow(struct nl *nl, uint32_t mtu, struct err *err);
/* Sets the MTU of both ends of warren0. */
int pod_mtu_gateway(struct nl *nl, uint32_t mtu, struct err *err);

#endif
