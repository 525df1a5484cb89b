/* SPDX-License-Identifier: BSD-2-Clause */
#include "ip.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"

static void put_ip(struct nlmsghdr *nlh, uint16_t type, const struct ip *ip)
{
	mnl_attr_put(nlh, type, ip_bytes(ip), ip->bytes);
}

/* An address attribute of `family`; none (family 0) if it is absent. */
static struct ip get_ip(int family, const struct nlattr *attr)
{
	struct ip ip = { .family = (uint8_t)family };

	if (!attr || mnl_attr_get_payload_len(attr) != ip_bytes(&ip))
		return (struct ip){ 0 };
	return ip_from(family, mnl_attr_get_payload(attr));
}

static bool is_inet(int family)
{
	return family == AF_INET || family == AF_INET6;
}

/* --- addresses --- */

void addr_add(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix)
{
	char text[PREFIX_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, EEXIST,
					  "add address %s to device %u", prefix_format(prefix, text), ifindex);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = prefix->ip.family;
	ifa->ifa_prefixlen = prefix->len;
	ifa->ifa_index = ifindex;
	put_ip(nlh, IFA_LOCAL, &prefix->ip);
	put_ip(nlh, IFA_ADDRESS, &prefix->ip);
	/* IPAM keeps addresses unique, and detection would leave the address tentative for a second. */
	if (prefix->ip.family == AF_INET6)
		mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NODAD);
}

void addr_delete(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct prefix *prefix)
{
	char text[PREFIX_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELADDR, 0, EADDRNOTAVAIL, "delete address %s of device %u",
					  prefix_format(prefix, text), ifindex);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = prefix->ip.family;
	ifa->ifa_prefixlen = prefix->len;
	ifa->ifa_index = ifindex;
	put_ip(nlh, IFA_LOCAL, &prefix->ip);
}

struct addr_each {
	uint32_t ifindex;
	int (*fn)(const struct prefix *p, void *arg);
	int (*fn_in_use)(uint32_t ifindex, const struct ip *ip, void *arg); /* instead of the two above */
	void *arg;
	int rc;
};

/* IPv6 duplicate address detection has neither failed nor is it under way. */
static bool is_in_use(const struct ifaddrmsg *ifa, const struct nlattr *flags)
{
	return !((flags ? mnl_attr_get_u32(flags) : ifa->ifa_flags) & (IFA_F_TENTATIVE | IFA_F_DADFAILED));
}

static int addr_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	struct addr_each *each = arg;
	struct prefix prefix;

	if (nlh->nlmsg_type != RTM_NEWADDR || (each->fn && ifa->ifa_index != each->ifindex) || !is_inet(ifa->ifa_family))
		return MNL_CB_OK;
	nl_attrs(nlh, sizeof(*ifa), tb, IFA_MAX);
	/* IFA_ADDRESS is the peer's on a point-to-point address; IFA_LOCAL is absent in most IPv6 ones. */
	prefix.ip = get_ip(ifa->ifa_family, tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS]);
	prefix.len = ifa->ifa_prefixlen;
	if (each->fn)
		each->rc = each->fn(&prefix, each->arg);
	else if (is_in_use(ifa, tb[IFA_FLAGS]))
		each->rc = each->fn_in_use(ifa->ifa_index, &prefix.ip, each->arg);
	return each->rc ? MNL_CB_STOP : MNL_CB_OK;
}

static int addr_dump(struct nl *nl, struct addr_each *each, struct err *err)
{
	union nl_query q;
	struct ifaddrmsg *ifa = nl_query(&q, RTM_GETADDR, NLM_F_DUMP, sizeof(*ifa));
	int rc;

	ifa->ifa_index = each->ifindex;
	rc = nl_dump(nl, &q.head, addr_cb, each, err, "list addresses");
	return rc ? rc : each->rc;
}

int addr_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct prefix *p, void *arg), void *arg, struct err *err)
{
	struct addr_each each = { .ifindex = ifindex, .fn = fn, .arg = arg };

	return addr_dump(nl, &each, err);
}

