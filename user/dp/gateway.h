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

/* The protocol of every route of Warren's, pods' too: so a reader of `ip route`, and node_down(), know whose it is. */
#define WR_RTPROT 87

/*
 * Features that neither a pod's device nor warren0 may have: such packets are lost through encapsulation, while a ping
 * passes. Without them the device cuts what it is given into single packets.
 */
extern const char *const node_features_off[];
extern const size_t node_features_off_count;

/* Makes the pair where there is none, and settles what an earlier release has made. */
int gateway_link_make(struct nl *nl, struct link_info *warren0, struct err *err);
int gateway_link_delete(struct nl *nl, struct err *err); /* absent is no error */
int node_gateway_ifindex(uint32_t *ifindex, struct err *err); /* -ENODEV */

/*
 * Gives the node its gateway address of one network (first of the pod CIDR by default) on warren0 and an unreachable
 * route for the rest of that CIDR, so that a packet for a pod that does not exist never takes the default route.
 * Appends to a batch. `warren0_ifindex` from node_gateway_ifindex().
 */
void node_gateway_add(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
		      const struct ip *gateway);
/* Takes both away again; `gateway` NULL: the route alone. */
void node_gateway_delete(struct nl *nl, struct nl_batch *b, uint32_t warren0_ifindex, const struct prefix *cidr,
			 const struct ip *gateway);

#endif
