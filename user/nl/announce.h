/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel does not say to neighbours, or not in time. Sockets of the caller's netns; needs CAP_NET_RAW. */
#ifndef WARREN_ANNOUNCE_H
#define WARREN_ANNOUNCE_H

#include "hops.h"
#include "link.h"

/*
 * Tells everybody on the link by which MAC address `ip` is reached now: a gratuitous ARP request (RFC 5227 section
 * 3), or an unsolicited neighbour advertisement (RFC 4861 section 7.2.6). Who has an entry of that address changes
 * it. -EADDRNOTAVAIL: it is not the device's, or not yet (duplicate address detection).
 */
int announce_address(const struct ip *ip, const struct link_info *device, struct err *err);
/*
 * Asks an IPv6 neighbour for its MAC address, from hop->source. The kernel's own solicitation of a neighbour for
 * which no packet waits is from the device's link-local address, and is not sent while that is tentative: the next
 * one goes a second later. What is answered goes into the neighbour table, as any answer does. Of IPv4 nothing needs
 * to be done.
 */
int announce_solicit(const struct hop *hop, struct err *err);

#endif
