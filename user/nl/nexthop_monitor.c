/* SPDX-License-Identifier: BSD-2-Clause */
#include "nexthop_monitor.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "ip.h"
#include "link.h"

struct device {
	uint32_t ifindex;
	bool own;
	uint32_t flags, mtu;
	uint8_t mac[6];
};

static int device_cmp(const void *a, const void *b)
{
	const struct device *x = a, *y = b;

	return x->ifindex < y->ifindex ? -1 : x->ifindex > y->ifindex;
}

static int neighbour_cmp(const void *a, const void *b)
{
	const struct neigh *x = a, *y = b;

	if (x->ifindex != y->ifindex)
		return x->ifindex < y->ifindex ? -1 : 1;
	return ip_cmp(&x->ip, &y->ip);
}

static bool device_same(const struct device *a, const struct device *b)
{
	return a->ifindex == b->ifindex && a->own == b->own && a->flags == b->flags && a->mtu == b->mtu &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0;
}

static void *find(void *const *root, const void *key, int (*cmp)(const void *, const void *))
{
	void *node = tfind(key, root, cmp);

	return node ? *(void **)node : NULL;
}

/*
 * Adds a copy of `item`, which must not be in the tree. Without memory it is not added, and its next report counts
 * again.
 */
static void add(void **root, const void *item, size_t size, int (*cmp)(const void *, const void *))
{
	void *copy = malloc(size);

	if (!copy)
		return;
	memcpy(copy, item, size);
	if (!tsearch(copy, root, cmp))
		free(copy);
}

static void drop(void **root, void *item, int (*cmp)(const void *, const void *))
{
	tdelete(item, root, cmp);
	free(item);
}

static void forget_all(struct nexthop_monitor *watch)
{
	tdestroy(watch->devices, free);
	tdestroy(watch->neighbours, free);
	watch->devices = watch->neighbours = NULL;
}

/* --- events --- */

static void note(struct nexthop_change *change, enum nexthop_changed what, uint32_t ifindex, const struct ip *ip)
{
	struct nexthop_index place = { .ifindex = ifindex };

	if (ip)
		place.ip = *ip;
	change->changes |= what;
	for (size_t i = 0; i < change->count; i++) {
		if (change->places[i].ifindex == ifindex && ip_equal(&change->places[i].ip, &place.ip))
			return;
	}
	if (change->count == NEXTHOP_CHANGES_MAX)
		change->changes |= NEXTHOP_LOST;
	else
		change->places[change->count++] = place;
}

static bool is_own(const struct nexthop_monitor *watch, uint32_t ifindex)
{
	const struct device key = { .ifindex = ifindex }, *old = find(&watch->devices, &key, device_cmp);

	return old && old->own;
}

/* Whether the device differs from what was reported last. */
static bool device_update(struct nexthop_monitor *watch, const struct link_info *info)
{
	struct device now = {
		.ifindex = info->ifindex,
		.own = info->group == watch->own_group,
		.flags = info->flags & (IFF_UP | IFF_RUNNING),
		.mtu = info->mtu,
	};
	struct device *old = find(&watch->devices, &now, device_cmp);

	memcpy(now.mac, info->mac, sizeof(now.mac));
	if (old && device_same(old, &now))
		return false;
	if (old)
		*old = now;
	else
		add(&watch->devices, &now, sizeof(now), device_cmp);
	return !now.own;
}

static bool device_gone(struct nexthop_monitor *watch, uint32_t ifindex)
{
	const struct device key = { .ifindex = ifindex };
	struct device *old = find(&watch->devices, &key, device_cmp);
	bool own = old && old->own;

	if (old)
		drop(&watch->devices, old, device_cmp);
	return !own;
}

static void on_link(struct nexthop_monitor *watch, const struct nlmsghdr *nlh, struct nexthop_change *change)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const uint32_t ifindex = (uint32_t)ifi->ifi_index;
	struct link_info info;
	bool changed;

	if (ifi->ifi_family != AF_UNSPEC) /* a bridge's port, already reported as a device */
		return;
	if (nlh->nlmsg_type == RTM_NEWLINK)
		link_parse(nlh, &info);
	changed = nlh->nlmsg_type == RTM_NEWLINK ? device_update(watch, &info) : device_gone(watch, ifindex);
	if (changed)
		note(change, NEXTHOP_LINK, ifindex, NULL);
}

/*
 * Whether the entry differs from what was reported last. An entry in no usable state counts as absent: pods can make
 * the kernel look for a thousand neighbours that do not exist.
 */
