/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink: addresses, routes, neighbours. Functions that take a batch append a request to it; those with an err
 * argument run at once.
 */
#ifndef WARREN_INET_H
#define WARREN_INET_H

#include <stdbool.h>

#include "addr.h"
#include "nl.h"

/* --- addresses --- */

/* Without duplicate address detection; `prefix` keeps its host bits. An address that is there already is no error. */
void addr_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix);
/* none is no error */
void addr_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix);
int addr_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct prefix *p, void *arg), void *arg,
	      struct err *err);
/*
 * In the caller's netns: returns when packets to the address are taken in, once it has been added. The kernel
 * acknowledges an IPv6 address first, and has a work queue put it into use (addrconf_dad_work() in
 * net/ipv6/addrconf.c), after which it tells RTNLGRP_IPV6_IFADDR. -ETIMEDOUT.
 */
int addr_settle(const struct ip *ip, unsigned timeout_ms, struct err *err);

/* --- routes --- */

struct route {
	struct prefix dst; /* length 0: default (family must be set) */
	struct ip gateway; /* family 0: none; else added with ONLINK. One of the other family is read, never added. */
	struct ip source;  /* preferred source, family 0: none */
	uint32_t ifindex;  /* 0 for type RTN_UNREACHABLE */
	uint32_t mtu;	   /* metric; 0: none */
	uint32_t priority; /* 0: the kernel's default */
	uint8_t type;	   /* RTN_UNICAST, RTN_UNREACHABLE */
	uint8_t scope;	   /* RT_SCOPE_UNIVERSE, RT_SCOPE_LINK */
	uint8_t protocol;  /* RTPROT_*, or a number of the program's own: whose it is */
};
void route_replace(struct nl *nl, struct nl_batch *b, const struct route *route);
/*
 * Of any scope; source and metrics do not matter, gateway, device and priority only if given, protocol always. An
 * absent route is no error.
 */
void route_delete(struct nl *nl, struct nl_batch *b, const struct route *route);
/*
 * The one by which a packet to the address goes, of whatever type. -ENETUNREACH and others of the kernel's where it
 * goes nowhere.
 */
int route_get(struct nl *nl, const struct ip *to, struct route *route, struct err *err);
/* Of the main table. One of several next hops comes once by each of them. */
int route_each(struct nl *nl, int family, int (*fn)(const struct route *r, void *arg), void *arg, struct err *err);

/* --- neighbours --- */

/* A permanent neighbour entry, replacing another one. */
void neigh_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct ip *ip, const uint8_t mac[6]);

struct neigh {
	uint32_t ifindex;
	struct ip ip;
	bool permanent; /* an administrator's entry */
	bool usable;	/* in a state in which the kernel itself sends to its MAC address */
	uint8_t mac[6]; /* if it is usable */
};
/* What an RTM_NEWNEIGH or RTM_DELNEIGH says. False: it is of no IP address. */
bool neigh_parse(const struct nlmsghdr *nlh, struct neigh *n);
/* Those that are usable; `ifindex` 0: of all devices. */
int neigh_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg,
	       struct err *err);

#endif
