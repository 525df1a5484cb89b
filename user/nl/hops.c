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

static void put_used_neighbour(struct nlmsghdr *nlh, const struct hop *hop)
{
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

	ndm->ndm_flags = NTF_USE;
	set_neighbour(ndm, nlh, hop);
}

void hop_keep(struct nl *nl, struct nl_batch *b, const struct hop *hop)
{
	char text[IP_STRLEN];
	struct nlmsghdr *nlh;

	if (hop->permanent) /* the kernel would make an ordinary entry of it */
		return;
	nlh = nl_request(nl, b, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 0, "resolve neighbour %s of device %u",
			 ip_format(&hop->next, text), hop->ifindex);
	put_used_neighbour(nlh, hop);
	mnl_attr_put_u32(nlh, EXT_FLAGS_ATTR, EXT_MANAGED);
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
	put_used_neighbour(nlh, hop);
	nl_ignore(b, ENODEV);
}