static bool neighbour_update(struct nexthop_monitor *watch, const struct neigh *now)
{
	struct neigh *old = find(&watch->neighbours, now, neighbour_cmp);
	bool same = old && memcmp(old->mac, now->mac, sizeof(now->mac)) == 0;

	if (!now->usable) {
		if (old)
			drop(&watch->neighbours, old, neighbour_cmp);
		return old;
	}
	if (old)
		*old = *now;
	else
		add(&watch->neighbours, now, sizeof(*now), neighbour_cmp);
	return !same;
}

static void on_neighbour(struct nexthop_monitor *watch, const struct nlmsghdr *nlh, struct nexthop_change *change)
{
	struct neigh now;

	if (neigh_parse(nlh, &now) && !is_own(watch, now.ifindex) && neighbour_update(watch, &now))
		note(change, NEXTHOP_NEIGHBOUR, now.ifindex, &now.ip);
}

/*
 * New routes of our own protocol and routes by our own devices change no nexthop. A deleted route of our own does
 * count: it may have to be added again.
 */
static unsigned on_route(const struct nexthop_monitor *watch, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	if ((rtm->rtm_protocol == watch->own_protocol && nlh->nlmsg_type == RTM_NEWROUTE) ||
	    (tb[RTA_OIF] && is_own(watch, mnl_attr_get_u32(tb[RTA_OIF]))))
		return 0;
	return NEXTHOP_ROUTE;
}

static void on_message(struct nexthop_monitor *watch, const struct nlmsghdr *nlh, struct nexthop_change *change)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(watch, nlh, change);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neighbour(watch, nlh, change);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		change->changes |= on_route(watch, nlh);
		break;
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		change->changes |= NEXTHOP_ROUTE;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		change->changes |= NEXTHOP_ADDRESS;
		break;
	default:
		break;
	}
}

/* --- the socket --- */

static int remember_device(const struct link_info *info, void *arg)
{
	device_update(arg, info);
	return 0;
}

static int remember_neighbour(const struct neigh *n, void *arg)
{
	if (!is_own(arg, n->ifindex))
		neighbour_update(arg, n);
	return 0;
}

/*
 * Reads, before anything is reported, which devices are our own and which neighbours are usable. It uses a second
 * socket, since notifications arrive on the first.
 */
static int remember_all(struct nexthop_monitor *watch, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int rc = nl_open(&nl, NETLINK_ROUTE, err);

	if (rc == 0)
		rc = link_each(&nl, remember_device, watch, err);
	return rc < 0 ? rc : neigh_each(&nl, 0, remember_neighbour, watch, err);
}

int nexthop_monitor_open(struct nexthop_monitor *watch, uint32_t own_group, uint8_t own_protocol, struct err *err)
{
	static const int groups[] = { RTNLGRP_LINK,	   RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				      RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
				      RTNLGRP_NEXTHOP };
	/* Bytes: all notifications of a full neighbour table (1024 entries), which pods can fill, while it empties. */
	const int room = 4 << 20;
	int rc;

	*watch = (struct nexthop_monitor){ .own_group = own_group, .own_protocol = own_protocol };
	rc = nl_open(&watch->nl, NETLINK_ROUTE, err);
	for (size_t i = 0; i < ARRAY_SIZE(groups) && rc == 0; i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(watch->nl.sock, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			rc = err_errno(err, errno, "cannot watch links, routes and neighbours");
	}
	if (rc == 0)
		setsockopt(nexthop_monitor_fd(watch), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (rc == 0)
		rc = remember_all(watch, err);
	if (rc < 0)
		nexthop_monitor_close(watch);
	return rc;
}

void nexthop_monitor_close(struct nexthop_monitor *watch)
{
	nl_close(&watch->nl);
	forget_all(watch);
}

int nexthop_monitor_fd(const struct nexthop_monitor *watch)
{
	return mnl_socket_get_fd(watch->nl.sock);
}

int nexthop_monitor_read(struct nexthop_monitor *watch, struct nexthop_change *change, struct err *err)
{
	char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));

	*change = (struct nexthop_change){ 0 };
	for (;;) {
		ssize_t n = recv(nexthop_monitor_fd(watch), buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == ENOBUFS) {
			int rc;

			/* After an overrun the trees may be out of date, and would hide changes. */
			forget_all(watch);
			rc = remember_all(watch, err);
			change->changes |= NEXTHOP_LOST;
			if (rc < 0)
				return rc;
			continue;
		}
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "cannot read what links, routes and neighbours do");
		for (const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf; n > 0 && mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left))
			on_message(watch, nlh, change);
	}
}
