/* SPDX-License-Identifier: BSD-2-Clause */
/* Next hops: the way to an address, as the kernel would go it. */
#include "hops.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "inet.h"
#include "link.h"

/* Of kernel 5.16; NTF_EXT_MANAGED may be newer than the headers that this is built with. */
#define EXT_FLAGS_ATTR 15 /* NDA_FLAGS_EXT */
#define EXT_MANAGED (1 << 0)

/* --- the route --- */

/* A route that says no is no way to the address either, in whichever of the kernel's words. */
static int no_way(const struct ip *to, int rc, struct err *err)
{
	char text[IP_STRLEN];
	int num = rc == -ENETUNREACH || rc == -ESRCH ? ENETUNREACH : EHOSTUNREACH;

	err_set(err, num, "there is no route to %s", ip_format(to, text));
	return err_hint(err, "`ip route get %s` shows what the kernel says", text);
}

static int way_find(struct nl *nl, const struct ip *to, struct hop *hop, struct err *err)
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
		return no_way(to, rc, err);
	default:
		return rc;
	}
	if (route.type == RTN_LOCAL)
		return err_set(err, EHOSTUNREACH, "%s is an address of this node", ip_format(to, text));
	if (route.type != RTN_UNICAST || !route.ifindex)
		return no_way(to, -EHOSTUNREACH, err);
	*hop = (struct hop){
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
	struct hop *hop = arg;
	struct neigh n;

	if (!neigh_parse(nlh, &n))
		return MNL_CB_OK;
	hop->permanent = n.permanent;
	hop->resolved = n.usable;
	memcpy(hop->dmac, n.mac, 6);
	return MNL_CB_OK;
}

/* What names the entry. */
static void set_neighbour(struct ndmsg *ndm, struct nlmsghdr *nlh, const struct hop *hop)
{
	ndm->ndm_family = hop->next.family;
	ndm->ndm_ifindex = (int)hop->ifindex;
	mnl_attr_put(nlh, NDA_DST, ip_bytes(&hop->next), hop->next.bytes);
}

/* The entry of the next hop; none is no error. */
static int neighbour_find(struct nl *nl, struct hop *hop, struct err *err)
{
	union nl_query q;
	int rc;

	set_neighbour(nl_query(&q, RTM_GETNEIGH, 0, sizeof(struct ndmsg)), &q.head, hop);
	rc = nl_dump(nl, &q.head, neighbour_cb, hop, err, "read a neighbour");
	return rc == -ENOENT ? 0 : rc;
}

int hop_find(struct nl *nl, const struct ip *to, struct hop *hop, struct err *err)
{
	static const uint8_t no_mac[6];
	struct link_info link = { 0 };
	int rc = way_find(nl, to, hop, err);

	if (rc == 0)
		rc = link_get(nl, NULL, hop->ifindex, &link, err);
	if (rc < 0)
		return rc;
	if (!hop->mtu || hop->mtu > link.mtu)
		hop->mtu = link.mtu;
	memcpy(hop->smac, link.mac, 6);
	/* Where there are no MAC addresses, or nobody asks for them, there is nothing to write into a frame. */
	if ((link.flags & (IFF_NOARP | IFF_LOOPBACK | IFF_POINTOPOINT)) || memcmp(link.mac, no_mac, 6) == 0)
		return 0;
	return neighbour_find(nl, hop, err);
}

/* --- keeping it resolved --- */

static void put_used_neighbour(struct nlmsghdr *nlh, const struct hop *hop, uint8_t flags)
{
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_flags = NTF_USE | flags;
	set_neighbour(ndm, nlh, hop);
}

struct ip hop_solicited_node(const struct ip *ip)
{
	struct ip group = { .family = AF_INET6, .bytes = { 0xff, 0x02, [11] = 1, 0xff } };

	memcpy(group.bytes + 13, ip->bytes + 13, 3);
	return group;
}

/* Without an entry of this group the kernel cannot ask for the neighbour. Its MAC address: RFC 2464 section 7. */
static void keep_group(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	const struct ip group = hop_solicited_node(&hop->next);
	const uint8_t mac[6] = { 0x33, 0x33, 0xff, group.bytes[13], group.bytes[14], group.bytes[15] };

	neigh_replace(nl, b, hop->ifindex, &group, mac);
}

/* If it is another neighbour's too, whose address has the same last 24 bits, the kernel makes it again. */
static void forget_group(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	struct hop group = { .ifindex = hop->ifindex, .next = hop_solicited_node(&hop->next) };
	char text[IP_STRLEN];
	struct nlmsghdr *nlh = nl_request(nl, b, RTM_DELNEIGH, 0, ENOENT, "delete neighbour %s of device %u",
					  ip_format(&group.next, text), hop->ifindex);

	set_neighbour(mnl_nlmsg_put_extra_header(nlh, sizeof(struct ndmsg)), nlh, &group);
	nl_ignore(b, ENODEV);
}

/*
 * Of the entries of all network namespaces the kernel keeps gc_thresh3 (1024), but for those that are permanent or learned
 * externally. A pod can fill that with addresses that nobody has: then no other entry is made.
 */
void hop_keep(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (hop->permanent) /* the kernel would make an ordinary entry of it */
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0, "resolve neighbour %s of device %u",
			 ip_format(&hop->next, text), hop->ifindex);
	put_used_neighbour(nlh, hop, NTF_EXT_LEARNED);
	mnl_attr_put_u32(nlh, EXT_FLAGS_ATTR, EXT_MANAGED);
	if (hop->next.family == AF_INET6)
		keep_group(nl, b, hop);
}

/* An ordinary entry again, in the state that it is in. */
void hop_forget(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (hop->permanent)
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_REPLACE, ENOENT, "let go of neighbour %s of device %u",
			 ip_format(&hop->next, text), hop->ifindex);
	put_used_neighbour(nlh, hop, 0);
	nl_ignore(b, ENODEV);
	if (hop->next.family == AF_INET6)
		forget_group(nl, b, hop);
}
