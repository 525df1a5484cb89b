/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink: links, addresses, routes, neighbours. The *_add and *_set functions append a request to a batch; those
 * with an err argument run at once.
 */
#ifndef WARREN_LINK_H
#define WARREN_LINK_H

#include <net/if.h>
#include <stdbool.h>

#include "addr.h"
#include "nl.h"

#define WARREN_GATEWAY_LINK "warren0" /* carries the node's gateway addresses */

struct link_info {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t flags;	       /* IFF_* */
	uint32_t group;	       /* IFLA_GROUP */
	uint32_t peer_ifindex; /* IFLA_LINK of a veth; 0 if none */
	uint32_t xdp_prog_id;  /* 0: none */
	uint16_t type;	       /* ARPHRD_* */
	char kind[16];	       /* IFLA_INFO_KIND */
};

/* By name, or by ifindex if name is NULL. -ENODEV if there is none. */
int link_get(struct nl *nl, const char *name, uint32_t ifindex, struct link_info *info, struct err *err);
/* Every link: stops at the first non-zero return of fn and returns it. */
int link_each(struct nl *nl, int (*fn)(const struct link_info *info, void *arg), void *arg, struct err *err);
/* Synchronous: the link is gone when it returns, after 16-24 ms for a veth. -ENODEV if there is none. */
int link_delete(struct nl *nl, uint32_t ifindex, struct err *err);

/* What an RTM_NEWLINK says. */
void link_parse(const struct nlmsghdr *nlh, struct link_info *info);

struct veth_end {
	const char *name;
	const uint8_t *mac; /* NULL: the kernel chooses */
	uint32_t mtu;	    /* 0: default */
	uint32_t group;	    /* 0: default */
	int netns_fd;	    /* -1: the socket's own */
	bool noarp;
};
/* -EEXIST: the name is taken at either end. Neither end is up, nor generates IPv6 addresses until asked to. */
void veth_add(struct nl *nl, struct nl_batch *b, const struct veth_end *host, const struct veth_end *peer);

/*
 * In a message after the one that made the device (in that one 6.1 and 6.18 refuse it with EAFNOSUPPORT), and before it is
 * up. No error where there is no IPv6.
 */
void link_set_no_addrgen(struct nl *nl, struct nl_batch *b, uint32_t ifindex);
void link_set_mac(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const uint8_t mac[6]);
void link_set_mtu(struct nl *nl, struct nl_batch *b, uint32_t ifindex, uint32_t mtu);
void link_set_up(struct nl *nl, struct nl_batch *b, uint32_t ifindex);

/* Without duplicate address detection; `prefix` keeps its host bits. An address that is there already is no error. */
void addr_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix);
void addr_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix); /* none is no error */
int addr_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct prefix *p, void *arg), void *arg,
	      struct err *err);
/*
 * In the caller's netns: returns when packets to the address are taken in, once it has been added. The kernel
 * acknowledges an IPv6 address first, and has a work queue put it into use (addrconf_dad_work() in
 * net/ipv6/addrconf.c), after which it tells RTNLGRP_IPV6_IFADDR. -ETIMEDOUT.
 */
int addr_settle(const struct ip *ip, unsigned timeout_ms, struct err *err);

struct route {
	struct prefix dst; /* length 0: default (family must be set) */
	struct ip gateway; /* family 0: none; else added with ONLINK. One of the other family is only read, not added. */
	struct ip source;  /* preferred source, family 0: none */
	uint32_t ifindex;  /* 0 for type RTN_UNREACHABLE */
	uint32_t mtu;	   /* metric; 0: none */
	uint32_t priority; /* 0: the kernel's default */
	uint8_t type;	   /* RTN_UNICAST, RTN_UNREACHABLE */
	uint8_t scope;	   /* RT_SCOPE_UNIVERSE, RT_SCOPE_LINK */
	uint8_t protocol;  /* RTPROT_*; 0: WR_RTPROT */
};
/* So that a reader of `ip route` (and `node down`) knows whose route it is: `proto 87`. */
#define WR_RTPROT 87
void route_replace(struct nl *nl, struct nl_batch *b, const struct route *route);
/*
 * Of any scope; source and metrics do not matter, gateway, device and priority only if given, protocol always. An
 * absent route is no error.
 */
void route_delete(struct nl *nl, struct nl_batch *b, const struct route *route);
/* The one by which a packet to the address goes, of whatever type. -ENETUNREACH and others of the kernel's where it goes nowhere. */
int route_get(struct nl *nl, const struct ip *to, struct route *route, struct err *err);
/* Of the main table. */
int route_each(struct nl *nl, int family, int (*fn)(const struct route *r, void *arg), void *arg, struct err *err);

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
/* Those that are usable. */
int neigh_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg, struct err *err);

#endif
