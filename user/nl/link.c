/* SPDX-License-Identifier: BSD-2-Clause */
#include "link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

#include "array.h"

#define ADDR_GEN_NONE 1 /* IN6_ADDR_GEN_MODE_NONE; its header collides with libc's */

/* A name that is too long goes out one byte too long, so that the kernel refuses it instead of taking its beginning. */
static void put_ifname(struct nlmsghdr *nlh, const char *name)
{
	mnl_attr_put(nlh, IFLA_IFNAME, strnlen(name, IFNAMSIZ) + 1, name);
}

static void parse_xdp(const struct nlattr *xdp, struct link_info *info)
{
	/* With programs in two modes at once there is no IFLA_XDP_PROG_ID: the id of either shows that there is one. */
	static const uint16_t ids[] = { IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID,
					IFLA_XDP_HW_PROG_ID };
	const struct nlattr *tb[IFLA_XDP_MAX + 1];

	nl_attrs_nested(xdp, tb, IFLA_XDP_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(ids) && !info->xdp_prog_id; i++) {
		if (tb[ids[i]])
			info->xdp_prog_id = mnl_attr_get_u32(tb[ids[i]]);
	}
}

/* The kernel leaves the attribute out if no flag is set. */
static void parse_vlan(const struct nlattr *data, struct link_info *info)
{
	const struct nlattr *tb[IFLA_VLAN_MAX + 1];
	struct ifla_vlan_flags flags = { 0 };

	nl_attrs_nested(data, tb, IFLA_VLAN_MAX);
	if (tb[IFLA_VLAN_FLAGS] && mnl_attr_get_payload_len(tb[IFLA_VLAN_FLAGS]) >= sizeof(flags))
		memcpy(&flags, mnl_attr_get_payload(tb[IFLA_VLAN_FLAGS]), sizeof(flags));
	info->keeps_tag = !(flags.flags & VLAN_FLAG_REORDER_HDR);
}

void link_parse(const struct nlmsghdr *nlh, struct link_info *info)
{
	const struct nlattr *tb[IFLA_MAX + 1], *kind[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);

	*info = (struct link_info){
		.ifindex = (uint32_t)ifi->ifi_index, .flags = ifi->ifi_flags, .type = ifi->ifi_type, .peer_netnsid = -1
	};
	nl_attrs(nlh, sizeof(*ifi), tb, IFLA_MAX);
	if (tb[IFLA_IFNAME])
		snprintf(info->name, sizeof(info->name), "%s", mnl_attr_get_str(tb[IFLA_IFNAME]));
	if (tb[IFLA_ADDRESS] && mnl_attr_get_payload_len(tb[IFLA_ADDRESS]) == sizeof(info->mac))
		memcpy(info->mac, mnl_attr_get_payload(tb[IFLA_ADDRESS]), sizeof(info->mac));
	if (tb[IFLA_MTU])
		info->mtu = mnl_attr_get_u32(tb[IFLA_MTU]);
	if (tb[IFLA_GROUP])
		info->group = mnl_attr_get_u32(tb[IFLA_GROUP]);
	if (tb[IFLA_LINK])
		info->peer_ifindex = mnl_attr_get_u32(tb[IFLA_LINK]);
	if (tb[IFLA_LINK_NETNSID])
		info->peer_netnsid = (int32_t)mnl_attr_get_u32(tb[IFLA_LINK_NETNSID]);
	if (tb[IFLA_XDP])
		parse_xdp(tb[IFLA_XDP], info);
	if (!tb[IFLA_LINKINFO])
		return;
	nl_attrs_nested(tb[IFLA_LINKINFO], kind, IFLA_INFO_MAX);
	if (kind[IFLA_INFO_KIND])
		snprintf(info->kind, sizeof(info->kind), "%s", mnl_attr_get_str(kind[IFLA_INFO_KIND]));
	if (kind[IFLA_INFO_DATA] && strcmp(info->kind, "vlan") == 0)
		parse_vlan(kind[IFLA_INFO_DATA], info);
}

static int get_cb(const struct nlmsghdr *nlh, void *arg)
{
	link_parse(nlh, arg);
	return MNL_CB_OK;
}

static void query_links(union nl_query *q, uint16_t flags, uint32_t ifindex)
{
	struct ifinfomsg *ifi = nl_query(q, RTM_GETLINK, flags, sizeof(*ifi));

	ifi->ifi_index = (int)ifindex;
	mnl_attr_put_u32(&q->head, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS); /* statistics would be most of the reply */
}

int link_get(struct nl *nl, const char *name, uint32_t ifindex, struct link_info *info, struct err *err)
{
	union nl_query q;
	char what[64];

	if (!name && !ifindex)
		return err_set(err, ENODEV, "no device has index 0");
	query_links(&q, 0, name ? 0 : ifindex);
	if (name) {
		put_ifname(&q.head, name);
		snprintf(what, sizeof(what), "read device %.16s", name);
	} else {
		snprintf(what, sizeof(what), "read device %u", ifindex);
	}
	return nl_dump(nl, &q.head, get_cb, info, err, what);
}

static int netnsid_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *tb[NETNSA_MAX + 1];

	nl_attrs(nlh, sizeof(struct rtgenmsg), tb, NETNSA_MAX);
	if (tb[NETNSA_NSID])
		*(int32_t *)arg = (int32_t)mnl_attr_get_u32(tb[NETNSA_NSID]);
	return MNL_CB_OK;
}

