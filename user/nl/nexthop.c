/* SPDX-License-Identifier: BSD-2-Clause */
/* Nexthops: route and neighbour of an address, as the kernel would choose them. */
#include "nexthop.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "ip.h"
#include "link.h"

/* Of kernel 5.16; NTF_EXT_MANAGED may be newer than the headers that this is built with. */
#define EXT_FLAGS_ATTR 15 /* NDA_FLAGS_EXT */
#define EXT_MANAGED (1 << 0)

/* --- the route --- */

/* A route of type unreachable, prohibit, blackhole or throw counts as no route; the kernel has an errno for each. */
static int no_route(const struct ip *to, int rc, struct err *err)
{
	char text[IP_STRLEN];
	int num = rc == -ENETUNREACH || rc == -ESRCH ? ENETUNREACH : EHOSTUNREACH;

	err_set(err, num, "there is no route to %s", ip_format(to, text));
	return err_hint(err, "`ip route get %s` shows what the kernel says", text);
}

static int route_lookup(struct nl *nl, const struct ip *to, struct nexthop *nexthop, struct err *err)
{
	char text[IP_STRLEN];
	struct route route;
	int rc = route_get(nl, to, &route, err);

	switch (-rc) {
	case 0:
		break;
	case ENETUNREACH:
	case ESRCH:
	case EHOSTUNREACH:
	case EACCES: /* prohibit */
	case EINVAL: /* blackhole */
	case EAGAIN: /* throw */
		return no_route(to, rc, err);
	default:
		return rc;
	}
	if (route.type == RTN_LOCAL)
		return err_set(err, EHOSTUNREACH, "%s is an address of this node", ip_format(to, text));
	if (route.type != RTN_UNICAST || !route.ifindex)
		return no_route(to, -EHOSTUNREACH, err);
	*nexthop = (struct nexthop){
		.ifindex = route.ifindex,
		.mtu = route.mtu,
		.source = route.source,
		.next = route.gateway.family ? route.gateway : *to,
		.gateway = route.gateway.family,
	};
	return 0;
}

/* --- the neighbour --- */

static int neighbour_cb(const struct nlmsghdr *nlh, void *arg)
{
	struct nexthop *nexthop = arg;
	struct neigh n;

	if (!neigh_parse(nlh, &n))
		return MNL_CB_OK;
	nexthop->permanent = n.permanent;
	nexthop->resolved = n.usable;
	memcpy(nexthop->dmac, n.mac, 6);
	return MNL_CB_OK;
}

/* The key of the entry. */
static void set_neighbour(struct ndmsg *ndm, struct nlmsghdr *nlh, const struct nexthop *nexthop)
{
	ndm->ndm_family = nexthop->next.family;
	ndm->ndm_ifindex = (int)nexthop->ifindex;
	mnl_attr_put(nlh, NDA_DST, ip_bytes(&nexthop->next), nexthop->next.bytes);
}

/* The neighbour entry of the nexthop; an absent one is no error. */
static int neighbour_find(struct nl *nl, struct nexthop *nexthop, struct err *err)
{
	union nl_query q;
	int rc;

	set_neighbour(nl_query(&q, RTM_GETNEIGH, 0, sizeof(struct ndmsg)), &q.head, nexthop);
	rc = nl_dump(nl, &q.head, neighbour_cb, nexthop, err, "read a neighbour");
	return rc == -ENOENT ? 0 : rc;
}

int nexthop_find(struct nl *nl, const struct ip *to, struct nexthop *nexthop, struct err *err)
{
	static const uint8_t no_mac[6];
	struct link_info link = { 0 };
	int rc = route_lookup(nl, to, nexthop, err);

	if (rc == 0)
		rc = link_get(nl, NULL, nexthop->ifindex, &link, err);
	if (rc < 0)
		return rc;
	if (!nexthop->mtu || nexthop->mtu > link.mtu)
		nexthop->mtu = link.mtu;
	memcpy(nexthop->smac, link.mac, 6);
	/* Without MAC addresses, or without ARP and ND, there is no neighbour to resolve. */
	if ((link.flags & (IFF_NOARP | IFF_LOOPBACK | IFF_POINTOPOINT)) || memcmp(link.mac, no_mac, 6) == 0)
		return 0;
	return neighbour_find(nl, nexthop, err);
}

/* --- keeping it resolved --- */

static void put_used_neighbour(struct nlmsghdr *nlh, const struct nexthop *nexthop, uint8_t flags)
{
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_flags = NTF_USE | flags;
	set_neighbour(ndm, nlh, nexthop);
}

struct ip nexthop_solicited_node(const struct ip *ip)
{
	struct ip group = { .family = AF_INET6, .bytes = { 0xff, 0x02, [11] = 1, 0xff } };

	memcpy(group.bytes + 13, ip->bytes + 13, 3);
	return group;
}

/* The kernel needs an entry of this group to send a solicitation. Its MAC address: RFC 2464 section 7. */
static void group_keep(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop)
{
	const struct ip group = nexthop_solicited_node(&nexthop->next);
	const uint8_t mac[6] = { 0x33, 0x33, 0xff, group.bytes[13], group.bytes[14], group.bytes[15] };

	neigh_replace(nl, b, nexthop->ifindex, &group, mac);
}

/* Another neighbour whose address has the same last 24 bits shares the group; the kernel then makes the entry again. */
static void group_forget(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop)
{
	struct nexthop group = { .ifindex = nexthop->ifindex, .next = nexthop_solicited_node(&nexthop->next) };
	char text[IP_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELNEIGH, 0, ENOENT, "delete neighbour %s of device %u",
					  ip_format(&group.next, text), nexthop->ifindex);

	set_neighbour(mnl_nlmsg_put_extra_header(nlh, sizeof(struct ndmsg)), nlh, &group);
	nl_ignore(b, ENODEV);
}

/*
 * The kernel keeps at most gc_thresh3 (1024) entries over all network namespaces, not counting permanent and externally
 * learned ones. A pod can fill the table with addresses that do not exist, and then no further entry can be made.
 */
void nexthop_keep(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (nexthop->permanent) /* the request would turn it into an ordinary entry */
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0, "resolve neighbour %s of device %u",
			 ip_format(&nexthop->next, text), nexthop->ifindex);
	put_used_neighbour(nlh, nexthop, NTF_EXT_LEARNED);
	mnl_attr_put_u32(nlh, EXT_FLAGS_ATTR, EXT_MANAGED);
	if (nexthop->next.family == AF_INET6)
		group_keep(nl, b, nexthop);
}

/* Makes it an ordinary entry again and keeps its state. */
void nexthop_forget(struct nl *nl, struct nl_batch *b, const struct nexthop *nexthop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (nexthop->permanent)
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_REPLACE, ENOENT, "let go of neighbour %s of device %u",
			 ip_format(&nexthop->next, text), nexthop->ifindex);
	put_used_neighbour(nlh, nexthop, 0);
	nl_ignore(b, ENODEV);
	if (nexthop->next.family == AF_INET6)
		group_forget(nl, b, nexthop);
}
