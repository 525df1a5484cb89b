/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reports changes of links, addresses, routes and neighbours that may change a nexthop (nexthop.h). Most of the
 * kernel's notifications change nothing (a neighbour entry goes stale and is confirmed every half minute; every pod
 * comes with a link and routes), so the last state is kept, and only a difference from it is reported. The program's
 * own devices (a link group) and its own routes (a protocol number) are left out.
 */
#ifndef WARREN_NEXTHOP_MONITOR_H
#define WARREN_NEXTHOP_MONITOR_H

#include "addr.h"
#include "nl.h"

enum nexthop_changed {
	/* a usable entry was added or removed, became unusable or got another MAC address; not on our own devices */
	NEXTHOP_NEIGHBOUR = 1 << 0,
	NEXTHOP_ROUTE = 1 << 1,
	NEXTHOP_LINK = 1 << 2, /* up, down, MTU, MAC address */
	NEXTHOP_ADDRESS = 1 << 3,
	NEXTHOP_LOST = 1 << 4, /* an overrun, or more than NEXTHOP_CHANGES_MAX changes: check everything */
};
#define NEXTHOP_CHANGES_MAX 64
struct nexthop_change {
	unsigned changes; /* a set of enum nexthop_changed */
	/* The devices of NEXTHOP_LINK (`ip` has no family) and the entries of NEXTHOP_NEIGHBOUR, each once. */
	struct nexthop_index {
		uint32_t ifindex;
		struct ip ip;
	} places[NEXTHOP_CHANGES_MAX];
	size_t count;
};

struct nexthop_monitor {
	struct nl nl;
	uint32_t own_group;   /* IFLA_GROUP */
	uint8_t own_protocol; /* RTPROT_* */
	/* Search trees (tsearch): devices by ifindex, usable neighbour entries by ifindex and address. */
	void *devices, *neighbours;
};
int nexthop_monitor_open(struct nexthop_monitor *watch, uint32_t own_group, uint8_t own_protocol, struct err *err);
void nexthop_monitor_close(struct nexthop_monitor *watch);
#define _cleanup_nexthop_monitor_ __attribute__((cleanup(nexthop_monitor_close)))
int nexthop_monitor_fd(const struct nexthop_monitor *watch); /* readable when something has changed */
/* Reads all pending notifications without waiting. */
int nexthop_monitor_read(struct nexthop_monitor *watch, struct nexthop_change *change, struct err *err);

#endif