int addr_each_in_use(struct nl *nl, int (*fn)(uint32_t ifindex, const struct ip *ip, void *arg), void *arg, struct err *err)
{
	struct addr_each each = { .fn_in_use = fn, .arg = arg };

	return addr_dump(nl, &each, err);
}

/* 1: a packet to the address is delivered here; 0: it is not. */
static int is_local(struct nl *nl, const struct ip *ip, struct err *err)
{
	struct route route;
	int rc = route_get(nl, ip, &route, err);

	return rc == -ENETUNREACH || rc == -EHOSTUNREACH ? 0 : rc < 0 ? rc : route.type == RTN_LOCAL;
}

/* Waits until `deadline` (CLOCK_MONOTONIC) for notifications of addresses, and discards them. -ETIMEDOUT. */
static int wait_for_change(const struct nl *watch, uint64_t deadline)
{
	struct pollfd pfd = { .fd = mnl_socket_get_fd(watch->sock), .events = POLLIN };
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);
	char news[8192];

	if (now >= deadline)
		return -ETIMEDOUT;
	/* A signal ends the wait early; an overrun (ENOBUFS) counts as a notification. */
	if (poll(&pfd, 1, (int)((deadline - now) / NS_PER_MS) + 1) > 0)
		recv(pfd.fd, news, sizeof(news), MSG_DONTWAIT);
	return 0;
}

int addr_wait_ready(const struct ip *ip, unsigned timeout_ms, struct err *err)
{
	const uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + timeout_ms * NS_PER_MS;
	_cleanup_nl_ struct nl nl = { .sock = NULL }, watch = { .sock = NULL };
	const int group = RTNLGRP_IPV6_IFADDR;
	char text[IP_STRLEN];
	int rc = nl_open(&nl, NETLINK_ROUTE, err);

	if (rc == 0)
		rc = is_local(&nl, ip, err);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = nl_open(&watch, NETLINK_ROUTE, err);
	if (rc < 0)
		return rc;
	if (mnl_socket_setsockopt(watch.sock, NETLINK_ADD_MEMBERSHIP, (void *)&group, sizeof(group)) < 0)
		return err_errno(err, errno, "cannot watch addresses");
	while ((rc = is_local(&nl, ip, err)) == 0) {
		if (wait_for_change(&watch, deadline) < 0)
			return err_set(err, ETIMEDOUT, "the kernel has not put address %s into use in %u ms",
				       ip_format(ip, text), timeout_ms);
	}
	return rc < 0 ? rc : 0;
}

/* --- routes --- */

/* The key of a route, for adding and for deleting it. */
static void put_route_key(struct nlmsghdr *nlh, const struct route *r, uint8_t scope)
{
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

	rtm->rtm_family = r->dst.ip.family;
	rtm->rtm_dst_len = r->dst.len;
	rtm->rtm_table = RT_TABLE_MAIN;
	rtm->rtm_protocol = r->protocol;
	rtm->rtm_scope = scope;
	rtm->rtm_type = r->type;
	if (r->dst.len)
		put_ip(nlh, RTA_DST, &r->dst.ip);
	if (r->gateway.family) {
		/* A pod's gateway is in no prefix of the pod's. */
		rtm->rtm_flags = RTNH_F_ONLINK;
		put_ip(nlh, RTA_GATEWAY, &r->gateway);
	}
	if (r->ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, r->ifindex);
	if (r->priority)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, r->priority);
}

void route_replace(struct nl *nl, struct nl_batch *b, const struct route *r)
{
	char text[PREFIX_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, 0,
					  "add the route to %s by device %u", prefix_format(&r->dst, text), r->ifindex);

	put_route_key(nlh, r, r->scope);
	if (r->source.family)
		put_ip(nlh, RTA_PREFSRC, &r->source);
	if (r->mtu) {
		struct nlattr *metrics = mnl_attr_nest_start(nlh, RTA_METRICS);

		mnl_attr_put_u32(nlh, RTAX_MTU, r->mtu);
		mnl_attr_nest_end(nlh, metrics);
	}
}

