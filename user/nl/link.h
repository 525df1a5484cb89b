/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink: links. The *_add and *_set functions append a request to a batch; those with an err argument run at
 * once.
 */
#ifndef WARREN_LINK_H
#define WARREN_LINK_H

#include <net/if.h>
#include <stdbool.h>

#include "nl.h"

struct link_info {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t flags;	       /* IFF_* */
	uint32_t group;	       /* IFLA_GROUP */
	uint32_t peer_ifindex; /* IFLA_LINK of a veth; 0 if none */
	int32_t peer_netnsid;  /* IFLA_LINK_NETNSID: the netns in which that is; -1: the device's own */
	uint32_t xdp_prog_id;  /* 0: none */
	uint16_t type;	       /* ARPHRD_* */
	char kind[16];	       /* IFLA_INFO_KIND */
	bool keeps_tag;	       /* a VLAN device whose received frames still have its tag (reorder_hdr off) */
};

/* By name, or by ifindex if name is NULL. -ENODEV if there is none. */
int link_get(struct nl *nl, const char *name, uint32_t ifindex, struct link_info *info, struct err *err);
/* Every link: stops at the first non-zero return of fn and returns it. */
int link_each(struct nl *nl, int (*fn)(const struct link_info *info, void *arg), void *arg, struct err *err);
/* Synchronous: the link is gone when it returns, after 16-24 ms for a veth. -ENODEV if there is none. */
int link_delete(struct nl *nl, uint32_t ifindex, struct err *err);

/* The id that a network namespace has in the socket's own one (link_info.peer_netnsid); -ENOENT if it has none. */
int link_netnsid(struct nl *nl, int netns_fd, int32_t *id, struct err *err);

/* Parses RTM_NEWLINK. */
void link_parse(const struct nlmsghdr *nlh, struct link_info *info);

struct veth_end {
	const char *name;
	const uint8_t *mac; /* NULL: the kernel chooses */
	uint32_t mtu;	    /* 0: default */
	uint32_t group;	    /* 0: default */
	int netns_fd;	    /* -1: the socket's own */
	bool noarp;
};
/* -EEXIST: the name exists at either end. Both ends are down, and generate no IPv6 addresses while they are. */
void veth_add(struct nl *nl, struct nl_batch *b, const struct veth_end *host, const struct veth_end *peer);

/*
 * In a message after the one that made the device (in that one 6.1 and 6.18 refuse it with EAFNOSUPPORT), and before
 * it is up. No error where there is no IPv6.
 */
void link_set_no_addrgen(struct nl *nl, struct nl_batch *b, uint32_t ifindex);
void link_set_mac(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const uint8_t mac[6]);
void link_set_mtu(struct nl *nl, struct nl_batch *b, uint32_t ifindex, uint32_t mtu);
/* The same as the sysctl, where /proc/sys is read-only. */
void link_set_rp_filter(struct nl *nl, struct nl_batch *b, uint32_t ifindex, uint32_t value);
void link_set_up(struct nl *nl, struct nl_batch *b, uint32_t ifindex);

#endif
