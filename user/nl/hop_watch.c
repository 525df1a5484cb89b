/* SPDX-License-Identifier: BSD-2-Clause */
#include "hop_watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "cleanup.h"
#include "inet.h"
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

/* A copy of `item`, which is not there yet; without memory it is not remembered, and its next report counts again. */
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

static void forget_all(struct hop_watch *watch)
{
	tdestroy(watch->devices, free);
	tdestroy(watch->neighbours, free);
	watch->devices = watch->neighbours = NULL;
}

/* --- events --- */

static void note(struct hop_news *news, enum hop_change change, uint32_t ifindex, const struct ip *ip)
{
	struct hop_place place = { .ifindex = ifindex };

	if (ip)
		place.ip = *ip;
	news->changes |= change;
	for (size_t i = 0; i < news->count; i++) {
		if (news->places[i].ifindex == ifindex && ip_equal(&news->places[i].ip, &place.ip))
			return;
	}
	if (news->count == HOP_NEWS_MAX)
		news->changes |= HOP_LOST;
	else
		news->places[news->count++] = place;
}

static bool is_own(const struct hop_watch *watch, uint32_t ifindex)
{
	const struct device key = { .ifindex = ifindex }, *known = find(&watch->devices, &key, device_cmp);

	return known && known->own;
}

/* Whether that is news. */
static bool device_is(struct hop_watch *watch, const struct link_info *info)
{
	struct device now = {
		.ifindex = info->ifindex,
		.own = info->group == watch->own_group,
		.flags = info->flags & (IFF_UP | IFF_RUNNING),
		.mtu = info->mtu,
	};
	struct device *known = find(&watch->devices, &now, device_cmp);

	memcpy(now.mac, info->mac, sizeof(now.mac));
	if (known && device_same(known, &now))
		return false;
	if (known)
		*known = now;
	else
		add(&watch->devices, &now, sizeof(now), device_cmp);
	return !now.own;
}

static bool device_gone(struct hop_watch *watch, uint32_t ifindex)
{
	const struct device key = { .ifindex = ifindex };
	struct device *known = find(&watch->devices, &key, device_cmp);
	bool own = known && known->own;

	if (known)
		drop(&watch->devices, known, device_cmp);
	return !own;
}

static void on_link(struct hop_watch *watch, const struct nlmsghdr *nlh, struct hop_news *news)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const uint32_t ifindex = (uint32_t)ifi->ifi_index;
	struct link_info info;
	bool is_news;

	if (ifi->ifi_family != AF_UNSPEC) /* a bridge's port, told once more */
		return;
	if (nlh->nlmsg_type == RTM_NEWLINK)
		link_parse(nlh, &info);
	is_news = nlh->nlmsg_type == RTM_NEWLINK ? device_is(watch, &info) : device_gone(watch, ifindex);
	if (is_news)
		note(news, HOP_LINK, ifindex, NULL);
}

/*
 * Whether that is news. What is in no usable state is as if it were not there: pods can have the kernel look for a thousand
 * neighbours that do not exist.
 */
static bool neighbour_is(struct hop_watch *watch, const struct neigh *now)
{
	struct neigh *known = find(&watch->neighbours, now, neighbour_cmp);
	bool same = known && memcmp(known->mac, now->mac, sizeof(now->mac)) == 0;

	if (!now->usable) {
		if (known)
			drop(&watch->neighbours, known, neighbour_cmp);
		return known;
	}
	if (known)
		*known = *now;
	else
		add(&watch->neighbours, now, sizeof(*now), neighbour_cmp);
	return !same;
}

static void on_neighbour(struct hop_watch *watch, const struct nlmsghdr *nlh, struct hop_news *news)
{
	struct neigh now;

	if (neigh_parse(nlh, &now) && !is_own(watch, now.ifindex) && neighbour_is(watch, &now))
		note(news, HOP_NEIGHBOUR, now.ifindex, &now.ip);
}

/* One's own routes and those by own devices lead nowhere else. But one that is deleted may have to be made again. */
static unsigned on_route(const struct hop_watch *watch, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	if ((rtm->rtm_protocol == watch->own_protocol && nlh->nlmsg_type == RTM_NEWROUTE) ||
	    (tb[RTA_OIF] && is_own(watch, mnl_attr_get_u32(tb[RTA_OIF]))))
		return 0;
	return HOP_ROUTE;
}

static void on_message(struct hop_watch *watch, const struct nlmsghdr *nlh, struct hop_news *news)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		on_link(watch, nlh, news);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		on_neighbour(watch, nlh, news);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		news->changes |= on_route(watch, nlh);
		break;
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		news->changes |= HOP_ROUTE;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		news->changes |= HOP_ADDRESS;
		break;
	default:
		break;
	}
}

/* --- the socket --- */

static int remember_device(const struct link_info *info, void *arg)
{
	device_is(arg, info);
	return 0;
}

static int remember_neighbour(const struct neigh *n, void *arg)
{
	if (!is_own(arg, n->ifindex))
		neighbour_is(arg, n);
	return 0;
}

/*
 * Before anything is reported: which devices are own ones, and which neighbours are usable. By a socket of its own, as
 * reports come on this one.
 */
static int remember_all(struct hop_watch *watch, struct err *err)
{
	_cleanup_nl_ struct nl nl = { 0 };
	int rc = nl_open(&nl, NETLINK_ROUTE, err);

	if (rc == 0)
		rc = link_each(&nl, remember_device, watch, err);
	return rc < 0 ? rc : neigh_each(&nl, 0, remember_neighbour, watch, err);
}

int hop_watch_open(struct hop_watch *watch, uint32_t own_group, uint8_t own_protocol, struct err *err)
{
	static const int groups[] = { RTNLGRP_LINK,	   RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				      RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
				      RTNLGRP_NEXTHOP };
	const int room = 4 << 20; /* bytes: for all reports of a neighbour table (1024 entries) that pods have filled and that empties */
	int rc;

	*watch = (struct hop_watch){ .own_group = own_group, .own_protocol = own_protocol };
	rc = nl_open(&watch->nl, NETLINK_ROUTE, err);
	for (size_t i = 0; i < ARRAY_SIZE(groups) && rc == 0; i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(watch->nl.sock, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			rc = err_errno(err, errno, "cannot watch links, routes and neighbours");
	}
	if (rc == 0)
		setsockopt(hop_watch_fd(watch), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	if (rc == 0)
		rc = remember_all(watch, err);
	if (rc < 0)
		hop_watch_close(watch);
	return rc;
}

void hop_watch_close(struct hop_watch *watch)
{
	nl_close(&watch->nl);
	forget_all(watch);
}

int hop_watch_fd(const struct hop_watch *watch)
{
	return mnl_socket_get_fd(watch->nl.sock);
}

int hop_watch_read(struct hop_watch *watch, struct hop_news *news, struct err *err)
{
	char buf[32768] __attribute__((aligned(NLMSG_ALIGNTO)));

	*news = (struct hop_news){ 0 };
	for (;;) {
		ssize_t n = recv(hop_watch_fd(watch), buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)n;

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno == ENOBUFS) {
			int rc;

			/* What is remembered may be long past, and the end of it would be no news. */
			forget_all(watch);
			rc = remember_all(watch, err);
			news->changes |= HOP_LOST;
			if (rc < 0)
				return rc;
			continue;
		}
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "cannot read what links, routes and neighbours do");
		for (const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf; n > 0 && mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left))
			on_message(watch, nlh, news);
	}
}
