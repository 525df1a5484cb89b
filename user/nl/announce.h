/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ARP and ND messages that the kernel does not send, or sends too late. Sockets of the caller's netns; needs
 * CAP_NET_RAW.
 */
#ifndef WARREN_ANNOUNCE_H
#define WARREN_ANNOUNCE_H

#include "nexthop.h"
#include "link.h"

/*
 * Announces on the link the MAC address by which `ip` is reached now: a gratuitous ARP request (RFC 5227 section 3), or
 * an unsolicited neighbour advertisement (RFC 4861 section 7.2.6). Neighbours that have an entry of the address update
 * it. -EADDRNOTAVAIL: it is not the device's, or still tentative (duplicate address detection).
 */
int announce_address(const struct ip *ip, const struct link_info *device, struct err *err);
/*
 * Sends a neighbour solicitation for an IPv6 nexthop, from nexthop->source. The kernel sends its own from the device's
 * link-local address when no packet waits for the neighbour, skips it while that address is tentative, and tries again
 * a second later. The kernel puts the reply into its neighbour table. IPv4 needs nothing.
 */
int announce_solicit(const struct nexthop *nexthop, struct err *err);

#endif
