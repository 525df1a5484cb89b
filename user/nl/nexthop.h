/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nexthop of an address: device, source address and MAC addresses of packets to it. nexthop_monitor.h reports
 * changes.
 */
#ifndef WARREN_NEXTHOP_H
#define WARREN_NEXTHOP_H

#include "addr.h"
#include "nl.h"

struct nexthop {
	uint32_t ifindex, mtu; /* the device and its MTU (or the route's, if that is smaller) */
	struct ip source;      /* the source address that the kernel would choose */
	struct ip next;	       /* the gateway, or the address itself if it is on the link */
	bool gateway;
	bool permanent; /* an administrator's neighbour entry (NUD_PERMANENT): nexthop_keep() leaves it alone */
	bool resolved; /* the MAC addresses are valid: the neighbour entry is in a usable state */
	uint8_t dmac[6], smac[6];
};
/* RTM_GETROUTE, then the neighbour table. -ENETUNREACH, -EHOSTUNREACH. */
int nexthop_find(struct nl *nl, const struct ip *to, struct nexthop *nexthop, struct err *err);
/*
 * Makes the kernel resolve the neighbour now, keep it resolved (NTF_EXT_MANAGED) and keep its entry in a full table
 * (NTF_EXT_LEARNED); with IPv6 also the entry of its solicited-node group. Appends to a batch.
 */
void nexthop_keep(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop);
void nexthop_forget(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop);
struct ip nexthop_solicited_node(const struct ip *ip); /* its solicited-node group: RFC 4291 section 2.7.1 */

#endif
