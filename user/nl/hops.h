/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * By which device, from which address and to which MAC address packets for an address go. hop_watch.h: when that
 * changes.
 */
#ifndef WARREN_HOPS_H
#define WARREN_HOPS_H

#include "addr.h"
#include "nl.h"

struct hop {
	uint32_t ifindex, mtu; /* the device and its MTU (or the route's, if that is smaller) */
	struct ip source;      /* what the kernel would send from */
	struct ip next;	       /* the gateway, or the address itself if it is on the link */
	bool gateway;
	bool permanent; /* the neighbour entry is an administrator's: hop_keep() leaves it alone */
	bool resolved; /* the MAC addresses are valid: the neighbour entry is in one of the states that may be used */
	uint8_t dmac[6], smac[6];
};
/* RTM_GETROUTE, then the neighbour table. -ENETUNREACH, -EHOSTUNREACH. */
int hop_find(struct nl *nl, const struct ip *to, struct hop *hop, struct err *err);
/*
 * Makes the kernel resolve the neighbour now, keep it resolved (NTF_EXT_MANAGED), and keep its entry however many others
 * there are (NTF_EXT_LEARNED); of IPv6 also the entry of its solicited-node group. Appends to a batch.
 */
void hop_keep(struct nl *nl, struct nl_batch *b, const struct hop *hop);
void hop_forget(struct nl *nl, struct nl_batch *b, const struct hop *hop);
struct ip hop_solicited_node(const struct ip *ip); /* the group by which an IPv6 address is asked for: RFC 4291 section 2.7.1 */

#endif