void route_delete(struct nl *nl, struct nl_batch *b, const struct route *r)
{
	char text[PREFIX_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELROUTE, 0, ESRCH, "delete the route to %s by device %u",
					  prefix_format(&r->dst, text), r->ifindex);

	put_route_key(nlh, r, RT_SCOPE_NOWHERE); /* of any scope */
}

/* A gateway of the other family (IPv4 by an IPv6 router, RFC 8950) is in RTA_VIA. */
static struct ip get_via(const struct nlattr *attr)
{
	const struct rtvia *via;
	struct ip ip;

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(*via))
		return (struct ip){ 0 };
	via = mnl_attr_get_payload(attr);
	ip = (struct ip){ .family = (uint8_t)via->rtvia_family };
	if (mnl_attr_get_payload_len(attr) < sizeof(*via) + ip_bytes(&ip))
		return (struct ip){ 0 };
	return ip_from(ip.family, via->rtvia_addr);
}

static struct route route_parse(const struct nlmsghdr *nlh)
{
	const struct nlattr *tb[RTA_MAX + 1], *metrics[RTAX_MAX + 1];
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct route r;

	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	r = (struct route){
		.dst = { .ip = get_ip(rtm->rtm_family, tb[RTA_DST]), .len = rtm->rtm_dst_len },
		.gateway = tb[RTA_GATEWAY] ? get_ip(rtm->rtm_family, tb[RTA_GATEWAY]) : get_via(tb[RTA_VIA]),
		.source = get_ip(rtm->rtm_family, tb[RTA_PREFSRC]),
		.type = rtm->rtm_type,
		.scope = rtm->rtm_scope,
		.protocol = rtm->rtm_protocol,
	};
	r.dst.ip.family = rtm->rtm_family; /* the default route has no RTA_DST */
	if (tb[RTA_OIF])
		r.ifindex = mnl_attr_get_u32(tb[RTA_OIF]);
	if (tb[RTA_PRIORITY])
		r.priority = mnl_attr_get_u32(tb[RTA_PRIORITY]);
	if (tb[RTA_METRICS]) {
		nl_attrs_nested(tb[RTA_METRICS], metrics, RTAX_MAX);
		if (metrics[RTAX_MTU])
			r.mtu = mnl_attr_get_u32(metrics[RTAX_MTU]);
	}
	return r;
}

static int get_cb(const struct nlmsghdr *nlh, void *arg)
{
	*(struct route *)arg = route_parse(nlh);
	return MNL_CB_OK;
}

int route_get(struct nl *nl, const struct ip *to, struct route *route, struct err *err)
{
	char text[IP_STRLEN], what[IP_STRLEN + 32];
	union nl_query q;
	struct rtmsg *rtm = nl_query(&q, RTM_GETROUTE, 0, sizeof(*rtm));

	*route = (struct route){ 0 };
	rtm->rtm_family = to->family;
	rtm->rtm_dst_len = (uint8_t)ip_bits(to);
	put_ip(&q.head, RTA_DST, to);
	snprintf(what, sizeof(what), "find the route to %s", ip_format(to, text));
	return nl_dump(nl, &q.head, get_cb, route, err, what);
}

struct route_each {
	int (*fn)(const struct route *r, void *arg);
	void *arg;
	int rc;
};

/* A route of several nexthops is reported as one route for each. */
static int each_next_hop(struct route_each *each, struct route *r, const struct nlattr *multipath)
{
	const struct rtnexthop *nexthop = mnl_attr_get_payload(multipath);
	int left = mnl_attr_get_payload_len(multipath), ret = 0;

	for (; ret == 0 && RTNH_OK(nexthop, left); left -= RTNH_ALIGN(nexthop->rtnh_len), nexthop = RTNH_NEXT(nexthop)) {
		const struct nlattr *attr;

		r->ifindex = (uint32_t)nexthop->rtnh_ifindex;
		r->gateway = (struct ip){ 0 };
		mnl_attr_for_each_payload((const void *)(nexthop + 1), nexthop->rtnh_len - sizeof(*nexthop)) {
			if (mnl_attr_get_type(attr) == RTA_GATEWAY)
				r->gateway = get_ip(r->dst.ip.family, attr);
			else if (mnl_attr_get_type(attr) == RTA_VIA)
				r->gateway = get_via(attr);
		}
		ret = each->fn(r, each->arg);
	}
	return ret;
}

