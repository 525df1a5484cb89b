/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink: addresses, routes, neighbours. Functions that take a batch append a request to it; those with an err
 * argument run at once.
 */
#ifndef WARREN_IP_H
#define WARREN_IP_H

#include <stdbool.h>

#include "addr.h"
#include "nl.h"

/* --- addresses --- */

/* Without duplicate address detection; `prefix` keeps its host bits. An address that is there already is no error. */
void addr_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix);
/* An absent address is no error. */
void addr_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix);
int addr_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct prefix *p, void *arg), void *arg,
	      struct err *err);
/* Of all devices, without those of which IPv6 does not know yet that no other host has them. */
int addr_each_in_use(struct nl *nl, int (*fn)(uint32_t ifindex, const struct ip *ip, void *arg), void *arg, struct err *err);
/*
 * In the caller's netns: waits until packets to an added address are delivered. The kernel acknowledges an IPv6 address
 * before a work queue puts it into use (addrconf_dad_work() in net/ipv6/addrconf.c), and then notifies
 * RTNLGRP_IPV6_IFADDR. -ETIMEDOUT.
 */
int addr_wait_ready(const struct ip *ip, unsigned timeout_ms, struct err *err);

/* --- routes --- */

struct route {
	struct prefix dst; /* length 0: default (family must be set) */
	struct ip gateway; /* family 0: none; added with ONLINK. A gateway of the other family is read, never added. */
	struct ip source;  /* preferred source, family 0: none */
	uint32_t ifindex;  /* 0 for type RTN_UNREACHABLE */
	uint32_t mtu;	   /* metric; 0: none */
	uint32_t priority; /* 0: the kernel's default */
	uint8_t type;	   /* RTN_UNICAST, RTN_UNREACHABLE */
	uint8_t scope;	   /* RT_SCOPE_UNIVERSE, RT_SCOPE_LINK */
	uint8_t protocol;  /* the owner: RTPROT_*, or a number of the program's own */
};
void route_replace(struct nl *nl, struct nl_batch *b, const struct route *route);
/*
 * Deletes a route of any scope. Protocol must match; gateway, device and priority too if given; source and metrics are
 * ignored. An absent route is no error.
 */
void route_delete(struct nl *nl, struct nl_batch *b, const struct route *route);
/*
 * The route of a packet to the address, of any type. -ENETUNREACH and the kernel's other errnos where there is none.
 */
int route_get(struct nl *nl, const struct ip *to, struct route *route, struct err *err);
/* Routes of the main table. A route of several nexthops is reported once for each. */
int route_each(struct nl *nl, int family, int (*fn)(const struct route *r, void *arg), void *arg, struct err *err);

/* --- neighbours --- */

/* A permanent neighbour entry, replacing another one. */
void neigh_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct ip *ip, const uint8_t mac[6]);

struct neigh {
	uint32_t ifindex;
	struct ip ip;
	bool permanent; /* an administrator's entry */
	bool usable;	/* in a state in which the kernel sends to its MAC address */
	uint8_t mac[6]; /* if it is usable */
};
/* Parses RTM_NEWNEIGH or RTM_DELNEIGH. False: the entry has no IP address. */
bool neigh_parse(const struct nlmsghdr *nlh, struct neigh *n);
/* Usable entries; `ifindex` 0: of all devices. */
int neigh_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg,
	       struct err *err);

#endif
