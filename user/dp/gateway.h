/* SPDX-License-Identifier: BSD-2-Clause */
/* warren0, the veth pair that carries the node's gateway addresses, and whose routes are Warren's. */
#ifndef WARREN_GATEWAY_H
#define WARREN_GATEWAY_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "err.h"
#include "link.h"

#define WARREN_GATEWAY_LINK "warren0"
#define WARREN_GATEWAY_PEER "warren1" /* its other end */

/* The protocol of all of Warren's routes, pods' too: `ip route` shows it, and node_down() finds them by it. */
#define WR_RTPROT 87

/*
 * Offload features that must be off on a pod's device and on warren0: packets that use them are lost in encapsulation,
 * while a ping passes. Without them the device segments the packets.
 */
extern const char *const node_features_off[];
extern const size_t node_features_off_count;

/* Makes the pair if there is none, and updates a pair of an earlier release. */
int gateway_link_make(struct nl *nl, struct link_info *warren0, struct err *err);
int gateway_link_delete(struct nl *nl, struct err *err); /* absent is no error */
int node_gateway_ifindex(uint32_t *ifindex, struct err *err); /* -ENODEV */

/*
 * Adds the node's gateway address of one network (first of the pod CIDR by default) to warren0, and an unreachable
 * route for that CIDR, so that a packet for a pod that does not exist never takes the default route. Appends to a
 * batch. `warren0_ifindex` from node_gateway_ifindex().
 */
void node_gateway_add(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
		      const struct ip *gateway);
/* Deletes both; `gateway` NULL: only the route. */
void node_gateway_delete(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
			 const struct ip *gateway);

#endif
