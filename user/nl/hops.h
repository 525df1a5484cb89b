/* SPDX-License-Identifier: BSD-2-Clause */
/* By which device, from which address and to which MAC address packets for an address go; and who says when that changes. */
#ifndef WARREN_HOPS_H
#define WARREN_HOPS_H

#include "link.h"

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
 * Makes the kernel resolve the neighbour now, and keep it resolved (NTF_EXT_MANAGED, since 5.16; a kernel without it
 * refuses, and the entry is only asked for once). Appends to a batch.
 */
void hop_keep(struct nl *nl, struct nl_batch *b, const struct hop *hop);
void hop_forget(struct nl *nl, struct nl_batch *b, const struct hop *hop);

/*
 * A socket that becomes readable when links, addresses, routes or neighbours change. hop_watch_read() takes what is there.
 * HOP_LOST: after an overrun, or of more devices and neighbours than have room (look at everything).
 */
enum hop_change {
	HOP_NEIGHBOUR = 1 << 0, /* an entry of a device (not of a pod's) has come, gone, or has another MAC address or usable state */
	HOP_ROUTE = 1 << 1,
	HOP_LINK = 1 << 2, /* up, down, MTU, MAC address */
	HOP_ADDRESS = 1 << 3,
	HOP_LOST = 1 << 4,
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
int hop_watch_open(struct nl *nl, struct err *err);
int hop_watch_fd(const struct nl *nl);
int hop_watch_read(struct nl *nl, struct hop_news *news, struct err *err);

#endif