int link_netnsid(struct nl *nl, int netns_fd, int32_t *id, struct err *err)
{
	union nl_query q;
	int rc;

	nl_query(&q, RTM_GETNSID, 0, sizeof(struct rtgenmsg));
	mnl_attr_put_u32(&q.head, NETNSA_FD, (uint32_t)netns_fd);
	*id = NETNSA_NSID_NOT_ASSIGNED;
	rc = nl_dump(nl, &q.head, netnsid_cb, id, err, "read the id of a network namespace");
	if (rc == 0 && *id < 0)
		return err_set(err, ENOENT, "the network namespace has no id");
	return rc;
}

struct each {
	int (*fn)(const struct link_info *info, void *arg);
	void *arg;
	int rc;
};

static int each_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct each *each = arg;
	struct link_info info;

	link_parse(nlh, &info);
	each->rc = each->fn(&info, each->arg);
	return each->rc ? MNL_CB_STOP : MNL_CB_OK;
}

int link_each(struct nl *nl, int (*fn)(const struct link_info *info, void *arg), void *arg, struct err *err)
{
	struct each each = { fn, arg, 0 };
	union nl_query q;
	int rc;

	query_links(&q, NLM_F_DUMP, 0);
	rc = nl_dump(nl, &q.head, each_cb, &each, err, "list devices");
	return rc ? rc : each.rc;
}

/* The header of a message about one device. */
static struct ifinfomsg *put_ifinfo(struct nlmsghdr *nlh, uint32_t ifindex)
{
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

	ifi->ifi_index = (int)ifindex;
	return ifi;
}

int link_delete(struct nl *nl, uint32_t ifindex, struct err *err)
{
	struct nl_batch b = { .count = 0 };

	/* The kernel takes index 0 for "see the other attributes": EINVAL. */
	if (!ifindex)
		return err_set(err, ENODEV, "no device has index 0");
	put_ifinfo(nl_request(nl, &b, RTM_DELLINK, 0, 0, "delete device %u", ifindex), ifindex);
	return nl_batch_run(nl, &b, err);
}

/* ifinfomsg and attributes of one end: the same at the top level and inside VETH_INFO_PEER. */
static void put_end(struct nlmsghdr *nlh, const struct veth_end *end)
{
	struct ifinfomsg *ifi = put_ifinfo(nlh, 0);

	if (end->noarp) {
		ifi->ifi_flags = IFF_NOARP;
		ifi->ifi_change = IFF_NOARP;
	}
	put_ifname(nlh, end->name);
	if (end->mac)
		mnl_attr_put(nlh, IFLA_ADDRESS, 6, end->mac);
	if (end->mtu)
		mnl_attr_put_u32(nlh, IFLA_MTU, end->mtu);
	if (end->group)
		mnl_attr_put_u32(nlh, IFLA_GROUP, end->group);
	if (end->netns_fd >= 0)
		mnl_attr_put_u32(nlh, IFLA_NET_NS_FD, (uint32_t)end->netns_fd);
}

void veth_add(struct nl *nl, struct nl_batch *b, const struct veth_end *host, const struct veth_end *peer)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0,
					  "add the veth pair %.16s, %.16s", host->name, peer->name);
	struct nlattr *linkinfo, *data, *info;

	put_end(nlh, host);
	linkinfo = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	info = mnl_attr_nest_start(nlh, VETH_INFO_PEER);
	put_end(nlh, peer);
	mnl_attr_nest_end(nlh, info);
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, linkinfo);
}

void link_set_no_addrgen(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	/* Where the device (or the host) does no IPv6 there is nothing to turn off. */
	struct nlmsghdr *nlh =
	    nl_request(nl, b, RTM_SETLINK, 0, EAFNOSUPPORT, "turn off IPv6 address generation on device %u", ifindex);
	struct nlattr *spec, *inet6;

	put_ifinfo(nlh, ifindex);
	spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(nlh, AF_INET6);
	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, spec);
}

void link_set_rp_filter(struct nl *nl, struct nl_batch *b, uint32_t ifindex, uint32_t value)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_SETLINK, 0, 0, "set rp_filter of device %u", ifindex);
	struct nlattr *spec, *inet, *conf;

	put_ifinfo(nlh, ifindex);
	spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	inet = mnl_attr_nest_start(nlh, AF_INET);
	conf = mnl_attr_nest_start(nlh, IFLA_INET_CONF);
	mnl_attr_put_u32(nlh, IPV4_DEVCONF_RP_FILTER, value);
	mnl_attr_nest_end(nlh, conf);
	mnl_attr_nest_end(nlh, inet);
	mnl_attr_nest_end(nlh, spec);
}

void link_set_mac(struct nl *nl, struct nl_batch *b, uint32_t ifindex, const uint8_t mac[6])
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_SETLINK, 0, 0, "set the MAC address of device %u", ifindex);

	put_ifinfo(nlh, ifindex);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
}

void link_set_mtu(struct nl *nl, struct nl_batch *b, uint32_t ifindex, uint32_t mtu)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_SETLINK, 0, 0, "set the MTU of device %u to %u", ifindex, mtu);

	put_ifinfo(nlh, ifindex);
	mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
}

void link_set_up(struct nl *nl, struct nl_batch *b, uint32_t ifindex)
{
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_SETLINK, 0, 0, "set device %u up", ifindex);
	struct ifinfomsg *ifi = put_ifinfo(nlh, ifindex);

	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
}
