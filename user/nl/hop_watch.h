/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When links, addresses, routes or neighbours change, so that packets may go another way (hops.h). The kernel reports
 * much that changes nothing (a neighbour entry goes stale and is confirmed every half minute; every pod comes with a
 * link and routes), so what was reported last is remembered, and only a difference counts. Of no interest are the
 * program's own devices, a group of links, and the routes that it makes itself.
 */
#ifndef WARREN_HOP_WATCH_H
#define WARREN_HOP_WATCH_H

#include "addr.h"
#include "nl.h"

enum hop_change {
	/* a usable entry of a device that is not own has come, gone, or has another MAC address or become unusable */
	HOP_NEIGHBOUR = 1 << 0,
	HOP_ROUTE = 1 << 1,
	HOP_LINK = 1 << 2, /* up, down, MTU, MAC address */
	HOP_ADDRESS = 1 << 3,
	HOP_LOST = 1 << 4, /* an overrun, or more devices and neighbours than have room: look at everything */
};
#define HOP_NEWS_MAX 64
struct hop_news {
	unsigned changes; /* a set of enum hop_change */
	/* Of HOP_LINK the devices (`ip` without a family), of HOP_NEIGHBOUR the entries: each at least once. */
	struct hop_place {
		uint32_t ifindex;
		struct ip ip;
	} places[HOP_NEWS_MAX];
	size_t count;
};

struct hop_watch {
	struct nl nl;
	uint32_t own_group;   /* IFLA_GROUP */
	uint8_t own_protocol; /* RTPROT_* */
	/*
	 * Search trees (tsearch): devices by ifindex, usable neighbour entries by ifindex and address.
	 */
	void *devices, *neighbours;
};
int hop_watch_open(struct hop_watch *watch, uint32_t own_group, uint8_t own_protocol, struct err *err);
void hop_watch_close(struct hop_watch *watch);
#define _cleanup_hop_watch_ __attribute__((cleanup(hop_watch_close)))
int hop_watch_fd(const struct hop_watch *watch); /* readable when something has changed */
/* Takes what is there. */
int hop_watch_read(struct hop_watch *watch, struct hop_news *news, struct err *err);

#endif