static int route_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	struct route_each *each = arg;
	struct route r;

	if (nlh->nlmsg_type != RTM_NEWROUTE || rtm->rtm_table != RT_TABLE_MAIN || !is_inet(rtm->rtm_family))
		return MNL_CB_OK;
	r = route_parse(nlh);
	nl_attrs(nlh, sizeof(*rtm), tb, RTA_MAX);
	each->rc = tb[RTA_MULTIPATH] ? each_next_hop(each, &r, tb[RTA_MULTIPATH]) : each->fn(&r, each->arg);
	return each->rc ? MNL_CB_STOP : MNL_CB_OK;
}

int route_each(struct nl *nl, int family, int (*fn)(const struct route *r, void *arg), void *arg, struct err *err)
{
	struct route_each each = { fn, arg, 0 };
	union nl_query q;
	struct rtmsg *rtm = nl_query(&q, RTM_GETROUTE, NLM_F_DUMP, sizeof(*rtm));
	int rc;

	rtm->rtm_family = (uint8_t)family;
	rc = nl_dump(nl, &q.head, route_cb, &each, err, "list routes");
	return rc ? rc : each.rc;
}

/* --- neighbours --- */

/* States in which the kernel itself sends to the entry's MAC address. */
#define USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)

void neigh_replace(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const struct ip *ip, const uint8_t mac[6])
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0,
					  "add neighbour %s to device %u", ip_format(ip, text), ifindex);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_family = ip->family;
	ndm->ndm_ifindex = (int)ifindex;
	ndm->ndm_state = NUD_PERMANENT;
	put_ip(nlh, NDA_DST, ip);
	mnl_attr_put(nlh, NDA_LLADDR, 6, mac);
}

bool neigh_parse(const struct nlmsghdr *nlh, struct neigh *n)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[NDA_MAX + 1];

	*n = (struct neigh){ .ifindex = (uint32_t)ndm->ndm_ifindex, .permanent = ndm->ndm_state & NUD_PERMANENT };
	if (!is_inet(ndm->ndm_family))
		return false;
	nl_attrs(nlh, sizeof(*ndm), tb, NDA_MAX);
	n->ip = get_ip(ndm->ndm_family, tb[NDA_DST]);
	n->usable = nlh->nlmsg_type == RTM_NEWNEIGH && (ndm->ndm_state & USABLE) && tb[NDA_LLADDR] &&
		    mnl_attr_get_payload_len(tb[NDA_LLADDR]) == sizeof(n->mac);
	if (n->usable)
		memcpy(n->mac, mnl_attr_get_payload(tb[NDA_LLADDR]), sizeof(n->mac));
	return n->ip.family;
}

struct neigh_each {
	int (*fn)(const struct neigh *n, void *arg);
	void *arg;
	int rc;
};

static int neigh_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct neigh_each *each = arg;
	struct neigh n;

	if (!neigh_parse(nlh, &n) || !n.usable)
		return MNL_CB_OK;
	each->rc = each->fn(&n, each->arg);
	return each->rc ? MNL_CB_STOP : MNL_CB_OK;
}

int neigh_each(struct nl *nl, uint32_t ifindex, int (*fn)(const struct neigh *n, void *arg), void *arg, struct err *err)
{
	struct neigh_each each = { fn, arg, 0 };
	union nl_query q;
	int rc;

	nl_query(&q, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
	mnl_attr_put_u32(&q.head, NDA_IFINDEX, ifindex);
	rc = nl_dump(nl, &q.head, neigh_cb, &each, err, "list neighbours");
	return rc ? rc : each.rc;
}
